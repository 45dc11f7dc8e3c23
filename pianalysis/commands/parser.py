"""What the commands share: the parser, common arguments, the folder that files go to."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from pianalysis.extension.named import COMPARABLE
from pianalysis.rope.presets import PRESETS


def check_folder(folder: str | os.PathLike[str]) -> Path:
    """Return an existing folder; refused before the work, not after it."""
    if not Path(folder).is_dir():
        raise ValueError(f"out must be an existing directory, got {str(folder)!r}")
    return Path(folder)


class OneLineParser(argparse.ArgumentParser):
    """Argument parser whose errors are one line on stderr and exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Print ``message`` on one line and leave with status 2."""
        print(f"{self.prog}: error: {' '.join(message.split())}", file=sys.stderr)
        raise SystemExit(2)


def add_model_command(
    commands: Any,
    name: str,
    run: Callable[[Any], str],
    *,
    summary: str,
    description: str,
    target_required: bool = True,
) -> OneLineParser:
    """Add a subcommand that takes a model and a target."""
    command: OneLineParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"presets: {', '.join(PRESETS)}",
    )
    command.set_defaults(run=run)
    command.add_argument("model", metavar="MODEL", help="preset, config.json or directory")
    command.add_argument(
        "--target",
        type=int,
        required=target_required,
        metavar="TOKENS",
        help="extended window, e.g. 32768" + ("" if target_required else " (default: its own)"),
    )
    add_original_length(command)
    command.add_argument(
        "--layer-type", metavar="NAME", help="which RoPE, if layers differ (e.g. full_attention)"
    )
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return command


def add_original_length(command: OneLineParser) -> None:
    """Add ``--original-length``."""
    command.add_argument(
        "--original-length",
        type=int,
        metavar="TOKENS",
        help="pretrained window, if the config lacks it",
    )


def add_out(command: OneLineParser) -> None:
    """Add ``--out``."""
    command.add_argument(
        "--out", default=".", metavar="DIR", help="where the files go (default: here)"
    )


def add_schemes(command: OneLineParser, *, default: str) -> None:
    """Add ``--schemes``."""
    command.add_argument(
        "--schemes",
        metavar="NAMES",
        help=f"comma-separated, of {', '.join(COMPARABLE)}; and 'config', the model's own "
        f"(default: {default})",
    )


def named_schemes(options: Any) -> list[str] | None:
    """Return the names given to ``--schemes``; None where it is left out."""
    names: str | None = options.schemes
    return None if names is None else names.split(",")
