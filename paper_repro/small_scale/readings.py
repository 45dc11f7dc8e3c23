"""What the experiment reads of a checkpoint: passkeys, text across gaps, whole texts, its heads.

A reading returns rows of plain numbers; ``READINGS`` names the record that the rows of all cases
and steps make together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pianalysis.arrays import FloatArray
from pianalysis.bounds.interpolation import FORMS
from pianalysis.checkpoints.checkpoint import Checkpoint
from pianalysis.evaluation.likelihood import gap_likelihood
from pianalysis.evaluation.passkeys import gap_passkey, passkeys, spread
from pianalysis.evaluation.perplexity import STRIDE, perplexity
from pianalysis.evaluation.store import FolderStore
from pianalysis.evaluation.text import default_text, encode
from pianalysis.heads.measurement import head_statistics
from pianalysis.heads.summary import summarise
from pianalysis.records import Record

TEXT = 1024  # held-out tokens read across a gap, half of them behind it
EIGHTHS = (2, 4, 5, 6, 8)  # of the target: where such a text ends
LONG = (0.25, 0.5, 1.0)  # windows of whole texts, in shares of the target


@dataclass(frozen=True, slots=True)
class Reading(Record):
    """One kind of reading in a tier: each row is of a case, its target and a step."""

    tier: str
    setting: dict[str, Any]
    window: int
    case: tuple[str, ...]
    target: FloatArray
    step: FloatArray


@dataclass(frozen=True, slots=True)
class Passkeys(Reading):
    """Passkeys read out: a row a case, step and length k of the prompt, in tokens.

    ``k_max`` is that of the row's case and step.
    """

    k: FloatArray
    successes: FloatArray
    trials: FloatArray
    k_max: FloatArray


@dataclass(frozen=True, slots=True)
class Likelihoods(Reading):
    """Held-out text behind a gap: a row a case, step and gap; ``nats`` a token of the tail.

    The last token stands at position ``reach`` - 1.
    """

    gap: FloatArray
    reach: FloatArray
    nats: FloatArray
    standard_error: FloatArray


@dataclass(frozen=True, slots=True)
class Windows(Reading):
    """Held-out text through windows of ``tokens``, no gap: a row a case, step and window.

    ``perplexity`` is pooled over ``count`` tokens; windows are ``stride`` apart.
    """

    tokens: FloatArray
    stride: FloatArray
    count: FloatArray
    perplexity: FloatArray


@dataclass(frozen=True, slots=True)
class Heads(Reading):
    """The trained heads: a row a case, step and quantity, over the sampled pairs of all heads.

    Deviations from the chord are those at half-integer spans, where Position Interpolation by 2
    reads the score. FORM_violations counts (pair, span) above the bound of that form, among
    ``checked``; FORM_ratio is the largest deviation / bound; found_ratio the same for the printed
    form, searched among all causal pairs. Other quantities are those of ``pianalysis heads``.
    """

    quantity: tuple[str, ...]
    value: FloatArray


READINGS: dict[str, Callable[..., Reading]] = {
    "passkeys": Passkeys,
    "likelihood": Likelihoods,
    "windows": Windows,
    "long": Windows,
    "heads": Heads,
}


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one checkpoint; the store keeps every finished unit of a reading.

    ``gap``: passkeys across a gap in positions, else from whole prompts.
    """

    checkpoint: Checkpoint
    target: int
    store: FolderStore
    gap: bool

    def passkeys(self, count: int, trials: int) -> list[dict[str, Any]]:
        """Read passkeys k tokens back, k uniform up to the target as in the paper.

        Counted are those that are written, the separator before the digits included.
        Across a gap no position is at the target or beyond, where no model here was trained.
        """
        shared: dict[str, Any] = {"trials": trials, "store": self.store}
        asked = spread(self.target, count)
        if self.gap:
            read = gap_passkey(self.checkpoint, distances=asked, limit=self.target, **shared)
        else:
            read = passkeys(self.checkpoint, target=self.target, distances=count, **shared)
        (k_max,) = read.k_max_written.values()
        return [
            {"k": k, "successes": number, "trials": trials, "k_max": k_max}
            for k, number in zip(asked, read.written.tolist(), strict=True)
        ]

    def likelihood(self) -> list[dict[str, Any]]:
        """Read held-out text across gaps: none, inside the window, and on to the target."""
        gaps = [0, *(eighths * self.target // 8 - TEXT for eighths in EIGHTHS)]
        read = gap_likelihood(
            self.checkpoint, self._text(TEXT), prefix=TEXT // 2, gaps=gaps, store=self.store
        )
        return [
            {"gap": gap, "reach": gap + TEXT, "nats": nats, "standard_error": error}
            for gap, nats, error in zip(
                read.gap.tolist(), read.mean.tolist(), read.standard_error.tolist(), strict=True
            )
        ]

    def windows(self, window: int, count: int) -> list[dict[str, Any]]:
        """Read held-out text through a sliding window: the cost inside L."""
        return self._perplexity(window, count, STRIDE)

    def long(self) -> list[dict[str, Any]]:
        """Read one held-out text as long as the target, through windows that do not overlap."""
        rows = []
        for share in LONG:
            window = round(share * self.target)
            rows += self._perplexity(window, self.target + 1, window)
        return rows

    def heads(self, count: int) -> list[dict[str, Any]]:
        """Measure every head on held-out text."""
        heads = summarise(
            head_statistics(self.checkpoint, self._text(count), draws=1, seed=0, store=self.store)
        )
        rows: dict[str, float] = {"sampled": heads.sampled, "checked": heads.bounds.checked}
        for index, form in enumerate(FORMS):
            rows[f"{form}_violations"] = heads.bounds.violations[index]
            rows[f"{form}_ratio"] = heads.bounds.ratio[index]
        rows["reach_above"] = heads.reach_above
        rows["found_ratio"] = heads.found["deviation"] / heads.found["bound"]
        for index, quantity in enumerate(heads.overall.quantity):
            for name in ("median", "p95", "extreme"):
                rows[f"{quantity}_{name}"] = getattr(heads.overall, name)[index]
        rows |= {f"mass_{end}": mass for end, mass in heads.moved.items()}
        rows["slow_share"] = heads.slow_share
        return [{"quantity": name, "value": float(value)} for name, value in rows.items()]

    def _text(self, count: int) -> list[int]:
        return encode(self.checkpoint.tokenizer, default_text(), count)

    def _perplexity(self, window: int, count: int, stride: int) -> list[dict[str, Any]]:
        text = self._text(count)
        read = perplexity(
            self.checkpoint, [text], windows=[window], stride=stride, store=self.store
        )
        return [
            {
                "tokens": window,
                "stride": stride,
                "count": int(read.count[0]),
                "perplexity": float(read.perplexity[0]),
            }
        ]
