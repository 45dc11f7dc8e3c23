r"""Weights of the two ellipsoids, and the multiplicative updates that turn them into the optimum.

With weights y_i >= 0 on the limits Q_i <= 1 (Q_n = a(n)^2 on the grid, Q_j = |h_j|^2 / H_j^2), the
largest score is at most :math:`\sqrt{\sum_i y_i \; c^T (\sum_i y_i Q_i)^{-1} c}`, for every
choice of weights. One update multiplies each by the root of its own Q_i at the maximiser.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.bounds.worst_case.coordinates import System

_HALVINGS, _STEPS, _CLOSE = 5, 4, 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Weighted:
    """Weights on the grid (laid out as scores) and on the coefficients, and the bound they give.

    ``point`` is M^-1 c (2, d/2), bound times the maximiser; ``scores`` its a(n), ``discs`` its
    h_j / H_j (2, d/2). The dual weights are ``grid * scores``.
    """

    grid: FloatArray
    coefficients: FloatArray
    bound: float
    point: FloatArray
    scores: FloatArray
    discs: FloatArray

    @property
    def multipliers(self) -> FloatArray:
        """The dual weights w_n = y_n a(n)."""
        return self.grid * self.scores


def best_shares(
    squares: FloatArray, grid: FloatArray, limits: float
) -> tuple[FloatArray, FloatArray]:
    r"""Minimise :math:`\sum_k q_k^2 / (\lambda \alpha_k + (1 - \lambda) \beta)` over lambda.

    ``squares`` q_k^2 (n, d), ``grid`` alpha_k (d,), ``limits`` beta. Returns lambda and the
    minimum, (n,). In rho = (1 - lambda) beta / lambda the stationary point is where the mean of
    alpha with weights q^2 / (alpha + rho)^2 equals beta: an increasing function, solved in log rho
    by bisection, then Newton's method. Any lambda gives a bound, so what is left of the
    equation costs only tightness, and that to second order.
    """
    count = squares.shape[0]
    # From lambda = 1 - 1e-9 to 1e-6: nearer to 1 gains a share of 1e-9, nearer to 0 is trivial.
    low, high = np.full(count, math.log(limits) - 21.0), np.full(count, math.log(limits) + 14.0)
    newton = low
    for step in range(_HALVINGS + _STEPS):
        position = 0.5 * (low + high)
        if step >= _HALVINGS:
            inside = (newton >= low - _CLOSE) & (newton <= high + _CLOSE)
            position = np.where(inside, newton, position)
        rho = np.exp(position)[:, None]
        inverse = 1.0 / (grid + rho)
        inner = squares * inverse
        inner *= inverse
        total, first = inner.sum(axis=1), inner @ grid
        above = first > total * limits
        high, low = np.where(above, position, high), np.where(above, low, position)
        if step >= _HALVINGS - 1:
            inner *= inverse
            slope = 2.0 * rho[:, 0] * (inner.sum(axis=1) / total - (inner @ grid) / first)
            newton = position - np.log(first / total / limits) / np.maximum(slope, 1e-9)
    inside = (newton >= low - _CLOSE) & (newton <= high + _CLOSE)
    position = np.where(inside, newton, 0.5 * (low + high))
    rho = np.exp(position)
    share = limits / (limits + rho)
    value = _bound(squares, grid, limits, share)
    trivial = squares.sum(axis=1) / limits
    return np.where(trivial <= value, 0.0, share), np.minimum(value, trivial)


def _bound(squares: FloatArray, grid: FloatArray, limits: float, share: FloatArray) -> FloatArray:
    weight = share[:, None]
    out: FloatArray = (squares / (weight * grid + (1.0 - weight) * limits)).sum(axis=1)
    return out


def spread_evenly(system: System, share: float) -> tuple[FloatArray, FloatArray]:
    """Return ``share`` of the weight evenly on the grid, the rest evenly on the coefficients."""
    half, pairs = system.even.shape
    grid = np.full((2, half), share / system.window)
    if system.window % 2:
        grid[:, -1] /= 2.0  # the middle row stands twice
    return grid, np.full(pairs, (1.0 - share) / pairs)


def updated(
    system: System, gain: FloatArray, grid: FloatArray, coefficients: FloatArray, updates: int
) -> Weighted:
    """Return the best of the bounds met in ``updates`` updates from the weights given."""
    best: Weighted | None = None
    for step in range(updates + 1):
        current = evaluated(system, gain, grid, coefficients)
        if current is None:
            break
        if best is None or current.bound < best.bound:
            best = current
        if step < updates:
            grid = grid * np.abs(current.scores)
            coefficients = coefficients * np.hypot(*current.discs)
            total = grid.sum() + coefficients.sum()
            grid, coefficients = grid / total, coefficients / total
    if best is None:
        raise ArithmeticError("the weights leave the form of the limits singular in float64")
    return best


def evaluated(
    system: System, gain: FloatArray, grid: FloatArray, coefficients: FloatArray
) -> Weighted | None:
    """Return the bound of some weights; None where their form is singular in float64."""
    from scipy.linalg import lapack

    metric = np.array([coefficients, coefficients, np.zeros_like(coefficients)])
    factor, failed = lapack.dpotrf(system.gram(grid, metric), lower=1, clean=0)
    if failed:
        return None
    point = lapack.dpotrs(factor, gain.ravel(), lower=1)[0].reshape(gain.shape)
    bound = math.sqrt(float(np.sum(gain * point)) * float(grid.sum() + coefficients.sum()))
    return Weighted(
        grid, coefficients, bound, point, system.scores(point), system.coefficients(point)
    )
