"""Training against a plain transformers Trainer: the same small model, tokens and learning rate.

The losses of all steps are compared first. Times are those of the median step, one core.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import tempfile
import time
from typing import Any

import common
import numpy as np
import torch
import transformers
from models import tiny

from pianalysis.evaluation.text import default_text
from pianalysis.finetune.corpus import Corpus, Sequences, pack
from pianalysis.finetune.recipe import Recipe
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
    "full": {"model": MODEL, "recipe": RECIPE, "grow": (1, 2, 4, 8), "rounds": 5},
    "small": {
        "model": MODEL | {"hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 48},
        "recipe": dataclasses.replace(RECIPE, steps=4, sequence_length=16),
        "grow": (1, 2, 4),
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


def plain(model: dict[str, Any], recipe: Recipe, corpus: Corpus) -> tuple[np.ndarray, float]:
    """Return the losses, and the seconds of the median step."""
    values = {k: v for k, v in model.items() if k != "model_type"}
    config = transformers.LlamaConfig(**values | {"max_position_embeddings": recipe.target})
    factor = recipe.target / model["max_position_embeddings"]
    config.rope_parameters = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": factor}
    torch.manual_seed(recipe.seed)
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder, max_steps=recipe.steps, per_device_train_batch_size=recipe.batch,
            learning_rate=recipe.learning_rate, adam_beta1=0.9, adam_beta2=0.95, max_grad_norm=0.0,
            train_sampling_strategy="sequential", logging_steps=1, save_strategy="no",
            report_to="none", disable_tqdm=True, use_cpu=True, remove_unused_columns=False,
        )  # fmt: skip
        trainer = Plain(
            model=transformers.LlamaForCausalLM(config),
            args=arguments,
            train_dataset=Items(Sequences(corpus, recipe)),
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.recipe, trainer.ends = recipe, []
        trainer.train()
    step = statistics.median(b - a for a, b in itertools.pairwise(trainer.ends[:-1]))
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return np.array(losses), step


def ours(model: dict[str, Any], recipe: Recipe, corpus: Corpus) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return finetune(model, recipe, folder, corpus=lambda _: corpus)


def measure(size: common.Size) -> common.Record:
    corpus = pack(tiny.letters(), [default_text()])
    model, recipe = size["model"], size["recipe"]
    rounds = []
    with common.cores(1) as cores:
        for _ in range(size["rounds"]):
            run = ours(model, recipe, corpus)
            losses, peer = plain(model, recipe, corpus)
            difference = common.agree("losses", run.loss, losses, 1e-5)
            step = recipe.tokens_per_step / run.tokens_per_second
            rounds.append((step, peer, peer / step, difference, run.share_of_peak))
            print(f"a step: ours {step:.3g} s, Trainer {peer:.3g} s", flush=True)
        step, peer, ratio, _, share = np.median(rounds, axis=0).tolist()
        times = {recipe.batch: step}
        for n in set(size["grow"]) - {recipe.batch}:
            other = dataclasses.replace(recipe, batch=n, micro_batch=n)
            times[n] = other.tokens_per_step / ours(model, other, corpus).tokens_per_second
        grows = common.grown(
            "the sequences of a step", 1.0, size["grow"], [times[n] for n in size["grow"]]
        )
    return {
        "question": f"a training step of {run.parameters:,} parameters, float32",
        "threads": cores,
        "rows": [
            {
                "case": f"{recipe.tokens_per_step} tokens, transformers' Trainer",
                "ours_s": step,
                "peer_s": peer,
                "ratio": ratio,
                "rounds": size["rounds"],
                "headline": True,
            }
        ],
        "growth": [grows],
        "numbers": {
            "tokens a second, ours": recipe.tokens_per_step / step,
            "share of the machine's matrix product": share,
            "largest relative difference of a loss": max(row[3] for row in rounds),
        },
    }


if __name__ == "__main__":
    common.main(measure, SIZES)
