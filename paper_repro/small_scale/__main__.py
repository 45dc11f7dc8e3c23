"""Command line: python -m paper_repro.small_scale budget | run | texts.

The budget of a tier, its run, and the choice of held-out texts that stands before both.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

READINGS = Path(__file__).parent / "readings"  # committed
WORK = Path("build") / "small_scale"  # never committed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    from paper_repro.small_scale.plan import TIERS

    parser = argparse.ArgumentParser(prog="paper_repro.small_scale", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, what in (("budget", "time one step and each window"), ("run", "train and read")):
        command = verbs.add_parser(verb, help=what)
        command.add_argument("tier", choices=TIERS)
        if verb == "run":
            command.add_argument(
                "--folder", type=Path, help="readings and work there, not beside the committed ones"
            )
    texts = verbs.add_parser("texts", help="read candidates for held-out texts at every window")
    texts.add_argument("--folder", type=Path, default=WORK, help=f"default {WORK}")
    options = parser.parse_args(arguments)
    try:
        if options.verb == "texts":
            _texts(options.folder)
        else:
            _tier(options)
    except (ValueError, TypeError, OSError) as error:
        print(f"paper_repro.small_scale: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("paper_repro.small_scale: interrupted; run again to go on", file=sys.stderr)
        return 130
    return 0


def _tier(options: argparse.Namespace) -> None:
    from paper_repro.small_scale import budget, plan
    from paper_repro.small_scale.run import run_tier

    tier = plan.TIERS[options.tier]
    costs = budget.measure(tier)
    print(costs.table(tier), flush=True)
    if options.verb == "run":
        readings, work = READINGS, WORK
        if options.folder is not None:
            readings, work = options.folder / "readings", options.folder / "work"
        say = partial(print, flush=True)
        run_tier(options.tier, readings, work, say=say, costs=costs)


def _texts(folder: Path) -> None:
    from paper_repro.small_scale.held_out import measure
    from pianalysis.evaluation.store import FolderStore

    folder.mkdir(parents=True, exist_ok=True)
    found = measure(store=FolderStore(folder / "work" / "units"))
    found.save(folder / "texts")
    print(found.csv(), end="")


if __name__ == "__main__":
    sys.exit(main())
