"""Pictures of what is measured across a gap: likelihood and passkey success against distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pianalysis import plots, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pianalysis.heads.distance import GapLikelihood, GapPasskey


def likelihood_picture(record: GapLikelihood) -> Figure:
    """Draw the mean negative log-likelihood behind the gap against the gap, a line a scheme."""
    schemes = np.array(record.scheme)
    series = {label: record.mean[schemes == label] for label in dict.fromkeys(record.scheme)}
    figure, ax = plots.new_figure(width=style.TEXT_WIDTH, height=3.0)
    plots.curves(
        record.gap[schemes == schemes[0]].tolist(),
        series,
        ax=ax,
        xlabel="gap between prefix and tail (tokens)",
        ylabel="nats per token of the tail",
        title=f"{record.checkpoint}: {record.tail} tokens across a gap from {record.prefix}",
        marker="o",
        legend=None,
    )
    window = record.spec.context_window - record.prefix - record.tail
    _window(window, "last gap inside the window", ax=ax)
    if len(series) > 1:
        plots.shared_legend(figure)
    return figure


def passkey_picture(record: GapPasskey) -> Figure:
    """Draw passkeys read out against distance: a row a scheme, a line up to its k_max."""
    labels = list(dict.fromkeys(record.scheme))
    rows = np.array([labels.index(label) for label in record.scheme])
    figure, ax = plots.new_figure(width=style.TEXT_WIDTH, height=1.2 + 0.3 * len(labels))
    with style.applied():
        for row, label in enumerate(labels):
            ax.plot([0, record.k_max[label]], [row, row], color=style.SKY, linewidth=3.0)
        ax.scatter(
            record.distance,
            rows,
            s=105,
            c=record.successes / record.trials,
            cmap="Greys",
            vmin=0.0,
            vmax=1.6,
            edgecolor=style.BLACK,
            linewidth=0.5,
            zorder=3,
        )
        for distance, row, count in zip(record.distance, rows, record.successes, strict=True):
            ax.text(
                distance, row, f"{count}", ha="center", va="center_baseline", fontsize=6, zorder=4
            )
        ax.set_yticks(range(len(labels)), labels)
        ax.set_ylim(len(labels) - 0.4, -0.6)
        ax.set_xlabel("distance from key to question (tokens)")
        ax.set_title(
            f"{record.checkpoint}: passkeys read out of {record.trials}; line: up to k_max",
            loc="left",
        )
    _window(record.spec.context_window, "context window", ax=ax)
    return figure


def _window(tokens: int, text: str, *, ax: Axes) -> None:
    """Mark where the pretrained window ends on the axis of distances."""
    with style.applied():
        ax.axvline(tokens, color=style.GREY, linestyle="--", linewidth=0.8)
        ax.annotate(
            text,
            (tokens, 0.0),
            xycoords=("data", "axes fraction"),
            xytext=(3, 3),
            textcoords="offset points",
            fontsize=7,
            color=style.GREY,
        )
