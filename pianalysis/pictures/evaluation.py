"""Pictures of a model read: perplexity, passkeys of whole prompts, short tasks, summaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.pictures import frame, marks, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pianalysis.evaluation.passkeys import Passkeys
    from pianalysis.evaluation.perplexity import Perplexity
    from pianalysis.evaluation.summaries import SummaryScores
    from pianalysis.evaluation.tasks import TaskAccuracy

_ERROR: dict[str, Any] = {"fmt": "none", "ecolor": style.BLACK, "elinewidth": 0.7, "capsize": 1.5}


def perplexity_picture(record: Perplexity) -> Figure:
    """Draw perplexity against the sliding window, a line a scheme."""
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.0)
    marks.curves(
        list(dict.fromkeys(record.window.tolist())),
        {label: record.where(scheme=label).perplexity for label in _schemes(record)},
        ax=ax,
        xlabel="sliding window (tokens)",
        ylabel="perplexity",
        title=f"{record.checkpoint}: stride {record.stride}, pooled by {record.pooling}",
        every=1,
        legend=None,
    )
    _pretrained(record.spec.context_window, ax=ax)
    frame.shared_legend(figure)
    return figure


def whole_passkey_picture(record: Passkeys) -> Figure:
    """Draw the share of passkeys recalled and of those written against k, a colour a scheme."""
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.0)
    distances = list(dict.fromkeys(record.k.tolist()))
    marks.curves(
        distances,
        {
            f"{label}, k_max {record.k_max[label]}": (
                record.where(scheme=label).recalled / record.trials
            )
            for label in _schemes(record)
        },
        ax=ax,
        xlabel="k: distance from the key to the question (tokens)",
        ylabel=f"share of {record.trials} passkeys recalled",
        title=f"{record.checkpoint}: the key k tokens back; dotted: written after the question",
        every=1,
        legend=None,
    )
    with style.applied():
        for index, label in enumerate(_schemes(record)):
            written = record.where(scheme=label).written / record.trials
            color = marks.look(index)["color"]
            ax.plot(distances, written, color=color, linestyle=":", linewidth=1.0)
        ax.set_ylim(-0.05, 1.05)
    _pretrained(record.spec.context_window, ax=ax)
    frame.shared_legend(figure, rows=2)
    return figure


def task_picture(record: TaskAccuracy) -> Figure:
    """Draw the accuracy on each task and metric with its standard error, a bar a scheme."""
    by_scheme = {label: record.where(scheme=label) for label in _schemes(record)}
    first = by_scheme[record.scheme[0]]
    return _bars(
        [f"{task}\n{metric}" for task, metric in zip(first.task, first.metric, strict=True)],
        {label: 100.0 * rows.value for label, rows in by_scheme.items()},
        errors=[100.0 * rows.standard_error for rows in by_scheme.values()],
        ylabel="accuracy (%)",
        title=f"{record.checkpoint}: short tasks without examples, inside the window",
    )


def summary_picture(record: SummaryScores) -> Figure:
    """Draw ROUGE-1, -2 and -L, a bar a scheme."""
    scores = np.array([record.rouge_1, record.rouge_2, record.rouge_l])
    return _bars(
        ["ROUGE-1", "ROUGE-2", "ROUGE-L"],
        {label: scores[:, row] for row, label in enumerate(record.scheme)},
        ylabel="F-measure (%)",
        title=f"{record.checkpoint}: summaries of {record.count[0]} reports",
    )


def _bars(
    groups: list[str],
    series: dict[str, FloatArray],
    *,
    ylabel: str,
    title: str,
    errors: list[FloatArray] | None = None,
) -> Figure:
    """Draw grouped bars, each with its standard error where there is one, the legend below."""
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.0)
    marks.bars(
        groups,
        {label: values.tolist() for label, values in series.items()},
        ax=ax,
        ylabel=ylabel,
        title=title,
    )
    with style.applied():
        for bars, error in zip(list(ax.containers), errors or [], strict=False):
            middle = [bar.get_x() + bar.get_width() / 2 for bar in bars]
            ax.errorbar(middle, [bar.get_height() for bar in bars], yerr=error, **_ERROR)
        ax.set_ylim(bottom=0.0)
    if ax.get_legend() is not None:
        ax.get_legend().remove()
        frame.shared_legend(figure)
    return figure


def _schemes(record: Any) -> list[str]:
    return list(dict.fromkeys(record.scheme))


def _pretrained(window: int, *, ax: Axes) -> None:
    """Mark where the pretrained window ends, with an entry of the legend."""
    with style.applied():
        ax.axvline(
            window, color=style.GREY, linestyle="--", linewidth=0.8, label="pretrained window"
        )
