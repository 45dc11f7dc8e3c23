"""Frequencies in two floats, and rotations e^{i s theta} that stay exact at long spans.

A float64 frequency is off by up to 1e-16 of itself, so the phase of span s is off by s * 1e-16:
at s = 10^6 that alone costs 1e-10. We therefore carry each frequency as an unevaluated sum of two
float64 (106 bits) and reduce the phase modulo 2 pi in the same arithmetic. Dekker (1971) gives the
error-free product used here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Protocol

import numpy as np

from pianalysis.arrays import ComplexArray, FloatArray

_TWO_PI = 2.0 * math.pi
_TWO_PI_TAIL = 2.4492935982947064e-16  # 2 pi minus its float64 rounding
_SPLITTER = 134217729.0  # 2**27 + 1
_DIGITS = 60
_CHUNK_ELEMENTS = 1 << 20
_SHORTEST_GRID = 256  # below this the direct way is as fast as two factors


class Rotary(Protocol):
    """What a score needs of a model: a RopeSpec or any extension of one."""

    @property
    def frequencies(self) -> FloatArray: ...

    @property
    def frequencies_tail(self) -> FloatArray: ...

    @property
    def attention_factor(self) -> float: ...

    @property
    def geometric(self) -> tuple[float, Fraction] | None: ...


def check_rotary(model: Rotary) -> Rotary:
    """Return ``model`` when it has frequencies; anything else is refused by name."""
    if not hasattr(model, "frequencies"):
        raise TypeError(f"model must be a RopeSpec or an extension, got {model!r}")
    return model


@lru_cache(maxsize=64)
def geometric_frequencies(
    base: float, rotary_dim: int, scale: Fraction = Fraction(1)
) -> tuple[FloatArray, FloatArray]:
    """Return theta_j = scale * base^(-2j/rotary_dim), j = 0..rotary_dim/2-1, as head and tail."""
    context = Context(prec=_DIGITS)
    step = context.multiply(context.ln(Decimal(base)), Decimal(-2))
    ratio = context.exp(context.divide(step, Decimal(rotary_dim)))
    value = context.divide(Decimal(scale.numerator), Decimal(scale.denominator))
    exact = []
    for _ in range(rotary_dim // 2):
        exact.append(value)
        value = context.multiply(value, ratio)
    return _head_and_tail(exact)


def scaled_frequencies(model: Rotary, ratios: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return theta_j r_j for float64 ratios r_j, as head and tail; nothing is lost to float64."""
    product, rest = _product(model.frequencies, ratios)
    rest = rest + model.frequencies_tail * ratios
    head = product + rest
    tail = (product - head) + rest
    head.flags.writeable = tail.flags.writeable = False
    return head, tail


def _head_and_tail(exact: Iterable[Decimal]) -> tuple[FloatArray, FloatArray]:
    context = Context(prec=_DIGITS)
    numbers = list(exact)
    head = np.array([float(x) for x in numbers])
    rest = [context.subtract(x, Decimal(float(y))) for x, y in zip(numbers, head, strict=True)]
    tail = np.array([float(x) for x in rest])
    head.flags.writeable = tail.flags.writeable = False
    return head, tail


def _product(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return a * b as rounded product and exact rounding error (Dekker 1971)."""
    head = a * b
    a_high = _SPLITTER * a
    a_high = a_high - (a_high - a)
    b_high = _SPLITTER * b
    b_high = b_high - (b_high - b)
    a_low, b_low = a - a_high, b - b_high
    tail = ((a_high * b_high - head) + a_high * b_low + a_low * b_high) + a_low * b_low
    return head, tail


def phases(model: Rotary, spans: FloatArray) -> FloatArray:
    """Return s theta_j reduced into about [-pi, pi], in radians, shape (..., d/2).

    The error is a few units of 1e-16 for every |s| <= 2**53.
    """
    s = spans[..., None]
    head, tail = _product(s, model.frequencies)
    turns = np.rint(head / _TWO_PI)
    # The difference below is exact: both terms agree to within half a turn.
    whole, whole_tail = _product(turns, np.array(_TWO_PI))
    return (head - whole) + (tail + s * model.frequencies_tail - whole_tail - turns * _TWO_PI_TAIL)


def phase_lags(
    computed: FloatArray, spans: FloatArray, head: FloatArray, tail: FloatArray
) -> FloatArray:
    """Return computed - s theta, not reduced, for theta = head + tail; all broadcast together.

    The error is below 2**-51 of the result plus 2**-70, for 0 <= s theta <= 2**27.
    """
    whole, rest = _product(spans, head)
    return (computed - whole) - (rest + spans * tail)


def rotations(model: Rotary, spans: FloatArray) -> ComplexArray:
    """Return e^{i s theta_j}, complex128 of shape (..., d/2)."""
    angle = phases(model, spans)
    out = np.empty(angle.shape, dtype=np.complex128)
    np.cos(angle, out=out.real)
    np.sin(angle, out=out.imag)
    return out


def chunks(count: int, pairs: int) -> Iterable[slice]:
    """Cut ``count`` spans so that one chunk's rotations stay within tens of megabytes."""
    size = max(1, _CHUNK_ELEMENTS // pairs)
    return (slice(start, start + size) for start in range(0, count, size))


def uniform_grid(spans: FloatArray) -> tuple[float, float] | None:
    """Return (start, step) when ``spans`` is exactly start + k step, else None.

    Exactly: every point and every distance between two is a multiple of one power of two and at
    most 2**53 of it, so that neither the comparison nor a sum over the grid rounds a span. So no
    point is NaN or beyond +-2**53.
    """
    if spans.ndim != 1 or spans.size < _SHORTEST_GRID:
        return None
    start = float(spans[0])
    step = float(spans[1]) - start  # of Python floats, which do not warn where either is infinite
    if step == 0.0 or not math.isfinite(step):
        return None
    first_point, whole = Fraction(start), (spans.size - 1) * Fraction(step)
    quanta = max(first_point.denominator, Fraction(step).denominator)
    if max(abs(first_point), abs(first_point + whole), abs(whole)) * quanta > 2**53:
        return None
    # In pieces that stay in cache: a whole grid of temporaries would cost more than the sum.
    size = min(spans.size, 1 << 14)
    steps, point = step * np.arange(size), np.empty(size)
    for first in range(0, spans.size, size):
        part = spans[first : first + size]
        expected = np.add(steps[: part.size], start + step * first, out=point[: part.size])
        if not (part == expected).all():
            return None
    return start, step


def trigonometric_sum(
    model: Rotary, weights: ComplexArray, spans: FloatArray, grid: tuple[float, float] | None
) -> FloatArray:
    """Return Re sum_j w_j e^{i s theta_j} for weights (..., pairs) and spans (n,): (..., n).

    ``grid`` is what ``uniform_grid`` says of the spans.
    """
    rows = weights.reshape(-1, weights.shape[-1])
    if grid is not None:
        out = _sum_on_grid(model, rows, *grid, spans.size)
    else:
        out = np.empty((rows.shape[0], spans.size))
        for part in chunks(spans.size, rows.shape[1]):
            turn = rotations(model, spans[part])
            out[:, part] = rows.real @ turn.real.T - rows.imag @ turn.imag.T
    return out.reshape(*weights.shape[:-1], spans.size)


def _sum_on_grid(
    model: Rotary, rows: ComplexArray, start: float, step: float, count: int
) -> FloatArray:
    """Evaluate on start + k step by real matrix products, for weights (rows, d/2).

    With k = p W + w the angle addition e^{i(s_p + w step) theta} = e^{i s_p theta} e^{i w step
    theta} turns n d sines into one (n/W, d) by (d, W) product, whose factors are such grids again.
    Every row turns the n/W anchors anew, and all share the W offsets: W is at most the root of
    rows n, or d where that is more, and less where blocks of one length share the grid.
    """
    count_rows, pairs = rows.shape
    blocks = -(-count // max(2 * pairs, math.isqrt(max(1, count_rows) * count)))
    width = -(-count // blocks)
    anchors = rotations_on_grid(model, start, step * width, blocks)
    offsets = rotations_on_grid(model, 0.0, step, width)
    # As real numbers conj(z) and w lie as they must for Re(w z) to be their product.
    right = np.conjugate(offsets, out=offsets).view(np.float64).T
    out = np.empty((count_rows, blocks * width))
    for part in chunks(count_rows, blocks * pairs):
        # Row by row whatever the order of h: its pairs must lie side by side to be real numbers.
        turned = np.multiply(rows[part, None], anchors, order="C")
        left = turned.reshape(-1, pairs).view(np.float64)
        np.matmul(left, right, out=out[part].reshape(-1, width))
    return out[:, :count]  # the last block reaches beyond the grid


def rotations_on_grid(model: Rotary, start: float, step: float, count: int) -> ComplexArray:
    """Return e^{i s theta_j} on start + k step, (count, d/2), from about 2 sqrt(count) rotations.

    The spans of both factors are exact where ``uniform_grid`` finds a grid; the product of two
    rotations rounds once more.
    """
    width = math.isqrt(count)
    anchors = rotations(model, start + step * width * np.arange(float(-(-count // width))))
    offsets = rotations(model, step * np.arange(float(width)))
    out: ComplexArray = (anchors[:, None] * offsets).reshape(-1, offsets.shape[1])
    return out[:count]
