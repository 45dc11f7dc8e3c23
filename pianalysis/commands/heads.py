"""`pianalysis heads`: one checkpoint measured, as text, tables and pictures in a folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pianalysis import checks
from pianalysis.commands.parser import OneLineParser, add_original_length, add_out
from pianalysis.extension import Extension
from pianalysis.extension.named import COMPARABLE, comparable_extensions
from pianalysis.records import write_atomic

if TYPE_CHECKING:
    from pianalysis.checkpoints.checkpoint import Checkpoint
    from pianalysis.heads.measurement import Measurement

PARTS = ".heads-parts"  # finished units of a run that has not ended, inside its folder


def measure_model(
    source: str,
    folder: str | os.PathLike[str],
    *,
    text: str | None = None,
    tokens: int = 1024,
    scheme: str | None = None,
    factor: float | None = None,
    pairs: int = 1,
    trials: int = 5,
    seed: int = 0,
    original_length: int | None = None,
    device_map: str | None = None,
) -> tuple[Checkpoint, Measurement]:
    """Open a checkpoint, measure it and write everything into ``folder``.

    Finished units are kept in a hidden folder there until the run has ended: the same call goes on
    where it was stopped.
    """
    from pianalysis.checkpoints.checkpoint import open_checkpoint
    from pianalysis.evaluation.store import FolderStore
    from pianalysis.evaluation.text import default_text, encode, read_text
    from pianalysis.heads.measurement import measure

    out = Path(folder)
    if not out.is_dir():
        raise ValueError(f"out must be an existing directory, got {str(folder)!r}")
    checks.whole("tokens", tokens, at_least=8)
    for name, value in (("pairs", pairs), ("trials", trials)):
        checks.whole(name, value)
    checks.whole("seed", seed, at_least=0)
    if (scheme is None) != (factor is None):
        raise ValueError("scheme and factor go together, got one of them")
    if scheme is not None:
        checks.choice("scheme", scheme, COMPARABLE)
        factor = checks.real("factor", factor, at_least=1.0, at_most=1024.0)
    words = default_text() if text is None else read_text(text)
    checkpoint = open_checkpoint(source, original_length=original_length, device_map=device_map)
    if checkpoint.tokenizer is None:
        raise ValueError(f"model must come with a tokenizer.json to read a text, got {source!r}")
    extensions: dict[str, Extension] = {}
    if scheme is not None and factor is not None:
        target = round(factor * checkpoint.spec.context_window)
        label = f"{scheme} x{factor:g}"
        extensions[label] = comparable_extensions(checkpoint.spec, target, [scheme])[scheme]
    found = measure(
        checkpoint,
        encode(checkpoint.tokenizer, words, tokens),
        extensions=extensions,
        pairs=pairs,
        trials=trials,
        seed=seed,
        store=FolderStore(out / PARTS),
    )
    save(found, out)
    shutil.rmtree(out / PARTS, ignore_errors=True)
    return checkpoint, found


def save(found: Measurement, folder: Path, provenance: Mapping[str, Any] | None = None) -> None:
    """Write every record as CSV and JSON and every picture as PNG, each atomically."""
    import io

    from pianalysis.heads.measurement import records
    from pianalysis.pictures import style
    from pianalysis.pictures.heads import figures

    written = records(found)
    for stem, record in written.items():
        record.save(folder / stem, provenance)
    for stem, figure in figures(written).items():
        out = io.BytesIO()
        with style.applied():
            figure.savefig(out, format="png", metadata={"Software": None})
        write_atomic(folder / f"{stem}.png", out.getvalue())


def table(checkpoint: Checkpoint, found: Measurement) -> str:
    """Return a page of text: the statistics, then reading across a gap by scheme."""
    from tabulate import tabulate

    from pianalysis.heads import summary

    spec = checkpoint.spec
    likelihood, passkey = found.likelihood, found.passkey
    style_: dict[str, Any] = {"disable_numparse": True, "stralign": "right"}
    schemes = list(dict.fromkeys(likelihood.scheme))
    by_gap = [
        [f"{gap}", *(f"{_cell(likelihood, scheme, 'gap', gap, 'mean'):.3f}" for scheme in schemes)]
        for gap in dict.fromkeys(likelihood.gap.tolist())
    ]
    by_distance = [
        [
            f"{distance}",
            *(
                f"{_cell(passkey, scheme, 'distance', distance, 'successes'):.0f}/{passkey.trials}"
                for scheme in schemes
            ),
        ]
        for distance in dict.fromkeys(passkey.distance.tolist())
    ]
    return "\n".join(
        [
            f"{checkpoint.name}: d = {spec.rotary_dim}, base {spec.base:g}, "
            f"window {spec.context_window} tokens",
            "",
            summary.text(summary.summarise(found.statistics)),
            "",
            tabulate(by_gap, headers=["gap", *(f"NLL {s}" for s in schemes)], **style_),
            f"nats a token of {likelihood.tail} tokens behind {likelihood.prefix} and the gap",
            "",
            tabulate(by_distance, headers=["distance", *schemes], **style_),
            "passkeys read out; k_max (20% rule): "
            + ", ".join(f"{scheme} {passkey.k_max[scheme]}" for scheme in schemes),
        ]
    )


def _cell(record: Any, scheme: str, name: str, value: int, column: str) -> float:
    rows = zip(record.scheme, getattr(record, name), getattr(record, column), strict=True)
    return next(float(cell) for label, at, cell in rows if (label, int(at)) == (scheme, value))


def add(commands: Any) -> None:
    """Add the command to the parser."""
    command: OneLineParser = commands.add_parser(
        "heads",
        help="the bounds measured on the trained heads of a checkpoint",
        description="Run a checkpoint on a text, measure every head (coefficients, signed scores "
        "inside and beyond the window, the four bounds, weight that moves) and read a text and "
        "passkeys across gaps in the positions. Writes tables, JSON and pictures; a run that was "
        "stopped goes on when given again.",
        epilog="safetensors and GGUF only; no code of a checkpoint is ever run",
    )
    command.set_defaults(run=run)
    command.add_argument(
        "model", metavar="MODEL", help="directory, .gguf file, hub id, or smollm2 (make models)"
    )
    command.add_argument("--text", metavar="FILE", help="UTF-8 text (default: a play)")
    command.add_argument(
        "--tokens", type=int, default=1024, help="length of the text read (default 1024)"
    )
    command.add_argument(
        "--scheme",
        metavar="NAME",
        help=f"also read across gaps: {', '.join(COMPARABLE)}",
    )
    command.add_argument("--factor", type=float, help="extension factor of --scheme, e.g. 4")
    command.add_argument(
        "--pairs", type=int, default=1, help="keys drawn a query and head (default 1)"
    )
    command.add_argument("--trials", type=int, default=5, help="passkeys a distance (default 5)")
    command.add_argument("--seed", type=int, default=0, help="of all draws (default 0)")
    add_original_length(command)
    command.add_argument(
        "--device-map", metavar="WHERE", help="e.g. auto: spread or offload a model beyond memory"
    )
    add_out(command)


def run(options: Any) -> str:
    """Return what the command prints."""
    from pianalysis.heads.measurement import records

    checkpoint, found = measure_model(
        options.model,
        options.out,
        text=options.text,
        tokens=options.tokens,
        scheme=options.scheme,
        factor=options.factor,
        pairs=options.pairs,
        trials=options.trials,
        seed=options.seed,
        original_length=options.original_length,
        device_map=options.device_map,
    )
    names = ", ".join(f"{stem}.csv/.json" for stem in records(found))
    return f"{table(checkpoint, found)}\n\nwritten to {options.out}: {names} and pictures"
