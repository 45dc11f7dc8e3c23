"""A training step against a plain loop in torch and against transformers' bare Trainer.

Ours is a Trainer itself. The second row measures what our log, a seed for each step, deterministic
algorithms and the check for numbers that are not finite add to it; the first what the Trainer adds
besides, over a loop of forward, backward and AdamW that logs nothing but the loss. Model, tokens
and learning rates are the same. The losses of all steps are compared in every round, in which the
sides run in turn in one process. A time is that of the median step; saving, the set-up and each
peer's first step are not in it.
"""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
import numpy as np
import torch
import transformers
from models import tiny

from pianalysis.evaluation.text import default_text
from pianalysis.finetune.corpus import Corpus, Sequences, pack
from pianalysis.finetune.recipe import Recipe
from pianalysis.finetune.saving import TIMES, read
from pianalysis.finetune.train import finetune

MODEL = {
    "model_type": "llama",
    "hidden_size": 256,
    "num_attention_heads": 8,
    "num_hidden_layers": 6,
    "intermediate_size": 768,
    "vocab_size": 260,
    "max_position_embeddings": 256,
}
RECIPE = Recipe(
    scheme="linear", target=1024, steps=12, sequence_length=256, gap=True, batch=4, micro_batch=4,
    learning_rate=1e-3,
)  # fmt: skip
SIZES = {
    "full": {
        "model": MODEL,
        "recipe": RECIPE,
        "grow": (2, 4, 8, 16),
        "products": common.PRODUCTS,
        "rounds": common.REPEATS,
    },
    "small": {
        "model": MODEL | {"hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 48},
        "recipe": dataclasses.replace(RECIPE, steps=4, sequence_length=16),
        "grow": (1, 2, 4),
        "products": (64,),
        "rounds": 1,
    },
}


class Items(torch.utils.data.Dataset):
    """The same sequences as ours."""

    def __init__(self, sequences: Sequences) -> None:
        self.sequences = sequences

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens, positions = (torch.from_numpy(part) for part in self.sequences[index])
        mask = torch.ones_like(tokens)
        return {
            "input_ids": tokens,
            "labels": tokens,
            "position_ids": positions,
            "attention_mask": mask,
        }


class Plain(transformers.Trainer):
    """The Trainer as it is, but for the paper's warm-up and a clock."""

    recipe: Recipe

    def log(self, logs, start_time=None):
        """Note when each step ended."""
        self.ends.append(time.perf_counter())
        super().log(logs, start_time)

    def create_scheduler(self, num_training_steps, optimizer=None):
        """Take the recipe's warm-up for the Trainer's own schedule."""
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer if optimizer is None else optimizer, self.recipe.rate
        )
        return self.lr_scheduler


def untrained(model: dict[str, Any], recipe: Recipe) -> Any:
    """Return the model that ours begins with."""
    values = {k: v for k, v in model.items() if k != "model_type"}
    config = transformers.LlamaConfig(**values | {"max_position_embeddings": recipe.target})
    factor = recipe.target / model["max_position_embeddings"]
    config.rope_parameters = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": factor}
    torch.manual_seed(recipe.seed)
    return transformers.LlamaForCausalLM(config)


def plain(model: dict[str, Any], recipe: Recipe, corpus: Corpus) -> tuple[np.ndarray, list[float]]:
    """Return the losses of the bare Trainer, and the seconds of its steps but the first."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder, max_steps=recipe.steps, per_device_train_batch_size=recipe.batch,
            learning_rate=recipe.learning_rate, adam_beta1=0.9, adam_beta2=0.95, max_grad_norm=0.0,
            train_sampling_strategy="sequential", logging_steps=1, save_strategy="no",
            report_to="none", disable_tqdm=True, use_cpu=True, remove_unused_columns=False,
        )  # fmt: skip
        trainer = Plain(
            model=untrained(model, recipe),
            args=arguments,
            train_dataset=Items(Sequences(corpus, recipe)),
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.recipe, trainer.ends = recipe, []
        trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return np.array(losses), [b - a for a, b in itertools.pairwise(trainer.ends[:-1])]


def plain_loop(
    model: dict[str, Any], recipe: Recipe, corpus: Corpus
) -> tuple[np.ndarray, list[float]]:
    """Return the losses of a loop in torch, and the seconds of its steps but the first."""
    llama, items = untrained(model, recipe).train(), Items(Sequences(corpus, recipe))
    adam = torch.optim.AdamW(
        llama.parameters(), recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.0
    )
    warm_up = torch.optim.lr_scheduler.LambdaLR(adam, recipe.rate)
    losses, ends = [], []
    for batch in itertools.islice(torch.utils.data.DataLoader(items, recipe.batch), recipe.steps):
        loss = llama(**batch).loss
        loss.backward()
        adam.step()
        warm_up.step()
        adam.zero_grad()
        losses.append(loss.item())
        ends.append(time.perf_counter())
    return np.array(losses), [b - a for a, b in itertools.pairwise(ends)]


def ours(model: dict[str, Any], recipe: Recipe, corpus: Corpus) -> tuple[Any, list[float]]:
    """Return the run and the seconds of its steps."""
    with tempfile.TemporaryDirectory() as folder:
        run = finetune(model, recipe, folder, corpus=lambda _: corpus)
        return run, [row["seconds"] for row in read(Path(folder) / TIMES)]


def row(case: str, mine: Sequence[list[float]], theirs: Sequence[list[float]]) -> dict[str, Any]:
    """Return the row of median steps, of a list of steps a round."""
    out: dict[str, Any] = {"case": case}
    for name, rounds in (("ours", mine), ("peer", theirs)):
        out[f"{name}_s"] = float(np.median([np.median(steps) for steps in rounds]))
        out[f"{name}_range_s"] = [min(map(min, rounds)), max(map(max, rounds))]
    ratios = [np.median(b) / np.median(a) for a, b in zip(mine, theirs, strict=True)]
    return {**out, "ratio": float(np.median(ratios)), "rounds": len(mine), "threads": [1, 1]}


def measure(size: common.Size) -> common.Record:
    corpus = pack(tiny.letters(), [default_text()])
    model, recipe = size["model"], size["recipe"]
    peers = {"a loop in torch": plain_loop, "transformers' Trainer": plain}
    mine: list[list[float]] = []
    theirs: dict[str, list[list[float]]] = {name: [] for name in peers}
    difference = 0.0
    with common.cores(1) as cores:
        for _ in range(size["rounds"]):
            run, steps = ours(model, recipe, corpus)
            mine.append(steps)
            for name, peer in peers.items():
                losses, steps = peer(model, recipe, corpus)
                found = common.agree(f"losses, {name}", run.loss, losses, 1e-5)
                difference = max(difference, found)
                theirs[name].append(steps)
            print(f"a step: ours {np.median(mine[-1]):.3g} s, Trainer {np.median(steps):.3g} s")
        tokens = recipe.tokens_per_step
        rows = [row(f"{tokens} tokens, {name}", mine, theirs[name]) for name in peers]
        times = {recipe.batch: rows[0]["ours_s"]}
        for n in set(size["grow"]) - {recipe.batch}:
            other = dataclasses.replace(recipe, batch=n, micro_batch=n)
            times[n] = float(np.median(ours(model, other, corpus)[1]))
        grows = common.grown(
            "the sequences of a step", 1.0, size["grow"], [times[n] for n in size["grow"]]
        )
        peak = common.matrix_rate(torch, torch.float32, size["products"])
    work = run.flops_per_token * tokens
    return {
        "question": f"a training step of {run.parameters:,} parameters, float32",
        "threads": cores,
        "rows": common.fastest_peer(rows),
        "growth": [grows],
        "numbers": {
            "tokens a second, ours": tokens / rows[0]["ours_s"],
            "share of the machine's matrix product": work / rows[0]["ours_range_s"][0] / peak,
            "largest relative difference of a loss": difference,
        },
    }


if __name__ == "__main__":
    common.main(measure, SIZES)
