"""Heads against their own limits, after the softmax and on average; each saves nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.pictures import clouds, frame, marks, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pianalysis.heads.measurement import HeadColumns
    from pianalysis.heads.permitted import PermittedScores

_SPREAD = 0.25  # of a layer's points of several series, in layers


def permitted_picture(record: PermittedScores) -> Figure:
    """Draw, for one head a layer, its largest score beyond the window below what is permitted."""
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.1)
    marks.curves(
        record.layer,
        {
            "permitted: |a(n)| ≤ max(l, u), |h| ≤ H": record.two_sided,
            "permitted: -l ≤ a(n) ≤ u, |h| ≤ H": record.one_sided,
            "permitted: each pair's |h_j| limited too": record.pairwise,
            "observed: largest a(s), L ≤ s < 2L": record.observed,
            "u: largest trained score": record.high,
        },
        ax=ax,
        xlabel="layer: of each the head whose observed / u is largest",
        ylabel="score (logits)",
        title="one head a layer, the furthest beyond its largest trained score u: past L = "
        f"{record.context_window} it reaches {np.median(record.observed / record.high):.2g} u,\n"
        "and its limits -l ≤ a(n) ≤ u, |h| ≤ H alone permit "
        f"{np.median(record.one_sided / record.high):.2g} u (medians)",
        logy=True,
        every=1,
        legend=None,
    )
    frame.plain_ticks(ax, "y", [3, 10, 30, 100, 300])
    return frame.shared_legend(figure, rows=2)


def softmax_picture(record: HeadColumns) -> Figure:
    """Draw the bounded distance against its bound, and beside it the one that has no bound."""
    table = record.table
    figure, (left, right) = frame.new_figure(1, 2, width=style.TEXT_WIDTH, height=3.4)
    levels = {"median of a head's queries": "median", "largest": "max"}
    clouds.scatter(
        {
            label: (table[f"from_chords_bound_{level}"], table[f"from_chords_{level}"])
            for label, level in levels.items()
        },
        ax=left,
        xlabel=r"bound tanh($\delta$/2), $\delta$: bound on a logit's change",
        ylabel="total variation, measured",
        title="PI by 2 against interpolated trained logits:\nbelow the bound",
        legend=None,
    )
    with style.applied():
        left.axline((0.1, 0.1), (0.2, 0.2), color=style.GREY, linestyle="--", linewidth=0.8)
        left.annotate(
            "measured = bound",
            (0.02, 0.02),
            xytext=(0, 4),
            textcoords="offset points",
            ha="right",
            fontsize=7,
            color=style.BLACK,
        )
    near, far = (
        100.0 * np.median(table[f"from_{name}_median"]) for name in ("chords", "unextended")
    )
    _by_layer(
        table["layer"],
        {
            "the unextended model (no bound)": table["from_unextended_median"],
            "interpolated trained logits (bounded)": table["from_chords_median"],
        },
        ax=right,
        ylabel="total variation, median of 64 queries",
        title=f"attention under PI differs by {far:.2g}% from the\nunextended model's, by "
        f"{near:.2g}% from\ninterpolation's (medians)",
    )
    right.set_yscale("log")
    for ax in (left, right):
        frame.legend_below(ax)
    return figure


def average_picture(record: HeadColumns) -> Figure:
    """Draw measured over predicted root mean squares of every head, by layer."""
    table = record.table
    figure, (left, right) = frame.new_figure(1, 2, width=style.TEXT_WIDTH, height=3.2)
    _by_layer(
        table["layer"],
        {
            "a(s) at the spans of the text": _ratio(table, "rms_own", "rms_predicted"),
            "a(s) anywhere in the window": _ratio(table, "rms_1", "rms_predicted"),
        },
        ax=left,
        ylabel="root mean square, measured /\npredicted by independent phases",
        title=f"rms measured / predicted: {_middle(table, 'rms_own'):.2f} at the\ntext's spans, "
        f"{_middle(table, 'rms_1'):.2f} anywhere in L (median heads)",
    )
    _by_layer(
        table["layer"],
        {
            "a(s), L ≤ s < 2L": _ratio(table, "rms_2", "rms_predicted"),
            "a(s) minus its chord, mid-way between trained spans": _ratio(
                table, "rms_deviation", "rms_deviation_predicted"
            ),
        },
        ax=right,
        ylabel="",
        title=f"rms measured / predicted: {_middle(table, 'rms_2'):.2f} on [L, 2L),\n"
        f"{_middle(table, 'rms_deviation', 'rms_deviation_predicted'):.2f} off the chord "
        "(median heads)",
    )
    right.sharey(left)
    left.set_yscale("log")
    frame.plain_ticks(left, "y", [0.25, 0.5, 1.0, 2.0])
    for ax in (left, right):
        with style.applied():
            ax.axhline(1.0, color=style.BLACK, linestyle="--", linewidth=0.8)
        frame.legend_below(ax)
    return figure


def _ratio(table: Mapping[str, FloatArray], top: str, bottom: str) -> FloatArray:
    """Return measured over predicted, NaN for a head whose prediction is 0."""
    out: FloatArray = np.full(table[top].shape, np.nan)
    np.divide(table[top], table[bottom], out=out, where=table[bottom] > 0.0)
    return out


def _middle(table: Mapping[str, FloatArray], top: str, bottom: str = "rms_predicted") -> float:
    """Return the median over heads of measured over predicted."""
    return float(np.nanmedian(_ratio(table, top, bottom)))


def _by_layer(
    layer: FloatArray, series: Mapping[str, FloatArray], *, ax: Axes, ylabel: str, title: str
) -> None:
    """Draw a point a head above its layer, series side by side, told apart by marker too."""
    places = np.linspace(-_SPREAD, _SPREAD, len(series))
    with style.applied():
        for index, (label, values) in enumerate(series.items()):
            ax.scatter(layer + places[index], values, label=label, **clouds.points(index))
    frame.finish(ax, xlabel="layer", ylabel=ylabel, title=title)
