"""`pianalysis phase-error`: where each number format is wrong, for a model and its schemes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from pianalysis import compare_report, report
from pianalysis._low_precision import PIPELINES
from pianalysis._validate import FloatArray, whole
from pianalysis.extension import Extension, Unscaled
from pianalysis.precision import first_wrong, phase_error
from pianalysis.records import Record, plain
from pianalysis.rope import RopeSpec

TOLERANCE = 0.1  # radians
SEARCHED = 2**21  # positions, or the target where that is more
LONGEST_TARGET = 2**20
PLAIN = "unscaled"


@dataclass(frozen=True, slots=True)
class PhaseTable(Record):
    """Errors of every pipeline, a row a scheme and pipeline.

    ``first_wrong`` is the first position in [0, ``searched``) off by more than ``tolerance``
    radians, and from ``always_wrong`` on every one is; infinite where there is none. The largest
    errors are over [0, ``target``); infinite where a position overflows the format.
    """

    spec: RopeSpec
    target: int
    tolerance: float
    searched: int
    scheme: tuple[str, ...]
    pipeline: tuple[str, ...]
    first_wrong: FloatArray
    always_wrong: FloatArray
    largest_phase_error: FloatArray
    largest_score_error: FloatArray


def tabulate_model(
    name: str,
    target: int | None = None,
    *,
    schemes: Sequence[str] | None = None,
    original_length: int | None = None,
    layer_type: str | None = None,
) -> PhaseTable:
    """Tabulate a preset, config.json or directory: its own scheme, or those named."""
    source: dict[str, Any] = {"original_length": original_length, "layer_type": layer_type}
    spec, _ = report.find_model(name, **source)
    own = report.find_extension(name, target, **source)
    if target is None:
        target = spec.context_window if own is None else own.target
    if schemes is not None:
        extensions = compare_report.chosen_extensions(spec, target, own, schemes)
    elif own is not None:
        extensions = {compare_report.OWN: own}
    else:
        extensions = {PLAIN: Unscaled(spec, target)}
    return tabulate_schemes(spec, target, extensions)


def tabulate_schemes(
    spec: RopeSpec, target: int, extensions: Mapping[str, Extension]
) -> PhaseTable:
    """Tabulate every pipeline on each extension of ``spec``, label -> extension."""
    target = whole("target", target, at_most=LONGEST_TARGET)
    searched = max(SEARCHED, target)
    cases = [(label, pipeline) for label in extensions for pipeline in PIPELINES]
    rows = []
    for label, pipeline in tqdm(cases, unit="case", disable=None, leave=False):
        model = extensions[label]
        found = first_wrong(model, pipeline=pipeline, tolerance=TOLERANCE, stop=searched)
        errors = phase_error(model, np.arange(target), pipeline=pipeline)
        rows.append(
            (
                math.inf if found.first is None else found.first,
                math.inf if found.always is None else found.always,
                errors.phase_error.max(),
                errors.score_error.max(),
            )
        )
    labels, pipelines = zip(*cases, strict=True)
    columns = np.array(rows, dtype=float).T
    return PhaseTable(spec, target, TOLERANCE, searched, labels, pipelines, *columns)


def table(found: PhaseTable) -> str:
    """Return the errors as text: a row a scheme and pipeline."""
    from tabulate import tabulate

    rows = [
        [
            found.scheme[index],
            found.pipeline[index],
            *(_position(column[index]) for column in (found.first_wrong, found.always_wrong)),
            _number(found.largest_phase_error[index]),
            _number(found.largest_score_error[index]),
        ]
        for index in range(len(found.scheme))
    ]
    headers = ["scheme", "number format", "first\nwrong", "always\nwrong from"]
    headers += ["largest\nphase error", "largest\nscore error"]
    spec = found.spec
    lines = [
        f"d = {spec.rotary_dim}, base {spec.base:g}, window {spec.context_window}, "
        f"target {found.target} tokens",
        "",
        tabulate(
            rows,
            headers=headers,
            disable_numparse=True,
            colalign=("left", "left", "right", "right", "right", "right"),
        ),
        "",
        f"wrong     a phase off by more than {found.tolerance:g} rad, proved; "
        f"none: at no position below {found.searched}",
        "always    every position from there to the end of the search is wrong",
        "phase     radians, the worst pair at the worst position below the target",
        "score     share of the largest score, for a query there and a key at 0, |h_j| <= 1",
        "overflow  positions beyond 65504 are infinite in float16",
    ]
    if np.isfinite(found.largest_phase_error).all():
        lines.pop()
    return "\n".join(lines)


def as_json(found: PhaseTable) -> str:
    """Return the table as JSON, null where there is no position or no finite error."""

    def finite(value: Any) -> Any:
        if isinstance(value, list):
            return [finite(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    body = {name: finite(value) for name, value in plain(found).items()}
    return json.dumps(body, indent=2, allow_nan=False)


def _position(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "none"


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "overflow"
