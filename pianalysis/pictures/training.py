"""The loss curve of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pianalysis.pictures import frame, marks
from pianalysis.records import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pianalysis.finetune.record import FineTuning


def loss_curve(training: FineTuning, *, ax: Axes) -> Axes:
    """Draw the loss of each step."""
    recipe = training.recipe
    return marks.curves(
        training.step,
        {recipe["scheme"]: training.loss},
        ax=ax,
        xlabel=f"step ({recipe['sequence_length'] * recipe['batch']} tokens each)",
        ylabel="loss (nats per token)",
        title=f"{recipe['scheme']}, {training.spec.context_window} to {recipe['target']} tokens",
        legend=None,
    )


def save_loss_curve(training: FineTuning, path: Path) -> None:
    """Write the loss curve as PNG."""
    figure, ax = frame.new_figure()
    loss_curve(training, ax=ax)
    write_atomic(path, frame.png(figure))
