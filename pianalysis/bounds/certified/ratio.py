"""Every reading of the ~600x as an interval that contains it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.bounds import ratio
from pianalysis.bounds.certified.abel import LONGEST_SEARCH, abel_ball, smallest_at_integers
from pianalysis.bounds.certified.constants import cell_bound_ball
from pianalysis.records import Record
from pianalysis.rope.balls import Interval, enclose, exact_frequencies
from pianalysis.rope.spec import RopeSpec, check_spec


def bound_ratio(spec: RopeSpec, *, form: str = "paper") -> Interval:
    r"""Enclose one form of :func:`~.ratio.bound_ratio` ("paper" is 64 ln c).

    Raises
    ------
    ValueError, TypeError
        Unknown form, or ``spec`` not a RopeSpec.

    Examples
    --------
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> [bound_ratio(spec, form=f).decimal[:12] for f in ratio.FORMS]
    ['[589.4617838', '[512.2166644', '[129.5872717']
    """
    checks.choice("form", form, ratio.FORMS)
    check_spec(spec)

    def evaluate() -> Any:
        above = spec.pairs if form == "sharp" else 2 * spec.rotary_dim
        return above / cell_bound_ball(spec, 0.5, 1.0, form, 0.0, 1.0)

    return enclose(f"ratio of bounds, {form}", spec, evaluate)


@dataclass(frozen=True, slots=True)
class CertifiedReadings(Record):
    """Every reading of the ratio as an interval; windows of the closed forms are 0.

    ``smallest_lower`` and ``smallest_upper`` enclose min B over the integers of [0, window), and
    ``at_span`` is the integer that attains it.
    """

    spec: RopeSpec
    bits: int
    reading: tuple[str, ...]
    window: FloatArray
    lower: FloatArray
    upper: FloatArray
    smallest_lower: FloatArray
    smallest_upper: FloatArray
    at_span: FloatArray


def ratio_readings(
    spec: RopeSpec, windows: Sequence[int] = (2048, 4096, 8192, 16384, 32768)
) -> CertifiedReadings:
    """Enclose the forms of :func:`bound_ratio` and 2 min B over integers over the paper's constant.

    Raises
    ------
    ValueError, TypeError
        A window that is not a positive integer of at most 2**27; ``spec`` not a RopeSpec.

    Examples
    --------
    >>> readings = ratio_readings(RopeSpec(128, 10_000.0, 2048), [2048])
    >>> readings.lower.round(4), bool((readings.upper - readings.lower < 1e-12).all())
    (array([589.4618, 512.2167, 129.5873, 829.6529]), True)
    """
    check_spec(spec)
    given = np.atleast_1d(checks.array("windows", windows)).ravel()
    sizes = [checks.whole("windows", w, at_most=LONGEST_SEARCH) for w in given]
    nan = float("nan")
    rows = []
    bits = 0
    for form in ratio.FORMS:
        enclosed = bound_ratio(spec, form=form)
        bits = max(bits, enclosed.bits)
        rows.append((form, 0, enclosed.lower, enclosed.upper, nan, nan, nan))
    for size in sizes:
        smallest = smallest_at_integers(spec, size)
        at = float(smallest.location_lower[0])
        twice = enclose(f"2 min B over [0, {size})", spec, partial(_reading, spec, at))
        bits = max(bits, twice.bits)
        value = smallest.value
        rows.append(("smallest B", size, twice.lower, twice.upper, value.lower, value.upper, at))
    names, *numbers = zip(*rows, strict=True)
    return CertifiedReadings(spec, bits, tuple(names), *(np.array(x, float) for x in numbers))


def _reading(spec: RopeSpec, span: float) -> Any:
    import flint

    smallest = abel_ball(exact_frequencies(spec), flint.arb(span))
    return 2 * smallest / cell_bound_ball(spec, 0.5, 1.0, "paper", 0.0, 1.0)
