"""Command line: parses, calls, prints."""

from __future__ import annotations

from collections.abc import Sequence

from pianalysis.commands import compare, evaluate, finetune, heads, phase_error, plan, report
from pianalysis.commands.parser import OneLineParser, carry_out
from pianalysis.version import __version__


def build_parser() -> OneLineParser:
    """Return the parser; one subcommand a task."""
    parser = OneLineParser(
        prog="pianalysis", description="The theory of RoPE context extension, for your model."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (report, compare, heads, evaluate, phase_error, plan, finetune):
        command.add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return carry_out(build_parser(), arguments)
