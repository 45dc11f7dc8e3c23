"""What `pianalysis report` says of scores beyond the window, for coefficients of at most one."""

from __future__ import annotations

import math

from pianalysis.bounds.average import expected_deviation, expected_square
from pianalysis.bounds.interpolation import interpolation_bound
from pianalysis.bounds.softmax import attention_shift, required_margin
from pianalysis.bounds.worst_case.case import LARGEST_DIM, holds, worst_case_score
from pianalysis.bounds.worst_case.closed_form import (
    LARGEST_GRID,
    LARGEST_UPDATED_GRID,
    worst_case_bound,
)
from pianalysis.extension import PositionInterpolation
from pianalysis.rope.spec import RopeSpec


def answers(spec: RopeSpec, target: int, logit_scale: float) -> dict[str, float | None]:
    """Return the answers for max|h| = 1; None where a window is too long for a programme."""
    interpolation = PositionInterpolation(spec, target)
    last = float(target - 1)
    delta = logit_scale * float(interpolation_bound(spec, 0.5, form="sharp"))
    out: dict[str, float | None] = dict.fromkeys(
        ("worst_lower", "worst_upper", "interpolated_lower", "interpolated_upper", "ceiling")
    )
    if holds(spec):
        for name, extension in (("worst", None), ("interpolated", interpolation)):
            found = worst_case_score(spec, last, max_coefficient=1.0, extension=extension)
            out |= {f"{name}_lower": found.lower, f"{name}_upper": found.upper}
    grid = spec.context_window * spec.rotary_dim
    if spec.rotary_dim <= LARGEST_DIM and grid <= LARGEST_GRID:
        out["ceiling"] = float(
            worst_case_bound(
                spec, last, max_coefficient=1.0, certified=grid <= LARGEST_UPDATED_GRID
            )
        )
    shift = float(attention_shift(delta))
    margins = [float(required_margin(max(keys, 2), 0.5)) for keys in (spec.context_window, target)]
    return out | {
        "delta": delta,
        "attention_shift": shift,
        "average_score": math.sqrt(float(expected_square(spec, last, 1.0))),
        "average_deviation": float(expected_deviation(spec, 0.5, 1.0)),
        "margin_window": margins[0],
        "margin_target": margins[1],
    }


def rounded_up(value: float) -> str:
    """Return six digits, rounded up: a bound that is rounded down is none.

    Examples
    --------
    >>> rounded_up(34.53715001), rounded_up(0.0)
    ('34.5372', '0')
    """
    if value <= 0.0:
        return f"{value:.6g}"
    step = 10.0 ** (math.floor(math.log10(value)) - 5)
    return f"{math.ceil(value / step) * step:.6g}"


def rows(found: dict[str, float | None]) -> list[tuple[str, str]]:
    """Return the answers as lines of a report."""

    def number(name: str, missing: str = "window or dimension too large") -> str:
        value = found[name]
        return missing if value is None else f"{value:.6g}"

    def ceiling(name: str) -> str:
        value = found[name]
        return number(name) if value is None else rounded_up(value)

    return [
        ("WORST CASE at L' - 1, |a(n)| <= 1 in L", "at most, for max|h| = 1, proved"),
        ("  the model as it is", ceiling("worst_upper")),
        ("  under PI", ceiling("interpolated_upper")),
        ("  closed-form ceiling of the first", ceiling("ceiling")),
        ("ON AVERAGE over independent phases", "root mean square, for every |h_j| = 1"),
        ("  |a(s)|, in the window and beyond", number("average_score")),
        ("  |a - chord| at mid-cell", number("average_deviation")),
        ("AFTER THE SOFTMAX", "PI's logits against those on the chords, for max|h| = 1"),
        ("  a logit lies within", number("delta")),
        ("  attention lies within", f"{100 * (found['attention_shift'] or 0.0):.2f}%"),
        (
            "  margin for half the attention, L -> L'",
            f"{number('margin_window')} -> {number('margin_target')} (logit)",
        ),
    ]
