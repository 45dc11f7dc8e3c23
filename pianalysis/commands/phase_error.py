"""`pianalysis phase-error`: where each number format is wrong, for a model and its schemes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pianalysis.commands.parser import add_model_command, add_schemes, arguments_of
from pianalysis.extension import PositionInterpolation, Unscaled, named
from pianalysis.precision.table import PhaseTable, tabulate_schemes
from pianalysis.records import plain

PLAIN = "unscaled"


def tabulate_model(
    model: str,
    target: int | None = None,
    *,
    schemes: Sequence[str] | None = None,
    original_length: int | None = None,
    layer_type: str | None = None,
    base: float | None = None,
) -> PhaseTable:
    """Tabulate a preset, config.json or directory: its own scheme, or those named."""
    read = named.find_model(
        model, original_length=original_length, layer_type=layer_type, base=base
    )
    spec, own = read.spec, read.own(target)
    if target is None:
        target = spec.context_window if own is None else own.target
    if schemes is not None:
        extensions = read.chosen(target, schemes)
    elif own is not None:
        # Beside Position Interpolation at the same target, by which a scheme is judged.
        extensions = {named.OWN: own}
        if not isinstance(own, PositionInterpolation):
            extensions["linear"] = read.with_base(PositionInterpolation(spec, target))
    else:
        extensions = {PLAIN: read.with_base(Unscaled(spec, target))}
    return tabulate_schemes(spec, target, extensions)


def table(errors: PhaseTable) -> str:
    """Return the errors as text: a row a scheme and pipeline."""
    from tabulate import tabulate

    rows = [
        [
            errors.scheme[index],
            errors.pipeline[index],
            *(_position(column[index]) for column in (errors.first_wrong, errors.always_wrong)),
            _number(errors.largest_phase_error[index]),
            _number(errors.largest_score_error[index]),
        ]
        for index in range(len(errors.scheme))
    ]
    headers = ["scheme", "number format", "first\nwrong", "always\nwrong from"]
    headers += ["largest\nphase error", "largest\nscore error"]
    spec = errors.spec
    lines = [
        f"d = {spec.rotary_dim}, base {spec.base:g}, window {spec.context_window}, "
        f"target {errors.target} tokens",
        "",
        tabulate(
            rows,
            headers=headers,
            disable_numparse=True,
            colalign=("left", "left", "right", "right", "right", "right"),
        ),
        "",
        f"wrong     a phase off by more than {errors.tolerance:g} rad, proved; "
        f"none: at no position below {errors.searched}",
        "always    every position from there to the end of the search is wrong",
        "phase     radians, the worst pair at the worst position below the target",
        "score     share of the largest score, for a query there and a key at 0, |h_j| <= 1",
        "overflow  positions beyond 65504 are infinite in float16",
    ]
    if np.isfinite(errors.largest_phase_error).all():
        lines.pop()
    return "\n".join(lines)


def as_json(errors: PhaseTable) -> str:
    """Return the table as JSON, null where there is no position or no finite error."""

    def finite(value: Any) -> Any:
        if isinstance(value, list):
            return [finite(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    body = {name: finite(value) for name, value in plain(errors).items()}
    return json.dumps(body, indent=2, allow_nan=False)


def _position(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "none"


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "overflow"


def add(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_model_command(
        commands,
        "phase-error",
        run,
        summary="from which position on RoPE in bfloat16, float16 or float32 is wrong",
        description="Print, for every number format, the first position whose phase is wrong by "
        "more than 0.1 rad, proved, and the largest phase and score error up to the target.",
        target_required=False,
    )
    add_schemes(command, default="its own, or none")


def run(options: Any) -> str:
    """Return what the command prints."""
    errors = tabulate_model(**arguments_of(tabulate_model, options))
    if options.json:
        return as_json(errors)
    return f"{options.model}\n{table(errors)}"
