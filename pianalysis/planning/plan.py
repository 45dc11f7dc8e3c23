"""`pianalysis plan`: what fine-tuning a model to a longer window takes, before any GPU is rented.

Memory and time are estimates by the formulas of ``pianalysis.planning.cost``, with its assumptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pianalysis import checks
from pianalysis.extension import PositionInterpolation, named
from pianalysis.planning.architecture import Architecture
from pianalysis.planning.cost import (
    Memory,
    Operations,
    loading_memory,
    training_memory,
    training_operations,
)
from pianalysis.planning.measured import sizes_of
from pianalysis.planning.published import (
    RECIPES,
    STEPS,
    TESTED,
    llama_config,
    recipe_name,
    schedule,
)
from pianalysis.records import Record
from pianalysis.rope.configs import read_config
from pianalysis.rope.presets import PRESETS
from pianalysis.rope.spec import RopeSpec

GIB = 2.0**30
GPUS_PER_HOST = 8
LARGEST_BATCH = 2**20
USABLE = 0.9  # share of a GPU's memory left by its driver, buffers and fragmentation
A100_PEAK = 312.0  # TFLOP/s in bfloat16, dense; an H100 SXM has 989


@dataclass(frozen=True, slots=True)
class Plan(Record):
    """The cost of one fine-tuning run; bytes are on one GPU, at the highest point of a step.

    ``memory`` is with gradient checkpointing, as the run is started, ``memory_plain`` without.
    ``host_memory`` is what the processes of the first host take together to open the checkpoint,
    as ``loading_memory`` counts it. ``smallest_gpus`` is the smallest count on which it fits, None
    where there is none.
    ``operations`` count one token; ``hours`` include what checkpointing computes again.
    """

    model: str
    architecture: Architecture
    parameters: int
    spec: RopeSpec
    target: int
    steps: int
    batch: int
    micro_batch: int
    accumulation: int
    gpus: int
    gpu_memory: float
    memory: Memory
    memory_plain: Memory
    memory_total: float
    memory_plain_total: float
    host_memory: float
    fits: bool
    smallest_gpus: int | None
    operations: Operations
    tokens: int
    total_operations: float
    peak: float
    utilisation: float
    hours: float
    command: str


def plan(
    model: str,
    target: int,
    *,
    gpus: int = GPUS_PER_HOST,
    gpu_memory: float = 80.0,
    utilisation: float = 0.4,
    peak: float = A100_PEAK,
    batch: int | None = None,
    micro_batch: int = 1,
    steps: int = STEPS,
    original_length: int | None = None,
    layer_type: str | None = None,
) -> Plan:
    r"""Plan the extension of a model to ``target`` tokens by full fine-tuning.

    .. math::
        \text{time} = \frac{\text{steps} \cdot \text{batch} \cdot L' \cdot F}
                           {g \cdot \text{peak} \cdot \text{utilisation}}

    F is the operations for one token, ``training_operations(...).total``.

    Parameters
    ----------
    model : str
        llama-7b to llama-65b, a config.json or a directory that holds one.
    target : int
        L', the extended window in tokens, at least the pretrained one.
    gpus : int
        g, all GPUs; up to 8 on one host, beyond that whole hosts of 8.
    gpu_memory : float
        Memory of one GPU in GiB; a tenth is left for driver, buffers and fragmentation.
    utilisation : float
        Share of ``peak`` that is reached, in (0, 1], recomputation counted as work.
    peak : float
        Of one GPU, in TFLOP/s; 312 for an A100 in bfloat16, 989 for an H100.
    batch : int, optional
        Sequences a step on all GPUs, a multiple of gpus * micro_batch; the paper's rule by
        default (``pianalysis.planning.published.schedule``).
    micro_batch : int
        Sequences in one pass on one GPU.
    steps : int
        Optimiser steps; the paper's 1000 by default.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the rule and the value.

    Notes
    -----
    Parameters and operations are counts; memory is an estimate with the assumptions of
    ``training_memory``, time one that is as good as the utilisation given: loading, evaluation
    and checkpoints come on top.

    Examples
    --------
    >>> run = plan("llama-7b", 32768)
    >>> run.parameters, run.batch, run.fits
    (6738415616, 128, True)
    >>> plan("llama-65b", 8192).smallest_gpus
    32
    """
    spec = named.find_model(model, original_length=original_length, layer_type=layer_type).spec
    config = model_config(model)
    target = PositionInterpolation(spec, target).target
    sizes = sizes_of(config)
    gpus = checks.whole("gpus", gpus)
    if gpus > GPUS_PER_HOST and gpus % GPUS_PER_HOST:
        raise ValueError(
            f"gpus must be at most {GPUS_PER_HOST} or a multiple of it (whole hosts), got {gpus}"
        )
    gpu_memory = checks.real("gpu_memory", gpu_memory, above=0.0)
    utilisation = checks.real("utilisation", utilisation, above=0.0, at_most=1.0)
    peak = checks.real("peak", peak, above=0.0)
    micro_batch = checks.whole("micro_batch", micro_batch)
    steps = checks.whole("steps", steps)
    if batch is None:
        batch = schedule(sizes.parameters, target).batch
    batch = checks.whole("batch", batch, at_most=LARGEST_BATCH)
    if batch % (gpus * micro_batch):
        raise ValueError(
            f"batch must be a multiple of gpus * micro_batch = {gpus * micro_batch}, got {batch}"
        )

    def memory(count: int, *, checkpointing: bool = True) -> Memory:
        return training_memory(
            sizes, target, micro_batch=micro_batch, gpus=count, checkpointing=checkpointing
        )

    def fits(count: int) -> bool:
        return memory(count).total <= USABLE * gpu_memory * GIB

    counts = (*range(1, GPUS_PER_HOST), *range(GPUS_PER_HOST, batch + 1, GPUS_PER_HOST))
    possible = (count for count in counts if batch % (count * micro_batch) == 0)
    operations = training_operations(sizes, target, checkpointing=True)
    tokens = steps * batch * target
    total = tokens * operations.total
    own, plain = memory(gpus), memory(gpus, checkpointing=False)
    return Plan(
        model=model,
        architecture=sizes,
        parameters=sizes.parameters,
        spec=spec,
        target=target,
        steps=steps,
        batch=batch,
        micro_batch=micro_batch,
        accumulation=batch // (gpus * micro_batch),
        gpus=gpus,
        gpu_memory=gpu_memory,
        memory=own,
        memory_plain=plain,
        memory_total=own.total,
        memory_plain_total=plain.total,
        host_memory=loading_memory(sizes, gpus=gpus, on_host=min(gpus, GPUS_PER_HOST)),
        fits=fits(gpus),
        smallest_gpus=next(filter(fits, possible), None),
        operations=operations,
        tokens=tokens,
        total_operations=total,
        peak=peak,
        utilisation=utilisation,
        hours=total / (gpus * peak * 1e12 * utilisation) / 3600.0,
        command=command(gpus, _recipe_file(model, target, batch=batch, steps=steps)),
    )


def model_config(model: str) -> Mapping[str, Any]:
    """Return the Hugging Face config of a LLaMA preset, a config.json or a directory.

    Raises
    ------
    ValueError
        A preset whose sizes are not in the table, or a path that holds no config.
    """
    if model in TESTED:
        return llama_config(model)
    if model in PRESETS:
        raise ValueError(
            f"model must be a config.json, a directory or one of {', '.join(TESTED)}: "
            f"a preset holds RoPE alone and no sizes, got {model!r}"
        )
    return read_config(model)


def command(gpus: int, recipe: str) -> str:
    """Return the torchrun command; for several hosts it is to be started on each of them."""
    hosts = gpus // GPUS_PER_HOST
    where = f"--nproc-per-node {gpus}"
    if hosts > 1:
        where = (
            f"--nnodes {hosts} --nproc-per-node {GPUS_PER_HOST} "
            "--rdzv-backend c10d --rdzv-endpoint FIRST_HOST:29500"
        )
    return f"torchrun {where} -m pianalysis.finetune DIR --recipe {recipe} --text FILES --out DIR"


def _recipe_file(model: str, target: int, *, batch: int, steps: int) -> str:
    """Return the committed recipe of exactly this run, or a name for the user's own."""
    if (model, target) in RECIPES and steps == STEPS:
        parameters = Architecture.from_hf(llama_config(model)).parameters
        if batch == schedule(parameters, target).batch:
            return f"paper_repro/recipes/{recipe_name(model, target)}.json"
    return "RECIPE.json"
