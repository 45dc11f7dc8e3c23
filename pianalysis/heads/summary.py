r"""What the statistics of all heads say together, and the worst case they are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.bounds.interpolation import FORMS
from pianalysis.bounds.worst_case.case import worst_case_score
from pianalysis.heads import sampled
from pianalysis.heads.permitted import PermittedScores
from pianalysis.heads.statistics import HeadStatistics, Quantiles
from pianalysis.records import Record
from pianalysis.rope.spec import RopeSpec

_MASS = ("own", "1", "2", "4", "8")


@dataclass(frozen=True, slots=True)
class Bounds(Record):
    """The four bounds against the observed chord deviations, a row a form.

    ``violations`` counts (draw, span) above the bound, of ``checked``; ``ratio`` is the largest
    deviation / bound.
    """

    checked: int
    form: tuple[str, ...]
    violations: FloatArray
    ratio: FloatArray


@dataclass(frozen=True, slots=True)
class HeadSummary(Record):
    """A checkpoint in a page.

    ``witness`` is the draw and span whose deviation comes closest to the paper's bound, or is
    furthest above it; ``found`` the same among all queries and their causal keys, of which
    ``reach_above`` can exceed it at some real span; ``moved`` the mean softmax weight of a sampled
    key at its own span and at those of each range; ``most_excess`` the head with the largest median
    excess in [L, 2L);
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


def summarise(statistics: HeadStatistics) -> HeadSummary:
    """Return the statistics over all heads of a checkpoint.

    Quantiles are over the draws of all heads, not over heads; means over heads, each of which has
    as many draws.
    """
    table = statistics.table
    heads = len(table["head"])
    sampled = heads * statistics.tokens * statistics.pairs
    most = int(table["excess_2_median"].argmax())
    excess = {name: float(table[name][most]) for name in ("excess_2_median", "excess_2_max")}
    pair, number = np.unique(table["main_pair"].astype(int), return_counts=True)
    return HeadSummary(
        context_window=statistics.context_window,
        heads=heads,
        tokens=statistics.tokens,
        sampled=sampled,
        seed=statistics.seed,
        overall=statistics.overall,
        bounds=Bounds(
            checked=sampled * statistics.chord_spans,
            form=FORMS,
            violations=np.array([table[f"{form}_violations"].sum() for form in FORMS]),
            ratio=np.array([table[f"{form}_ratio"].max() for form in FORMS]),
        ),
        witness=_witness(table, "paper", "witness"),
        found=_witness(table, "found", "found"),
        reach_above=int(table["reach_above"].sum()),
        moved={end: float(table[f"mass_{end}"].mean()) for end in _MASS},
        most_excess=_place(table, most) | excess,
        main_pairs=dict(zip(pair.tolist(), number.tolist(), strict=True)),
        slow_share=float(table["slow_share"].mean()),
    )


def _witness(table: dict[str, FloatArray], ratio: str, prefix: str) -> dict[str, float]:
    row = int(table[f"{ratio}_ratio"].argmax())
    names = ("query", "key", "span", "deviation", "bound")
    return _place(table, row) | {name: float(table[f"{prefix}_{name}"][row]) for name in names}


def _place(table: dict[str, FloatArray], row: int) -> dict[str, float]:
    return {name: int(table[name][row]) for name in ("layer", "head")}


def limits_text(statistics: HeadStatistics, permitted: PermittedScores | None) -> str:
    """Return what the heads do under their own limits, after the softmax and on average."""
    table = statistics.table

    def levels(values: FloatArray) -> str:
        return " / ".join(f"{np.quantile(values, level):.4g}" for level in (0.5, 0.95, 1.0))

    def averaged(top: str, bottom: str) -> str:
        return levels(sampled.ratio(table[top], table[bottom]))

    lines = ["under their own limits, median / 95% / largest of the heads:"]
    if permitted is not None:
        lines += [
            f"largest score in [L, 2L), of {permitted.layer.size} heads, one a layer, logits: "
            f"{levels(permitted.observed)}",
            f"permitted there by the limits of their trained scores: {levels(permitted.one_sided)}",
            f"and by a limit for each pair: {levels(permitted.pairwise)}",
        ]
    return "\n".join(
        [
            *lines,
            "attention of PI by 2 (total variation), a head's median query: from logits on the "
            f"chords {levels(table['from_chords_median'])}",
            f"of which the bound is {levels(table['from_chords_bound_median'])}",
            "from the unextended model, measured, without a bound: "
            f"{levels(table['from_unextended_median'])}",
            "root mean square, measured / predicted by independent phases: in the window "
            f"{averaged('rms_1', 'rms_predicted')}",
            f"in [L, 2L): {averaged('rms_2', 'rms_predicted')}",
            f"deviation from the chord: {averaged('rms_deviation', 'rms_deviation_predicted')}",
        ]
    )


def text(summary: HeadSummary) -> str:
    """Return the summary as text."""
    from tabulate import tabulate

    overall, bounds = summary.overall, summary.bounds
    levels = zip(overall.quantity, overall.median, overall.p95, overall.extreme, strict=True)
    rows = [[name, *(f"{value:.4g}" for value in values)] for name, *values in levels]
    forms = [
        [form, f"{count:.0f}", f"{ratio:.4f}"]
        for form, count, ratio in zip(bounds.form, bounds.violations, bounds.ratio, strict=True)
    ]
    style: dict[str, Any] = {"disable_numparse": True, "stralign": "right"}
    moved = ", ".join(f"{end}: {weight:.5f}" for end, weight in summary.moved.items())
    return "\n".join(
        [
            f"{summary.heads} heads, {summary.sampled} pairs of {summary.tokens} tokens, window "
            f"{summary.context_window}, seed {summary.seed}; quantiles to {overall.resolution}",
            "",
            tabulate(rows, headers=["logits", "median", "95%", "extreme"], **style),
            "",
            tabulate(forms, headers=["bound", "violated", "largest ratio"], **style),
            f"of {bounds.checked} deviations",
            "",
            f"closest to the paper's bound, sampled: {_named(summary.witness)}",
            f"of all causal pairs, {summary.reach_above} can exceed it; the furthest found: "
            f"{_named(summary.found)}",
            f"largest median excess: {_named(summary.most_excess)}",
            f"mean softmax weight of a key, own span and ranges: {moved}",
            f"share of sum|h| on pairs slower than the window: {summary.slow_share:.3f}",
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


def worst_case_curve(
    spec: RopeSpec, span: float, max_coefficients: Sequence[float]
) -> WorstCaseCurve:
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
    max_coefficients : sequence of float
        The values of H, above 0.

    Raises
    ------
    ValueError, TypeError
        As ``worst_case_score``; no values.

    Examples
    --------
    >>> curve = worst_case_curve(RopeSpec(16, 100.0, 64), 96.0, [0.1, 1.0])
    >>> curve.value.round(3)
    array([0.8  , 5.018])
    """
    if not len(max_coefficients):
        raise ValueError("max_coefficients must hold at least one value, got none")
    cases = [worst_case_score(spec, span, max_coefficient=value) for value in max_coefficients]
    names = ("max_coefficient", "value", "lower", "upper")
    columns: dict[str, Any] = {n: np.array([getattr(case, n) for case in cases]) for n in names}
    return WorstCaseCurve(spec=spec, span=cases[0].span, **columns)
