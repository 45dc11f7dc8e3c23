"""`pianalysis heads`: one checkpoint measured, as text, tables and pictures in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pianalysis import checks
from pianalysis.commands.checkpoint import (
    add_checkpoint_command,
    add_draws,
    check_draws,
    kept_units,
    open_model,
    save,
    words,
)
from pianalysis.commands.parser import check_folder
from pianalysis.commands.text import across_gaps, passkeys_read
from pianalysis.extension import PositionInterpolation

if TYPE_CHECKING:
    from pianalysis.checkpoints.checkpoint import Checkpoint
    from pianalysis.heads.measurement import Measurement

PARTS = ".heads-parts"  # finished units of a run that has not ended, inside its folder


def table(checkpoint: Checkpoint, measurement: Measurement) -> str:
    """Return a page of text: the statistics, then reading across a gap by scheme."""
    from pianalysis.heads import summary

    spec = checkpoint.spec
    own = checkpoint.scheme
    loaded = [] if own is None else [f"as loaded: {type(own).__name__} to {own.target} tokens"]
    return "\n".join(
        [
            f"{checkpoint.name}: d = {spec.rotary_dim}, base {spec.base:g}, "
            f"window {spec.context_window} tokens",
            *loaded,
            "",
            summary.text(summary.summarise(measurement.statistics)),
            "",
            summary.limits_text(measurement.statistics, measurement.permitted),
            "",
            across_gaps(measurement.likelihood),
            "",
            passkeys_read(measurement.passkey),
        ]
    )


def add(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_checkpoint_command(
        commands,
        "heads",
        summary="the bounds measured on the trained heads of a checkpoint",
        description="Run a checkpoint on a text, measure every head (coefficients, signed scores "
        "inside and beyond the window, the four bounds, weight that moves, what their own limits "
        "permit, attention after interpolation, averages) and read a text and passkeys across gaps "
        "in the positions. Writes tables, JSON and pictures.",
    )
    command.set_defaults(run=run)
    add_draws(command, tokens=1024, trials=5)
    command.add_argument(
        "--draws", type=int, default=1, help="keys drawn a query and head (default 1)"
    )


def run(options: Any) -> str:
    """Measure, write everything into the folder and return what the command prints."""
    from pianalysis.evaluation.text import encode
    from pianalysis.heads.measurement import measure, records
    from pianalysis.pictures.heads import figures

    out = check_folder(options.out)
    checks.whole("draws", options.draws)
    check_draws(options)
    text = words(options.text)
    checkpoint, extensions = open_model(options)
    own = checkpoint.scheme
    if not extensions and own is not None and not isinstance(own, PositionInterpolation):
        # The model's own scheme, as loaded, beside Position Interpolation at the same target.
        extensions = {"linear": PositionInterpolation(checkpoint.spec, own.target)}
    with kept_units(out / PARTS) as store:
        measurement = measure(
            checkpoint,
            encode(checkpoint.tokenizer, text, options.tokens),
            extensions=extensions,
            draws=options.draws,
            trials=options.trials,
            seed=options.seed,
            store=store,
        )
        written = records(measurement)
        save(written, figures(written, checkpoint.name), out)
    names = ", ".join(f"{stem}.csv/.json" for stem in written)
    return f"{table(checkpoint, measurement)}\n\nwritten to {options.out}: {names} and pictures"
