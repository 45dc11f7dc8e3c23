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
    _add_heads(commands)
    _add_phase_error(commands)
    _add_plan(commands)
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
        epilog=f"presets: {', '.join(pianalysis.PRESETS)}",
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
    _add_original_length(command)
    command.add_argument(
        "--layer-type", metavar="NAME", help="which RoPE, if layers differ (e.g. full_attention)"
    )
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return command


def _add_original_length(command: OneLineParser) -> None:
    command.add_argument(
        "--original-length",
        type=int,
        metavar="TOKENS",
        help="pretrained window, if the config lacks it",
    )


def _add_out(command: OneLineParser) -> None:
    command.add_argument(
        "--out", default=".", metavar="DIR", help="where the files go (default: here)"
    )


def _add_schemes(command: OneLineParser, *, default: str) -> None:
    from pianalysis.compare import COMPARABLE

    command.add_argument(
        "--schemes",
        metavar="NAMES",
        help=f"comma-separated, of {', '.join(COMPARABLE)}; and 'config', the model's own "
        f"(default: {default})",
    )


def _schemes(options: Any) -> list[str] | None:
    """Return the names given to ``--schemes``; None where it is left out."""
    names: str | None = options.schemes
    return None if names is None else names.split(",")


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
    command = _add_model_command(
        commands,
        "compare",
        _compare,
        summary="worst-case growth against resolution, for every extension scheme",
        description="Compare extension schemes of one model at one target: the exact worst-case "
        "growth of a score and the exact worst-case adjacent contrast. Prints a table and writes "
        "a picture, CSV and JSON.",
    )
    _add_schemes(command, default="all")
    _add_out(command)


def _compare(options: Any) -> str:
    from pianalysis import compare_report

    compare_report.check_folder(options.out)
    found = compare_report.compare_model(
        options.model,
        options.target,
        schemes=_schemes(options),
        original_length=options.original_length,
        layer_type=options.layer_type,
    )
    name = f"compare_{Path(options.model).stem}_{found.target}"
    stem = compare_report.save(found, options.out, name)
    if options.json:
        return json.dumps(plain(found), indent=2)
    text = compare_report.table(found)
    return f"{options.model}\n{text}\n\nwritten: {stem}.png, .csv, .json"


def _add_heads(commands: Any) -> None:
    from pianalysis.compare import COMPARABLE

    command: OneLineParser = commands.add_parser(
        "heads",
        help="the bounds measured on the trained heads of a checkpoint",
        description="Run a checkpoint on a text, measure every head (coefficients, signed scores "
        "inside and beyond the window, the four bounds, weight that moves) and read a text and "
        "passkeys across gaps in the positions. Writes tables, JSON and pictures; a run that was "
        "stopped goes on when given again.",
        epilog="safetensors and GGUF only; no code of a checkpoint is ever run",
    )
    command.set_defaults(run=_heads)
    command.add_argument(
        "model", metavar="MODEL", help="directory, .gguf file, hub id, or smollm2 (make models)"
    )
    command.add_argument("--text", metavar="FILE", help="UTF-8 text (default: a play)")
    command.add_argument(
        "--tokens", type=int, default=1024, help="length of the text read (default 1024)"
    )
    command.add_argument(
        "--scheme",
        metavar="NAME",
        help=f"also read across gaps: {', '.join(COMPARABLE)}",
    )
    command.add_argument("--factor", type=float, help="extension factor of --scheme, e.g. 4")
    command.add_argument(
        "--pairs", type=int, default=1, help="keys drawn a query and head (default 1)"
    )
    command.add_argument("--trials", type=int, default=5, help="passkeys a distance (default 5)")
    command.add_argument("--seed", type=int, default=0, help="of all draws (default 0)")
    _add_original_length(command)
    command.add_argument(
        "--device-map", metavar="WHERE", help="e.g. auto: spread or offload a model beyond memory"
    )
    _add_out(command)


def _heads(options: Any) -> str:
    from pianalysis.heads import report

    checkpoint, found = report.measure_model(
        options.model,
        options.out,
        text=options.text,
        tokens=options.tokens,
        scheme=options.scheme,
        factor=options.factor,
        pairs=options.pairs,
        trials=options.trials,
        seed=options.seed,
        original_length=options.original_length,
        device_map=options.device_map,
    )
    names = ", ".join(f"{stem}.csv/.json" for stem in report.records(found))
    return f"{report.table(checkpoint, found)}\n\nwritten to {options.out}: {names} and pictures"


def _add_phase_error(commands: Any) -> None:
    command = _add_model_command(
        commands,
        "phase-error",
        _phase_error,
        summary="from which position on RoPE in bfloat16, float16 or float32 is wrong",
        description="Print, for every number format, the first position whose phase is wrong by "
        "more than 0.1 rad, proved, and the largest phase and score error up to the target.",
        target_required=False,
    )
    _add_schemes(command, default="its own, or none")


def _phase_error(options: Any) -> str:
    from pianalysis import phase_report

    found = phase_report.tabulate_model(
        options.model,
        options.target,
        schemes=_schemes(options),
        original_length=options.original_length,
        layer_type=options.layer_type,
    )
    if options.json:
        return phase_report.as_json(found)
    return f"{options.model}\n{phase_report.table(found)}"


def _add_plan(commands: Any) -> None:
    command = _add_model_command(
        commands,
        "plan",
        _plan,
        summary="memory, operations, time and torchrun command of a fine-tune to a longer window",
        description="Print what extending a model by full fine-tuning takes: memory on each GPU "
        "by part, floating-point operations, time, and the command that starts it.",
    )
    command.add_argument("--gpus", type=int, default=8, help="all of them (default 8)")
    command.add_argument(
        "--gpu-memory", type=float, default=80.0, metavar="GIB", help="of one GPU (default 80)"
    )
    command.add_argument(
        "--utilisation",
        type=float,
        default=0.4,
        metavar="SHARE",
        help="of the peak that is reached (default 0.4)",
    )
    command.add_argument(
        "--peak",
        type=float,
        default=312.0,
        metavar="TFLOPS",
        help="of one GPU in bfloat16 (default 312, an A100; an H100: 989)",
    )
    command.add_argument(
        "--batch", type=int, help="sequences a step (default: the paper's, by size and target)"
    )
    command.add_argument(
        "--micro-batch", type=int, default=1, help="sequences a GPU and pass (default 1)"
    )
    command.add_argument("--steps", type=int, default=1000, help="default: the paper's 1000")
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="also build the model with Position Interpolation on the meta device and pass one "
        "sequence of the target length, without memory (needs transformers)",
    )


def _plan(options: Any) -> str:
    from pianalysis.finetune import meta, plan

    found = plan.plan(
        options.model,
        options.target,
        gpus=options.gpus,
        gpu_memory=options.gpu_memory,
        utilisation=options.utilisation,
        peak=options.peak,
        batch=options.batch,
        micro_batch=options.micro_batch,
        steps=options.steps,
        original_length=options.original_length,
        layer_type=options.layer_type,
    )
    dry = None
    if options.dry_run:
        extension = pianalysis.PositionInterpolation(found.spec, found.target)
        dry = meta.dry_run(plan.model_config(options.model), extension)
    if options.json:
        body = plain(found) if dry is None else {**plain(found), "dry_run": plain(dry)}
        return json.dumps(body, indent=2, allow_nan=False)
    return plan.table(found) if dry is None else f"{plan.table(found)}\n\n{meta.line(dry)}"
