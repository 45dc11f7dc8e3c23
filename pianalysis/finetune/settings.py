"""What the Trainer is told, and the process it runs in: deterministic, and left as it was."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from pianalysis.finetune.recipe import Recipe
from pianalysis.planning.published import BETAS, WEIGHT_DECAY

# Seconds that processes wait for the one that reads: 65B parameters in float32 (260 GB), read twice
# (checksum and weights) from a disk of 0.1 GB/s, take 5200. torch's own limit is 1800.
_LONGEST_READ = 7200


def arguments(recipe: Recipe, folder: Path) -> Any:
    """Return the Trainer's arguments; this also joins the processes that torchrun started."""
    cuda = torch.cuda.is_available()
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    chosen = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=recipe.micro_batch,
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        weight_decay=WEIGHT_DECAY,
        max_grad_norm=0.0,  # the paper states no clipping
        bf16=recipe.dtype == "bfloat16" or (recipe.dtype == "auto" and cuda),
        use_cpu=not cuda,
        seed=recipe.seed,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=cuda,
        ddp_timeout=_LONGEST_READ,
        ddp_backend="gloo" if several and not cuda else None,
        activation_checkpointing=recipe.gradient_checkpointing,
    )
    chosen.gradient_accumulation_steps = recipe.accumulation(chosen.world_size)
    return chosen


@contextmanager
def contained(threads: int | None) -> Iterator[None]:
    """Make a CPU run deterministic, and leave generators and settings as they were."""
    before = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    logging: Any = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    # transformers seeds numpy's old global generator; so that one is kept, too.
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    if threads is not None:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(not torch.cuda.is_available())
    # Without this every new tensor is first filled, which only shows reads of unwritten memory.
    memory.fill_uninitialized_memory = False
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
        torch.use_deterministic_algorithms(strict)
        memory.fill_uninitialized_memory = fill
        torch.set_num_threads(before)
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
