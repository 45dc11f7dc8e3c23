r"""The local grid theorem: scores that are small on 2M integers are small between them.

**Theorem.** For M neighbours on each side and a tolerance there are alpha and eps <= tolerance such
that at every real s of the cell between the two middle ones of 2M consecutive integers,

.. math:: |a(s)| \le \alpha \max_n |a(n)| + \varepsilon \sum_j |h_j|,

the maximum over those 2M integers, for **every** RoPE whose frequencies lie in [0, 1]: whatever the
dimension, base, window and coefficients h. The numbers come from real weights w_n(s) with

.. math:: \sum_n |w_n(s)| \le \alpha, \qquad
          \Big| e^{i s\theta} - \sum_n w_n(s)\, e^{i n\theta} \Big| \le \varepsilon
          \quad\text{for every } \theta \in [0, 1] \text{ and } s \in [0, 1],

because :math:`a(s) = \Re \sum_j h_j e^{i s \theta_j}
= \sum_n w_n a(n) + \Re \sum_j h_j (e^{i s\theta_j} - \sum_n w_n e^{i n\theta_j})`.

**All s of the cell at once.** With x = theta/2 and lambda = 2s for s in [0, 1/2] (the other half is
its mirror image),

.. math:: e^{i s\theta} = A + B e^{i\theta/2}, \quad A = \frac{\sin((1-\lambda)x)}{\sin x} =
   \sum_r A_r(\lambda)\, \theta^{2r}, \quad B = \frac{\sin(\lambda x)}{\sin x} =
   \sum_r B_r(\lambda)\, \theta^{2r}.

The product formulas of sine and cosine show, factor by factor, that A_r, B_r >= 0 and that
A_r + B_r <= 4 lambda (1 - lambda) S_r for r >= 1, S_r being the coefficient of theta^{2r} in
1/cos(theta/4). It is therefore enough to approximate the even real functions theta^{2r} by cosines:
with integer frequencies about the node 0 (r >= 1; for r = 0 the node itself is exact), with
half-integer ones about 1/2. These are real linear programmes, "least sum of |weights| at a given
error", in M unknowns. Errors d_r, e_r and the cut after p terms leave

.. math:: \varepsilon(s) \le \lambda e_0 + 4\lambda(1-\lambda) \sum_{1 \le r < p} S_r \max(d_r, e_r)
          + \sum_{r \ge p} S_r \le e_0 + \sum_{r \ge p} S_r,

as soon as 4 sum S_r max(d_r, e_r) <= e_0. The worst point is s = 1/2, where the weights are those
of the one programme r = 0; the rest costs less than a thousandth of alpha.

**Certification.** The weights that the float64 solver returned are taken as they are. An error
function is a polynomial of degree N in theta on [-1, 1] plus a Bessel tail; at m Chebyshev points
it is evaluated in balls, and max |polynomial| <= max at the points / cos(pi N / (2m)) (Ehlich and
Zeller 1964). sum |w_n(lambda)| is evaluated in balls on a grid of lambda; between two points each
w_n stays within h^2/8 max |w_n''| of its chord.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.bounds.grid.programmes import Basis, multipliers, programme, secant, tail
from pianalysis.records import Record
from pianalysis.rope.balls import FIRST_BITS, outward

MOST_NEIGHBOURS = 64
SMALLEST_TOLERANCE = 1e-9  # the solver works in float64
_CELLS = 512  # grid of lambda on which sum |w_n| is certified
_SHARES = (1.0, 6.0, 48.0, 384.0, 3072.0)  # error of programme r over that of programme 0


@dataclass(frozen=True, slots=True)
class LocalGridConstant(Record):
    """Weights on 2M integers, with certified alpha >= sum |w_n| and eps at every s of the cell.

    ``offset`` are the integers n = 1 - M .. M, counted from the left end of the cell [0, 1];
    ``weights`` are those for its midpoint s = 1/2, ``alpha_middle`` their certified sum.
    ``polynomials`` holds the float64 weights of every programme, one row each: about the node 0
    for theta^0, theta^2, ..., then about 1/2. :meth:`weights_at` puts them together.
    """

    neighbours: int
    tolerance: float
    alpha: float
    eps: float
    alpha_middle: float
    bits: int
    offset: FloatArray
    weights: FloatArray
    polynomials: FloatArray

    def weights_at(self, s: float) -> FloatArray:
        """Return the weights w_n(s), float64 (2M,), for s in [0, 1].

        Raises
        ------
        ValueError, TypeError
            ``s`` outside [0, 1].
        """
        s = checks.real("s", s, at_least=0.0, at_most=1.0)
        share = 2.0 * min(s, 1.0 - s)
        terms = len(self.polynomials) // 2
        near, middle = np.split(self.polynomials, 2)
        total = np.zeros(self.offset.size)
        for r, coefficients in enumerate(multipliers(terms)):
            polynomial = np.array([float(c) for c in coefficients])
            for x, rows in ((1.0 - share, near), (share, middle)):
                total += np.polynomial.polynomial.polyval(x, polynomial) * rows[r]
        return total if s <= 0.5 else total[::-1].copy()


def local_grid_constant(neighbours: int = 16, tolerance: float = 1e-4) -> LocalGridConstant:
    r"""Return certified (alpha, eps, weights) of the local grid theorem.

    .. math:: |a(s)| \le \alpha \max_{|n - s| < M} |a(n)| + \varepsilon \sum_j |h_j|

    for every RoPE with theta_0 <= 1 (all of them), every h, and every s whose M nearest integers
    on each side are in the window: s in [M - 1, L - M].

    Parameters
    ----------
    neighbours : int
        M, the integers used on each side of s; 1 to 64.
    tolerance : float
        Largest modulus of the complex error; at least 1e-9, below 1.

    Returns
    -------
    LocalGridConstant: ``alpha``, ``eps`` (<= tolerance), ``weights`` at s = 1/2.

    Raises
    ------
    ValueError, TypeError
        ``neighbours`` not an integer from 1 to 64, ``tolerance`` outside [1e-9, 1), or too small
        for so few neighbours.

    Notes
    -----
    *Tight*: alpha_middle exceeds the least possible sum |w_n| at s = 1/2 by what a few per cent
    less eps costs; alpha exceeds alpha_middle by less than 0.002 at M >= 4 and tolerance <= 0.01,
    and is never below 1, the value at the integers. Over all integers 1/cos(1/2) = 1.1395 does.
    *Empty*: eps sum|h_j| must be small beside max|a(n)|; heads with strong cancellation need a
    smaller tolerance, hence a larger alpha.
    *Edges*: within M of either end of the window there are not M integers on both sides and this
    says nothing; one-sided nodes cost more (n = 0..63 at s = 1/2: 2.26 at 1e-4). PI's last
    L'/L - 1 spans lie beyond L - 1, outside every cell of the window.

    Examples
    --------
    >>> constant = local_grid_constant(neighbours=8, tolerance=1e-3)
    >>> round(constant.alpha, 3), constant.eps <= 1e-3, constant.weights.size
    (1.163, True, 16)

    Random scores at s = 20.3, from their values at 13..28:

    >>> from pianalysis import RopeSpec, attention_score
    >>> spec, rng = RopeSpec(128, 10_000.0, 2048), np.random.default_rng(0)
    >>> h = rng.standard_normal((200, 64)) + 1j * rng.standard_normal((200, 64))
    >>> on_grid = np.abs(attention_score(spec, h, 20 + constant.offset)).max(axis=1)
    >>> bound = constant.alpha * on_grid + constant.eps * np.abs(h).sum(axis=1)
    >>> bool((np.abs(attention_score(spec, h, [20.3]))[:, 0] <= bound).all())
    True
    """
    count = checks.whole("neighbours", neighbours, at_most=MOST_NEIGHBOURS)
    limit = checks.real("tolerance", tolerance, at_least=SMALLEST_TOLERANCE)
    if limit >= 1.0:
        raise ValueError(f"tolerance must be a finite number below 1, got {limit!r}")
    return _solve(count, limit)


@lru_cache(maxsize=64)
def _solve(count: int, limit: float) -> LocalGridConstant:
    terms = 1
    while tail(terms) > 1e-3 * limit:
        terms += 1
    target = limit - tail(terms)
    rows, errors = [], []
    for shift in (0.0, 0.5):
        frequencies = np.arange(float(count)) + shift
        basis = Basis(frequencies, limit)
        for r in range(terms):
            if shift == 0.0 and r == 0:
                cosines, error = np.eye(count)[0], 0.0
            else:
                share = _SHARES[min(r, len(_SHARES) - 1)]
                cosines, error = programme(basis, r, target * share, count, limit)
            rows.append(_spread(cosines, shift))
            errors.append(error)
    eps = _total_error(errors, terms)
    alpha, middle = _total_weight(np.array(rows), terms)
    if not eps <= limit:
        raise ArithmeticError(f"eps must certify to at most {limit!r}, got {eps!r}")
    weights, table = rows[terms], np.array(rows)
    offset = np.arange(1.0 - count, count + 1.0)
    for out in (weights, table, offset):
        out.flags.writeable = False
    return LocalGridConstant(count, limit, alpha, eps, middle, FIRST_BITS, offset, weights, table)


def _spread(cosines: FloatArray, shift: float) -> FloatArray:
    """Return weights on n = 1 - M .. M from those of cos((m + shift) theta) about the node."""
    half = cosines / 2.0
    if shift:
        return np.concatenate([half[::-1], half])
    return np.concatenate([half[:0:-1], cosines[:1], half[1:], [0.0]])


def _total_error(errors: Sequence[float], terms: int) -> float:
    """Certify eps = e_0 + tail once 4 sum_{r >= 1} S_r max(d_r, e_r) <= e_0."""
    near, middle = errors[:terms], errors[terms:]
    pairs = zip(secant(terms), near, middle, strict=True)
    higher = sum((4 * s * Fraction(max(d, e)) for s, d, e in list(pairs)[1:]), Fraction(0))
    first = max(Fraction(middle[0]), higher)
    total = first + Fraction(tail(terms))
    return math.nextafter(float(total), math.inf)


def _total_weight(rows: FloatArray, terms: int) -> tuple[float, float]:
    """Certify max over lambda of sum_n |w_n(lambda)|, and its value at lambda = 1 (s = 1/2)."""
    import flint

    degree = 2 * terms
    with flint.ctx.workprec(FIRST_BITS):
        # Coefficients in lambda of all multipliers: A_r(lambda) = B_r(1 - lambda), then B_r.
        table = flint.fmpq_mat(degree, 2 * terms)
        mirror = flint.fmpq_poly([1, -1])
        for r, row in enumerate(multipliers(terms)):
            plain = flint.fmpq_poly([flint.fmpq(c.numerator, c.denominator) for c in row])
            for column, polynomial in ((r, plain(mirror)), (terms + r, plain)):
                for power, coefficient in enumerate(polynomial.coeffs()):
                    table[power, column] = coefficient
        weights = flint.arb_mat([[flint.arb(float(x)) for x in row] for row in rows])
        coefficients = flint.arb_mat(table) * weights
        curvature = flint.arb(0)
        for power in range(2, degree):
            for n in range(coefficients.ncols()):
                curvature += power * (power - 1) * abs(coefficients[power, n])
        grid = [flint.arb(k) / _CELLS for k in range(_CELLS + 1)]
        values = flint.arb_mat([[x**power for power in range(degree)] for x in grid]) * coefficients
        sums = [sum(map(abs, row), flint.arb(0)) for row in values.tolist()]
        largest = sums[0]
        for value in sums[1:]:
            largest = largest.max(value)
        alpha = largest + curvature / (8 * _CELLS**2)
        return outward(alpha)[1], outward(sums[-1])[1]
