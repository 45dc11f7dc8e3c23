"""Pictures of the statistics of heads: each draws a record on a new figure and saves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pianalysis import charts, plots, style
from pianalysis._validate import FloatArray
from pianalysis.heads.statistics import HeadStatistics
from pianalysis.heads.summary import WorstCaseCurve

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def head_map(found: HeadStatistics) -> Figure:
    """Draw layer x head maps: how far the signed score exceeds its in-window maximum (median)."""
    panels = [(end, _grid(found, f"excess_{end}_median")) for end in (2, 4, 8)]
    limit = max(float(np.nanmax(np.abs(grid))) for _, grid in panels) or 1.0
    figure, axes = plots.new_figure(1, len(panels), width=style.TEXT_WIDTH, height=3.0)
    for (end, grid), ax in zip(panels, axes, strict=True):
        charts.heatmap(
            grid,
            ax=ax,
            xlabel="head",
            ylabel="layer" if end == 2 else "",
            label="median excess (logits)" if end == 8 else "",
            limit=limit,
            title=f"spans {_range(end)}",
        )
    return figure


def _range(end: int) -> str:
    return {2: "L to 2L", 4: "2L to 4L", 8: "4L to 8L"}[end]


def _grid(found: HeadStatistics, column: str) -> FloatArray:
    """Return a column as a (layers, heads) matrix, NaN where a layer has no such head."""
    layer, head = (found.table[name].astype(int) for name in ("layer", "head"))
    layers, row = np.unique(layer, return_inverse=True)
    grid = np.full((layers.size, head.max() + 1), np.nan)
    grid[row, head] = found.table[column]
    return grid


def score_fan(found: HeadStatistics) -> Figure:
    """Draw quantiles of the signed score of all heads against the span."""
    bands = found.bands
    figure, ax = plots.new_figure(width=style.TEXT_WIDTH, height=2.9)
    charts.fan(
        np.sqrt(bands.first * bands.last),
        {"5 to 95%": (bands.p05, bands.p95), "25 to 75%": (bands.p25, bands.p75)},
        bands.median,
        ax=ax,
        xlabel="span s (tokens)",
        ylabel="signed score a(s) (logits)",
        title=f"{len(found.table['head'])} heads, {found.tokens} tokens",
    )
    ax.set_xscale("log", base=2)
    window = found.context_window
    with style.applied():
        ax.axvline(window, color=style.RED, linestyle="--", linewidth=0.9)
        ax.annotate(
            f"window L = {window}",
            (window, 0.97),
            xycoords=("data", "axes fraction"),
            xytext=(-3, 0),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=7,
            color=style.RED,
        )
    return figure


def deviation_against_bounds(found: HeadStatistics) -> Figure:
    """Draw each head's largest chord deviation against its largest bounds; on the line: equal.

    And, for the paper's form, the pair that the search over all causal pairs found: a point above
    the line is a violation of Eq. 5 by a real query and key.
    """
    table = found.table
    figure, ax = plots.new_figure(height=3.2)
    observed = table["deviation_max"]
    kept = observed > 0.0
    forms = {"paper's form (Eq. 5)": "paper", "corrected": "corrected", "weighted": "weighted"}
    series = {
        label: (table[f"{form}_bound_max"][kept], observed[kept]) for label, form in forms.items()
    }
    reached = table["found_deviation"] > 0.0
    series["paper's form, searched pair"] = (
        table["found_bound"][reached],
        table["found_deviation"][reached],
    )
    charts.scatter(
        series,
        ax=ax,
        xlabel="bound (logits)",
        ylabel="deviation from the chord (logits)",
        legend=None,
    )
    plots.shared_legend(figure, rows=2)
    with style.applied():
        ax.axline((1.0, 1.0), (2.0, 2.0), color=style.GREY, linestyle="--", linewidth=0.8)
    return figure


def growth_against_worst_case(found: HeadStatistics, curve: WorstCaseCurve | None) -> Figure:
    """Draw where heads lie under the worst case: growth outside the window against the limit H.

    Without a curve (a window too long for the programme) the heads stand alone.
    """
    table = found.table
    figure, ax = plots.new_figure(height=2.9)
    charts.scatter(
        {
            "median of a head": (table["limit_median"], table["growth_median"]),
            "largest of a head": (table["growth_limit"], table["growth_max"]),
        },
        ax=ax,
        xlabel="H: max|h| over in-window max|a|",
        ylabel="max|a(s)|, L to 8L, over the same",
        legend=None,
    )
    with style.applied():
        if curve is not None:
            label = f"worst case at s = {curve.span:g}"
            ax.plot(curve.max_coefficient, curve.value, color=style.BLACK, label=label)
        ax.legend(loc="upper left")
    return figure
