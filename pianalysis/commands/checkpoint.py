"""What the commands that open a checkpoint share: their arguments, its text, its schemes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pianalysis import checks
from pianalysis.commands.parser import OneLineParser, add_original_length, add_out
from pianalysis.extension import Extension
from pianalysis.extension.named import COMPARABLE, comparable_extensions
from pianalysis.records import Record, alone, clear_drafts, write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pianalysis.checkpoints.checkpoint import Checkpoint
    from pianalysis.evaluation.store import FolderStore


def add_checkpoint_command(
    commands: Any, name: str, *, summary: str, description: str
) -> OneLineParser:
    """Add a subcommand that opens a checkpoint and goes on where it was stopped."""
    command: OneLineParser = commands.add_parser(
        name,
        help=summary,
        description=f"{description} A run that was stopped goes on when given again.",
        epilog="safetensors and GGUF only; no code of a checkpoint is ever run",
    )
    command.add_argument(
        "model", metavar="MODEL", help="directory, .gguf file, hub id, or smollm2 (make models)"
    )
    command.add_argument(
        "--scheme", metavar="NAME", help=f"also read under one of {', '.join(COMPARABLE)}"
    )
    command.add_argument("--factor", type=float, help="extension factor of --scheme, e.g. 4")
    add_original_length(command)
    command.add_argument(
        "--device-map", metavar="WHERE", help="e.g. auto: spread or offload a model beyond memory"
    )
    add_out(command)
    return command


def add_draws(command: OneLineParser, *, tokens: int, trials: int) -> None:
    """Add what is read and drawn: ``--text``, ``--tokens``, ``--trials`` and ``--seed``."""
    command.add_argument("--text", metavar="FILE", help="UTF-8 text (default: a play)")
    command.add_argument(
        "--tokens", type=int, default=tokens, help=f"length of the text read (default {tokens})"
    )
    command.add_argument(
        "--trials", type=int, default=trials, help=f"passkeys a distance (default {trials})"
    )
    command.add_argument("--seed", type=int, default=0, help="of all draws (default 0)")


def check_draws(options: Any) -> None:
    """Refuse wrong numbers and a scheme without its factor, before the model is opened."""
    checks.whole("tokens", options.tokens, at_least=8)
    checks.whole("trials", options.trials)
    checks.whole("seed", options.seed, at_least=0)
    if (options.scheme is None) != (options.factor is None):
        raise ValueError("scheme and factor go together, got one of them")
    if options.scheme is not None:
        checks.choice("scheme", options.scheme, COMPARABLE)
        options.factor = checks.real("factor", options.factor, at_least=1.0, at_most=1024.0)


def open_model(options: Any) -> tuple[Checkpoint, dict[str, Extension]]:
    """Return the checkpoint and the extension asked for, by its label."""
    from pianalysis.checkpoints.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(
        options.model, original_length=options.original_length, device_map=options.device_map
    )
    if checkpoint.tokenizer is None:
        raise ValueError(
            f"model must come with a tokenizer.json to read a text, got {options.model!r}"
        )
    if options.scheme is None:
        return checkpoint, {}
    target = round(options.factor * checkpoint.spec.context_window)
    extensions = comparable_extensions(checkpoint.spec, target, [options.scheme])
    return checkpoint, {f"{options.scheme} x{options.factor:g}": extensions[options.scheme]}


def words(path: str | None) -> str:
    """Return the text of a file, or the default one."""
    from pianalysis.evaluation.text import default_text, read_text

    return default_text() if path is None else read_text(path)


@contextmanager
def kept_units(folder: Path) -> Iterator[FolderStore]:
    """Keep finished units in a folder until the block has ended well; what is stopped goes on.

    Raises
    ------
    ValueError
        Another run keeps its units there now.
    """
    from pianalysis.evaluation.store import FolderStore

    clear_drafts(folder.parent)
    folder.mkdir(exist_ok=True)
    with alone(folder, wait=False):
        try:
            yield FolderStore(folder)
        except BaseException:
            with suppress(OSError):  # it holds units
                folder.rmdir()
            raise
        shutil.rmtree(folder, ignore_errors=True)


def save(
    records: Mapping[str, Record],
    pictures: Mapping[str, Figure],
    folder: Path,
) -> None:
    """Write records by file stem as CSV and JSON and pictures as PNG, each atomically."""
    from pianalysis.pictures import frame

    for stem, record in records.items():
        record.save(folder / stem)
    for stem, figure in pictures.items():
        write_atomic(folder / f"{stem}.png", frame.png(figure))
