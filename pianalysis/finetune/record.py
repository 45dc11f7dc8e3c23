"""What a fine-tune leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pianalysis.arrays import FloatArray
from pianalysis.records import Record
from pianalysis.rope.spec import RopeSpec


@dataclass(frozen=True, slots=True)
class FineTuning(Record):
    """What a run did, a row for each step.

    ``loss`` is the mean next-token loss of a step in nats, ``gradient_norm`` before the update,
    ``learning_rate`` that of the update; a step is counted from 1 when it is done. Speed is that of
    the median step; ``matrix_product_peak`` is measured after the run, in one process, and
    ``share_of_peak`` is the work of one process over it.
    """

    source: str
    digest: str
    corpus_digest: str
    spec: RopeSpec
    extension: dict[str, Any]
    recipe: dict[str, Any]
    parameters: int
    peak_rate: float
    device: str
    dtype: str
    threads: int
    processes: int
    tokens_per_second: float
    flops_per_token: float
    matrix_product_peak: float
    share_of_peak: float
    step: FloatArray
    loss: FloatArray
    gradient_norm: FloatArray
    learning_rate: FloatArray
