r"""The verdicts of the experiment, as rules.

They were written after a first run, of 200 steps at factor 2, and before the one they judge. Two
were changed while that was under way. The interval of k_max took the rates of distances as
independent and fell short of its 95% where they lie near 20%; it now holds whatever they are. What
a longer window gains is asked of each model against itself, not against the original, which does
not separate it from what training costs anywhere; no window had been read.

Each takes rows of readings (``protocol``) and returns a :class:`Finding`: yes, no, open (the
numbers do not decide) or in part (then the text says which part), the numbers, their uncertainty.

- **reaches L'**: the 95% interval of k_max by recalled keys (``evaluation.reach``) is L' alone.
  No where it ends below L'; open where L' is its upper end only.
- **stays near L**: the interval ends at 5/4 L or below, where the paper's direct fine-tuning ends
  (2560 of 2048 after 10000 steps). No where it begins above.
- **falls**: between distances up to L and those in the last quarter of L', keys are recalled less
  often (the 95% intervals of the two shares do not meet, Jeffreys' prior) and their digits cost
  more (by more than ``SURE`` standard errors). In part where one of the two is so.
- **better**, than the original or than a shorter window: over blocks of the same tokens the mean
  loss is lower by more than ``SURE`` standard errors of the paired differences; no where it is
  higher by as much.
- **alike**: at a distance as many keys are recalled in whole prompts as across gaps. Yes at every
  distance, no at none, in part otherwise. Where neither recalls a key that tells little, and is
  said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from paper_repro import facts
from pianalysis.arrays import FloatArray
from pianalysis.evaluation.passkey_prompt import k_max
from pianalysis.evaluation.reach import COVERAGE, k_max_interval

YES, NO, OPEN, IN_PART = "yes", "no", "open", "in part"
SURE = 2.0  # standard errors
NEAR = 1.25  # of L

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Finding:
    """An answer: its verdict and the numbers that it rests on, with their uncertainty."""

    verdict: str
    numbers: str


@dataclass(frozen=True, slots=True)
class Reach:
    """k_max by the 20% rule and its 95% interval, tokens."""

    k_max: int
    low: int
    high: int

    def __str__(self) -> str:
        """Return it as verdicts quote it."""
        return f"{self.k_max} ({self.low} to {self.high})"


def reach(rows: Rows, score: str = "recalled") -> Reach:
    """Return how far keys are read: ``score`` is "recalled" or "written".

    Raises
    ------
    ValueError
        No rows, or rows of different numbers of trials: that is two protocols.
    """
    asked = [int(row["k"]) for row in rows]
    counts = [int(row[score]) for row in rows]
    trials = {int(row["trials"]) for row in rows}
    if len(trials) != 1:
        raise ValueError(f"rows must be of one number of trials, got {sorted(trials)}")
    (each,) = trials
    return Reach(
        k_max(asked, [count / each for count in counts]), *k_max_interval(asked, counts, each)
    )


def reaches(rows: Rows, target: int) -> Finding:
    """Judge "reaches L'"."""
    found = reach(rows)
    verdict = YES if found.low == target else NO if found.high < target else OPEN
    return Finding(verdict, f"k_max {found}")


def stays_near(rows: Rows, window: int) -> Finding:
    """Judge "stays near L"."""
    found, most = reach(rows), NEAR * window
    verdict = YES if found.high <= most else NO if found.low > most else OPEN
    return Finding(verdict, f"k_max {found}")


def falls(rows: Rows, window: int, target: int) -> Finding:
    """Judge "falls": between the distances up to L and those in the last quarter of L'.

    Raises
    ------
    ValueError
        No distance in one of the two ranges.
    """
    inside = [row for row in rows if row["k"] <= window]
    beyond = [row for row in rows if 4 * row["k"] > 3 * target]
    for name, part in (("up to L", inside), ("in the last quarter", beyond)):
        if not part:
            raise ValueError(f"rows must hold distances {name}, got none")
    low, high = _share(inside), _share(beyond)
    rarer = YES if high[2] < low[1] else NO
    dearer, error = _cost(beyond)[0] - _cost(inside)[0], _quadrature(beyond, inside)
    costs = YES if dearer > SURE * error else NO
    verdict = {(YES, YES): YES, (NO, NO): NO}.get((rarer, costs), IN_PART)
    parts = f"recalled less often: {rarer}, digits cost more: {costs}; " * (verdict == IN_PART)
    return Finding(
        verdict,
        f"{parts}recalled {_percent(low)} up to {window}, {_percent(high)} beyond "
        f"{3 * target // 4}; {dearer:+.2f} ± {error:.2f} nats a digit",
    )


def better(after: Rows, before: Rows) -> Finding:
    """Judge "better": rows of one text and window each, block by block.

    Raises
    ------
    ValueError
        Rows that are not of the same blocks in the same order.
    """
    blocks = [[row["block"] for row in rows] for rows in (after, before)]
    if blocks[0] != blocks[1] or len(blocks[0]) < 2:
        raise ValueError(f"rows must be of the same blocks, two at least, got {blocks}")
    a, b = (np.array([row["nats"] for row in rows]) for rows in (after, before))
    gain, error = float((b - a).mean()), float((b - a).std(ddof=1) / np.sqrt(a.size))
    verdict = YES if gain > SURE * error else NO if gain < -SURE * error else OPEN
    levels = f"perplexity {np.exp(b.mean()):.2f} to {np.exp(a.mean()):.2f}"
    return Finding(verdict, f"{levels}, {-gain:+.4f} ± {error:.4f} nats a token")


def together(parts: Mapping[str, Finding]) -> Finding:
    """Join one rule's findings (of seeds, texts, steps): their common verdict, or in part.

    Raises
    ------
    ValueError
        No part.
    """
    if not parts:
        raise ValueError("parts must hold at least one finding, got none")
    verdicts = {finding.verdict for finding in parts.values()}
    verdict = verdicts.pop() if len(verdicts) == 1 else IN_PART
    told = [f"{name}: {f.verdict}, {f.numbers}" for name, f in parts.items()]
    return Finding(verdict, "; ".join(told))


def alike(whole: Rows, across: Rows) -> Finding:
    """Return whether as many keys are recalled in whole prompts as across gaps, by distance."""
    recalled = {row["k"]: row["recalled"] for row in across}
    both = [(row["k"], row["recalled"], recalled[row["k"]]) for row in whole]
    told = [f"at {k:.0f} {n:.0f} against {gap:.0f}" for k, n, gap in both if n != gap]
    lost = [f"{k:.0f}" for k, n, gap in both if n == gap == 0]
    count, trials = len(both), max(row["trials"] for row in whole)
    agreeing = count - len(told)
    but = f", but {', '.join(told)}" * bool(told)
    but += f", none either way at {', '.join(lost)}" * bool(lost)
    verdict = YES if agreeing == count else IN_PART if agreeing else NO
    return Finding(verdict, f"{agreeing} of {count} distances, {trials:.0f} keys each{but}")


def table4(
    passkeys: Mapping[tuple[str, int, int], Rows], window: int, target: int
) -> dict[str, Finding | None]:
    """Judge Table 4's twin at one factor: (scheme, seed, step) -> rows of passkeys.

    PI reaches L' at the last two readings with every seed; FT does not, it stays near L, and falls,
    at the last reading with every seed. Steps count where both were read, seeds where they were
    read at the last of these. Returns statement -> finding, None where there is no such step.
    """
    steps = facts.shared(case for case in passkeys if case[-1])
    last = max((of[-1] for of in steps.values()), default=0)

    def judged(scheme: str, count: int, rule: Callable[[Rows], Finding]) -> Finding | None:
        parts = {
            f"seed {seed} step {step}": rule(passkeys[scheme, seed, step])
            for seed, of in steps.items()
            if of[-1] == last
            for step in of[-count:]
        }
        return together(parts) if parts else None

    def reached(rows: Rows) -> Finding:
        return reaches(rows, target)

    def fallen(rows: Rows) -> Finding:
        return falls(rows, window, target)

    return {
        f"PI reaches {target}": judged("linear", 2, reached),
        f"FT reaches {target}": judged("default", 2, reached),
        f"FT stays near {window}": judged("default", 1, lambda rows: stays_near(rows, window)),
        "FT falls beyond L": judged("default", 1, fallen),
        "PI falls beyond L": judged("linear", 1, fallen),
    }


def _share(rows: Rows) -> tuple[float, float, float]:
    """Return the share recalled over rows, and its 95% interval by Jeffreys' prior."""
    from scipy.special import betaincinv

    hits, all_of = (sum(row[name] for row in rows) for name in ("recalled", "trials"))
    a, b = hits + 0.5, all_of - hits + 0.5
    tail = (1.0 - COVERAGE) / 2.0
    return hits / all_of, float(betaincinv(a, b, tail)), float(betaincinv(a, b, 1.0 - tail))


def _cost(rows: Rows) -> tuple[float, float]:
    """Return the mean nats a digit over rows, and its standard error over the distances."""
    nats: FloatArray = np.array([row["nats"] for row in rows])
    within = np.array([row["standard_error"] for row in rows])
    if nats.size > 1:
        return float(nats.mean()), float(nats.std(ddof=1) / np.sqrt(nats.size))
    return float(nats[0]), float(within[0])


def _quadrature(*parts: Rows) -> float:
    return math.hypot(*(_cost(rows)[1] for rows in parts))


def _percent(share: tuple[float, float, float]) -> str:
    return f"{share[0]:.0%} ({share[1]:.0%} to {share[2]:.0%})"
