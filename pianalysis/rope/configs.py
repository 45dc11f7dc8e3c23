"""Hugging Face configs of both generations, read for what RoPE needs; nothing is guessed.

Generation v4 writes ``rope_theta`` beside ``rope_scaling`` (early key ``type``), generation v5 one
``rope_parameters``, possibly nested by layer type. Where transformers is installed and has classes
for the ``model_type``, they read the file (:mod:`pianalysis.rope.read_by_library`); otherwise its
keys are read alone, for the families listed (:mod:`pianalysis.rope.plain`). ``RopeFacts.reader``
says which of the two it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pianalysis.rope import library
from pianalysis.rope.config_keys import DECODERS
from pianalysis.rope.facts import ModelFacts, RopeFacts
from pianalysis.rope.families import FAMILIES
from pianalysis.rope.plain import plain_facts
from pianalysis.rope.read_by_library import library_facts

LARGEST_FILE = 16 * 2**20
# Families whose transformers code holds no rotary module: it turns by tables made at its start.
BY_TABLES = frozenset({"gptj", "codegen", "roformer"})


def read_config(source: Any) -> dict[str, Any]:
    """Return the config as a dict: from a config.json, a directory, a dict or a config object."""
    if isinstance(source, (str, os.PathLike)):
        return _read_file(Path(source))
    if isinstance(source, Mapping):
        return _without_arrays(dict(source))
    if hasattr(source, "to_dict") and not isinstance(source, type):
        return _without_arrays(dict(source.to_dict()))
    raise TypeError(
        "config must be a path, a dict or a transformers config, "
        f"got {source!r} of type {type(source).__name__}"
    )


def _without_arrays(config: dict[str, Any]) -> dict[str, Any]:
    """Refuse arrays and tensors, which no file holds: as a condition they are neither true nor so.

    Each object is looked at once, so that one that holds itself ends, too.
    """
    seen: set[int] = set()
    open_: list[tuple[str, Any]] = list(config.items())
    while open_:
        key, value = open_.pop()
        if hasattr(value, "ndim") and not isinstance(value, np.generic):
            kind = type(value).__name__
            raise ValueError(f"config must hold numbers, texts, lists and dicts, got {key}: {kind}")
        if isinstance(value, (Mapping, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            parts = value.items() if isinstance(value, Mapping) else ((key, x) for x in value)
            open_ += [(str(name), part) for name, part in parts]
    return config


def _read_file(path: Path) -> dict[str, Any]:
    try:
        if path.is_dir():
            path = path / "config.json"
            if not path.is_file():
                raise ValueError(f"config directory must hold a config.json, got {path.parent}")
        if not path.is_file():
            raise ValueError(f"config must be an existing file or directory, got {path}")
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"config must be a file of at most 16 MiB, got {path}")
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"config must be a readable JSON file, got {path}: {reason}") from None
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise ValueError(f"config must be a JSON object, got a {kind} in {path}")
    return value


def rope_facts(
    config: Mapping[str, Any], original_length: int | None = None, layer_type: str | None = None
) -> RopeFacts:
    """Return what ``config`` says about RoPE; raise ValueError naming the key it cannot serve."""
    return model_facts(config, original_length).rotating(layer_type)


def model_facts(config: Mapping[str, Any], original_length: int | None = None) -> ModelFacts:
    """Return what ``config`` says of each decoder layer.

    Raises
    ------
    ValueError, TypeError
        Naming the key, rule and value; a model without RoPE is refused as such.
    """
    decoder = decoder_config(config)
    served = decoder.get("model_type") not in BY_TABLES
    for candidate in (config, decoder):
        if served and library.knows(candidate.get("model_type")):
            try:
                return library_facts(candidate, decoder, original_length)
            except library.UnreadableError:
                # First releases of files, and shortened ones: their keys alone may do.
                if decoder.get("model_type") not in FAMILIES:
                    raise
                break
    return plain_facts(decoder, original_length)


def decoder_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a composite config that describes its decoder."""
    for name in DECODERS:
        part = config.get(name)
        if isinstance(part, Mapping) and "hidden_size" not in config:
            return decoder_config(part)
    return config
