"""Marks of many values on Axes: fans of quantiles, maps, clouds of points, rows of dots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.pictures import frame, marks, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def points(index: int, *, size: float = 9.0) -> dict[str, Any]:
    """Return how a cloud's points look, by the number of its series: every second one open."""
    own = marks.look(index)
    if index % 2:
        faces = {"facecolors": "none", "edgecolors": own["color"], "linewidths": 0.6}
    else:
        faces = {"color": own["color"], "linewidths": 0.0}
    return {"marker": own["marker"], "s": size, "alpha": 0.8, **faces}


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
    """Draw one cloud of points a series on log-log axes; points at 0 have no place there.

    Every second series has open markers: where clouds overlap, grey tells them apart too.
    """
    with style.applied():
        for index, (label, (x, y)) in enumerate(series.items()):
            ax.scatter(x, y, label=label, **points(index))
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
                **marks.look(index),
            )
        ax.set_yticks(range(len(rows)), rows)
        ax.invert_yaxis()
    return frame.finish(ax, xlabel=xlabel, ylabel=ylabel, title=title, logx=True)
