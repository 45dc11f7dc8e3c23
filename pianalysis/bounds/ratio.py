"""The ~600x of section 2.3: what it divides, its readings, and where B(s) >= d ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pianalysis import _validate
from pianalysis._phases import Rotary
from pianalysis._validate import FloatArray
from pianalysis.bounds.extrapolation import abel_sum, extrapolation_bound
from pianalysis.bounds.interpolation import _check_spec, interpolation_bound
from pianalysis.records import Record
from pianalysis.rope import LARGEST_WINDOW, RopeSpec

FORMS = ("paper", "corrected", "sharp")
_SCAN_CHUNK = 1 << 22
_LONGEST_SCAN = 2**27


def bound_ratio(spec: RopeSpec, *, form: str = "paper") -> float:
    r"""Return the extrapolation bound over the interpolation bound at u = 1/2, for one max|h|.

    ========== ===============================================================
    paper      2d over d/(32 ln c): 64 ln c, the "~600x", from B(s) >= d
    corrected  2d over the corrected interpolation constant
    sharp      the triangle bound d/2 over the sharp interpolation constant
    ========== ===============================================================

    Notes
    -----
    The ratio compares a deviation from a chord with an absolute value; it does not say that scores
    grow 600 times. B(s) >= d is a measured statement that holds up to a span only: see
    :func:`first_span_below`. "sharp" divides two attained suprema and needs no such premise.

    Examples
    --------
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> [round(bound_ratio(spec, form=f), 2) for f in FORMS]
    [589.46, 512.22, 129.59]
    """
    _validate.choice("form", form, FORMS)
    _check_spec(spec)
    below = float(interpolation_bound(spec, 0.5, form=form))
    if form == "sharp":
        return float(extrapolation_bound(spec, 0.0, form="triangle")) / below
    return 2.0 * spec.rotary_dim / below


@dataclass(frozen=True, slots=True)
class RatioReadings(Record):
    """Every reading of the ratio for one specification: names, values, how each is meant."""

    spec: RopeSpec
    reading: tuple[str, ...]
    window: FloatArray
    ratio: FloatArray
    smallest_abel_sum: FloatArray
    at_span: FloatArray


def ratio_readings(
    spec: RopeSpec, windows: Sequence[int] = (2048, 4096, 8192, 16384, 32768)
) -> RatioReadings:
    """Return the three forms of :func:`bound_ratio` and 2 min B over the paper's constant.

    The minimum is over the integers of [0, W) for each window W, measured in float64 at every
    integer. Windows of the first three rows are 0: they take no minimum.

    Examples
    --------
    >>> ratio_readings(RopeSpec(128, 10_000.0, 2048), [2048]).ratio.round(1)
    array([589.5, 512.2, 129.6, 829.7])
    """
    sizes = [_validate.whole("windows", w, at_most=_LONGEST_SCAN) for w in windows]
    _check_spec(spec)
    paper = float(interpolation_bound(spec, 0.5, form="paper"))
    rows: list[tuple[str, int, float, float, float]] = [
        (form, 0, bound_ratio(spec, form=form), float("nan"), float("nan")) for form in FORMS
    ]
    for size in sizes:
        lowest, at = smallest_abel_sum(spec, size)
        rows.append(("smallest B", size, 2.0 * lowest / paper, lowest, at))
    names, *numbers = zip(*rows, strict=True)
    return RatioReadings(spec, tuple(names), *(np.array(column, float) for column in numbers))


def smallest_abel_sum(model: Rotary, stop: int) -> tuple[float, float]:
    """Return min B(n) over the integers 0 <= n < stop, and the n that attains it."""
    lowest, at = np.inf, 0.0
    for start in range(0, stop, _SCAN_CHUNK):
        spans = np.arange(start, min(stop, start + _SCAN_CHUNK), dtype=float)
        values = abel_sum(model, spans)
        best = int(values.argmin())
        if values[best] < lowest:
            lowest, at = float(values[best]), float(spans[best])
    return lowest, at


@dataclass(frozen=True, slots=True)
class FirstSpanBelow(Record):
    """First integer and first real span with B(s) < level * d; None when none is below ``stop``.

    ``real`` is accurate to ``tolerance`` tokens. ``value`` is B/d at the integer.
    """

    level: float
    stop: int
    integer: int | None
    value: float | None
    real: float | None
    tolerance: float


def first_span_below(
    model: Rotary, level: float = 1.0, *, stop: int = 131072, tolerance: float = 1e-6
) -> FirstSpanBelow:
    r"""Find where the paper's premise B(s) >= d ends: the first spans with B(s) < level * d.

    Integers are tried one by one. Real spans by exclusion: |B'(s)| <= K = sum_k sum_{j<=k} theta_j,
    so a step with end values b1, b2 holds no crossing while (b1 + b2 - K step) / 2 stays above the
    level; what is left is cut in four until shorter than ``tolerance``. Sound up to float64
    rounding (measured, not certified).

    Examples
    --------
    >>> found = first_span_below(RopeSpec(128, 10_000.0, 2048), stop=5000)
    >>> found.integer, round(found.real, 2)
    (4861, 4505.68)
    """
    level = _validate.real("level", level, above=0.0)
    stop = _validate.whole("stop", stop, at_most=min(_LONGEST_SCAN, LARGEST_WINDOW))
    tolerance = _validate.real("tolerance", tolerance, at_least=1e-9, at_most=1.0)
    threshold = level * 2 * model.frequencies.size
    integer = value = None
    for start in range(0, stop, _SCAN_CHUNK):
        spans = np.arange(start, min(stop, start + _SCAN_CHUNK), dtype=float)
        values = abel_sum(model, spans)
        below = np.flatnonzero(values < threshold)
        if below.size:
            integer = int(spans[below[0]])
            value = float(values[below[0]]) / (2 * model.frequencies.size)
            break
    last = stop - 1 if integer is None else integer
    real = _first_real_below(model, threshold, last, tolerance)
    return FirstSpanBelow(level, stop, integer, value, real, tolerance)


def _first_real_below(model: Rotary, threshold: float, last: int, tolerance: float) -> float | None:
    steepest = float(np.cumsum(model.frequencies).sum())
    for start in range(0, last + 1, 4096):
        step = 1.0 / 16
        lefts = np.arange(start, min(start + 4096, last), step)
        while lefts.size:
            values = abel_sum(model, np.concatenate([lefts, lefts + step]))
            left, right = np.split(values, 2)
            if left[0] < threshold and step <= tolerance:
                return float(lefts[0])
            possible = left + right - steepest * step < 2.0 * threshold
            if step <= tolerance:
                # No crossing was seen although the bound leaves room for one: accept the values.
                possible &= np.minimum(left, right) < threshold
                if possible.any():
                    return float(lefts[np.flatnonzero(possible)[0]] + step)
                break
            lefts = _earliest(lefts[possible], right[possible], threshold)
            step /= 4.0
            lefts = np.add.outer(lefts, step * np.arange(4)).ravel()
    return float(last) if abel_sum(model, float(last)) < threshold else None


def _earliest(lefts: FloatArray, right: FloatArray, threshold: float) -> FloatArray:
    """Drop every candidate after the first that is sure to hold a crossing."""
    sure = np.flatnonzero(right < threshold)
    return lefts[: sure[0] + 1] if sure.size else lefts
