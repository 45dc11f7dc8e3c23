"""Pictures of what is measured across a gap: likelihood and passkey success against distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pianalysis import plots, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pianalysis.heads.distance import GapLikelihood, GapPasskey

_REACH: dict[str, Any] = {"color": style.SKY, "linewidth": 3.0}
_COUNTED: dict[str, Any] = {
    **{"s": 105, "cmap": "Greys", "vmin": 0.0, "vmax": 1.6},
    **{"edgecolor": style.BLACK, "linewidth": 0.5, "zorder": 3},
}
_NUMBER: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": 6, "zorder": 4}


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
    """Draw passkeys read out: a row a scheme, a column a distance, a line up to each k_max."""
    labels = list(dict.fromkeys(record.scheme))
    distances = sorted(set(record.distance.tolist()))
    rows = [labels.index(label) for label in record.scheme]
    columns = np.searchsorted(distances, record.distance)
    figure, ax = plots.new_figure(width=style.TEXT_WIDTH, height=1.3 + 0.3 * len(labels))
    with style.applied():
        for row, label in enumerate(labels):
            if record.k_max[label]:
                ax.plot([0, distances.index(record.k_max[label])], [row, row], **_REACH)
        ax.scatter(columns, rows, c=record.successes / record.trials, **_COUNTED)
        for column, row, count in zip(columns, rows, record.successes, strict=True):
            ax.text(column, row, f"{count}", **_NUMBER)
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


def _window(place: float, text: str, *, ax: Axes) -> None:
    """Mark where the pretrained window ends on the x axis."""
    with style.applied():
        ax.axvline(place, color=style.GREY, linestyle="--", linewidth=0.8)
        ax.annotate(
            text,
            (place, 0.0),
            xycoords=("data", "axes fraction"),
            xytext=(3, 3),
            textcoords="offset points",
            fontsize=7,
            color=style.GREY,
        )
