"""Marks on Axes: curves, bands, bars and paths; of many values fans, maps, clouds, rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.pictures import frame, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


def _look(index: int) -> dict[str, Any]:
    """Return colour and marker of a series, by its number."""
    color, marker = style.CYCLE[index % len(style.CYCLE)], MARKERS[index % len(MARKERS)]
    return {"color": color, "marker": marker}


def fan(
    x: FloatArray,
    bands: Mapping[str, tuple[FloatArray, FloatArray]],
    middle: FloatArray,
    *,
    ax: Axes,
    xlabel: str,
    ylabel: str,
    title: str = "",
) -> Axes:
    """Draw nested ranges over x, the widest first and palest, and the median as a line."""
    with style.applied():
        for depth, (label, (low, high)) in enumerate(bands.items(), start=1):
            shade = 0.55 * depth / len(bands)
            ax.fill_between(x, low, high, color=style.BLUE, alpha=shade, linewidth=0, label=label)
        ax.plot(x, middle, color=style.BLACK, label="median")
    return frame.finish(ax, xlabel=xlabel, ylabel=ylabel, title=title, legend="best")


def heatmap(
    values: FloatArray,
    *,
    ax: Axes,
    xlabel: str,
    ylabel: str,
    label: str,
    limit: float,
    title: str = "",
) -> Axes:
    """Draw a matrix as a map, rows upwards, colours from -limit (blue) through white to limit.

    ``label`` names the quantity beside the colour bar; NaN leaves a cell blank.
    """
    from matplotlib.ticker import MaxNLocator

    with style.applied():
        image = ax.imshow(
            values,
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            origin="lower",
            aspect="auto",
            interpolation="nearest",
        )
        ax.grid(visible=False)
        frame.finish(ax, xlabel=xlabel, ylabel=ylabel, title=title)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
        if label:
            ax.figure.colorbar(image, ax=ax, label=label)
    return ax


def scatter(
    series: Mapping[str, tuple[FloatArray, FloatArray]],
    *,
    ax: Axes,
    xlabel: str,
    ylabel: str,
    title: str = "",
    legend: Any = "best",
) -> Axes:
    """Draw one cloud of points a series on log-log axes; points at 0 have no place there."""
    with style.applied():
        for index, (label, (x, y)) in enumerate(series.items()):
            ax.scatter(x, y, s=7, linewidth=0, alpha=0.7, label=label, **_look(index))
    return frame.finish(
        ax, xlabel=xlabel, ylabel=ylabel, title=title, logx=True, logy=True, legend=legend
    )


def dots(
    rows: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    ax: Axes,
    xlabel: str,
    ylabel: str = "",
    title: str = "",
) -> Axes:
    """Draw one row a name, top to bottom, with a marker a series on a logarithmic axis.

    Values that are not finite have no marker.
    """
    with style.applied():
        spread = np.linspace(-0.28, 0.28, len(series))
        for index, (label, values) in enumerate(series.items()):
            known = np.isfinite(values)
            ax.plot(
                np.asarray(values)[known],
                (np.arange(len(rows)) + spread[index])[known],
                linestyle="none",
                markersize=4.5,
                label=label,
                **_look(index),
            )
        ax.set_yticks(range(len(rows)), rows)
        ax.invert_yaxis()
    return frame.finish(ax, xlabel=xlabel, ylabel=ylabel, title=title, logx=True)


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
            dash, look = _DASHES[index % len(_DASHES)], _look(index) | {"marker": marker}
            ax.plot(x, y, label=label, linestyle=dash, **look)
    shown = legend if len(series) > 1 else None
    return frame.finish(
        ax, xlabel=xlabel, ylabel=ylabel, title=title, logx=logx, logy=logy, legend=shown
    )


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
    return frame.finish(ax, xlabel=xlabel, ylabel=ylabel, title=title)


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
    return frame.finish(
        ax, xlabel="real part (fast pairs inside)", ylabel="imaginary part", title=title
    )


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
            color = _look(index)["color"]
            ax.bar(middle + offset, values, width * 0.92, label=label, color=color)
        ax.set_xticks(middle, groups)
        ax.grid(axis="x", visible=False)
        if len(series) > 1:
            ax.legend(loc="best", ncols=2 if len(series) > 3 else 1)
    return frame.finish(ax, xlabel=xlabel or None, ylabel=ylabel, title=title)


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
    return frame.finish(ax, title=title)


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
            look = _look(index)
            sizes = np.linspace(14, 42, len(x)) if len(x) > 1 else 34
            ax.plot(x, y, color=look["color"], linewidth=0.7, alpha=0.7)
            ax.scatter(
                x, y, s=sizes, edgecolor="white", linewidth=0.4, label=label, zorder=3, **look
            )
        frame.finish(ax, xlabel=xlabel, ylabel=ylabel, title=title, logx=True, logy=True)
        if within:
            ax.set_xlim(*within[0])
            ax.set_ylim(*within[1])
    for axis, limits in (("x", ax.get_xlim()), ("y", ax.get_ylim())):
        frame.plain_ticks(ax, axis, frame.round_numbers(*limits))
    return ax
