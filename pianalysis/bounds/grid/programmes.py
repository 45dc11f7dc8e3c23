"""The linear programmes of the local grid theorem, solved in float64 and certified in balls."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.rope.balls import FIRST_BITS, outward

_COARSE, _FINE = 4, 16  # Chebyshev points over degree: for the programmes, for certification


@lru_cache
def secant(count: int) -> tuple[Fraction, ...]:
    """Return S_r, the coefficients of theta^{2r} in 1/cos(theta/4), r < count."""
    out: list[Fraction] = []
    for r in range(count):
        known = sum(
            (Fraction((-1) ** i, math.factorial(2 * i)) * out[r - i] for i in range(1, r + 1)),
            Fraction(0),
        )
        out.append(Fraction(r == 0) - known)
    return tuple(c / 16**r for r, c in enumerate(out))


def tail(terms: int) -> float:
    """Bound sum_{r >= terms} S_r from above: S_r <= (4/pi) (2 pi)^(-2r) for r >= 1.

    1/cos has its nearest poles at +-pi/2, and its coefficients are (4/pi)(2/pi)^(2r) times the
    alternating sum 1 - 3^-(2r+1) + ... < 1.
    """
    ratio = (2.0 * math.pi) ** -2
    return 1.2733 * ratio**terms / (1.0 - ratio)


@lru_cache
def multipliers(terms: int) -> tuple[tuple[Fraction, ...], ...]:
    """Expand sin(mu theta/2) / sin(theta/2) = sum_r B_r(mu) theta^{2r}; return B_r, r < terms.

    Each as the 2r + 2 coefficients of its powers of mu, lowest first.
    """
    out: list[list[Fraction]] = []
    for r in range(terms):
        polynomial = [Fraction(0)] * (2 * r + 2)
        polynomial[2 * r + 1] = Fraction((-1) ** r, math.factorial(2 * r + 1))
        for i in range(1, r + 1):
            factor = Fraction((-1) ** i, math.factorial(2 * i + 1))
            for power, value in enumerate(out[r - i]):
                polynomial[power] -= factor * value
        out.append(polynomial)
    return tuple(tuple(c / 4**r for c in row) for r, row in enumerate(out))


class Basis:
    """Cosines on Chebyshev points of [-1, 1] (the half >= 0): in float64 to solve, in balls."""

    def __init__(self, frequencies: FloatArray, limit: float) -> None:
        import flint

        self.frequencies = frequencies
        highest = float(frequencies[-1])
        self.degree = 8
        while self._bessel(highest) > 1e-6 * limit:
            self.degree += 2
        self.bessel = 1.001 * self._bessel(highest)
        self.coarse = self._points(_COARSE)
        self.cosines = np.cos(np.outer(self.coarse, frequencies))
        self.count = _FINE * self.degree
        with flint.ctx.workprec(FIRST_BITS):
            half = self.count // 2
            self.points = [
                flint.arb.cos_pi(flint.arb(2 * i + 1) / (2 * self.count)) for i in range(half)
            ]
            waves = [flint.arb(float(x)) for x in frequencies]
            self.table = flint.arb_mat([[(x * t).cos() for x in waves] for t in self.points])

    def _points(self, over: int) -> FloatArray:
        count = over * self.degree
        points: FloatArray = np.cos(np.pi * (2.0 * np.arange(count // 2) + 1.0) / (2.0 * count))
        return points

    def _bessel(self, highest: float) -> float:
        """Bound 2 sum_{k > N} |J_k(x)|, what a Chebyshev series of degree N leaves of cos(x t).

        |J_k(x)| <= (x/2)^k / k!; past k = x the terms fall at least by half.
        """
        k = self.degree + 1
        if k <= highest + 1.0:
            return math.inf
        first = k * math.log(max(highest, 0.5) / 2.0) - math.lgamma(k + 1.0)
        return 4.0 * math.exp(first)

    def error(self, weights: FloatArray, power: int) -> float:
        """Bound |theta^power - sum w_m cos(x_m theta)| on [0, 1], proved."""
        import flint

        if power > self.degree:
            raise ArithmeticError(f"degree must reach {power}, got {self.degree}")
        with flint.ctx.workprec(FIRST_BITS):
            column = flint.arb_mat([[flint.arb(float(w))] for w in weights])
            values = self.table * column
            worst, size = flint.arb(0), flint.arb(0)
            for i, t in enumerate(self.points):
                worst = worst.max(abs(t**power - values[i, 0]).upper())
            for w in weights:
                size += abs(flint.arb(float(w)))
            tail = size * flint.arb(self.bessel)
            between = flint.arb.cos_pi(flint.arb(self.degree) / (2 * self.count))
            return outward((worst + tail) / between + tail)[1]


def programme(
    basis: Basis, r: int, allowed: float, neighbours: int, tolerance: float
) -> tuple[FloatArray, float]:
    """Return the weights of least sum |w| whose certified error on theta^{2r} is <= allowed."""
    if allowed >= 1.0 and r:
        return np.zeros(basis.frequencies.size), 1.0
    aim = 0.985 * allowed
    for _ in range(8):
        weights = _least_weights(basis, r, aim)
        if weights is None:
            break
        error = basis.error(weights, 2 * r)
        if error <= allowed:
            return weights, error
        aim *= 0.999 * allowed / error
    raise ValueError(
        "tolerance must be large enough for weights to exist with so few neighbours, "
        f"got tolerance = {tolerance!r} with neighbours = {neighbours}"
    )


def _least_weights(basis: Basis, r: int, allowed: float) -> FloatArray | None:
    """Solve one linear programme: weights as differences of two nonnegative parts."""
    from scipy.optimize import linprog

    # Scaled by the error allowed, so that the solver's own tolerance is relative to it.
    cosines = basis.cosines / allowed
    wanted = basis.coarse ** (2 * r) / allowed
    rows = np.block([[cosines, -cosines], [-cosines, cosines]])
    limits = np.concatenate([1.0 + wanted, 1.0 - wanted])
    optimum = linprog(np.ones(rows.shape[1]), A_ub=rows, b_ub=limits, method="highs")
    if optimum.x is None:
        return None
    return np.asarray(optimum.x[: basis.frequencies.size] - optimum.x[basis.frequencies.size :])
