"""Training speed: ours against a plain transformers Trainer on the same model and tokens.

The losses of all steps are compared first. Run with OMP_NUM_THREADS=1 on a machine that others use.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path

import common
import numpy as np
import torch
import transformers

from pianalysis.finetune.corpus import Sequences, pack, plays
from pianalysis.finetune.recipe import Recipe
from pianalysis.finetune.train import finetune

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import tiny

CONFIG = {
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
ROUNDS = 5


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

    def log(self, logs, start_time=None):
        """Note when each step ended."""
        self.ends.append(time.perf_counter())
        super().log(logs, start_time)

    def create_scheduler(self, num_training_steps, optimizer=None):
        """Take the recipe's warm-up for the Trainer's own schedule."""
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer if optimizer is None else optimizer, RECIPE.rate
        )
        return self.lr_scheduler


def plain(sequences: Sequences, folder: str) -> tuple[list[float], float]:
    """Return the losses, and the tokens per second of the median step."""
    values = {k: v for k, v in CONFIG.items() if k != "model_type"}
    extension = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}
    config = transformers.LlamaConfig(**values | {"max_position_embeddings": 1024})
    config.rope_parameters = extension
    torch.manual_seed(RECIPE.seed)
    model = transformers.LlamaForCausalLM(config)
    arguments = transformers.TrainingArguments(
        output_dir=folder, max_steps=RECIPE.steps, per_device_train_batch_size=4,
        learning_rate=1e-3, adam_beta1=0.9, adam_beta2=0.95, max_grad_norm=0.0,
        train_sampling_strategy="sequential", logging_steps=1, save_strategy="no",
        report_to="none", disable_tqdm=True, use_cpu=True, remove_unused_columns=False,
    )  # fmt: skip
    trainer = Plain(model=model, args=arguments, train_dataset=Items(sequences))
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.ends = []
    trainer.train()
    seconds = statistics.median(b - a for a, b in itertools.pairwise(trainer.ends[:-1]))
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return losses, RECIPE.tokens_per_step / seconds


def main() -> None:
    corpus = pack(tiny.letters(), [plays()["hamlet"]])
    sequences = Sequences(corpus, RECIPE)
    rows = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            run = finetune(CONFIG, RECIPE, one, corpus=lambda _: corpus)
            losses, peer = plain(sequences, two)
        difference = float(np.abs(run.loss / losses - 1).max())
        rows.append((run.tokens_per_second, peer, run.share_of_peak, difference))
        print(
            f"ours {rows[-1][0]:.0f} tokens/s ({100 * rows[-1][2]:.0f}% of the matrix product), "
            f"Trainer {peer:.0f}, largest relative difference of a loss {difference:.1e}"
        )
    ours, peer, share, difference = np.array(rows).T
    common.save(
        "finetune",
        {
            "question": "tokens a second of training, float32, median step",
            "parameters": run.parameters,
            "tokens_per_step": RECIPE.tokens_per_step,
            "ours": float(np.median(ours)),
            "peer": float(np.median(peer)),
            "ratio": float(np.median(ours / peer)),
            "share_of_matrix_product": float(np.median(share)),
            "largest_loss_difference": float(difference.max()),
            "threads": torch.get_num_threads(),
        },
    )


if __name__ == "__main__":
    main()
