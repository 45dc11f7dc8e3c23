"""Where B(s) < level * d begins, with proof that it does not begin before.

The cells and their exclusion are those of :mod:`~.minimum`, taken from the left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.bounds import extrapolation
from pianalysis.bounds.certified import abel as certain
from pianalysis.bounds.certified.abel import LONGEST_SEARCH
from pianalysis.bounds.certified.minimum import (
    MOST_BALL_TERMS,
    cell_floor,
    exactly,
    first_points,
    halve,
    on_cell,
    sums_at,
    worth_halving,
)
from pianalysis.records import Record
from pianalysis.rope.balls import (
    FIRST_BITS,
    Interval,
    enclose,
    exact_frequencies,
    interval,
    outward,
)
from pianalysis.rope.spec import RopeSpec, check_spec


@dataclass(frozen=True, slots=True)
class CertifiedSpanBelow(Record):
    """First integer and infimum of the real spans with B(s) < level * d; None where proved none.

    Reals are searched up to ``integer``, or up to stop - 1. ``ratio`` encloses B/d at the integer.
    B >= level * d is proved at every integer below ``integer`` and at every real span below
    ``real.lower``; B < level * d at ``real.upper``.
    """

    spec: RopeSpec
    level: float
    stop: int
    integer: int | None
    ratio: Interval | None
    real: Interval | None


def first_span_below(
    spec: RopeSpec, level: float = 1.0, *, stop: int = 131072, tolerance: float = 1e-9
) -> CertifiedSpanBelow:
    r"""Find where the paper's premise B(s) >= d ends, and prove that it holds before.

    Parameters
    ----------
    spec : RopeSpec
    level : float
        Spans with B(s) < level * d are sought; the product is taken exactly.
    stop : int
        Spans in [0, stop) are searched, the last integer being stop - 1 and the reals going up to
        it.
    tolerance : float
        Width, in tokens, to which the first real span is enclosed.

    Raises
    ------
    ValueError, TypeError
        ``level`` not positive; ``stop`` not an integer in [1, 2**27]; a level that B only touches,
        so that no precision decides.

    Notes
    -----
    Integers: float64 with its error bound, balls where that does not decide. Reals: exclusion of
    cells as in :func:`smallest_abel_sum`, from the left.

    Examples
    --------
    >>> below = first_span_below(RopeSpec(128, 10_000.0, 2048), stop=5000)
    >>> below.integer, round(below.real.lower, 6), below.real.width < 1e-8
    (4861, 4505.680502, True)
    """
    check_spec(spec)
    level = checks.real("level", level, above=0.0)
    stop = checks.whole("stop", stop, at_most=LONGEST_SEARCH)
    tolerance = checks.real("tolerance", tolerance, at_least=1e-12, at_most=1.0)
    integer = _first_integer(spec, level, stop)
    ratio = real = None
    if integer is not None:
        at = integer  # for the closure

        def quotient() -> Any:
            import flint

            ball = certain.abel_ball(exact_frequencies(spec), flint.arb(at))
            return ball / spec.rotary_dim

        ratio = enclose(f"B({integer}) / d", spec, quotient)
    last = stop - 1 if integer is None else integer
    if integer == 0:
        real = enclose("first real span", spec, lambda: exactly(0))
    elif last > 0:
        real = _first_real(spec, level, float(last), tolerance)
    return CertifiedSpanBelow(spec, level, stop, integer, ratio, real)


def _threshold(spec: RopeSpec, level: float) -> Any:
    import flint

    return flint.arb(level) * spec.rotary_dim


def _first_integer(spec: RopeSpec, level: float, stop: int) -> int | None:
    import flint

    error = certain.float_error(spec.pairs)
    low, high = outward(_threshold(spec, level))
    for start in range(0, stop, certain.CHUNK):
        spans = np.arange(start, min(stop, start + certain.CHUNK), dtype=float)
        values = extrapolation.abel_sum(spec, spans)
        # Every integer that is not certainly at or above the level, in order.
        for index in np.flatnonzero(values < (high + error) * (1.0 + 2.0**-50)):
            if values[index] < (low - error) * (1.0 - 2.0**-50):
                return int(spans[index])
            if _is_below(spec, level, flint.arb(float(spans[index]))):
                return int(spans[index])
    return None


def _is_below(spec: RopeSpec, level: float, span: Any) -> bool:
    import flint

    for bits in (FIRST_BITS, 4 * FIRST_BITS, 16 * FIRST_BITS):
        with flint.ctx.workprec(bits):
            value, limit = certain.abel_ball(exact_frequencies(spec), span), _threshold(spec, level)
            if value < limit or value >= limit:
                return bool(value < limit)
    raise ValueError(f"level must be one that B crosses, got {level!r}: B({span}) is level * d")


def _first_real(spec: RopeSpec, level: float, stop: float, tolerance: float) -> Interval | None:
    """Enclose inf {s in [0, stop]: B(s) < level * d}."""
    steepest, error = certain.lipschitz(spec), certain.float_error(spec.pairs)
    low, high = outward(_threshold(spec, level))
    low, high = (low - error) * (1.0 - 2.0**-50), (high + error) * (1.0 + 2.0**-50)
    for points in first_points(spec, 0.0, stop, steepest):
        values = sums_at(spec, points)
        cells = np.stack([points[:-1], points[1:], values[:-1], values[1:]])
        cells = _undecided(cells, low, high, steepest, error)
        before = np.inf
        while worth_halving(cells, before, spec.pairs):
            before = cells.shape[1]
            cells = _undecided(halve(spec, cells), low, high, steepest, error)
        first = _first_in_balls(spec, level, cells[:2].T, tolerance)
        if first is not None:
            return first
    return None


def _undecided(
    cells: FloatArray, low: float, high: float, steepest: float, error: float
) -> FloatArray:
    """Keep the cells not proved to lie at or above the level, up to the first proved below it."""
    crossed = np.flatnonzero(np.minimum(cells[2], cells[3]) < low)
    if crossed.size:
        cells = cells[:, : crossed[0] + 1]
    return cells[:, cell_floor(cells, steepest, error) < high]


def _first_in_balls(
    spec: RopeSpec, level: float, cells: FloatArray, tolerance: float
) -> Interval | None:
    """Work through ``cells`` from the left until one holds a crossing; None when none does."""
    import flint

    with flint.ctx.workprec(FIRST_BITS):
        theta, limit = exact_frequencies(spec), _threshold(spec, level)
        work = [(float(x), float(y)) for x, y in cells[::-1]]
        below = np.inf
        terms = 0
        while work:
            left, right = work.pop()
            terms += spec.pairs
            lowest, value, _ = on_cell(theta, left, right)
            if lowest >= limit:
                continue
            middle = 0.5 * (left + right)
            if value < limit:
                below = min(below, middle)
            if right < below and certain.abel_ball(theta, flint.arb(right)) < limit:
                below = right
            cannot_cut = not left < middle < right or terms > 4 * MOST_BALL_TERMS
            if below - left <= tolerance or (cannot_cut and below < np.inf):
                name = f"first real span with B < {level!r} d"
                return interval(name, spec, flint.arb(left).union(flint.arb(below)), FIRST_BITS)
            if cannot_cut:
                raise ValueError(
                    f"level must be one that B crosses, got {level!r}: B is level * d near {left!r}"
                )
            if middle < below:
                work.append((middle, right))
            work.append((left, middle))
    return None
