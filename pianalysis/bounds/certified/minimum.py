r"""The global minimum of B(s) on a real interval, proved by branch and bound.

With K from :func:`~.abel.lipschitz`, on a cell [l, r]

.. math:: B(s) \ge \tfrac12 (B(l) + B(r) - K (r - l)),

evaluated in float64 with the proved rounding error of :func:`~.abel.float_error`. Cells
that cannot hold what is sought are dropped, the rest are halved; the last few are taken on in ball
arithmetic, where an enclosure D of every slope of B over the cell gives the second-order
:math:`B(s) \ge B(m) - |D| (r - l)/2` and drops cells on which B is monotone. What is printed does
not rest on a grid: every point of the interval is covered by a cell that was excluded, or lies in
the interval returned.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.bounds import extrapolation
from pianalysis.bounds.certified import abel as certain
from pianalysis.bounds.certified.abel import LARGEST_SPAN, LONGEST_SEARCH, SmallestAbelSum
from pianalysis.rope.balls import FIRST_BITS, enclose, exact_frequencies, interval
from pianalysis.rope.spec import RopeSpec, check_spec

BALL_TERMS = 1 << 15  # cells times pairs handed from float64 to balls
MOST_BALL_TERMS = 1 << 17  # ... and evaluated there before the answer is left wide
MOST_FLOAT_TERMS = 1 << 24  # ... and kept in float64 while they become more, not fewer
THINNEST = 2.0**-24  # cells of float64 are not cut further


def smallest_abel_sum(
    spec: RopeSpec, start: float, stop: float, *, tolerance: float = 1e-9
) -> SmallestAbelSum:
    r"""Enclose the global minimum of B on the real interval [start, stop], and every minimiser.

    Parameters
    ----------
    spec : RopeSpec
    start, stop : float
        Spans in tokens, 0 <= start < stop <= 2**40. B is even: B(-s) = B(s).
    tolerance : float
        Cells are cut until shorter than this, in tokens; each isolated minimiser is then enclosed
        to a few times as much.

    Returns
    -------
    SmallestAbelSum: ``value`` encloses the minimum; no s outside the intervals
    [location_lower, location_upper] attains it. Ties leave several intervals.

    Raises
    ------
    ValueError, TypeError
        An interval that is empty, not finite, negative, beyond 2**40 or needing more than 2**27
        evaluations.

    Notes
    -----
    *Assumptions*: those of :mod:`~.abel` on float64. *Tight*: a smooth isolated minimum
    comes out to a relative 1e-15. Where B is flat, or has thousands of equal minima, the work is
    cut short and the intervals stay wider than the tolerance, but true.

    Examples
    --------
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> smallest = smallest_abel_sum(spec, 3600.0, 3700.0)
    >>> smallest.value.decimal[:14], smallest.location_lower.round(6)
    ('[142.697280730', array([3642.89426]))
    """
    start, stop = _check_interval(spec, start, stop)
    tolerance = checks.real("tolerance", tolerance, at_least=1e-12, at_most=1.0)
    if spec.pairs == 1:  # B is the constant 1
        value = enclose(f"min B on [{start!r}, {stop!r}]", spec, lambda: exactly(1))
        ends = np.array([start]), np.array([stop])
        return SmallestAbelSum(spec, "reals", start, stop, value, *ends)
    steepest, error = certain.lipschitz(spec), certain.float_error(spec.pairs)
    best = np.inf
    kept: list[FloatArray] = []
    for points in first_points(spec, start, stop, steepest):
        values = sums_at(spec, points)
        best = min(best, float(values.min()) + error)
        cells = np.stack([points[:-1], points[1:], values[:-1], values[1:]])
        kept.append(cells[:, cell_floor(cells, steepest, error) <= best])
    cells = np.concatenate(kept, axis=1)
    cells = cells[:, cell_floor(cells, steepest, error) <= best]
    before = np.inf
    while worth_halving(cells, before, spec.pairs):
        before = cells.shape[1]
        cells = halve(spec, cells)
        best = min(best, float(cells[3].min()) + error)
        cells = cells[:, cell_floor(cells, steepest, error) <= best]
    if cells.shape[1] * spec.pairs > MOST_BALL_TERMS:
        value, pieces = _left_wide(cells, float(cell_floor(cells, steepest, error).min()), best)
    else:
        value, pieces = _minimum_in_balls(spec, cells[:2].T, start, stop, tolerance)
    lower, upper = np.array(pieces).T
    enclosed = interval(f"min B on [{start!r}, {stop!r}]", spec, value, FIRST_BITS)
    return SmallestAbelSum(spec, "reals", start, stop, enclosed, lower, upper)


def exactly(value: int) -> Any:
    """Return an integer as a ball."""
    import flint

    return flint.arb(value)


def _check_interval(spec: Any, start: Any, stop: Any) -> tuple[float, float]:
    check_spec(spec)
    start = checks.real("start", start, at_least=0.0, at_most=LARGEST_SPAN)
    stop = checks.real("stop", stop, at_least=0.0, at_most=LARGEST_SPAN)
    if not start < stop:
        raise ValueError(f"stop must be above start, got {stop!r} with start = {start!r}")
    return start, stop


def first_points(
    spec: RopeSpec, start: float, stop: float, steepest: float
) -> Iterator[FloatArray]:
    """Cut [start, stop] into cells, a chunk at a time; neighbouring chunks share a point.

    The step is a power of two for which K step / 2 is about a quarter of d.
    """
    step = 2.0 ** np.floor(np.log2(max(spec.pairs / steepest, 2.0**-20) if steepest else 2.0**40))
    step = min(step, 2.0 ** np.ceil(np.log2(stop - start)))
    first, last = np.floor(start / step), np.ceil(stop / step)
    if last - first > LONGEST_SEARCH:
        raise ValueError(
            f"stop must be at most {LONGEST_SEARCH * step:g} tokens above start for base "
            f"{spec.base:g}, got {stop!r} with start = {start!r}"
        )
    for left in np.arange(first, last, certain.CHUNK - 1):
        points = step * np.arange(left, min(left + certain.CHUNK - 1, last) + 1.0)
        if left == first:
            points[0] = start
        points[-1] = min(points[-1], stop)
        yield points


def sums_at(spec: RopeSpec, points: FloatArray) -> FloatArray:
    """Return B in float64; the two end points apart, so that the rest is a uniform grid."""
    parts = points[:1], points[1:-1], points[-1:]
    return np.concatenate([extrapolation.abel_sum(spec, part) for part in parts])


def cell_floor(cells: FloatArray, steepest: float, error: float) -> FloatArray:
    """Bound B from below on each cell (columns: left, right, B there), rounding included.

    The last factor and term cover the rounding of this very expression, in which no number exceeds
    a few times the largest B.
    """
    left, right, at_left, at_right = cells
    drop = steepest * (right - left) * (1.0 + 2.0**-50)
    floor: FloatArray = 0.5 * (at_left + at_right - drop) - error
    floor -= 2.0**-50 * (at_left + at_right + drop)
    return floor


def worth_halving(cells: FloatArray, before: float, pairs: int) -> bool:
    """Whether to go on in float64: the cells are too many for balls, and getting fewer.

    Near a smooth minimum cells of width w survive within sqrt(w) of it: past a certain point
    halving makes them more.
    """
    count, few = cells.shape[1], BALL_TERMS // pairs
    stalled = count >= before and (count <= 4 * few or count * pairs > MOST_FLOAT_TERMS)
    return bool(count > few and not stalled and cells[1, 0] - cells[0, 0] > THINNEST)


def halve(spec: RopeSpec, cells: FloatArray) -> FloatArray:
    """Cut every cell in two; the value at the right of a left half is new."""
    left, right, at_left, at_right = cells
    middle = 0.5 * (left + right)
    value = extrapolation.abel_sum(spec, middle)
    lower = np.stack([left, middle, at_left, value])
    upper = np.stack([middle, right, value, at_right])
    return np.stack([lower, upper], axis=2).reshape(4, -1)


def _left_wide(
    cells: FloatArray, floor: float, best: float
) -> tuple[Any, list[tuple[float, float]]]:
    """Answer with what float64 has proved: B is all but flat, and the cells are too many."""
    import flint

    left, right = cells[:2]
    apart = np.flatnonzero(left[1:] > right[:-1])
    pieces = zip(left[np.append(0, apart + 1)], right[np.append(apart, -1)], strict=True)
    return flint.arb(floor).union(flint.arb(best)), list(pieces)


def _minimum_in_balls(
    spec: RopeSpec, cells: FloatArray, start: float, stop: float, tolerance: float
) -> tuple[Any, list[tuple[float, float]]]:
    """Finish the search on ``cells``, which are known to hold every minimiser."""
    import flint

    with flint.ctx.workprec(FIRST_BITS):
        theta = exact_frequencies(spec)
        best = flint.arb("inf")
        work = [(float(x), float(y)) for x, y in cells]
        terms = 0
        while True:
            kept: list[tuple[float, float, Any]] = []
            for left, right in work:
                lowest, value, slope = on_cell(theta, left, right)
                best = best.min(value.upper())
                if (slope > 0 and left != start) or (slope < 0 and right != stop):
                    continue  # the minimiser is another cell's
                if slope > 0 or slope < 0:
                    left = right = start if slope > 0 else stop
                    lowest = certain.abel_ball(theta, flint.arb(left))
                    best = best.min(lowest.upper())
                if not lowest > best:
                    kept.append((left, right, lowest))
            terms += len(work) * spec.pairs
            kept = [cell for cell in kept if not cell[2] > best]
            thin = all(right - left <= tolerance for left, right, _ in kept)
            if thin or terms + 2 * len(kept) * spec.pairs > MOST_BALL_TERMS:
                break
            work = []
            for left, right, _ in kept:
                middle = 0.5 * (left + right)
                if right - left > tolerance and left < middle < right:
                    work += [(left, middle), (middle, right)]
                else:
                    work.append((left, right))
        lowest = kept[0][2].lower()
        for cell in kept[1:]:
            lowest = lowest.min(cell[2].lower())
        return lowest.union(best), _merge([cell[:2] for cell in kept])


def on_cell(theta: list[Any], left: float, right: float) -> tuple[Any, Any, Any]:
    """Return balls: a lower bound of B on the cell, B at its middle, every slope of B in it."""
    import flint

    middle = flint.arb(0.5 * (left + right))
    radius = (flint.arb(right) - middle).max(middle - flint.arb(left)).upper()
    value, slope = certain.abel_and_slope(theta, middle, radius)
    if left == right:
        return value, value, flint.arb(0, 1)
    return value + slope * (-radius).union(radius), value, slope


def _merge(cells: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Join cells that touch."""
    pieces: list[tuple[float, float]] = []
    for left, right in sorted(cells):
        if pieces and left <= pieces[-1][1]:
            pieces[-1] = (pieces[-1][0], max(right, pieces[-1][1]))
        else:
            pieces.append((left, right))
    return pieces
