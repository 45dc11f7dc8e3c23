"""Command line: parses, calls, prints."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

import pianalysis


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
    commands = parser.add_subparsers(dest="command", required=True, metavar="report")
    report = commands.add_parser(
        "report",
        help="bounds, ratios, first span with B < d and wavelengths of one model",
        description="Print the bounds of one model extended to a target window, for max|h| = 1.",
        epilog=f"presets: {', '.join(pianalysis.PRESETS)}",
    )
    report.add_argument("model", metavar="MODEL_OR_CONFIG", help="preset, config.json or directory")
    report.add_argument(
        "--target", type=int, required=True, metavar="TOKENS", help="extended window, e.g. 32768"
    )
    report.add_argument(
        "--original-length",
        type=int,
        metavar="TOKENS",
        help="pretrained window, if the config lacks it",
    )
    report.add_argument(
        "--layer-type", metavar="NAME", help="which RoPE, if layers differ (e.g. full_attention)"
    )
    report.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    from pianalysis import report

    try:
        spec, source = report.find_model(
            options.model, original_length=options.original_length, layer_type=options.layer_type
        )
        found = report.build(options.model, source, spec, options.target)
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))
    print(found.json(), end="") if options.json else print(report.table(found))
    return 0
