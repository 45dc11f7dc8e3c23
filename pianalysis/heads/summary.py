r"""What the statistics of all heads say together, and the worst case they are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.bounds.interpolation import FORMS
from pianalysis.bounds.worst_case.case import worst_case_score
from pianalysis.heads.statistics import HeadStatistics, Quantiles
from pianalysis.records import Record
from pianalysis.rope.spec import RopeSpec

_MASS = ("own", "1", "2", "4", "8")


@dataclass(frozen=True, slots=True)
class Bounds(Record):
    """The four bounds against the observed chord deviations, a row a form.

    ``violations`` counts (pair, span) above the bound, of ``checked``; ``ratio`` is the largest
    deviation / bound.
    """

    checked: int
    form: tuple[str, ...]
    violations: FloatArray
    ratio: FloatArray


@dataclass(frozen=True, slots=True)
class HeadSummary(Record):
    """A checkpoint in a page.

    ``witness`` is the sampled pair and span whose deviation comes closest to the paper's bound, or
    is furthest above it; ``found`` the same among all causal pairs, of which ``reach_above`` can
    exceed it at some real span; ``moved`` the mean softmax weight of a sampled key at its own span
    and at those of each range; ``most_excess`` the head with the largest median excess in [L, 2L);
    ``main_pairs`` how many heads have their largest share on each pair index.
    """

    context_window: int
    heads: int
    tokens: int
    sampled: int
    seed: int
    overall: Quantiles
    bounds: Bounds
    witness: dict[str, float]
    found: dict[str, float]
    reach_above: int
    moved: dict[str, float]
    most_excess: dict[str, float]
    main_pairs: dict[int, int]
    slow_share: float


def summarise(found: HeadStatistics) -> HeadSummary:
    """Return the statistics over all heads of a checkpoint.

    Quantiles are over the pairs of all heads, not over heads; means over heads, each of which has
    as many pairs.
    """
    table = found.table
    heads = len(table["head"])
    sampled = heads * found.tokens * found.pairs
    closest, furthest = _witness(table, "paper", "witness"), _witness(table, "found", "found")
    most = int(table["excess_2_median"].argmax())
    excess = {name: float(table[name][most]) for name in ("excess_2_median", "excess_2_max")}
    pair, number = np.unique(table["main_pair"].astype(int), return_counts=True)
    return HeadSummary(
        *(found.context_window, heads, found.tokens, sampled, found.seed, found.overall),
        Bounds(
            sampled * found.chord_spans,
            FORMS,
            np.array([table[f"{form}_violations"].sum() for form in FORMS]),
            np.array([table[f"{form}_ratio"].max() for form in FORMS]),
        ),
        *(closest, furthest, int(table["reach_above"].sum())),
        {end: float(table[f"mass_{end}"].mean()) for end in _MASS},
        _place(table, most) | excess,
        dict(zip(pair.tolist(), number.tolist(), strict=True)),
        float(table["slow_share"].mean()),
    )


def _witness(table: dict[str, FloatArray], ratio: str, prefix: str) -> dict[str, float]:
    row = int(table[f"{ratio}_ratio"].argmax())
    names = ("query", "key", "span", "deviation", "bound")
    return _place(table, row) | {name: float(table[f"{prefix}_{name}"][row]) for name in names}


def _place(table: dict[str, FloatArray], row: int) -> dict[str, float]:
    return {name: int(table[name][row]) for name in ("layer", "head")}


def text(found: HeadSummary) -> str:
    """Return the summary as text."""
    from tabulate import tabulate

    overall = found.overall
    rows = [
        [name, *(f"{getattr(overall, level)[row]:.4g}" for level in ("median", "p95", "extreme"))]
        for row, name in enumerate(overall.quantity)
    ]
    bounds = [
        [form, f"{count:.0f}", f"{ratio:.4f}"]
        for form, count, ratio in zip(
            found.bounds.form, found.bounds.violations, found.bounds.ratio, strict=True
        )
    ]
    style: dict[str, Any] = {"disable_numparse": True, "stralign": "right"}
    moved = ", ".join(f"{end}: {weight:.5f}" for end, weight in found.moved.items())
    return "\n".join(
        [
            f"{found.heads} heads, {found.sampled} pairs of {found.tokens} tokens, window "
            f"{found.context_window}, seed {found.seed}; quantiles to {overall.resolution}",
            "",
            tabulate(rows, headers=["logits", "median", "95%", "extreme"], **style),
            "",
            tabulate(bounds, headers=["bound", "violated", "largest ratio"], **style),
            f"of {found.bounds.checked} deviations",
            "",
            f"closest to the paper's bound, sampled: {_named(found.witness)}",
            f"of all causal pairs, {found.reach_above} can exceed it; the furthest found: "
            f"{_named(found.found)}",
            f"largest median excess: {_named(found.most_excess)}",
            f"mean softmax weight of a key, own span and ranges: {moved}",
            f"share of sum|h| on pairs slower than the window: {found.slow_share:.3f}",
        ]
    )


def _named(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


@dataclass(frozen=True, slots=True)
class WorstCaseCurve(Record):
    """The certified worst score at one span against the limit H, where |a(n)| <= 1 for n < L."""

    spec: RopeSpec
    span: float
    max_coefficient: FloatArray
    value: FloatArray
    lower: FloatArray
    upper: FloatArray


def worst_case_curve(spec: RopeSpec, span: float, limits: Sequence[float]) -> WorstCaseCurve:
    r"""Return the worst case that heads are held against: largest |a(s)| for each limit H.

    A head's pair, divided by its largest in-window |a(n)|, is feasible for H = its ``limit``; its
    |a(s)| at this span is below the value there. ``growth`` is a maximum over all spans of
    [L, 8L), for which a curve at one span is a guide, not a bound.

    Parameters
    ----------
    spec : RopeSpec
        L d at most 2**22, as for ``worst_case_score``.
    span : float
        In tokens.
    limits : sequence of float
        The values of H, above 0.

    Raises
    ------
    ValueError, TypeError
        As ``worst_case_score``; no limits.

    Examples
    --------
    >>> curve = worst_case_curve(RopeSpec(16, 100.0, 64), 96.0, [0.1, 1.0])
    >>> curve.value.round(3)
    array([0.8  , 5.018])
    """
    if not len(limits):
        raise ValueError("limits must hold at least one value, got none")
    found = [worst_case_score(spec, span, max_coefficient=limit) for limit in limits]
    columns = ("max_coefficient", "value", "lower", "upper")
    return WorstCaseCurve(
        spec, found[0].span, *(np.array([getattr(w, name) for w in found]) for name in columns)
    )
