"""The frame of a picture: figure, labels, ticks and legends; nothing computes or saves a file."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pianalysis.pictures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_TICKS = 5


def png(figure: Figure, **options: Any) -> bytes:
    """Return a figure as PNG, the same bytes for the same figure; ``options`` go to savefig."""
    out = io.BytesIO()
    with style.applied():
        figure.savefig(out, format="png", metadata={"Software": None}, **options)
    return out.getvalue()


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = style.COLUMN_WIDTH, height: float = 2.4
) -> tuple[Figure, Any]:
    """Return a figure in the project's style and its Axes; no window, no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.applied():
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns)
    return figure, axes


def finish(
    ax: Axes,
    *,
    xlabel: str | None = None,
    ylabel: str | None = None,
    title: str = "",
    logx: bool = False,
    logy: bool = False,
    legend: Any = None,
) -> Axes:
    """Label Axes that are drawn, title on the left; what is not given stays as it is."""
    with style.applied():
        if xlabel is not None:
            ax.set_xlabel(xlabel)
        if ylabel is not None:
            ax.set_ylabel(ylabel)
        if title:
            ax.set_title(title, loc="left")
        if logx:
            ax.set_xscale("log")
        if logy:
            ax.set_yscale("log")
        if legend:
            ax.legend(loc=legend)
    return ax


def plain_ticks(ax: Axes, axis: str, values: Sequence[float]) -> Axes:
    """Label a logarithmic axis with plain numbers at ``values``."""
    with style.applied():
        set_ticks = ax.set_xticks if axis == "x" else ax.set_yticks
        set_ticks(values, [f"{value:g}" for value in values])
        set_ticks([], minor=True)
    return ax


def round_numbers(low: float, high: float) -> list[float]:
    """Return round numbers inside the limits, as many as fit: 1, 2, 5 times powers of ten or so."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 1.2, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        values = [m * 10.0**k for k in decades for m in steps if low <= m * 10.0**k <= high]
        if len(values) <= _MOST_TICKS:
            break
    return values


def legend_below(ax: Axes, *, columns: int = 1) -> Axes:
    """Put one panel's legend below its horizontal axis."""
    with style.applied():
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=columns)
    return ax


def shared_legend(figure: Figure, *, rows: int = 1) -> Figure:
    """Put one legend of the first panel's series below all panels."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    with style.applied():
        figure.legend(handles, labels, loc="outside lower center", ncols=-(-len(labels) // rows))
    return figure
