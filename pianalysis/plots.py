"""Pictures of records: each function draws what it is given on Axes; none computes or saves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pianalysis import style
from pianalysis._validate import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
_MOST_TICKS = 5
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


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


def curves(
    x: FloatArray | Sequence[float],
    series: Mapping[str, FloatArray | Sequence[float]],
    *,
    ax: Axes,
    xlabel: str,
    ylabel: str,
    title: str = "",
    logx: bool = False,
    logy: bool = False,
    marker: str = "",
    legend: Any = "best",
) -> Axes:
    """Draw one line a series over common x, told apart by colour and by dash."""
    with style.applied():
        for index, (label, y) in enumerate(series.items()):
            ax.plot(
                x,
                y,
                label=label,
                color=style.CYCLE[index % len(style.CYCLE)],
                linestyle=_DASHES[index % len(_DASHES)],
                marker=marker,
            )
    return finish(
        ax,
        xlabel=xlabel,
        ylabel=ylabel,
        title=title,
        logx=logx,
        logy=logy,
        legend=legend if len(series) > 1 else None,
    )


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


def level(
    value: float,
    text: str,
    *,
    ax: Axes,
    at: float = 0.98,
    color: str = style.GREY,
    above: bool = True,
) -> Axes:
    """Draw a horizontal dashed line with its label at the share ``at`` of the width."""
    with style.applied():
        ax.axhline(value, color=color, linestyle="--", linewidth=0.8)
        ax.annotate(
            text,
            (at, value),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2 if above else -2),
            textcoords="offset points",
            ha="right" if at > 0.5 else "left",
            va="bottom" if above else "top",
            fontsize=7,
            color=color,
        )
    return ax


def mark(
    x: float,
    y: float,
    text: str,
    *,
    ax: Axes,
    offset: tuple[float, float] = (8, 14),
    color: str = style.BLACK,
) -> Axes:
    """Mark a point and label it beside, with a thin leader."""
    with style.applied():
        ax.plot([x], [y], "o", color=color, markersize=3.5, zorder=5)
        ax.annotate(
            text,
            (x, y),
            xytext=offset,
            textcoords="offset points",
            fontsize=7,
            color=color,
            ha="left" if offset[0] >= 0 else "right",
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": color},
        )
    return ax


def band(
    x: FloatArray,
    low: FloatArray,
    high: FloatArray,
    *,
    ax: Axes,
    label: str,
    xlabel: str,
    ylabel: str,
    title: str = "",
) -> Axes:
    """Draw the range [low, high] over x as a filled band."""
    with style.applied():
        ax.fill_between(x, low, high, color=style.BLUE, alpha=0.35, linewidth=0, label=label)
        ax.plot(x, low, color=style.BLUE, linewidth=0.6)
    return finish(ax, xlabel=xlabel, ylabel=ylabel, title=title)


def phase_wheel(travelled: FloatArray, *, ax: Axes, title: str = "") -> Axes:
    """Draw how far each pair turns inside the window: arcs of at most one turn, slow pairs outside.

    ``travelled`` is theta_j (L - 1) in radians; a full ring has seen every phase.
    """
    with style.applied():
        radius = np.linspace(0.25, 1.0, travelled.size)
        for r, angle in zip(radius, travelled, strict=True):
            full = angle >= 2 * np.pi
            turn = np.linspace(0.0, min(float(angle), 2 * np.pi), 181)
            ax.plot(
                r * np.cos(turn),
                r * np.sin(turn),
                color=style.BLUE if full else style.RED,
                linewidth=0.6 if full else 1.1,
            )
        ax.set_aspect("equal")
    return finish(ax, xlabel="real part (fast pairs inside)", ylabel="imaginary part", title=title)


def bars(
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    ax: Axes,
    ylabel: str,
    xlabel: str = "",
    title: str = "",
) -> Axes:
    """Draw grouped bars, one colour a series."""
    with style.applied():
        width = 0.8 / len(series)
        middle = np.arange(len(groups))
        for index, (label, values) in enumerate(series.items()):
            offset = (index - (len(series) - 1) / 2) * width
            color = style.CYCLE[index % len(style.CYCLE)]
            ax.bar(middle + offset, values, width * 0.92, label=label, color=color)
        ax.set_xticks(middle, groups)
        ax.grid(axis="x", visible=False)
        if len(series) > 1:
            ax.legend(loc="best", ncols=2 if len(series) > 3 else 1)
    return finish(ax, xlabel=xlabel or None, ylabel=ylabel, title=title)


def text_panel(lines: Sequence[str], *, ax: Axes, title: str = "") -> Axes:
    """Draw text as a figure panel, one string a line, in a monospaced face."""
    with style.applied():
        ax.set_axis_off()
        ax.text(
            0.0,
            1.0,
            "\n".join(lines),
            family="DejaVu Sans Mono",
            fontsize=6.5,
            va="top",
            wrap=False,
            transform=ax.transAxes,
            linespacing=1.35,
        )
    return finish(ax, title=title)


def paths(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    ax: Axes,
    xlabel: str,
    ylabel: str,
    title: str = "",
    within: tuple[tuple[float, float], tuple[float, float]] | None = None,
) -> Axes:
    """Draw one path of markers a series, small to large along it, on log-log axes.

    ``within`` cuts the view to ((left, right), (bottom, top)).
    """
    with style.applied():
        for index, (label, (x, y)) in enumerate(series.items()):
            color = style.CYCLE[index % len(style.CYCLE)]
            ax.plot(x, y, color=color, linewidth=0.7, alpha=0.7)
            ax.scatter(
                x,
                y,
                s=np.linspace(14, 42, len(x)) if len(x) > 1 else 34,
                color=color,
                marker=MARKERS[index % len(MARKERS)],
                edgecolor="white",
                linewidth=0.4,
                label=label,
                zorder=3,
            )
        finish(ax, xlabel=xlabel, ylabel=ylabel, title=title, logx=True, logy=True)
        if within:
            ax.set_xlim(*within[0])
            ax.set_ylim(*within[1])
    for axis, limits in (("x", ax.get_xlim()), ("y", ax.get_ylim())):
        plain_ticks(ax, axis, _round_numbers(*limits))
    return ax


def _round_numbers(low: float, high: float) -> list[float]:
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
