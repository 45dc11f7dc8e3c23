"""Command line: python -m paper_repro.small_scale budget | run | texts.

The budget of a tier, its run, and the choice of held-out texts that stands before both.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from paper_repro.small_scale.plan import READINGS, TIERS, WORK
from pianalysis.commands.parser import OneLineParser


def build_parser() -> OneLineParser:
    """Return the parser of the command."""
    parser = OneLineParser(prog="paper_repro.small_scale", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    budget = verbs.add_parser("budget", help="time one step and each window")
    run = verbs.add_parser("run", help="train and read")
    texts = verbs.add_parser("texts", help="read candidates for held-out texts at every window")
    for command in (budget, run):
        command.add_argument("tier", choices=TIERS)
        one = "one case of it, as the budget names it; two processes of one thread, a case each, "
        one += "keep two cores busier than one of two threads (set OMP_NUM_THREADS=1)"
        command.add_argument("--case", metavar="LABEL", help=one)
    for command in (run, texts):
        what = "readings and work there, not beside the committed ones"
        command.add_argument("--folder", type=Path, metavar="DIR", help=what)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    readings, work = READINGS, WORK
    if getattr(options, "folder", None) is not None:
        readings, work = options.folder / "readings", options.folder / "work"
    try:
        if options.verb != "budget":  # a folder that cannot be is said at once
            readings.mkdir(parents=True, exist_ok=True)
        if options.verb == "texts":
            _texts(readings, work)
        else:
            _tier(options, readings, work)
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("paper_repro.small_scale: interrupted; run again to go on", file=sys.stderr)
        return 130
    return 0


def _tier(options: argparse.Namespace, readings: Path, work: Path) -> None:
    from paper_repro.small_scale import budget, plan
    from paper_repro.small_scale.run import run_tier
    from pianalysis.evaluation.store import FolderStore

    tier = plan.TIERS[options.tier]
    tier = tier if options.case is None else plan.only(tier, options.case)
    known = FolderStore(work / "costs") if options.verb == "run" else None
    costs = budget.measure(tier, store=known)
    print(costs.table(tier), flush=True)
    if options.verb == "run":
        say = partial(print, flush=True)
        run_tier(options.tier, readings, work, case=options.case, say=say, costs=costs)


def _texts(readings: Path, work: Path) -> None:
    from paper_repro.small_scale.held_out import measure
    from paper_repro.small_scale.run import made_by
    from pianalysis.evaluation.store import FolderStore

    found = measure(store=FolderStore(work / "units"))
    found.save(readings / "texts", made_by("texts"))
    print(found.csv(), end="")


if __name__ == "__main__":
    sys.exit(main())
