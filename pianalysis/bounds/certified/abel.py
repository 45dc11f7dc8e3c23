r"""B(s) with certainty: in balls, and in float64 with a proved bound on its rounding error.

Balls cost a tenth of a millisecond a span, the compiled float64 sum a tenth of a microsecond.
:func:`float_error` bounds the distance of the second from the truth, so that millions of spans are
decided in float64 and only the undecided few in balls.

**What is assumed of the machine**: IEEE 754 float64 with rounding to nearest, a correctly rounded
square root, and ``numpy.sin``, ``numpy.cos`` and ``numpy.abs`` (of complex numbers) within 4 ulp at
arguments up to 4 (glibc and numpy's own loops state less than 1). Nothing is assumed of ball
arithmetic but that Arb is correct.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.bounds import extrapolation
from pianalysis.records import Record
from pianalysis.rope.balls import FIRST_BITS, Interval, exact_frequencies, interval, outward
from pianalysis.rope.spec import RopeSpec, check_spec

LARGEST_SPAN = 2**40
LONGEST_SEARCH = 2**27
CHUNK = 1 << 20


def abel_ball(theta: list[Any], s: Any) -> Any:
    """Return B(s) = sum_k |A_{k+1}(s)| as a ball, for theta_j and s given as balls."""
    import flint

    partial, total = flint.acb(0), flint.arb(0)
    for t in theta:
        sine, cosine = (s * t).sin_cos()
        partial += flint.acb(cosine, sine)
        total += abs(partial)
    return total


def abel_and_slope(theta: list[Any], middle: Any, radius: Any) -> tuple[Any, Any]:
    r"""Return balls for B(m) and for every generalised derivative of B on [m - r, m + r].

    Where A = A_k has no zero on the cell, :math:`|A|' = \Re(\bar A A') / |A|` and

    .. math:: \big||A|''\big| \le |A'|^2 / |A| + |A''|,

    so that the slopes lie within r times the right-hand side of the one at m; where A may have a
    zero, |A| has a kink and its slopes lie within +-|A'|. On the cell |A^{(i)}| differs from its
    value at m by at most r sum theta^{i+1}. A common shift of all frequencies changes no modulus:
    the middle one is taken off, which keeps the sums small.
    """
    import flint

    zero = flint.arb(0)
    at = [flint.acb(0)] * 3  # A, A' / i, -A''
    powers = [zero] * 3  # sums of |theta|, theta^2, |theta|^3
    total, slope, spread = zero, zero, zero
    for absolute in theta:
        t = absolute - theta[len(theta) // 2]
        sine, cosine = (middle * t).sin_cos()
        turn, size = flint.acb(cosine, sine), abs(t)
        at = [at[0] + turn, at[1] + turn * t, at[2] + turn * (t * t)]
        square = size * size
        powers = [powers[0] + size, powers[1] + square, powers[2] + square * size]
        modulus = abs(at[0])
        total += modulus
        steep = abs(at[1]) + radius * powers[1]
        least = modulus - radius * powers[0]
        if least > 0:
            bend = radius * (steep * steep / least + abs(at[2]) + radius * powers[2])
            if bend < steep:
                # Re(conj(A) A') with A' = i at[1]
                slope += (at[0].imag * at[1].real - at[0].real * at[1].imag) / modulus
                spread += bend
                continue
        spread += steep
    return total, slope + (-spread.upper()).union(spread.upper())


def lipschitz(spec: RopeSpec) -> float:
    r"""Return K, rounded upward, with |B(x) - B(y)| <= K |x - y| for all real x and y.

    .. math:: K = \sum_k \sum_{j \le k} |\theta_j - m_k|, \qquad m_k \text{ a median of }
              \theta_0 .. \theta_k

    Proof: :math:`|A_{k+1}(s)| = |e^{-i s m} A_{k+1}(s)|` for every real m, and the function on the
    right has derivative :math:`i \sum_{j \le k} (\theta_j - m) e^{i s (\theta_j - m)}`; a modulus
    changes no faster than its argument. m = 0 gives the plainer sum_k sum_{j<=k} theta_j, 429.3 for
    327.4 at d = 128. The constant is attained for d = 4, by B = 1 + 2 |cos((1 - theta_1) s / 2)|.

    Examples
    --------
    >>> round(lipschitz(RopeSpec(128, 10_000.0, 2048)), 3), lipschitz(RopeSpec(4, 16.0, 8))
    (327.418, 0.7500000000000001)
    """
    import flint

    with flint.ctx.workprec(FIRST_BITS):
        prefix = [flint.arb(0)]
        for t in exact_frequencies(spec):
            prefix.append(prefix[-1] + t)
        total = flint.arb(0)
        for count in range(1, len(prefix)):
            # Frequencies fall with j: those above a median less those below it.
            half = count // 2
            total += prefix[half] - (prefix[count] - prefix[count - half])
        return outward(total)[1]


def float_error(pairs: int) -> float:
    r"""Return E with |fl(B(s)) - B(s)| <= E for abel_sum in float64 and every float64 |s| <= 2**40.

    E = (n^3 + 40 n^2 + 100 n) u with n = d/2 pairs and u = 2**-53: 5e-11 at n = 64.

    Proof. Bounds are first order in u; the constants are rounded up by far more than the second
    order.

    1. Frequencies: head + tail hold theta_j to u^2 theta_j <= u^2 (Decimal at 60 digits adds
       1e-55). At |s| <= 2**40 this moves the phase by 2**-66.
    2. Phase: Dekker's products are exact, head - whole is exact (Sterbenz: they lie within a factor
       2, or turns = 0). The four corrections are each at most u (|s| + 4) in size, so rounding
       them costs at most 12 u^2 (|s| + 4) < 2**-61; 2 pi is held to 3e-32, times at most
       2**38 turns. The last addition rounds a number below 4, by at most 2 u. In all: 4 u.
    3. A rotation: sine and cosine within 4 ulp <= 8 u each (a ulp is at most 2 u below 2), modulus
       8 sqrt(2) u, and the phase's 4 u: 16 u.
    4. On a grid a rotation is the product of three tables: the first product is off by
       16 u + 16 u and its own rounding, at most 3 u, with or without fused operations: 36 u; the
       exact product with the third table is off by 36 u + 16 u < 53 u.
    5. Partial sums: the k-th addition (k = 1..n) forms x + re*f - im*f in any grouping. Its two
       products round by at most 1.5 u together; its two additions work on numbers below k + 1, so
       each rounds by at most (k + 1) u a component: sqrt(2) * 2 (k + 1) u < 2.9 (k + 1) u. Hence
       |fl(A_k) - A_k| <= sum_{i<=k} (53 + 1.5 + 2.9 (i + 1)) u <= (1.45 k^2 + 59 k) u. The direct
       path (cumsum: one rotation, one addition) stays below this.
    6. Moduli: sqrt(x*x + y*y) rounds by at most 2.1 u relative, numpy's by 8 u; adding n of them
       in any order by at most n u relative. They sum to at most n (n + 1) / 2, so this step costs
       at most (n + 9) n (n + 1) u / 2. Underflow (|A| below 1e-150) is beyond notice.
    7. Together: sum_k (1.45 k^2 + 59 k) u + step 6 <= (0.99 n^3 + 35.3 n^2 + 35 n) u. What E is
       larger than that, 4.7 n^2 u, covers adding E to a computed B <= n (n + 1) / 2 in float64.

    Examples
    --------
    >>> float_error(64) < 5e-11
    True
    """
    n = float(pairs)
    return (n**3 + 40.0 * n**2 + 100.0 * n) * 2.0**-53


@dataclass(frozen=True, slots=True)
class SmallestAbelSum(Record):
    """The minimum of B over [start, stop] or over the integers start..stop-1.

    ``value`` encloses the minimum; every span that attains it lies in one of the intervals
    [location_lower, location_upper] (integers: both ends the same).
    """

    spec: RopeSpec
    over: str
    start: float
    stop: float
    value: Interval
    location_lower: FloatArray
    location_upper: FloatArray


def smallest_at_integers(spec: RopeSpec, stop: int, *, start: int = 0) -> SmallestAbelSum:
    """Enclose min B(n) over the integers start <= n < stop, with every n that may attain it.

    Float64 with its error bound leaves the candidates, balls decide among them.

    Raises
    ------
    ValueError, TypeError
        ``spec`` not a RopeSpec; start or stop not integers with 0 <= start < stop <= 2**40, or more
        than 2**27 of them.

    Examples
    --------
    >>> smallest = smallest_at_integers(RopeSpec(128, 10_000.0, 2048), 4096)
    >>> smallest.value.decimal[:20], smallest.location_lower
    ('[142.836217346209069', array([3643.]))
    """
    import flint

    check_spec(spec)
    start = checks.whole("start", start, at_least=0, at_most=LARGEST_SPAN)
    stop = checks.whole("stop", stop, at_least=start + 1, at_most=LARGEST_SPAN)
    if stop - start > LONGEST_SEARCH:
        raise ValueError(f"stop must be at most start + 2**27, got {stop} with start = {start}")
    slack = 2.0 * float_error(spec.pairs)
    candidates, best = np.empty(0), np.empty(0)
    for first in range(start, stop, CHUNK):
        spans = np.arange(first, min(stop, first + CHUNK), dtype=float)
        candidates = np.concatenate([candidates, spans])
        best = np.concatenate([best, extrapolation.abel_sum(spec, spans)])
        kept = best <= best.min() + slack * 1.01
        candidates, best = candidates[kept], best[kept]
    with flint.ctx.workprec(2 * FIRST_BITS):
        theta = exact_frequencies(spec)
        values = [abel_ball(theta, flint.arb(float(s))) for s in candidates]
        smallest = values[0]
        for value in values[1:]:
            smallest = smallest.min(value)
        at = np.array([s for s, v in zip(candidates, values, strict=True) if not v > smallest])
        value = interval(f"min B over {start}..{stop - 1}", spec, smallest, 2 * FIRST_BITS)
    return SmallestAbelSum(spec, "integers", float(start), float(stop), value, at, at)
