"""``pianalysis plan``: what a fine-tune to a longer window takes, as a page of text."""

from __future__ import annotations

import json
from typing import Any

from pianalysis.commands.parser import add_model_command, arguments_of
from pianalysis.commands.text import aligned
from pianalysis.extension import PositionInterpolation
from pianalysis.planning import dry_run
from pianalysis.planning import plan as planning
from pianalysis.planning.dry_run import DryRun
from pianalysis.planning.plan import GIB, USABLE, Plan, model_config
from pianalysis.records import plain


def table(plan: Plan) -> str:
    """Return the plan as text, a quantity a line with its unit."""
    memory, operations = plan.memory, plan.operations
    peak = f"{plan.peak:g} TFLOP/s at {plan.utilisation:.0%}"
    rows = [
        ("parameters", f"{plan.parameters:,}"),
        ("window -> target", f"{plan.spec.context_window} -> {plan.target} tokens"),
        ("batch", f"{plan.batch} sequences = {plan.batch * plan.target:,} tokens a step"),
        ("", f"{plan.micro_batch} a GPU and pass, {plan.accumulation} passes a step"),
        ("steps, tokens", f"{plan.steps}, {plan.tokens:.3g}"),
        ("", ""),
        (f"MEMORY on each of {plan.gpus} GPUs", "GiB, an estimate"),
        ("  weights, float32, sharded", _gib(memory.weights)),
        ("  gradients, float32, sharded", _gib(memory.gradients)),
        ("  AdamW states, float32, sharded", _gib(memory.optimizer)),
        ("  weights and gradients in use", _gib(memory.gathered)),
        ("  activations, layer inputs alone", _gib(memory.activations)),
        ("  the larger of: logits and loss", _gib(memory.loss)),
        ("                 a layer, recomputed", _gib(memory.layer)),
        ("  together", f"{_gib(plan.memory_total)}   {_verdict(plan)}"),
        ("  without gradient checkpointing", _gib(plan.memory_plain_total)),
        ("", ""),
        ("MEMORY of the first host, to open the model", "GiB, a ceiling"),
        ("  one copy, and its own GPUs' parts", _gib(plan.host_memory)),
        ("", ""),
        ("WORK", "floating-point operations"),
        ("  a token, matrices", f"{operations.matrices:.4g}"),
        ("  a token, causal attention", f"{operations.attention:.4g}"),
        ("  a token, computed again", f"{operations.recomputed:.4g}"),
        ("  all tokens", f"{plan.total_operations:.4g}"),
        ("  time, an estimate", f"{plan.hours:.4g} hours on {plan.gpus} GPUs of {peak}"),
    ]
    return "\n".join([plan.model, "", aligned(rows), "", plan.command])


def _verdict(plan: Plan) -> str:
    limit = f"{USABLE:.0%} of {plan.gpu_memory:g} GiB"
    if plan.fits:
        return f"fits in {limit}"
    if plan.smallest_gpus is None:
        return f"does not fit in {limit}, on any number of GPUs at this batch"
    return f"does not fit in {limit}; the smallest count that does: {plan.smallest_gpus} GPUs"


def _gib(size: float) -> str:
    return f"{size / GIB:8.2f}"


def line(dry: DryRun) -> str:
    """Return the dry run as one line of text."""
    return (
        f"dry run: {dry.model_class}, {dry.parameters:,} parameters, logits {dry.logits}, "
        f"frequencies off by at most {dry.frequency_error:.1e} of their size"
    )


def add(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_model_command(
        commands,
        "plan",
        run,
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


def run(options: Any) -> str:
    """Return what the command prints."""
    extension_plan = planning.plan(**arguments_of(planning.plan, options))
    dry = None
    if options.dry_run:
        extension = PositionInterpolation(extension_plan.spec, extension_plan.target)
        dry = dry_run.dry_run(model_config(options.model), extension)
    if options.json:
        body = plain(extension_plan)
        if dry is not None:
            body["dry_run"] = plain(dry)
        return json.dumps(body, indent=2, allow_nan=False)
    text = table(extension_plan)
    return text if dry is None else f"{text}\n\n{line(dry)}"
