r"""What a head's own limits permit beyond the window, exactly, beside what it does there.

Over the draws of a head, trained scores lie in [-l, u] at the spans 0..L-1 and no coefficient
exceeds H. Every draw is feasible in the worst case under these limits, so no a(s) of theirs can
exceed its value: observed over permitted says how much of what a head does its limits explain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.bounds.worst_case.case import holds
from pianalysis.bounds.worst_case.closed_form import worst_case_bound
from pianalysis.bounds.worst_case.head_limits import LEAST, permitted_score
from pianalysis.heads.statistics import HeadStatistics
from pianalysis.records import Record
from pianalysis.records import columns as as_columns
from pianalysis.rope.spec import RopeSpec

MOST_HEADS = 32  # solved exactly: one a layer, of as many layers, evenly spread
UPDATES = 5  # of the closed form's weights


@dataclass(frozen=True, slots=True)
class PermittedScores(Record):
    r"""One head a layer against its own limits, in logits, a row a head.

    Of each layer the head whose largest a(s), L <= s < 2L, is the largest multiple of its largest
    trained score. ``low`` <= a(n) <= ``high`` for n < L and |h_j| <= ``max_coefficient`` over its
    draws; at ``span`` its largest score is ``observed``. What the limits permit there:
    ``one_sided``, the exact worst case (``one_sided_upper`` proved); ``two_sided``, the same with
    max(-low, high) on both sides; ``ceiling``, the latter's closed form. ``pairwise`` is the closed
    form, five updates, when every pair has its own largest |h_j|, or ``in_phase``, the sum of
    these, which no trained score enters, where that is smaller.
    """

    context_window: int
    draws: int
    updates: int
    layer: FloatArray
    head: FloatArray
    span: FloatArray
    low: FloatArray
    high: FloatArray
    max_coefficient: FloatArray
    observed: FloatArray
    one_sided: FloatArray
    one_sided_upper: FloatArray
    two_sided: FloatArray
    two_sided_upper: FloatArray
    ceiling: FloatArray
    pairwise: FloatArray
    in_phase: FloatArray


def head_spec(statistics: HeadStatistics, row: int) -> RopeSpec:
    """Return the rotation of one head, by its rotary dimension: the base may differ by layer."""
    base = float(statistics.table["base"][row])
    return RopeSpec(statistics.rotary_dim, base, statistics.context_window)


def permitted_scores(statistics: HeadStatistics) -> PermittedScores | None:
    r"""Return what the limits of one head a layer permit at the span where it goes furthest.

    .. math:: \max_h a(s) \quad\text{subject to}\quad
              -l \le a(n) \le u \;(n < L), \quad |h_j| \le H

    Parameters
    ----------
    statistics : HeadStatistics
        Of a checkpoint; at most 32 of its layers are taken, evenly spread.

    Returns
    -------
    PermittedScores, or None where the window is too long for the programme or no head is alive.

    Notes
    -----
    *Order, always*: observed <= one_sided_upper, one_sided <= two_sided_upper <= ceiling, and
    observed <= pairwise <= in_phase. ``pairwise`` knows more of the head than ``one_sided`` does
    and may lie below it. Limits are those of the draws: another text may widen them.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from pianalysis.heads import combine, layer_statistics
    >>> rng = np.random.default_rng(0)
    >>> q, k = rng.normal(size=(2, 2, 16, 8)) + 1j * rng.normal(size=(2, 2, 16, 8))
    >>> layer = SimpleNamespace(layer=0, queries=q, keys=k, spec=RopeSpec(16, 100.0, 64),
    ...                         scaling=0.25, softcap=None)
    >>> found = permitted_scores(combine([layer_statistics(layer, seed=0)]))
    >>> bool(found.observed[0] <= found.one_sided[0] <= found.two_sided[0] <= found.ceiling[0])
    True
    """
    rows = [
        _solved(statistics, row)
        for row in _furthest(statistics)
        if holds(head_spec(statistics, row)) and statistics.table["coefficient_max"][row] > 0.0
    ]
    if not rows:
        return None
    return PermittedScores(
        context_window=statistics.context_window,
        draws=statistics.tokens * statistics.pairs,
        updates=UPDATES,
        **as_columns(rows),
    )


def _furthest(statistics: HeadStatistics) -> list[int]:
    """Return a row for each layer: the largest score beyond the window in units of u."""
    table = statistics.table
    layers = np.unique(table["layer"])
    if layers.size > MOST_HEADS:
        layers = layers[np.linspace(0, layers.size - 1, MOST_HEADS).round().astype(int)]
    growth = table["beyond_score"] / np.maximum(table["peak_1_max"], LEAST)
    return [int(np.where(table["layer"] == layer, growth, -np.inf).argmax()) for layer in layers]


def _solved(statistics: HeadStatistics, row: int) -> dict[str, float]:
    spec = head_spec(statistics, row)
    head = {name: float(column[row]) for name, column in statistics.table.items()}
    low, high = head["dip_1_min"], head["peak_1_max"]
    most, size, span = head["coefficient_max"], max(-low, high), head["beyond_span"]
    one = permitted_score(spec, span, most, low, high)
    two = permitted_score(spec, span, most, -size, size)
    pairs = statistics.pair_largest[row]
    # A pair that is nowhere used would ask for a limit of 0: a tiny one is a bound as well.
    limits = np.maximum(pairs, LEAST * most) / size
    in_phase = float(pairs.sum())
    pairwise = size * float(worst_case_bound(spec, span, max_coefficient=limits, updates=UPDATES))
    return {
        "layer": head["layer"],
        "head": head["head"],
        "span": span,
        "low": low,
        "high": high,
        "max_coefficient": most,
        "observed": head["beyond_score"],
        "one_sided": one.value,
        "one_sided_upper": one.upper,
        "two_sided": two.value,
        "two_sided_upper": two.upper,
        "ceiling": head["ceiling"],
        "pairwise": min(pairwise, in_phase),
        "in_phase": in_phase,
    }
