"""A fine-tuning run: transformers' Trainer on a model that carries the scheme in its config.

The Trainer makes the passes, the accumulation, mixed precision and FSDP; ours are the model, the
data, the learning rate, the log and the checkpoints.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tqdm import tqdm

from pianalysis import checks
from pianalysis.extension.registry import described
from pianalysis.finetune import settings
from pianalysis.finetune.corpus import Corpus, Sequences, default_corpus
from pianalysis.finetune.model import Prepared, prepare
from pianalysis.finetune.recipe import Recipe
from pianalysis.finetune.record import FineTuning
from pianalysis.finetune.saving import (
    LOG,
    OPTIMISER,
    TIMES,
    append,
    checkpoint_folder,
    cut,
    load_optimizer,
    read,
    resumable_step,
    save_checkpoint,
)
from pianalysis.finetune.speed import flops_per_token, matrix_product_peak
from pianalysis.records import alone, plain, write_atomic
from pianalysis.version import __version__

RUN = "run.json"


def finetune(
    source: str | os.PathLike[str] | Mapping[str, Any],
    recipe: Recipe,
    folder: str | os.PathLike[str],
    *,
    corpus: Callable[[Any], Corpus] = default_corpus,
    save_at: Sequence[int] = (),
    until: int | None = None,
    original_length: int | None = None,
) -> FineTuning:
    """Fine-tune a model under an extension scheme; a run that was stopped goes on.

    Parameters
    ----------
    source : str, path or mapping
        What ``checkpoints.open_checkpoint`` opens, or the config of a model to train from scratch.
    recipe : Recipe
    folder : str or path
        For the checkpoints ``step-000200`` and so on, the log ``log.jsonl`` and the record. On
        several hosts all must see it.
    corpus : function
        From the model's tokenizer (None for a model from scratch) to the corpus: the plays of
        ``default_corpus``, ``lambda tokenizer: pack(tokenizer, texts)``, or one made before.
    save_at : sequence of int
        Steps whose checkpoint is kept, 0 for the scheme without training; the last is always
        saved. A stopped run goes on from the latest.
    until : int, optional
        Stop at this step, saved as the last is; another call goes on. The steps do not depend on
        where a run was stopped.
    original_length : int, optional
        The pretrained window, where the config does not hold it.

    Returns
    -------
    FineTuning, of the steps so far. Also written to ``record.csv`` and ``record.json``.

    Raises
    ------
    ValueError
        A checkpoint, corpus or recipe that does not fit, a folder that holds another run or is in
        use by one, a loss or gradient that is not finite.
    OSError
        A checkpoint that is missing or could not be written.

    Notes
    -----
    Of several processes (torchrun) the first alone reads the source and the saved checkpoints, and
    each of the others receives its part. What the first refuses, the others raise as
    ``distributed.RefusedByFirst``, a ValueError.

    On a CPU the same recipe, corpus, number of threads and number of processes give the same bytes,
    resumed or not: deterministic algorithms are switched on for the run, and a resumed run takes
    the number of threads it began with. On CUDA they are not.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    steps = sorted({checks.whole("save_at", s, at_least=0, at_most=recipe.steps) for s in save_at})
    end = recipe.steps
    if until is not None:
        end = checks.whole("until", until, at_most=recipe.steps)
    with settings.contained(_threads(folder)):
        arguments = settings.arguments(recipe, folder)
        prepared = prepare(source, recipe, original_length=original_length)
        sequences = Sequences(corpus(prepared.tokenizer), recipe)
        with alone(folder, wait=False) if arguments.should_save else nullcontext():
            run = _Run(folder, recipe, prepared, sequences, [*steps, end], end)
            run.check_identity(writes=arguments.should_save)
            run.train(arguments)
            record = run.record(arguments)
            if arguments.should_save:
                names = ("torch", "transformers", "accelerate", "safetensors")
                versions = {"pianalysis": __version__, **{name: version(name) for name in names}}
                record.save(folder / "record", {"versions": versions})
    return record


class _Run:
    """One run: what it trains, and its files."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        prepared: Prepared,
        sequences: Sequences,
        save_at: Sequence[int],
        end: int,
    ) -> None:
        self.end = end
        self.folder, self.recipe, self.prepared = folder, recipe, prepared
        self.sequences, self.save_at = sequences, frozenset(save_at)
        self.begin = resumable_step(folder) or 0
        self.parameters = sum(p.numel() for p in prepared.model.parameters())
        self.flops = flops_per_token(prepared.model, recipe.sequence_length)
        self.digest = sequences.corpus.digest

    def check_identity(self, *, writes: bool) -> None:
        """Refuse a folder of another run."""
        mine = plain(
            {
                "recipe": self.recipe,
                "digest": self.prepared.digest,
                "corpus": self.digest,
                "spec": self.prepared.spec,
                "threads": torch.get_num_threads(),
            }
        )
        path = self.folder / RUN
        if path.exists():
            known = json.loads(path.read_text())
            differ = [key for key in mine if known.get(key) != mine[key]]
            if differ:
                raise ValueError(
                    f"folder must be new or hold this very run, got another {differ[0]} "
                    f"in {self.folder}"
                )
        elif writes:
            write_atomic(path, json.dumps(mine, indent=2) + "\n")

    def train(self, arguments: Any) -> None:
        """Train from the last checkpoint on, if steps are left."""
        if self.begin:
            self.prepared.load_weights(checkpoint_folder(self.folder, self.begin))
        if arguments.should_save:
            for name in (LOG, TIMES):
                cut(self.folder / name, self.begin)
        if self.begin >= self.end:
            return
        arguments.learning_rate = self.recipe.peak_rate(self.parameters)
        arguments.max_steps = self.end - self.begin
        trainer = _Trainer(
            model=self.prepared.split(arguments.device),
            args=arguments,
            train_dataset=_Remaining(self.sequences, self.begin),
        )
        trainer.run = self
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.add_callback(_Start(trainer))
        with tqdm(
            total=self.recipe.steps,
            initial=self.begin,
            unit="step",
            disable=None if arguments.should_save else True,
        ) as trainer.bar:
            trainer.train()

    def record(self, arguments: Any) -> FineTuning:
        """Return the record of the whole run, from its log."""
        rows = read(self.folder / LOG)
        seconds = statistics.median(row["seconds"] for row in read(self.folder / TIMES))
        rate = self.recipe.tokens_per_step / seconds
        device = arguments.device
        dtype = torch.bfloat16 if arguments.bf16 else torch.float32
        peak = matrix_product_peak(device, dtype)
        columns = {
            name: np.array([row[name] for row in rows], dtype=np.float64)
            for name in ("step", "loss", "gradient_norm", "learning_rate")
        }
        return FineTuning(
            source=self.prepared.name,
            digest=self.prepared.digest,
            corpus_digest=self.digest,
            spec=self.prepared.spec,
            extension=described(self.prepared.extension),
            recipe=plain(self.recipe),
            parameters=self.parameters,
            peak_rate=self.recipe.peak_rate(self.parameters),
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            dtype=str(dtype).removeprefix("torch."),
            threads=torch.get_num_threads(),
            processes=arguments.world_size,
            tokens_per_second=rate,
            flops_per_token=self.flops,
            matrix_product_peak=peak,
            share_of_peak=rate * self.flops / arguments.world_size / peak,
            **columns,
        )


class _Remaining(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """The sequences of the steps that are left, as the Trainer takes them."""

    def __init__(self, sequences: Sequences, begin: int) -> None:
        self.sequences, self.first = sequences, begin * sequences.recipe.batch

    def __len__(self) -> int:
        return len(self.sequences) - self.first

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens, positions = map(torch.from_numpy, self.sequences[self.first + index])
        item = {"input_ids": tokens, "labels": tokens}
        if self.sequences.recipe.gap:
            # Without a mask transformers takes a gap for the border of two packed texts.
            item |= {"position_ids": positions, "attention_mask": torch.ones_like(tokens)}
        return item


class _Trainer(transformers.Trainer):
    """The Trainer with the paper's learning rate, and our log and checkpoints."""

    run: _Run
    bar: Any
    optimizer: Any
    clock: float

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Return the rate of section 3.1, from the step where the run goes on."""
        recipe, begin = self.run.recipe, self.run.begin
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer if optimizer is None else optimizer,
            lambda step: recipe.rate(begin + step),
        )
        return self.lr_scheduler

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write a step's line; stop at a number that is not finite; save where asked."""
        if "loss" not in logs:
            return  # the Trainer's own summary at the end
        run = self.run
        step = run.begin + self.state.global_step
        now = time.perf_counter()
        seconds, self.clock = now - self.clock, now
        line = {
            "step": step,
            "loss": float(logs["loss"]),
            "gradient_norm": float(logs["grad_norm"]),
            "learning_rate": float(logs["learning_rate"]),
        }
        bad = [name for name, value in line.items() if not math.isfinite(value)]
        if bad:
            kept = resumable_step(run.folder)
            last = "none" if kept is None else checkpoint_folder(run.folder, kept).name
            raise ValueError(
                f"{bad[0]} must be finite, got {line[bad[0]]} at step {step} with learning rate "
                f"{line['learning_rate']:g}; the last checkpoint is {last}"
            )
        if self.args.should_save:
            append(run.folder / LOG, line)
            append(run.folder / TIMES, {"step": step, "seconds": seconds})
        self.bar.set_postfix(loss=f"{line['loss']:.3f}", refresh=False)
        self.bar.update()
        if step in run.save_at:
            self.save(step)

    def save(self, step: int) -> None:
        """Save the checkpoint of a step."""
        save_checkpoint(
            self.run.folder,
            step,
            self.model,
            self.optimizer.optimizer,
            shell=self.run.prepared.shell(),
            tokenizer=self.run.sequences.corpus.tokenizer,
            writes=self.args.should_save,
        )
        self.clock = time.perf_counter()


class _Start(transformers.TrainerCallback):
    """Puts the optimiser's state back, and gives each step a seed of its own."""

    def __init__(self, trainer: _Trainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Go on where the last checkpoint stands; save step 0 where asked."""
        run, trainer = self.trainer.run, self.trainer
        if run.begin:
            path = checkpoint_folder(run.folder, run.begin) / OPTIMISER
            load_optimizer(path, trainer.model, trainer.optimizer.optimizer)
        elif 0 in run.save_at:
            trainer.save(0)
        trainer.clock = time.perf_counter()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Seed by step and process: a resumed run then needs no saved generator (dropout)."""
        step = self.trainer.run.begin + state.global_step
        key = [self.trainer.run.recipe.seed, 2, step, args.process_index]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))


def _threads(folder: Path) -> int | None:
    """Return the number of threads that a run began with, or None for a new one."""
    path = folder / RUN
    if not path.exists():
        return None
    return checks.whole(f"threads in {path}", json.loads(path.read_text())["threads"])
