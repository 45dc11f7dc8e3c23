"""Phase errors of several schemes and number formats, as one table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from pianalysis.arrays import FloatArray
from pianalysis.checks import whole
from pianalysis.extension import Extension
from pianalysis.precision.errors import first_wrong, phase_error
from pianalysis.precision.formats import PIPELINES
from pianalysis.records import Record
from pianalysis.rope.spec import RopeSpec

TOLERANCE = 0.1  # radians
SEARCHED = 2**21  # positions, or the target where that is more
LONGEST_TARGET = 2**20


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
        wrong = first_wrong(model, pipeline=pipeline, tolerance=TOLERANCE, stop=searched)
        errors = phase_error(model, np.arange(target), pipeline=pipeline)
        rows.append(
            (
                math.inf if wrong.first is None else wrong.first,
                math.inf if wrong.always is None else wrong.always,
                errors.phase_error.max(),
                errors.score_error.max(),
            )
        )
    labels, pipelines = zip(*cases, strict=True)
    columns = np.array(rows, dtype=float).T
    return PhaseTable(spec, target, TOLERANCE, searched, labels, pipelines, *columns)
