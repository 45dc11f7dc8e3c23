"""What the commands share: the parser, common arguments, the way from options to a call."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
from collections.abc import Callable, Sequence
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


def carry_out(parser: OneLineParser, arguments: Sequence[str] | None) -> int:
    """Parse, run the command that was chosen and print what it returns; returns the exit status.

    Wrong input, a file that cannot be read and an extra that is not installed are one line.
    """

    def run() -> int:
        options = parser.parse_args(arguments)
        try:
            text: str | None = options.run(options)
        except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
            parser.error(str(error))
        if text is not None:
            print(text)
        return 0

    return printed(parser, run)


def printed(parser: OneLineParser, run: Callable[[], int]) -> int:
    """Call what prints, up to its last byte; returns the exit status.

    A reader that has gone away (``| head``) ends it without a word, with the status of a process
    that SIGPIPE ended; output that cannot be written, as on a full disk, is one line. Ctrl-C is one
    line and the status of SIGINT.
    """
    try:
        try:
            return run()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would fail again when the interpreter ends.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 128 + 13
        parser.error(f"the output could not be written: {error}")
    except KeyboardInterrupt:
        print(f"\n{parser.prog}: interrupted", file=sys.stderr)
        return 128 + 2


def arguments_of(function: Callable[..., Any], options: argparse.Namespace) -> dict[str, Any]:
    """Return those options that a function takes, by the names of its parameters.

    Examples
    --------
    >>> arguments_of(check_folder, argparse.Namespace(folder=".", json=False))
    {'folder': '.'}
    """
    given = vars(options)
    return {name: given[name] for name in inspect.signature(function).parameters if name in given}


def names(text: str) -> list[str]:
    """Return comma-separated names, as the value of an option."""
    return text.split(",")


def whole_numbers(text: str) -> list[int]:
    """Return comma-separated whole numbers, as the value of an option.

    Examples
    --------
    >>> whole_numbers("2048,8192")
    [2048, 8192]
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be whole numbers, comma-separated, got {text!r}"
        ) from None


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
    command.add_argument(
        "--base",
        type=float,
        metavar="C",
        help="RoPE base, if the config lacks it; otherwise another one, beside every scheme",
    )
    add_json(command)
    return command


def add_original_length(command: OneLineParser) -> None:
    """Add ``--original-length``."""
    command.add_argument(
        "--original-length",
        type=int,
        metavar="TOKENS",
        help="pretrained window, if the config lacks it",
    )


def add_json(command: OneLineParser) -> None:
    """Add ``--json``."""
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")


def add_out(command: OneLineParser) -> None:
    """Add ``--out``."""
    command.add_argument(
        "--out", default=".", metavar="DIR", help="where the files go (default: here)"
    )


def add_schemes(command: OneLineParser, *, default: str) -> None:
    """Add ``--schemes``."""
    command.add_argument(
        "--schemes",
        type=names,
        metavar="NAMES",
        help=f"comma-separated, of {', '.join(COMPARABLE)}; and 'config', the model's own "
        f"(default: {default})",
    )
