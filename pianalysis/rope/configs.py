"""Hugging Face configs of both generations, read for what RoPE needs; nothing is guessed.

Generation v4 writes ``rope_theta`` beside ``rope_scaling`` (early key ``type``), generation v5 one
``rope_parameters``, possibly nested by layer type. Key names and class defaults are those of
transformers 5.23.0 (``modeling_rope_utils.py`` and the ``configuration_*.py`` files).
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pianalysis import checks
from pianalysis.rope.config_keys import (
    DEFAULT_BASE,
    DEFAULT_FRACTION,
    DEFAULT_HEAD_DIM,
    EVERY_TYPE,
    INERT,
    READ,
    ROPE_KEYS,
    SPELLINGS,
    WINDOW_KEYS,
)

LARGEST_FILE = 16 * 2**20


@dataclass(frozen=True, slots=True)
class RopeFacts:
    """What a config says about RoPE: the specification and the scheme on top of it."""

    head_dim: int
    base: float
    context_window: int
    rotary_fraction: float
    rope_type: str
    parameters: Mapping[str, Any]
    proportion: float  # of the pairs that turn under proportional RoPE, else 1
    longest: int | None  # max_position_embeddings, extended or not


def read_config(source: Any) -> dict[str, Any]:
    """Return the config as a dict: from a config.json, a directory, a dict or a config object."""
    if isinstance(source, Mapping):
        return dict(source)
    if isinstance(source, (str, os.PathLike)):
        return _read_file(Path(source))
    if hasattr(source, "to_dict") and not isinstance(source, type):
        return dict(source.to_dict())
    raise TypeError(
        "config must be a path, a dict or a transformers config, "
        f"got {source!r} of type {type(source).__name__}"
    )


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
    if layer_type is not None:
        layer_type = checks.text("layer_type", layer_type)
    if isinstance(config.get("text_config"), Mapping) and "hidden_size" not in config:
        config = config["text_config"]
    _check_top_level(config)
    parameters = _rope_dict(config, layer_type)
    rope_type = _rope_type(config, parameters)
    share = _fraction(config, parameters)
    # Proportional RoPE lets a share of the pairs turn, over the frequencies of the whole head.
    proportional = rope_type == "proportional"
    return RopeFacts(
        head_dim=_head_dim(config, layer_type),
        base=_base(config, parameters, layer_type),
        context_window=_window(config, parameters, rope_type, original_length),
        rotary_fraction=1.0 if proportional else share,
        rope_type=rope_type,
        parameters=parameters,
        proportion=share if proportional else 1.0,
        longest=_longest(config),
    )


def _check_top_level(config: Mapping[str, Any]) -> None:
    """Refuse keys that look like RoPE settings but are none: they would have no effect."""
    alibi = config.get("alibi")
    if alibi is not None and alibi is not False:
        raise ValueError(f"alibi must be false for a RoPE model, got {alibi!r}")
    for key in config:
        if key in READ or key in INERT:
            continue
        name = str(key)
        about_rope = name.startswith(("rope_", "rotary_")) or name.endswith(("_rope", "_rotary"))
        if about_rope or difflib.get_close_matches(name, SPELLINGS, n=1, cutoff=0.86):
            hint = checks.nearest(name, SPELLINGS)
            raise ValueError(f"config keys must be known, got unknown key {name!r}{hint}")


def _rope_dict(config: Mapping[str, Any], layer_type: str | None) -> dict[str, Any]:
    """Return the scheme's own dict, of the layer type asked for, flat."""
    given = {}
    for name in ("rope_parameters", "rope_scaling"):
        value = config.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise ValueError(f"{name} must be an object or null, got {value!r}")
        if value:
            given[name] = dict(value)
    if len(given) == 2 and given["rope_parameters"] != given["rope_scaling"]:
        raise ValueError(
            "rope_parameters and rope_scaling must agree when both are given, "
            f"got {given['rope_parameters']} and {given['rope_scaling']}"
        )
    parameters: dict[str, Any] = next(iter(given.values()), {})
    nested = {k: v for k, v in parameters.items() if isinstance(v, Mapping)}
    if not nested and layer_type == "sliding_attention" and _two_bases(config):
        return {}  # in these files the scheme is that of the full-attention layers
    if not nested:
        if layer_type is not None and not _two_bases(config):
            raise ValueError(
                f"layer_type must be None: all layers share one RoPE, got {layer_type!r}"
            )
        return parameters
    distinct = list(nested.values())
    if layer_type is None and any(entry != distinct[0] for entry in distinct):
        raise ValueError(
            f"layer_type must name one of {', '.join(sorted(nested))}: their RoPE differs, got None"
        )
    name = checks.choice("layer_type", layer_type or next(iter(nested)), nested)
    return dict(nested[name])


def _two_bases(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the two bases of v4 files of Gemma 3 and ModernBERT, by layer type."""
    for slow, fast in (
        ("rope_theta", "rope_local_base_freq"),
        ("global_rope_theta", "local_rope_theta"),
    ):
        if config.get(fast) is not None:
            return {"full_attention": config.get(slow), "sliding_attention": config[fast]}
    return {}


def _rope_type(config: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    """Return the validated rope_type; every key of the dict must belong to it."""
    given = {k: parameters[k] for k in ("rope_type", "type") if parameters.get(k) is not None}
    for key, value in given.items():
        if not isinstance(value, str):
            raise TypeError(f"{key} must be a string, got {value!r}")
    phi3 = config.get("model_type") == "phi3"
    # Phi-3's first files call LongRoPE by two other names; Qwen2-VL's mrope has the same
    # frequencies as default, split over three position axes.
    older = {"mrope": "default"} | ({"su": "longrope", "yarn": "longrope"} if phi3 else {})
    names = {older.get(name, name) for name in given.values()}
    if len(names) > 1:
        raise ValueError(f"rope_type and type must agree, got {' and '.join(sorted(names))}")
    if not names and set(parameters) - EVERY_TYPE:
        keys = ", ".join(sorted(parameters))
        raise ValueError(f"rope_type must be given beside the keys {keys}, got none")
    name = names.pop() if names else "default"
    rope_type = checks.choice("rope_type", name, ROPE_KEYS)
    required, optional = ROPE_KEYS[rope_type]
    known = required | optional | EVERY_TYPE
    for key in parameters:
        if key not in known:
            raise ValueError(
                f"keys of a {rope_type!r} RoPE must be known, got unknown key {key!r}"
                f"{checks.nearest(key, known)}"
            )
    if parameters.get("factor") is not None:
        checks.real("factor", parameters["factor"], at_least=1.0)
    missing = required - {k for k, v in parameters.items() if v is not None}
    missing -= {"original_max_position_embeddings"}  # _window looks for it in every place it may be
    if rope_type == "yarn" and "factor" in parameters:
        missing -= {"factor"}  # null: max_position_embeddings over the original length
    if missing:
        raise ValueError(f"a {rope_type!r} RoPE must give {', '.join(sorted(missing))}, got none")
    return rope_type


def _agreed(name: str, places: Mapping[str, Any]) -> Any:
    """Return the one value that all places give for ``name``, or None."""
    given = {place: value for place, value in places.items() if value is not None}
    values = list(given.values())
    if any(not isinstance(value, (int, float, str)) for value in values):
        raise TypeError(f"{name} must be a number, got {values}")
    if any(value != values[0] for value in values[1:]):
        listed = ", ".join(f"{place} = {value!r}" for place, value in given.items())
        raise ValueError(f"{name} must be the same wherever it is given, got {listed}")
    return values[0] if values else None


def _base(
    config: Mapping[str, Any], parameters: Mapping[str, Any], layer_type: str | None
) -> float:
    two = _two_bases(config)
    if two and "rope_theta" not in parameters:
        if layer_type is None:
            raise ValueError(
                f"layer_type must name one of {', '.join(two)}: their base differs, got None"
            )
        return checks.real(
            "rope_theta", two[checks.choice("layer_type", layer_type, two)], above=1.0
        )
    places = {f"rope_parameters.{k}": parameters.get(k) for k in ("rope_theta",)}
    places |= {k: config.get(k) for k in ("rope_theta", "rotary_emb_base")}
    base = _agreed("the RoPE base", places)
    if base is None:
        base = DEFAULT_BASE.get(str(config.get("model_type")))
    if base is None:
        raise ValueError(
            "rope_theta must be given: no default is known for "
            f"model_type {config.get('model_type')!r}, got none"
        )
    return checks.real("rope_theta", base, above=1.0)


def _head_dim(config: Mapping[str, Any], layer_type: str | None = None) -> int:
    """Return the rotating head's dimension; for multi-head latent attention its RoPE part."""
    if layer_type == "full_attention" and config.get("global_head_dim") is not None:
        return checks.whole("global_head_dim", config["global_head_dim"])
    for key in ("qk_rope_head_dim", "head_dim"):
        if config.get(key) is not None:
            return checks.whole(key, config[key])
    known = DEFAULT_HEAD_DIM.get(str(config.get("model_type")))
    if known is not None:
        return known
    hidden = config.get("hidden_size", config.get("n_embd"))
    heads = config.get("num_attention_heads", config.get("n_head"))
    if hidden is None or heads is None:
        raise ValueError(
            "head_dim, or hidden_size and num_attention_heads, must be given, got none"
        )
    hidden = checks.whole("hidden_size", hidden)
    heads = checks.whole("num_attention_heads", heads)
    if hidden % heads:
        raise ValueError(
            f"hidden_size must be a multiple of num_attention_heads, got {hidden} and {heads}"
        )
    return hidden // heads


def _fraction(config: Mapping[str, Any], parameters: Mapping[str, Any]) -> float:
    if config.get("qk_rope_head_dim") is not None:
        return 1.0
    places = {"rope_parameters.partial_rotary_factor": parameters.get("partial_rotary_factor")}
    places |= {k: config.get(k) for k in ("partial_rotary_factor", "rotary_pct")}
    if config.get("rotary_dim") is not None:
        places["rotary_dim / head_dim"] = checks.whole(
            "rotary_dim", config["rotary_dim"]
        ) / _head_dim(config)
    fraction = _agreed("the rotary fraction", places)
    if fraction is None:
        fraction = DEFAULT_FRACTION.get(str(config.get("model_type")), 1.0)
    return checks.real("partial_rotary_factor", fraction, above=0.0, at_most=1.0)


def _window(
    config: Mapping[str, Any],
    parameters: Mapping[str, Any],
    rope_type: str,
    original_length: int | None,
) -> int:
    """Return the pretrained window: the original length where the model was extended."""
    key = "original_max_position_embeddings"
    if original_length is not None:
        original_length = checks.whole("original_length", original_length)
    original = _agreed(
        "the original length",
        {
            f"rope_parameters.{key}": parameters.get(key),
            key: config.get(key),
            "original_length": original_length,
        },
    )
    if original is not None:
        return checks.whole(key, original)
    if rope_type not in ("default", "proportional"):
        raise ValueError(
            f"original_length must be given: a {rope_type!r} config without {key} "
            "does not hold the pretrained window, got None"
        )
    longest = _longest(config)
    if longest is None:
        raise ValueError("max_position_embeddings (or original_length) must be given, got none")
    return longest


def _longest(config: Mapping[str, Any]) -> int | None:
    """Return max_position_embeddings under whichever name the model family gives it."""
    for name in WINDOW_KEYS:
        if config.get(name) is not None:
            return checks.whole(name, config[name])
    return None
