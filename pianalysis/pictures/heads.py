"""Pictures of the statistics of heads: each draws a record on a new figure and saves nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.heads.statistics import HeadStatistics
from pianalysis.heads.summary import WorstCaseCurve
from pianalysis.pictures import frame, limits, marks, style
from pianalysis.records import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pianalysis.evaluation.likelihood import GapLikelihood
    from pianalysis.evaluation.passkeys import GapPasskey


_RANGES = {2: "L to 2L", 4: "2L to 4L", 8: "4L to 8L"}


def head_map(statistics: HeadStatistics) -> Figure:
    """Draw layer x head maps: how far the signed score exceeds its in-window maximum (median)."""
    grids = [_grid(statistics, f"excess_{end}_median") for end in _RANGES]
    limit = max(float(np.nanmax(np.abs(grid))) for grid in grids) or 1.0
    figure, axes = frame.new_figure(1, len(grids), width=style.TEXT_WIDTH, height=3.0)
    for end, grid, ax in zip(_RANGES, grids, axes, strict=True):
        marks.heatmap(
            grid,
            ax=ax,
            xlabel="head",
            ylabel="layer" if end == 2 else "",
            label="median excess (logits)" if end == 8 else "",
            limit=limit,
            title=f"spans {_RANGES[end]}",
        )
    return figure


def _grid(statistics: HeadStatistics, column: str) -> FloatArray:
    """Return a column as a (layers, heads) matrix, NaN where a layer has no such head."""
    layer, head = (statistics.table[name].astype(int) for name in ("layer", "head"))
    layers, row = np.unique(layer, return_inverse=True)
    grid = np.full((layers.size, head.max() + 1), np.nan)
    grid[row, head] = statistics.table[column]
    return grid


def score_fan(statistics: HeadStatistics) -> Figure:
    """Draw quantiles of the signed score of all heads against the span."""
    bands = statistics.bands
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=2.9)
    marks.fan(
        np.sqrt(bands.first * bands.last),
        {"5 to 95%": (bands.p05, bands.p95), "25 to 75%": (bands.p25, bands.p75)},
        bands.median,
        ax=ax,
        xlabel="span s (tokens)",
        ylabel="signed score a(s) (logits)",
        title=f"{len(statistics.table['head'])} heads, {statistics.tokens} tokens",
    )
    ax.set_xscale("log", base=2)
    window = statistics.context_window
    _window(window, f"window L = {window}", ax=ax, above=True)
    return figure


def deviation_against_bounds(statistics: HeadStatistics) -> Figure:
    """Draw each head's largest chord deviation against its largest bounds; on the line: equal.

    And, for the paper's form, what the search over all queries and causal keys found: a point above
    the line is a violation of Eq. 5 by a real query and key.
    """
    table = statistics.table
    figure, ax = frame.new_figure(height=3.2)
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
    marks.scatter(
        series,
        ax=ax,
        xlabel="bound (logits)",
        ylabel="deviation from the chord (logits)",
        legend=None,
    )
    frame.shared_legend(figure, rows=2)
    with style.applied():
        ax.axline((1.0, 1.0), (2.0, 2.0), color=style.GREY, linestyle="--", linewidth=0.8)
    return figure


def growth_against_worst_case(statistics: HeadStatistics, curve: WorstCaseCurve | None) -> Figure:
    """Draw where heads lie under the worst case: growth outside the window against the limit H.

    Without a curve (a window too long for the programme) the heads stand alone.
    """
    table = statistics.table
    figure, ax = frame.new_figure(height=2.9)
    marks.scatter(
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


def figures(records: Mapping[str, Record]) -> dict[str, Figure]:
    """Return file stem -> picture, drawn from ``heads.measurement.records``."""
    drawn: Mapping[str, Any] = records
    statistics = drawn["heads_map"]
    out = {
        "heads_map": head_map(statistics),
        "heads_bands": score_fan(statistics),
        "heads_bounds": deviation_against_bounds(statistics),
        "heads_growth": growth_against_worst_case(statistics, drawn["heads_growth"].curve),
        "heads_softmax": limits.softmax_picture(drawn["heads_softmax"]),
        "heads_average": limits.average_picture(drawn["heads_average"]),
        "heads_likelihood": likelihood_picture(drawn["heads_likelihood"]),
        "heads_passkey": passkey_picture(drawn["heads_passkey"]),
    }
    if "heads_permitted" in drawn:
        out["heads_permitted"] = limits.permitted_picture(drawn["heads_permitted"])
    return out


def likelihood_picture(record: GapLikelihood) -> Figure:
    """Draw the mean negative log-likelihood behind the gap against the gap, a line a scheme."""
    rows = {label: record.where(scheme=label) for label in dict.fromkeys(record.scheme)}
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.0)
    marks.curves(
        rows[record.scheme[0]].gap.tolist(),
        {label: one.mean for label, one in rows.items()},
        ax=ax,
        xlabel="gap between prefix and tail (tokens)",
        ylabel="nats per token of the tail",
        title=f"{record.checkpoint}: {record.tail} tokens across a gap from {record.prefix}",
        marker="o",
        legend=None,
    )
    window = record.spec.context_window - record.prefix - record.tail
    _window(window, "last gap inside the window", ax=ax)
    if len(rows) > 1:
        frame.shared_legend(figure)
    return figure


def passkey_picture(record: GapPasskey) -> Figure:
    """Draw passkeys read out: a row a scheme, a column a distance, a line up to each k_max."""
    labels = list(dict.fromkeys(record.scheme))
    distances = sorted(set(record.distance.tolist()))
    rows = [labels.index(label) for label in record.scheme]
    columns = np.searchsorted(distances, record.distance)
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=1.3 + 0.3 * len(labels))
    with style.applied():
        for row, label in enumerate(labels):
            if record.k_max[label]:
                last = distances.index(record.k_max[label])
                ax.plot([0, last], [row, row], color=style.SKY, linewidth=3.0)
        ax.scatter(
            columns,
            rows,
            c=record.successes / record.trials,
            s=105,
            cmap="Greys",
            vmin=0.0,
            vmax=1.6,
            edgecolor=style.BLACK,
            linewidth=0.5,
            zorder=3,
        )
        centre: dict[str, Any] = {"ha": "center", "va": "center_baseline"}
        for column, row, count in zip(columns, rows, record.successes, strict=True):
            ax.text(column, row, f"{count}", fontsize=6, zorder=4, **centre)
        ax.set_yticks(range(len(labels)), labels)
        ax.set_xticks(range(len(distances)), [f"{distance}" for distance in distances])
        ax.tick_params(axis="x", labelrotation=45 if len(distances) > 12 else 0)
        ax.set_xlim(-0.6, len(distances) - 0.4)
        ax.set_ylim(len(labels) - 0.2, -0.6)
        ax.set_xlabel("distance from key to question (tokens, not to scale)")
        ax.set_title(
            f"{record.checkpoint}: passkeys read out of {record.trials}; line: up to k_max",
            loc="left",
        )
    inside = np.searchsorted(distances, record.spec.context_window, side="right")
    _window(float(inside) - 0.5, "beyond the context window", ax=ax)
    return figure


def _window(place: float, text: str, *, ax: Axes, above: bool = False) -> None:
    """Mark where the pretrained window ends on the x axis: grey, text right of it; red, above."""
    color = style.RED if above else style.GREY
    with style.applied():
        ax.axvline(place, color=color, linestyle="--", linewidth=0.9 if above else 0.8)
        ax.annotate(
            text,
            (place, 0.97 if above else 0.0),
            xycoords=("data", "axes fraction"),
            xytext=(-3, 0) if above else (3, 3),
            textcoords="offset points",
            ha="right" if above else "left",
            va="top" if above else "baseline",
            fontsize=7,
            color=color,
        )
