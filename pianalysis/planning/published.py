"""The paper's fine-tuning runs as files, all from one table.

A recipe is what ``python -m pianalysis.finetune`` takes; ``sources.json`` says of each where its
numbers are published and what the run itself adds (optimiser, warm-up), and a folder for each
model holds its config. ``write("paper_repro/recipes")`` makes them all; a test holds the committed
ones against this module.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pianalysis import checks
from pianalysis.extension import PositionInterpolation
from pianalysis.planning.architecture import Architecture
from pianalysis.records import write_atomic
from pianalysis.rope.presets import PRESETS

# hidden, intermediate, layers, heads. Table 2 of arXiv:2302.13971; the intermediate size is
# 8/3 of the hidden one, rounded up to a multiple of 256, as in the published configs.
_SIZES = {
    "llama-7b": (4096, 11008, 32, 32),
    "llama-13b": (5120, 13824, 40, 40),
    "llama-33b": (6656, 17920, 60, 52),
    "llama-65b": (8192, 22016, 80, 64),
}
_VOCABULARY = 32000
# The targets that Tables 1-4 of arXiv:2306.15595 have results for.
TESTED = {
    "llama-7b": (8192, 16384, 32768),
    "llama-13b": (8192, 16384, 32768),
    "llama-33b": (8192, 16384),
    "llama-65b": (8192,),
}
RECIPES = tuple(
    (name, target) for name, tested in TESTED.items() for target in sorted({8192, 16384, *tested})
)
STEPS = 1000
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.0
WARMUP_STEPS = 20
WARMUP_START = 0.1  # of the peak rate
_BELOW_33B, _UP_TO_33B = 2e10, 34e9  # parameters


@dataclass(frozen=True, slots=True)
class Schedule:
    """What the paper sets by size and target: learning rate, sequences a step, GPUs."""

    learning_rate: float
    batch: int
    gpus: int


def schedule(parameters: int, target: int) -> Schedule:
    """Return the paper's settings for a model of ``parameters`` extended to ``target`` tokens.

    Notes
    -----
    Section 3.1 of arXiv:2306.15595: learning rate 2e-5 for 7B and 13B, 1e-5 for 33B and 65B; batch
    64 on 32 GPUs for 7B, 13B and 33B to 8192, otherwise batch 128 on 128 GPUs. For a model of
    another size this is the paper's rule continued, not a result of the paper.

    Examples
    --------
    >>> schedule(6_738_415_616, 32768)
    Schedule(learning_rate=2e-05, batch=128, gpus=128)
    """
    rate = 2e-5 if parameters < _BELOW_33B else 1e-5
    if parameters <= _UP_TO_33B and target <= 8192:
        return Schedule(rate, batch=64, gpus=32)
    return Schedule(rate, batch=128, gpus=128)


def llama_config(name: str) -> dict[str, Any]:
    """Return the Hugging Face config of a LLaMA before any extension, by preset name."""
    sizes = _SIZES[checks.choice("name", name, _SIZES)]
    spec = PRESETS[name].spec
    keys = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    return {
        "model_type": "llama",
        "vocab_size": _VOCABULARY,
        **dict(zip(keys, sizes, strict=True)),
        "tie_word_embeddings": False,
        "max_position_embeddings": spec.context_window,
        "rope_theta": spec.base,
    }


def recipe(name: str, target: int) -> dict[str, Any]:
    """Return the recipe of one run by Position Interpolation, as its file holds it.

    Raises
    ------
    ValueError
        A name without sizes, or a target below the pretrained window.

    Examples
    --------
    >>> settings = recipe("llama-65b", 8192)
    >>> settings["scheme"], settings["learning_rate"], settings["batch"]
    ('linear', 1e-05, 128)
    """
    settings, target = _scheduled(name, target)
    return {
        "scheme": "linear",
        "target": target,
        "steps": STEPS,
        "sequence_length": target,
        "batch": settings.batch,
        "micro_batch": 1,
        "learning_rate": settings.learning_rate,
        "dtype": "bfloat16",
        "gradient_checkpointing": True,
    }


def source(name: str, target: int) -> dict[str, Any]:
    """Return where a recipe's numbers are published, and what the paper sets besides.

    Examples
    --------
    >>> facts = source("llama-7b", 32768)
    >>> facts["gpus"], facts["betas"], facts["result_in_the_paper"]
    (128, [0.9, 0.95], True)
    """
    settings, target = _scheduled(name, target)
    return {
        "model": name,
        "settings": "section 3.1 of arXiv:2306.15595v2",
        "scheme": "Eq. 4 of arXiv:2306.15595v2",
        "sizes": "Table 2 of arXiv:2302.13971",
        "optimizer": "AdamW",
        "betas": list(BETAS),
        "weight_decay": WEIGHT_DECAY,
        "warmup_steps": WARMUP_STEPS,
        "warmup_start": WARMUP_START,
        "gpus": settings.gpus,
        "sharding": "FSDP",
        "result_in_the_paper": target in TESTED[name],
        "not_in_the_paper": ["micro_batch", "dtype", "gradient_checkpointing"],
    }


def _scheduled(name: str, target: int) -> tuple[Schedule, int]:
    sizes = Architecture.from_hf(llama_config(name))
    target = PositionInterpolation(PRESETS[name].spec, target).target
    return schedule(sizes.parameters, target), target


def recipe_name(name: str, target: int) -> str:
    """Return the stem of a recipe's file."""
    return f"{name}-{target}"


def write(folder: str | os.PathLike[str]) -> list[Path]:
    """Write recipes, sources and configs below an existing folder, atomically; return the files."""
    contents: dict[str, Any] = {
        f"{recipe_name(name, target)}.json": recipe(name, target) for name, target in RECIPES
    }
    contents["sources.json"] = {recipe_name(*run): source(*run) for run in RECIPES}
    contents |= {f"{name}/config.json": llama_config(name) for name in TESTED}
    files = []
    for relative, content in contents.items():
        path = Path(folder) / relative
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, json.dumps(content, indent=2) + "\n")
        files.append(path)
    return files
