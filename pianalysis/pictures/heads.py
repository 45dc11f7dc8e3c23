"""Pictures of the statistics of heads: each draws a record on a new figure and saves nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.heads.statistics import HeadStatistics, HeadTable
from pianalysis.heads.summary import WorstCaseCurve
from pianalysis.pictures import clouds, frame, limits, marks, style
from pianalysis.records import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pianalysis.evaluation.likelihood import GapLikelihood
    from pianalysis.evaluation.passkeys import Passkeys


_RANGES = {2: "L to 2L", 4: "2L to 4L", 8: "4L to 8L"}


def head_map(statistics: HeadStatistics, name: str = "") -> Figure:
    """Draw layer x head maps: how far the signed score exceeds its in-window maximum (median)."""
    grids = [_grid(statistics, f"excess_{end}_median") for end in _RANGES]
    limit = max(float(np.nanmax(np.abs(grid))) for grid in grids) or 1.0
    figure, axes = frame.new_figure(1, len(grids), width=style.TEXT_WIDTH, height=3.0)
    for end, grid, ax in zip(_RANGES, grids, axes, strict=True):
        clouds.heatmap(
            grid,
            ax=ax,
            xlabel="head",
            ylabel="layer" if end == 2 else "",
            label="excess: max a(s) there - max a(n), n < L\n(logits, median of the pairs)"
            if end == 8
            else "",
            limit=limit,
            title=f"spans {_RANGES[end]}",
        )
    medians = " / ".join(f"{np.nanmedian(grid):.1f}" for grid in grids)
    with style.applied():
        figure.suptitle(
            f"{_of(name)}largest scores beyond L exceed those inside by {medians} logits "
            "(median head)",
            fontsize=8,
        )
    return figure


def _of(name: str) -> str:
    """Return what a title begins with, where the picture knows its model."""
    return f"{name}: " if name else ""


def _grid(statistics: HeadStatistics, column: str) -> FloatArray:
    """Return a column as a (layers, heads) matrix, NaN where a layer has no such head."""
    layer, head = (statistics.table[name].astype(int) for name in ("layer", "head"))
    layers, row = np.unique(layer, return_inverse=True)
    grid = np.full((layers.size, head.max() + 1), np.nan)
    grid[row, head] = statistics.table[column]
    return grid


def score_fan(statistics: HeadStatistics, name: str = "") -> Figure:
    """Draw quantiles of the signed score of all heads against the span."""
    bands = statistics.bands
    inside = bands.last < statistics.context_window
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=2.9)
    clouds.fan(
        np.sqrt(bands.first * bands.last),
        {"5 to 95%": (bands.p05, bands.p95), "25 to 75%": (bands.p25, bands.p75)},
        bands.median,
        ax=ax,
        xlabel="span s (tokens)",
        ylabel="signed score a(s) (logits)",
        title=f"{_of(name)}95% of scores lie below {bands.p95[inside][-1]:.1f} just before L, "
        f"below {bands.p95[~inside].max():.1f} beyond it "
        f"({len(statistics.table['head'])} heads, {statistics.tokens} tokens)",
    )
    ax.set_xscale("log", base=2)
    window = statistics.context_window
    _window(window, f"window L = {window}", ax=ax, above=True)
    return figure


def deviation_against_bounds(statistics: HeadTable) -> Figure:
    """Draw each head's largest chord deviation against its largest bounds; on the line: equal.

    And, for the paper's form, what the search over all queries and causal keys found: a point above
    the line is a violation of Eq. 5 by a real query and key.
    """
    table = statistics.table
    figure, ax = frame.new_figure(height=3.4)
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
    broken = int((table["found_deviation"] > table["found_bound"]).sum())
    clouds.scatter(
        series,
        ax=ax,
        xlabel="bound (logits)",
        ylabel="deviation from the chord (logits)",
        title=f"a searched pair breaks the paper's bound in\n{broken} of "
        f"{len(table['head'])} heads (points above the line)",
        legend=None,
    )
    with style.applied():
        line: dict[str, Any] = {"color": style.BLACK, "linestyle": "--", "linewidth": 0.8}
        ax.axline((1.0, 1.0), (2.0, 2.0), label="deviation = bound", **line)
    return frame.shared_legend(figure, rows=3)


def growth_against_worst_case(statistics: HeadTable, curve: WorstCaseCurve | None) -> Figure:
    """Draw where heads lie under the worst case: growth outside the window against the limit H.

    Without a curve (a window too long for the programme) the heads stand alone.
    """
    table = statistics.table
    figure, ax = frame.new_figure(height=3.2)
    clouds.scatter(
        {
            "median of a head": (table["limit_median"], table["growth_median"]),
            "largest of a head": (table["growth_limit"], table["growth_max"]),
        },
        ax=ax,
        xlabel="H: max|h|, over max|a(n)|, n < L",
        ylabel="growth: max|a(s)|, L ≤ s < 8L,\nover max|a(n)|, n < L",
        title=f"beyond L |a| is {np.median(table['growth_median']):.2f} times its largest\n"
        f"inside (median), {table['growth_max'].max():.1f} times at most",
        legend=None,
    )
    with style.applied():
        if curve is not None:
            label = f"permitted at s = {curve.span:g}"
            ax.plot(curve.max_coefficient, curve.value, color=style.BLACK, label=label)
    return frame.shared_legend(figure, rows=2)


def figures(records: Mapping[str, Record], name: str) -> dict[str, Figure]:
    """Return file stem -> picture of the records there are of ``heads.measurement.records``.

    ``name`` is that of the checkpoint.
    """
    drawn: Mapping[str, Any] = records
    drawers: dict[str, Callable[[Any], Figure]] = {
        "heads_map": lambda record: head_map(record, name),
        "heads_bands": lambda _: score_fan(drawn["heads_map"], name),
        "heads_bounds": deviation_against_bounds,
        "heads_growth": lambda record: growth_against_worst_case(record, record.curve),
        "heads_softmax": limits.softmax_picture,
        "heads_average": limits.average_picture,
        "heads_permitted": limits.permitted_picture,
        "heads_likelihood": likelihood_picture,
        "heads_passkey": passkey_picture,
    }
    return {stem: drawers[stem](record) for stem, record in drawn.items()}


def likelihood_picture(record: GapLikelihood) -> Figure:
    """Draw the mean negative log-likelihood behind the gap against the gap, a line a scheme."""
    rows = {_scheme(label): record.where(scheme=label) for label in dict.fromkeys(record.scheme)}
    gaps = rows[_scheme(record.scheme[0])].gap
    around = record.prefix + record.tail
    window = record.spec.context_window - around
    targets = [each["target"] for each in record.extensions.values() if "target" in each]
    target = min(targets, default=0) - around
    last = int(np.flatnonzero(gaps <= target)[-1]) if (gaps <= target).any() else len(gaps) - 1
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.0)
    marks.curves(
        gaps.tolist(),
        {label: one.mean for label, one in rows.items()},
        ax=ax,
        xlabel="gap between prefix and tail (tokens)",
        ylabel=f"nats a token, {record.tail} tokens\n(bars: 1 standard error)",
        title=f"{record.checkpoint}, gap {gaps[last]:.0f}: "
        + ", ".join(f"{label} {one.mean[last]:.2f}" for label, one in rows.items())
        + " nats a token",
        every=1,
        errors={label: one.standard_error for label, one in rows.items()},
        legend=None,
    )
    _window(window, "last gap inside the window", ax=ax)
    if window < target <= gaps[-1]:
        _window(target, "last gap inside the target", ax=ax)
    if len(rows) > 1:
        frame.shared_legend(figure)
    return figure


def _scheme(label: str) -> str:
    """Return a scheme's label with the paper's own name for it."""
    return label.replace("linear", "PI (linear)")


def passkey_picture(record: Passkeys) -> Figure:
    """Draw passkeys recalled: a row a scheme, a column a distance, a line up to each k_max."""
    labels = list(dict.fromkeys(record.scheme))
    distances = sorted(set(record.k.tolist()))
    rows = [labels.index(label) for label in record.scheme]
    columns = np.searchsorted(distances, record.k)
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=1.3 + 0.3 * len(labels))
    with style.applied():
        for row, label in enumerate(labels):
            if record.k_max[label]:
                last = distances.index(record.k_max[label])
                ax.plot([0, last], [row, row], color=style.SKY, linewidth=3.0)
        ax.scatter(
            columns,
            rows,
            c=record.recalled / record.trials,
            s=105,
            cmap="Greys",
            vmin=0.0,
            vmax=1.3,  # dark grey, white digits on it
            edgecolor=style.BLACK,
            linewidth=0.5,
            zorder=3,
        )
        centre: dict[str, Any] = {"ha": "center", "va": "center_baseline"}
        for column, row, count in zip(columns, rows, record.recalled, strict=True):
            dark = count > record.trials / 2
            color = "white" if dark else style.BLACK
            ax.text(column, row, f"{count:.0f}", fontsize=7, color=color, zorder=4, **centre)
        ax.set_yticks(range(len(labels)), [_scheme(label) for label in labels])
        ax.set_xticks(range(len(distances)), [f"{distance:.0f}" for distance in distances])
        ax.tick_params(axis="x", labelrotation=45 if len(distances) > 12 else 0)
        ax.set_xlim(-0.6, len(distances) - 0.4)
        ax.set_ylim(len(labels) - 0.2, -0.6)
        ax.set_xlabel("distance from key to question (tokens, not to scale)")
        ax.set_title(
            f"{record.checkpoint}: passkeys recalled of {record.trials:.0f}; line: up to k_max",
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
