"""The model of a run: pretrained weights, or none, in a config that carries the scheme."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import initialization

from pianalysis.checkpoints.checkpoint import open_checkpoint, ropes_differ
from pianalysis.extension import Extension
from pianalysis.finetune import distributed
from pianalysis.finetune.recipe import Recipe
from pianalysis.finetune.saving import read_tensors
from pianalysis.rope.spec import RopeSpec


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model ready to train; ``spec`` is the pretrained RoPE, ``extension`` the scheme on it."""

    name: str
    model: Any
    config: Any
    tokenizer: Any
    spec: RopeSpec
    extension: Extension
    digest: str

    def shell(self) -> Any:
        """Return the model without weights."""
        with torch.device("meta"):
            return _empty(copy.deepcopy(self.config))

    def load_weights(self, folder: Path) -> None:
        """Take the weights of a checkpoint that a run saved; the first process alone reads it.

        Raises
        ------
        ValueError
            A file that is cut short, a weight that is missing or has another shape.
        """
        distributed.from_first(lambda: _fill(self.model, folder))

    def split(self, device: torch.device) -> Any:
        """Return the model for training: split over the processes where there are several.

        ``model`` then holds no weights any more.
        """
        if not distributed.several():
            return self.model
        shell = self.shell()
        shell.tie_weights()
        source = self.model if distributed.is_first() else None
        return distributed.spread(shell, source, device)


def prepare(
    source: str | os.PathLike[str] | Mapping[str, Any],
    recipe: Recipe,
    *,
    original_length: int | None = None,
) -> Prepared:
    """Return the model with the recipe's scheme in its config, weights in float32.

    Of several processes the first alone opens the source; in the others the model has no weights
    until ``split``. All must call this.

    Raises
    ------
    ValueError
        What ``open_checkpoint`` refuses; layers with different RoPEs; a target below the window.
        In every process: ``distributed.RefusedByFirst`` in those that read nothing.
    """
    kept: list[Any] = []

    def first() -> Prepared:
        whole = _prepared(source, recipe, original_length)
        kept.append(whole.model)
        return replace(whole, model=None)

    prepared = distributed.from_first(first)
    return replace(prepared, model=kept[0] if kept else prepared.shell())


def _prepared(
    source: str | os.PathLike[str] | Mapping[str, Any],
    recipe: Recipe,
    original_length: int | None,
) -> Prepared:
    if isinstance(source, Mapping):
        return _from_scratch(source, recipe, original_length)
    opened = open_checkpoint(source, original_length=original_length)
    extension = recipe.extension(opened.spec)
    config = _extended(opened.model.config, extension)
    model = _empty(copy.deepcopy(config))
    # The weights move over; nothing is copied.
    model.load_state_dict(opened.model.state_dict(), assign=True)
    model.tie_weights()
    return Prepared(
        name=opened.name,
        model=model,
        config=config,
        tokenizer=opened.tokenizer,
        spec=opened.spec,
        extension=extension,
        digest=opened.digest,
    )


def _from_scratch(
    source: Mapping[str, Any], recipe: Recipe, original_length: int | None
) -> Prepared:
    spec = RopeSpec.from_hf(source, original_length=original_length)
    extension = recipe.extension(spec)
    config = transformers.AutoConfig.for_model(**copy.deepcopy(dict(source)))
    config = _extended(config, extension)
    torch.manual_seed(recipe.seed)
    factory: Any = transformers.AutoModelForCausalLM
    model = factory.from_config(copy.deepcopy(config))
    digest = hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()
    return Prepared("from scratch", model, config, None, spec, extension, digest)


def _fill(model: Any, folder: Path) -> None:
    """Copy the saved weights into a whole model, a tensor at a time."""
    left = {name: weight.detach() for name, weight in model.named_parameters()}
    for path in sorted(folder.glob("model*.safetensors")):
        for name, tensor in read_tensors(path):
            if name in left:
                weight = left.pop(name)
                if weight.shape != tensor.shape:
                    raise ValueError(
                        f"{path}: {name} must have the shape {tuple(weight.shape)}, "
                        f"got {tuple(tensor.shape)}"
                    )
                weight.copy_(tensor)
    if left:
        raise ValueError(f"{folder}: must hold every weight, got no {min(left)}")


def _empty(config: Any) -> Any:
    factory: Any = transformers.AutoModelForCausalLM
    with initialization.no_init_weights():
        return factory.from_config(config)


def _extended(config: Any, extension: Extension) -> Any:
    """Return the config with the scheme; the pretrained window stays readable beside it."""
    if ropes_differ(config):
        raise ValueError(
            f"the model's layers must have one RoPE, got {sorted(config.rope_parameters)}"
        )
    values = config.to_dict()
    for key in ("quantization_config", "dtype"):  # of the file the weights came from
        values.pop(key, None)
    values |= extension.to_hf()
    values["original_max_position_embeddings"] = extension.spec.context_window
    return transformers.AutoConfig.for_model(**values)
