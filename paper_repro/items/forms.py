"""The three forms of a bound against head_dim and against base: their table and its two panels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pianalysis import RopeSpec
from pianalysis.arrays import FloatArray
from pianalysis.bounds.ratio import FORMS
from pianalysis.pictures import frame, marks, style
from pianalysis.records import Record, columns

DIMENSIONS = (8, 16, 32, 48, 64, 96, 128, 192, 256, 512)
PANELS = {"head_dim": "head_dim d (base 10000)", "base": "base c (d = 128)"}


@dataclass(frozen=True, slots=True)
class FormsByPanel(Record):
    """The three forms against head_dim (base 10000) and base (d = 128)."""

    panel: tuple[str, ...]
    x: FloatArray
    paper: FloatArray
    corrected: FloatArray
    sharp: FloatArray


def tabulate(bases: Sequence[float], value: Callable[[RopeSpec, str], float]) -> dict[str, Any]:
    """Return the columns of ``FormsByPanel``; ``value`` is of a model and a form."""
    cases = [("head_dim", float(d), RopeSpec(d, 1e4, 2048)) for d in DIMENSIONS]
    cases += [("base", c, RopeSpec(128, c, 2048)) for c in bases]
    return columns(
        [
            {"panel": panel, "x": x} | {form: value(spec, form) for form in FORMS}
            for panel, x, spec in cases
        ]
    )


def draw(
    record: Any,
    labels: Mapping[str, str],
    titles: Sequence[str],
    *,
    ylabel: str,
    height: float,
    logy: bool = False,
) -> tuple[Any, Any]:
    """Return a figure and its Axes: a panel against head_dim and one against base."""
    figure, axes = frame.new_figure(1, 2, width=style.TEXT_WIDTH, height=height)
    for ax, (panel, xlabel), title in zip(axes, PANELS.items(), titles, strict=True):
        shown = record.where(panel=panel)
        marks.curves(
            shown.x,
            {labels[form]: getattr(shown, form) for form in FORMS},
            ax=ax,
            xlabel=xlabel,
            ylabel=ylabel,
            title=title,
            logx=True,
            logy=logy,
            every=1 if panel == "head_dim" else 4,
        )
    return figure, axes
