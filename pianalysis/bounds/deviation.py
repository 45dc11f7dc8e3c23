r"""How far an extended score lies from what training showed: Theorem 2.1 for any scheme.

Position Interpolation reads the trained score between two grid points, so its deviation from their
chord is small (Theorem 2.1, arXiv:2306.15595). Another scheme turns each pair by its own ratio, and
there is no trained span that all pairs agree on; the nearest one may be far in every sense.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.extension import Extension
from pianalysis.records import Record
from pianalysis.rope import phases
from pianalysis.rope.spec import RopeSpec

LARGEST_WORK = 2**30  # spans times window times pairs times _COARSE: some seconds
_COARSE = 4  # trial points a cell


@dataclass(frozen=True, slots=True)
class Deviation(Record):
    """Distance of each extended score from a chord of trained ones.

    ``bound`` >= |a'(span) - chord of a at ``nearest``| for every h within the limits;
    ``trivial`` is the triangle inequality's value for the same difference: a bound near it says
    nothing.
    """

    spec: RopeSpec
    extension: Extension
    span: FloatArray
    nearest: FloatArray
    bound: FloatArray
    trivial: float


def deviation_bound(extension: Extension, s: Any, h: Any = 1.0) -> Deviation:
    r"""Bound |a'(s) - a_linear(t)|, t the trained span whose chord serves best.

    .. math::
        \min_{0 \le t \le L-1} \sum_j |h_j| \,
        \bigl| f^2 e^{i s \theta'_j} - (1-u) e^{i n \theta_j} - u e^{i (n+1) \theta_j} \bigr|,
        \qquad n = \lfloor t \rfloor,\; u = t - n

    For Position Interpolation t = s L / L' gives the sharp form of the interpolation bound; the
    minimum lies within 0.01 tokens of it and a little lower, but for the last spans, whose t lies
    beyond L - 1.

    Parameters
    ----------
    extension : extension
        Scheme; L is the window of its spec, at least 2.
    s : float or array (n,)
        Spans in tokens, in [0, L').
    h : float or array (d/2,)
        A number is max|h_j|; an array holds the coefficients.

    Returns
    -------
    Deviation.

    Raises
    ------
    ValueError, TypeError
        Spans outside [0, L'), more work than 2**30 terms, h of another length.

    Notes
    -----
    *Assumptions*: |h_j| or its maximum. *Tight*: at the returned t, attained by one h for each s;
    the minimum over t is sought on four points a cell and then locally, and any t gives a valid
    bound. *Vacuous* for schemes that turn pairs by different ratios: the bound is then a good
    part of ``trivial`` = (f^2 + 1) sum|h_j| for most spans.

    Examples
    --------
    >>> from pianalysis import NTKAware, PositionInterpolation
    >>> spec = RopeSpec(64, 10_000.0, 512)
    >>> spans = np.array([402.0, 2000.0])
    >>> deviation_bound(PositionInterpolation(spec, 2048), spans).bound.round(3)
    array([0.282, 0.   ])
    >>> deviation = deviation_bound(NTKAware(spec, 2048), spans)
    >>> deviation.bound.round(1), deviation.trivial
    (array([14.3, 22.7]), 64.0)
    """
    if not isinstance(extension, Extension):
        raise TypeError(f"extension must be an extension of a RopeSpec, got {extension!r}")
    spec = extension.spec
    spans = checks.spans(s).ravel()
    if spans.size and not (spans.min() >= 0.0 and spans.max() < extension.target):
        worst = spans.min() if spans.min() < 0.0 else spans.max()
        raise ValueError(f"s must lie in [0, {extension.target}), got {worst}")
    if spec.context_window < 2:
        raise ValueError("extension must have a window of at least 2 for a chord, got 1")
    work = max(1, spans.size) * spec.context_window * spec.pairs * _COARSE
    if work > LARGEST_WORK:
        raise ValueError(
            "s times context_window times pairs must be at most "
            f"{LARGEST_WORK // _COARSE}, got {work // _COARSE}: take fewer spans"
        )
    size = checks.magnitudes(h, spec.pairs)
    weights = np.full(spec.pairs, size) if isinstance(size, float) else size
    if weights.shape != (spec.pairs,):
        raise ValueError(f"h must be a number or of shape ({spec.pairs},), got {weights.shape}")
    multiplier = extension.attention_factor**2
    turns = multiplier * phases.rotations(extension, spans)
    grid = phases.rotations(spec, np.arange(spec.context_window, dtype=float))
    rows = [
        _nearest(turn, grid, weights, _common(extension, x))
        for turn, x in zip(turns, spans, strict=True)
    ]
    nearest, bound = np.array(rows).reshape(-1, 2).T
    trivial = float((multiplier + 1.0) * weights.sum())
    return Deviation(spec, extension, spans, nearest, bound, trivial)


def _common(extension: Extension, span: float) -> float | None:
    """Return the trained span nearest to the one that all pairs agree on, None without one."""
    ratios = extension.ratios
    if np.ptp(ratios) > 1e-12:
        return None
    return min(float(span * ratios[0]), extension.spec.context_window - 1.0)


def _nearest(
    turn: Any, grid: Any, weights: FloatArray, common: float | None
) -> tuple[float, float]:
    """Return (t, bound) for one span: coarse points of every cell, then the best cell in detail."""
    from scipy.optimize import minimize_scalar

    last = len(grid) - 2

    def distance(t: float) -> float:
        n = min(int(t), last)
        chord = (n + 1 - t) * grid[n] + (t - n) * grid[n + 1]
        return float(weights @ np.abs(turn - chord))

    best, least = (0.0, np.inf) if common is None else (common, distance(common))
    if least == 0.0:
        return best, least
    for u in np.arange(_COARSE) / _COARSE:
        chords = (1.0 - u) * grid[:-1] + u * grid[1:]
        values = np.abs(turn - chords) @ weights
        n = int(values.argmin())
        if values[n] < least:
            best, least = n + u, float(values[n])
    cell = (max(best - 1.0 / _COARSE, 0.0), min(best + 1.0 / _COARSE, last + 1.0))
    fine = minimize_scalar(distance, bounds=cell, method="bounded")
    return (float(fine.x), float(fine.fun)) if fine.fun < least else (best, least)
