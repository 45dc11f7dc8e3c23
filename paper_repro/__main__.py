"""Command line: python -m paper_repro list | run [ITEM ...] | check."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from paper_repro import runner
from pianalysis.commands.parser import OneLineParser, printed


def build_parser() -> OneLineParser:
    """Return the parser; one subcommand a verb."""
    parser = OneLineParser(
        prog="paper_repro",
        description="Regenerate the figures, tables and claims of arXiv:2306.15595.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list | run | check")
    verbs.add_parser("list", help="name every item and what it regenerates")
    run = verbs.add_parser("run", help="compute, draw and write items (all of them by default)")
    run.add_argument("items", nargs="*", metavar="ITEM", help=", ".join(runner.ITEMS))
    run.add_argument("--seed", type=int, default=0, help="of all draws (default 0)")
    run.add_argument(
        "--tier",
        help="of finetune: quick, cpu (two hours; default where the item is named), gpu",
    )
    run.add_argument(
        "--fresh", action="store_true", help="compute anew what build/kept has of the same sources"
    )
    check = verbs.add_parser("check", help="recompute all verdicts; exit 1 when one changed")
    for verb in (run, check):
        verb.add_argument(
            "--out", default="figures", metavar="DIR", help="folder (default figures)"
        )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = build_parser()
    return printed(parser, lambda: _run(parser, arguments))


def _run(parser: OneLineParser, arguments: Sequence[str] | None) -> int:
    options = parser.parse_args(arguments)
    try:
        if options.verb == "list":
            for name in runner.ITEMS:
                print(f"{name:<10} {runner.title(name)}")
            return 0
        folder = Path(options.out)
        if options.verb == "run":
            readme = Path("README.md")
            said = runner.run(
                options.items,
                folder,
                options.seed,
                readme if options.out == "figures" and readme.exists() else None,
                options.tier,
                store=Path("build") / "kept" if readme.exists() else None,
                fresh=options.fresh,
            )
            print(said)
            return 0
        lines, notes = runner.check(folder), runner.older(folder)
    except BrokenPipeError:
        raise
    except BrokenProcessPool:
        parser.error("an item's process was killed (memory?): run the items one by one")
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("paper_repro: interrupted; finished files are whole, run again", file=sys.stderr)
        return 130
    for line in notes + lines:
        print(line)
    print(f"{len(lines)} verdicts changed" if lines else "every verdict stands")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
