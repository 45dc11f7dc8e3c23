"""Command line: parses, calls, prints."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pianalysis
from pianalysis.records import plain


class OneLineParser(argparse.ArgumentParser):
    """Argument parser whose errors are one line on stderr and exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Print ``message`` on one line and leave with status 2."""
        print(f"{self.prog}: error: {' '.join(message.split())}", file=sys.stderr)
        raise SystemExit(2)


def build_parser() -> OneLineParser:
    """Return the parser; one subcommand a task."""
    parser = OneLineParser(
        prog="pianalysis", description="The theory of RoPE context extension, for your model."
    )
    parser.add_argument("--version", action="version", version=pianalysis.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_report(commands)
    _add_compare(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        print(options.run(options))
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))
    return 0


def _add_model_command(
    commands: Any, name: str, run: Callable[[Any], str], *, summary: str, description: str
) -> OneLineParser:
    """Add a subcommand that takes a model and a target."""
    command: OneLineParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"presets: {', '.join(pianalysis.PRESETS)}",
    )
    command.set_defaults(run=run)
    command.add_argument("model", metavar="MODEL", help="preset, config.json or directory")
    command.add_argument(
        "--target", type=int, required=True, metavar="TOKENS", help="extended window, e.g. 32768"
    )
    command.add_argument(
        "--original-length",
        type=int,
        metavar="TOKENS",
        help="pretrained window, if the config lacks it",
    )
    command.add_argument(
        "--layer-type", metavar="NAME", help="which RoPE, if layers differ (e.g. full_attention)"
    )
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return command


def _add_report(commands: Any) -> None:
    _add_model_command(
        commands,
        "report",
        _report,
        summary="bounds, ratios, first span with B < d and wavelengths of one model",
        description="Print the bounds of one model extended to a target window, for max|h| = 1.",
    )


def _report(options: Any) -> str:
    from pianalysis import report

    spec, source = report.find_model(
        options.model, original_length=options.original_length, layer_type=options.layer_type
    )
    found = report.build(options.model, source, spec, options.target)
    return found.json().rstrip() if options.json else report.table(found)


def _add_compare(commands: Any) -> None:
    from pianalysis.compare import COMPARABLE

    command = _add_model_command(
        commands,
        "compare",
        _compare,
        summary="worst-case growth against resolution, for every extension scheme",
        description="Compare extension schemes of one model at one target: the exact worst-case "
        "growth of a score and the exact worst-case adjacent contrast. Prints a table and writes "
        "a picture, CSV and JSON.",
    )
    command.add_argument(
        "--schemes",
        metavar="NAMES",
        help=f"comma-separated, of {', '.join(COMPARABLE)}; and 'config', the model's own "
        "(default: all)",
    )
    command.add_argument(
        "--out", default=".", metavar="DIR", help="where the files go (default: here)"
    )


def _compare(options: Any) -> str:
    from pianalysis import compare_report

    compare_report.check_folder(options.out)
    found = compare_report.compare_model(
        options.model,
        options.target,
        schemes=None if options.schemes is None else options.schemes.split(","),
        original_length=options.original_length,
        layer_type=options.layer_type,
    )
    name = f"compare_{Path(options.model).stem}_{found.target}"
    stem = compare_report.save(found, options.out, name)
    if options.json:
        return json.dumps(plain(found), indent=2)
    text = compare_report.table(found)
    return f"{options.model}\n{text}\n\nwritten: {stem}.png, .csv, .json"
