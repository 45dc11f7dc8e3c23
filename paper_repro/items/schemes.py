"""The stability-resolution map: what each extension scheme risks, and what it keeps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from paper_repro import committed
from paper_repro.ledger import Claim
from pianalysis import RopeSpec, preset
from pianalysis.arrays import FloatArray
from pianalysis.comparison.growth import LIMITS, SchemeComparison, compare_schemes
from pianalysis.extension.named import COMPARABLE, comparable_extensions
from pianalysis.pictures import frame, marks, style
from pianalysis.records import Record, columns

FACTORS = (2, 4, 8, 16, 32)
MODEL = "llama-7b"


@dataclass(frozen=True, slots=True)
class SchemeMap(Record):
    """Comparisons at several extension factors, a row a factor, scheme and limit H.

    The columns are those of ``SchemeComparison`` at the spans tried.
    """

    spec: RopeSpec
    contrast_span: float
    factor: FloatArray
    scheme: tuple[str, ...]
    max_coefficient: FloatArray
    growth: FloatArray
    growth_lower: FloatArray
    growth_upper: FloatArray
    growth_span: FloatArray
    contrast: FloatArray
    contrast_lower: FloatArray
    contrast_upper: FloatArray
    contrast_termwise: FloatArray
    score_multiplier: FloatArray
    fastest_ratio: FloatArray

    def path(self, scheme: str, max_coefficient: float) -> tuple[FloatArray, FloatArray]:
        """Return (growth, contrast) over the factors, for one scheme and limit H."""
        rows = self.where(scheme=scheme, max_coefficient=max_coefficient)
        return rows.growth, rows.contrast


def compute(seed: int = 0) -> Mapping[str, Record]:
    """Compare all schemes at every factor for LLaMA 7B."""
    spec = preset(MODEL)
    parts: list[SchemeComparison] = []
    for factor in tqdm(FACTORS, unit="factor", disable=None, leave=False):
        extensions = comparable_extensions(spec, factor * spec.context_window)
        parts.append(
            compare_schemes(spec, extensions, workers=os.cpu_count() or 1, every_span=False)
        )
    rows = [
        {"factor": factor}
        | {
            name: value
            for name, value in zip(part.columns(), row, strict=True)
            if not name.startswith("largest_")
        }
        for factor, part in zip(FACTORS, parts, strict=True)
        for row in zip(*part.columns().values(), strict=True)
    ]
    span = parts[0].contrast_span
    return {"schemes": SchemeMap(spec=spec, contrast_span=span, **columns(rows))}


def read_committed() -> SchemeMap:
    """Return the map as figures/schemes.csv holds it; computing it takes minutes."""
    span = committed.summary("schemes")["contrast_span"]
    return SchemeMap(spec=preset(MODEL), contrast_span=span, **committed.columns("schemes"))


def plot(records: Mapping[str, Record]) -> dict[str, Any]:
    """Draw one path a scheme over the factors, a column for each limit H; below, the crowd."""
    record: Any = records["schemes"]
    figure, axes = frame.new_figure(2, len(LIMITS), width=style.TEXT_WIDTH, height=4.6)
    for column, limit in enumerate(LIMITS):
        paths = {scheme: record.path(scheme, limit) for scheme in COMPARABLE}
        crowd = [path for name, path in paths.items() if name != "linear"]
        growth, contrast = (np.concatenate(part) for part in zip(*crowd, strict=True))
        views = (None, (_around(growth), _around(contrast)))
        for row, within in enumerate(views):
            ylabel = ("worst-case adjacent contrast", "all but linear, larger")[row]
            marks.paths(
                paths,
                ax=axes[row, column],
                xlabel="worst-case growth of |a'(s)|" if row else "",
                ylabel="" if column else ylabel,
                title="" if row else f"H = {limit:g}",
                within=within,
            )
    frame.shared_legend(figure, rows=2)
    return {"schemes": figure}


def _around(values: FloatArray) -> tuple[float, float]:
    return float(values.min()) / 1.1, float(values.max()) * 1.1


def claims(records: Mapping[str, Record]) -> list[Claim]:
    """The paper compares no other scheme, so no claim of its own is judged here."""
    return []
