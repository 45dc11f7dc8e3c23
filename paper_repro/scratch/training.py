"""A small Llama trained from scratch on public-domain plays, with or without a ridge on h.

It reads 128 tokens at a time and nothing longer, so that beyond 128 everything is extrapolation.
One thread and deterministic algorithms: on one machine the same setting and texts give the same
bytes, whether the training was stopped on the way or not.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import tokenizers
import torch
import transformers
from tqdm import tqdm

from paper_repro.scratch import penalty
from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.finetune import settings
from pianalysis.finetune.corpus import HELD_OUT, pack
from pianalysis.finetune.saving import read_tensors
from pianalysis.finetune.texts import plays
from pianalysis.records import Record, write_atomic

RATE, LAST_RATE = 2e-3, 0.05  # peak of the cosine, and its end as a share of the peak
WARMUP = 100  # steps
BETAS = (0.9, 0.95)
LARGEST_GRADIENT = 1.0  # norm
SAVE_EVERY = 300  # steps; less than a minute is lost to an interruption
END = "<|end|>"  # closes a text


@dataclass(frozen=True, slots=True)
class Setting:
    """All that decides the weights besides the texts.

    ``penalty`` is the factor of the mean sum_j |h_j|^2 (see ``penalty``) in the loss. No weight
    decay: it would be a second regulariser of h. The defaults are those of the shipped models.
    """

    penalty: float = 0.0
    seed: int = 0
    steps: int = 3600
    batch: int = 8
    window: int = 128
    vocabulary: int = 1024
    layers: int = 4
    width: int = 128
    heads: int = 4
    intermediate: int = 320

    def __post_init__(self) -> None:
        weight = checks.real("penalty", self.penalty, at_least=0.0)
        object.__setattr__(self, "penalty", weight)
        for field in fields(self)[1:]:
            least = 0 if field.name == "seed" else 1
            value = checks.whole(field.name, getattr(self, field.name), at_least=least)
            object.__setattr__(self, field.name, value)

    @property
    def label(self) -> str:
        """The name of the model's folder."""
        return f"penalty-{self.penalty:g}-seed-{self.seed}"

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0: a linear rise, then a cosine."""
        done = step / self.steps
        cosine = LAST_RATE + (1.0 - LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * done))
        return RATE * min((step + 1) / WARMUP, 1.0) * cosine


@dataclass(frozen=True, slots=True)
class Training(Record):
    """What a training did, a row for each step, counted from 1 when it is done.

    ``loss`` is the mean next-token loss in nats, without the penalty; ``mean_square`` the mean
    sum_j |h_j|^2 in squared logits, whatever its factor; both before the update.
    """

    setting: dict[str, Any]
    corpus_sha256: str
    tokens: int
    parameters: int
    step: FloatArray
    loss: FloatArray
    mean_square: FloatArray


def training_texts() -> list[str]:
    """Return all plays but the one that is held out for measuring."""
    return [text for name, text in plays().items() if name != HELD_OUT]


def train(setting: Setting, texts: Sequence[str], out: Path) -> Training:
    """Train a model and write it to ``out / setting.label`` in Hugging Face layout.

    The weights are stored in float16: what is measured on the files is measured on the rounded
    numbers. ``training.csv`` and ``training.json`` beside them hold the record.

    Raises
    ------
    ValueError
        A folder that is already there, a state left by another training, texts shorter than one
        window, a loss that is not finite.
    OSError
        Files that could not be written.
    """
    folder = out / setting.label
    if folder.exists():
        raise ValueError(f"out must not hold {setting.label} yet, got {folder}")
    out.mkdir(parents=True, exist_ok=True)
    with settings.contained(threads=1):
        tokenizer = make_tokenizer(texts, setting.vocabulary)
        tokens = torch.from_numpy(pack(tokenizer, texts).tokens)
        if tokens.numel() <= setting.window:
            raise ValueError(
                f"texts must hold more than {setting.window} tokens, got {tokens.numel()}"
            )
        run = _Run(setting, tokens, out / f"{setting.label}.state")
        run.train()
        training = run.record()
        _save(run.model, tokenizer, training, folder)
    run.state.unlink(missing_ok=True)
    return training


def make_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """Return a byte-level BPE tokenizer trained on the texts; END is its token 0."""
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    wrapped: Any = transformers.PreTrainedTokenizerFast
    return wrapped(tokenizer_object=inner, eos_token=END)


def make_model(setting: Setting) -> Any:
    """Return a Llama with random weights that follow from the seed."""
    torch.manual_seed(setting.seed)
    config = transformers.LlamaConfig(
        vocab_size=setting.vocabulary,
        hidden_size=setting.width,
        intermediate_size=setting.intermediate,
        num_hidden_layers=setting.layers,
        num_attention_heads=setting.heads,
        num_key_value_heads=setting.heads,
        max_position_embeddings=setting.window,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
    )
    return transformers.LlamaForCausalLM(config)


class _Run:
    """One training: model, optimiser, what was logged, and the file they are kept in."""

    def __init__(self, setting: Setting, tokens: torch.Tensor, state: Path) -> None:
        self.setting, self.tokens, self.state = setting, tokens, state
        self.digest = hashlib.sha256(tokens.numpy().astype("<i8").tobytes()).hexdigest()
        self.model = make_model(setting)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=RATE, betas=BETAS, weight_decay=0.0
        )
        self.log = torch.empty((0, 2), dtype=torch.float64)
        if state.exists():
            self._load()

    def train(self) -> None:
        """Make the steps that are left."""
        steps = self.setting.steps
        with (
            penalty.observed(self.model) as observed,
            tqdm(total=steps, initial=len(self.log), unit="step", disable=None) as bar,
        ):
            while len(self.log) < steps:
                loss, square = self._step(observed)
                row = torch.tensor([[loss, square]], dtype=torch.float64)
                self.log = torch.cat([self.log, row])
                bar.set_postfix(loss=f"{loss:.3f}", h2=f"{square:.3g}", refresh=False)
                bar.update()
                if len(self.log) % SAVE_EVERY == 0:
                    self._save()

    def _step(self, observed: Any) -> tuple[float, float]:
        setting, step = self.setting, len(self.log)
        # The texts of a step follow from its number, so a state needs no generator.
        rng = np.random.default_rng([setting.seed, step])
        first = rng.integers(self.tokens.numel() - setting.window, size=setting.batch)
        ids = self.tokens[torch.from_numpy(first)[:, None] + torch.arange(setting.window)]
        loss = self.model(input_ids=ids, labels=ids, use_cache=False).loss
        square = observed()
        numbers = loss.item(), square.item()
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"loss and penalty must be finite, got {numbers} at step {step + 1}")
        self.optimizer.zero_grad()
        (loss + setting.penalty * square).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_GRADIENT)
        for group in self.optimizer.param_groups:
            group["lr"] = setting.rate(step)
        self.optimizer.step()
        return numbers

    def record(self) -> Training:
        """Return what was logged."""
        loss, mean_square = self.log.numpy().T
        return Training(
            setting=asdict(self.setting),
            corpus_sha256=self.digest,
            tokens=self.tokens.numel(),
            parameters=sum(weight.numel() for weight in self.model.parameters()),
            step=np.arange(1.0, len(self.log) + 1.0),
            loss=loss,
            mean_square=mean_square,
        )

    def _identity(self) -> dict[str, str]:
        return {"setting": json.dumps(asdict(self.setting)), "corpus": self.digest}

    def _save(self) -> None:
        tensors = {"log": self.log}
        for name, weight in self.model.named_parameters():
            tensors[f"weight/{name}"] = weight.detach()
            tensors |= {
                f"{part}/{name}": value for part, value in self.optimizer.state[weight].items()
            }
        write_atomic(self.state, safetensors.torch.save(tensors, self._identity()))

    def _load(self) -> None:
        tensors = dict(read_tensors(self.state))
        with safetensors.safe_open(self.state, framework="pt") as file:
            known = file.metadata()
        if known != self._identity():
            raise ValueError(f"state must be of this very training, got another in {self.state}")
        self.log = tensors["log"]
        for name, weight in self.model.named_parameters():
            weight.data.copy_(tensors[f"weight/{name}"])
            parts = ("step", "exp_avg", "exp_avg_sq")
            self.optimizer.state[weight] = {part: tensors[f"{part}/{name}"] for part in parts}


def _save(model: Any, tokenizer: Any, training: Training, folder: Path) -> None:
    """Write the folder whole or not at all."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.to(torch.float16).save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    names = ("torch", "transformers", "tokenizers")
    training.save(partial / "training", {"versions": {name: version(name) for name in names}})
    partial.rename(folder)
