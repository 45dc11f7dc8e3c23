"""Certified numbers: from a ball (Arb, through python-flint) to two float64 that enclose it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pianalysis.records import Record
from pianalysis.rope.phases import Rotary
from pianalysis.rope.spec import RopeSpec

FIRST_BITS, MOST_BITS = 128, 2048
_ACCURATE = 70  # bits: enough for both float64 ends to be neighbours of the true value


@dataclass(frozen=True, slots=True)
class Interval(Record):
    """A number proved to lie in [lower, upper]; both ends are float64 rounded outward.

    ``bits`` is the working precision of the ball arithmetic; ``decimal`` is the ball itself, to
    more digits than float64 holds. ``spec`` is the specification it belongs to, where there is one.
    """

    quantity: str
    spec: RopeSpec | None
    lower: float
    upper: float
    bits: int
    decimal: str

    @property
    def width(self) -> float:
        """upper - lower."""
        return self.upper - self.lower

    def contains(self, value: Any) -> bool:
        """Whether ``value`` lies in the interval; exact for float, int, Fraction and mpf."""
        return bool(self.lower <= value <= self.upper)


def outward(ball: Any) -> tuple[float, float]:
    """Return float64 ends that certainly enclose ``ball``."""
    import flint

    if not ball.is_finite():
        raise ValueError(f"ball must be finite, got {ball}")
    lower, upper = float(ball.lower()), float(ball.upper())
    while not flint.arb(lower) <= ball:
        lower = math.nextafter(lower, -math.inf)
    while not flint.arb(upper) >= ball:
        upper = math.nextafter(upper, math.inf)
    return lower, upper


def interval(quantity: str, spec: RopeSpec | None, ball: Any, bits: int) -> Interval:
    """Wrap a ball computed at ``bits``."""
    return Interval(quantity, spec, *outward(ball), bits, ball.str(25))


def enclose(quantity: str, spec: RopeSpec, evaluate: Callable[[], Any]) -> Interval:
    """Evaluate at growing precision until the ball has 70 accurate bits (or is exact)."""
    import flint

    bits = FIRST_BITS
    while True:
        with flint.ctx.workprec(bits):
            ball = evaluate()
            if ball.is_exact() or ball.rel_accuracy_bits() >= _ACCURATE or bits >= MOST_BITS:
                return interval(quantity, spec, ball, bits)
        bits *= 2


def exact_frequencies(model: Rotary) -> list[Any]:
    """Return theta'_j as Arb balls at the working precision, the base taken as its exact float64.

    For a scheme without a closed form here they are the 106-bit numbers the model itself uses.
    """
    import flint

    if model.geometric is None:
        both = zip(model.frequencies, model.frequencies_tail, strict=True)
        return [flint.arb(float(head)) + flint.arb(float(tail)) for head, tail in both]
    base, scale = model.geometric
    pairs = model.frequencies.size
    step = -flint.arb(base).log() / pairs
    share = flint.arb(scale.numerator) / scale.denominator
    return [share * (j * step).exp() for j in range(pairs)]


def unit(angle: Any) -> Any:
    """Return e^{i angle}."""
    import flint

    sine, cosine = angle.sin_cos()
    return flint.acb(cosine, sine)
