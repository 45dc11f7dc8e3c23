"""The worst case in the units of a trained head: its own limits, whatever their size."""

from __future__ import annotations

from typing import Any

from pianalysis.bounds.worst_case.case import WorstCase, holds, worst_case_score
from pianalysis.bounds.worst_case.closed_form import worst_case_bound
from pianalysis.rope.phases import Rotary
from pianalysis.rope.spec import RopeSpec

LEAST = 1e-6  # the smallest limit that the programme takes; a wider one stays a bound


def ceiling(spec: RopeSpec, span: float, max_coefficient: float, limit: float) -> float:
    r"""Bound |a(s)| where |a(n)| <= limit in the window and |h_j| <= max_coefficient.

    The closed form (:func:`~pianalysis.worst_case_bound`) in units of ``limit``, or all terms in
    phase, :math:`H d / 2`, where that is smaller or the window too long.

    Examples
    --------
    >>> spec = RopeSpec(16, 100.0, 64)
    >>> round(ceiling(spec, 96.0, 2.0, 2.0), 1), ceiling(spec, 96.0, 0.01, 2.0)
    (14.7, 0.08)
    """
    in_phase = float(max_coefficient) * spec.pairs
    if limit <= 0.0 or in_phase <= 0.0 or not holds(spec):
        return in_phase
    relative = float(max_coefficient) / float(limit)
    return min(in_phase, limit * float(worst_case_bound(spec, span, max_coefficient=relative)))


def permitted_score(
    spec: RopeSpec,
    span: float,
    max_coefficient: float,
    low: float,
    high: float,
    extension: Rotary | None = None,
) -> WorstCase:
    """Return the worst case under a head's own limits, low <= a(n) <= high and |h_j| <= H.

    As :func:`~pianalysis.worst_case_score`; limits that do not lie on both sides of 0 are widened
    to 1e-6, under which the head stays feasible.
    """
    trained: Any = (min(float(low), -LEAST), max(float(high), LEAST))
    return worst_case_score(
        spec, span, max_coefficient=float(max_coefficient), extension=extension, trained=trained
    )
