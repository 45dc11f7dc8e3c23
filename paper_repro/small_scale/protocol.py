"""How a checkpoint of the experiment is read: each reading alike for all cases and steps.

A reading returns rows of plain numbers. All schemes and steps get the same prompts and texts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from paper_repro.small_scale.plan import TEXTS, Reading, Tier
from pianalysis.bounds.interpolation import FORMS
from pianalysis.checkpoints.checkpoint import Checkpoint
from pianalysis.evaluation.likelihood import gap_likelihood
from pianalysis.evaluation.passkeys import DISTANCES, Passkeys, gap_passkey, passkeys, spread
from pianalysis.evaluation.same_tokens import same_tokens
from pianalysis.evaluation.text import default_text, encode
from pianalysis.evaluation.units import Store
from pianalysis.finetune.corpus import HELD_OUT_SOURCE
from pianalysis.finetune.texts import source_files
from pianalysis.heads.measurement import head_statistics
from pianalysis.heads.summary import summarise

EIGHTHS = (2, 4, 5, 6, 7, 8)  # of the target: where a text behind a gap ends


@lru_cache(maxsize=1)
def texts() -> dict[str, str]:
    """Return kind -> the held-out text of that kind."""
    return dict(zip(TEXTS, (default_text(), source_files()[HELD_OUT_SOURCE]), strict=True))


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one checkpoint; the store keeps every finished unit of a reading.

    ``gap``: the distance is made of positions left out, else of fillers and text.
    """

    checkpoint: Checkpoint
    tier: Tier
    target: int
    gap: bool
    store: Store

    def read(self, reading: Reading) -> list[dict[str, Any]]:
        """Return the rows of a reading.

        Raises
        ------
        ValueError
            A kind that no checkpoint has.
        """
        kinds: dict[str, Callable[..., list[dict[str, Any]]]] = {
            "passkeys": self.passkeys,
            "gaps": self.gaps,
            "windows": self.windows,
            "heads": self.heads,
            "whole": self.whole,
        }
        if reading.kind not in kinds:
            raise ValueError(f"kind must be one of {', '.join(kinds)}, got {reading.kind!r}")
        return kinds[reading.kind](*reading.numbers)

    def passkeys(self, count: int, trials: int) -> list[dict[str, Any]]:
        """Read passkeys at distances k spread up to the target.

        Exact distances lie within half the space of the paper's 32 below k, on coarser grids, too:
        then each of those is a part of the paper's.
        """
        asked = spread(self.target, count)
        jitter = max(1, self.target // DISTANCES // 2)
        shared: dict[str, Any] = {"trials": trials, "jitter": jitter, "store": self.store}
        if self.gap:
            read = gap_passkey(self.checkpoint, distances=asked, limit=self.target, **shared)
        else:
            read = passkeys(self.checkpoint, target=self.target, distances=asked, **shared)
        return _rows(read)

    def gaps(self) -> list[dict[str, Any]]:
        """Read held-out text of each kind behind a gap: none, inside the window, to the target."""
        size = self.tier.gap_text
        gaps = [0, *(eighths * self.target // 8 - size for eighths in EIGHTHS)]
        rows = []
        for kind, text in texts().items():
            tokens = encode(self.checkpoint.tokenizer, text, size)
            read = gap_likelihood(
                self.checkpoint, tokens, prefix=size // 2, gaps=gaps, store=self.store
            )
            found = zip(gaps, read.mean.tolist(), read.standard_error.tolist(), strict=True)
            rows += [
                {
                    "text": kind,
                    "gap": gap,
                    "reach": gap + size,
                    "nats": nats,
                    "standard_error": error,
                }
                for gap, nats, error in found
            ]
        return rows

    def windows(self, *windows: int) -> list[dict[str, Any]]:
        """Score the same last tokens of an excerpt of each kind at every window, no gap."""
        rows = []
        for kind, text in texts().items():
            tokens = encode(self.checkpoint.tokenizer, text, self.tier.excerpt)
            read = same_tokens(
                self.checkpoint,
                tokens,
                windows=windows,
                scored=self.tier.scored,
                store=self.store,
            ).columns()
            found = zip(*(read[name] for name in ("window", "block", "nats")), strict=True)
            rows += [
                {"text": kind, "window": window, "block": block, "nats": nats}
                for window, block, nats in found
            ]
        return rows

    def heads(self, count: int) -> list[dict[str, Any]]:
        """Measure every head on held-out text: the bounds sampled and searched."""
        tokens = encode(self.checkpoint.tokenizer, texts()["play"], count)
        heads = summarise(
            head_statistics(self.checkpoint, tokens, draws=1, seed=0, store=self.store)
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

    def whole(self, trials: int, *asked: int) -> list[dict[str, Any]]:
        """Read whole prompts at a few distances, and the same across gaps: do they agree."""
        jitter = max(1, self.target // DISTANCES // 2)
        shared: dict[str, Any] = {"trials": trials, "jitter": jitter, "store": self.store}
        whole = passkeys(self.checkpoint, target=self.target, distances=asked, **shared)
        across = gap_passkey(self.checkpoint, distances=asked, limit=self.target, **shared)
        return [
            {"how": how, **row}
            for how, read in (("whole", whole), ("gap", across))
            for row in _rows(read)
        ]


def _rows(read: Passkeys) -> list[dict[str, Any]]:
    names = ("k", "nearest", "farthest", "recalled", "written", "nats", "standard_error")
    columns = read.columns()
    rows = zip(*(columns[name] for name in names), strict=True)
    return [{**dict(zip(names, row, strict=True)), "trials": read.trials} for row in rows]
