"""Command line: python -m paper_repro.scratch trains one model; given again, it goes on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from paper_repro.scratch.training import Setting, train, training_texts
from pianalysis.commands.parser import OneLineParser

OUT = Path("build") / "scratch"


def build_parser() -> OneLineParser:
    """Return the parser of the command."""
    default = Setting()
    parser = OneLineParser(
        prog="paper_repro.scratch",
        description="Train a small Llama from scratch on plays: about ten minutes on one core. "
        "A run that was stopped goes on when the same command is given again.",
    )
    parser.add_argument(
        "--penalty",
        type=float,
        default=default.penalty,
        metavar="X",
        help="factor of the mean sum_j |h_j|^2 in the loss (default 0)",
    )
    parser.add_argument(
        "--seed", type=int, default=default.seed, help="of weights and order of text (default 0)"
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=default.steps,
        help=f"of {default.batch * default.window} tokens each (default {default.steps})",
    )
    parser.add_argument(
        "--out", default=str(OUT), metavar="DIR", help=f"for model and state (default {OUT})"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        setting = Setting(options.penalty, options.seed, options.steps)
        training = train(setting, training_texts(), Path(options.out))
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("paper_repro.scratch: interrupted; the same command goes on", file=sys.stderr)
        return 130
    last = slice(-100, None)
    print(
        f"{Path(options.out) / setting.label}: {training.parameters} parameters, last 100 steps: "
        f"loss {training.loss[last].mean():.4f} nats, "
        f"mean |h|^2 {training.mean_square[last].mean():.4g}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
