r"""The search for a real query and key above the paper's bound (Eq. 5), over a whole text.

Draws seldom come near the bound: a head reaches it where few of its pairs matter. Over all spans
the deviation from the chord can come to :math:`\sum_j 2 \sin^2(\theta_j/4) |h_j|` and no further,
a number without a span in it, so every query of the text can be held against all its causal keys.
"""

from __future__ import annotations

import numpy as np

from pianalysis.arrays import ComplexArray
from pianalysis.bounds.interpolation import interpolation_bound
from pianalysis.heads import sweep
from pianalysis.heads.sampled import half_bend, ratio
from pianalysis.rope.spec import RopeSpec

CANDIDATES = (
    16  # queries of a head, each with its best key, whose every half-integer span is looked at
)
_SPANS = 8192  # of them at a time


def search(spec: RopeSpec, queries: ComplexArray, keys: ComplexArray) -> dict[str, float]:
    """Return the query, key and span of the largest deviation / paper bound, and what was seen.

    ``reach_above`` counts the causal keys whose deviation could exceed the bound at some real
    span; ``reach`` is the largest of what it could come to, in units of the bound. The candidates
    are the best key of the queries that reach furthest; ``found_...`` is what they attain at the
    half-integers of the window.
    """
    bend = half_bend(spec)
    per_unit = float(interpolation_bound(spec, 0.5, 1.0, form="paper"))
    reach, at, above = sweep.largest_reaches(queries, keys, bend, per_unit)
    m = np.argsort(-reach, kind="stable")[:CANDIDATES]
    h = queries[m] * keys[at[m]].conj()
    bounds = per_unit * np.abs(h).max(axis=1)
    best, place = 0.0, (0, 0.5, 0.0)
    for first in range(0, spec.context_window - 1, _SPANS):
        spans = np.arange(first + 0.5, min(first + _SPANS, spec.context_window - 1))
        gaps = np.abs(sweep.scores(spec, h * bend, spans))
        ratios = ratio(gaps, bounds[:, None])
        row, column = divmod(int(ratios.argmax()), spans.size)
        if ratios[row, column] > best:
            best, place = ratios[row, column], (row, spans[column], gaps[row, column])
    row, span, gap = place
    return {
        "reach_above": above.sum(),
        "reach": reach.max() / per_unit,
        "found_ratio": best,
        "found_query": m[row],
        "found_key": at[m[row]],
        "found_span": span,
        "found_deviation": gap,
        "found_bound": bounds[row],
    }
