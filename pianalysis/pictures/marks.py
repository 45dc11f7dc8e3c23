"""Marks on Axes: curves, levels, bands, bars, paths, text; told apart in colour and in grey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.pictures import frame, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DASHES: tuple[Any, ...] = (
    *("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (8, 2))),
    *((0, (3, 1, 1, 1, 1, 1)), (0, (1, 2.5))),
)
_HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "----", "++++", "oooo")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


def look(index: int) -> dict[str, Any]:
    """Return colour and marker of a series, by its number."""
    color, marker = style.CYCLE[index % len(style.CYCLE)], MARKERS[index % len(MARKERS)]
    return {"color": color, "marker": marker}


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
    every: int = 0,
    errors: Mapping[str, FloatArray] | None = None,
    legend: Any = "best",
) -> Axes:
    """Draw one line a series over common x, told apart by colour and by dash.

    And by marker, one at each ``every``-th point; 0 for none. ``errors`` are standard errors by
    series, drawn one up and one down.
    """
    with style.applied():
        for index, (label, y) in enumerate(series.items()):
            own: dict[str, Any] = look(index) | ({"markevery": every} if every else {"marker": ""})
            ax.plot(x, y, label=label, linestyle=DASHES[index % len(DASHES)], **own)
            if errors and label in errors:
                bars: dict[str, Any] = {"fmt": "none", "ecolor": own["color"], "elinewidth": 0.7}
                ax.errorbar(x, y, yerr=errors[label], **bars)
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
    lowest: str,
    xlabel: str,
    ylabel: str,
    title: str = "",
    legend: Any = "best",
) -> Axes:
    """Draw the range [low, high] over x as a filled band, its lower edge as a line."""
    with style.applied():
        ax.fill_between(x, low, high, color=style.BLUE, alpha=0.35, linewidth=0, label=label)
        ax.plot(x, low, color=style.BLUE, linewidth=0.6, label=lowest)
    return frame.finish(ax, xlabel=xlabel, ylabel=ylabel, title=title, legend=legend)


def phase_wheel(travelled: FloatArray, *, ax: Axes, title: str = "") -> Axes:
    """Draw how far each pair turns inside the window: arcs of at most one turn, slow pairs outside.

    ``travelled`` is theta_j (L - 1) in radians; a full ring has seen every phase. Radii only keep
    the pairs apart, so there are no axes; the legend says what is drawn.
    """
    full = travelled >= 2 * np.pi
    labels = {
        True: f"{full.sum()} pairs turn fully (fast, inside)",
        False: f"{(~full).sum()} do not: the arc they turn, from the right",
    }
    with style.applied():
        radius = np.linspace(0.25, 1.0, travelled.size)
        for r, angle, whole in zip(radius, travelled, full.tolist(), strict=True):
            turn = np.linspace(0.0, min(float(angle), 2 * np.pi), 181)
            ax.plot(
                r * np.cos(turn),
                r * np.sin(turn),
                color=style.SKY if whole else style.RED,
                linewidth=0.6 if whole else 1.1,
                label=labels.pop(whole, None),
            )
        ax.set_aspect("equal")
        ax.set_axis_off()
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0.02))
    return frame.finish(ax, title=title)


def bars(
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    ax: Axes,
    ylabel: str,
    xlabel: str = "",
    title: str = "",
) -> Axes:
    """Draw grouped bars, one colour and one hatch a series."""
    with style.applied():
        width = 0.8 / len(series)
        middle = np.arange(len(groups))
        for index, (label, values) in enumerate(series.items()):
            offset = (index - (len(series) - 1) / 2) * width
            fill: dict[str, Any] = {"color": look(index)["color"], "edgecolor": "white"}
            fill |= {"hatch": _HATCHES[index % len(_HATCHES)], "linewidth": 0.0}
            ax.bar(middle + offset, values, width * 0.92, label=label, **fill)
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
            own = look(index)
            sizes = np.linspace(14, 42, len(x)) if len(x) > 1 else 34
            ax.plot(x, y, color=own["color"], linewidth=0.7, alpha=0.7)
            ax.scatter(
                x, y, s=sizes, edgecolor="white", linewidth=0.4, label=label, zorder=3, **own
            )
        frame.finish(ax, xlabel=xlabel, ylabel=ylabel, title=title, logx=True, logy=True)
        if within:
            ax.set_xlim(*within[0])
            ax.set_ylim(*within[1])
    for axis, limits in (("x", ax.get_xlim()), ("y", ax.get_ylim())):
        frame.plain_ticks(ax, axis, frame.round_numbers(*limits))
    return ax
