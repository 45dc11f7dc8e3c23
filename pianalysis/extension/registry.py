"""Schemes by name, and the scheme a Hugging Face config asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import ceil, log2
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.extension.base import Extension
from pianalysis.extension.by_pair import LongRoPE, Proportional
from pianalysis.extension.by_parts import Llama3, NTKByParts, YaRN
from pianalysis.extension.geometric import (
    BaseChange,
    DynamicNTK,
    NTKAware,
    PositionInterpolation,
    Unscaled,
)
from pianalysis.records import plain
from pianalysis.rope.configs import model_facts, read_config, rope_facts
from pianalysis.rope.facts import RopeFacts
from pianalysis.rope.spec import RopeSpec

# Hugging Face's rope_type where it has one.
SCHEMES: dict[str, type[Extension]] = {
    "default": Unscaled,
    "linear": PositionInterpolation,
    "ntk": NTKAware,
    "dynamic": DynamicNTK,
    "ntk-by-parts": NTKByParts,
    "yarn": YaRN,
    "llama3": Llama3,
    "longrope": LongRoPE,
    "proportional": Proportional,
    "base-change": BaseChange,
}
# transformers computes frequencies in float32, and powers of large bases lose a little more.
LIBRARY_TOLERANCE = 3e-6
# Keys of a config's dict that are the scheme's own arguments, under the same names.
_ARGUMENTS = {
    "linear": ("factor",),
    "dynamic": ("factor",),
    "yarn": (
        "factor",
        "attention_factor",
        "beta_fast",
        "beta_slow",
        "mscale",
        "mscale_all_dim",
        "truncate",
    ),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "longrope": ("factor", "attention_factor", "short_factor", "long_factor"),
    "proportional": ("factor",),
}


def extension_from_hf(
    config: str | os.PathLike[str] | Mapping[str, Any] | Any,
    *,
    length: int | None = None,
    original_length: int | None = None,
    layer_type: str | None = None,
) -> Extension:
    """Return the extension scheme that a Hugging Face config asks for, of either generation.

    Parameters
    ----------
    config : path, dict or transformers config
        As for ``RopeSpec.from_hf``.
    length : int, optional
        The target L': the sequence length in use, on which ``dynamic`` and ``longrope`` depend. By
        default ``max_position_embeddings`` where that exceeds the pretrained window, otherwise
        factor times the window.
    original_length : int, optional
        The pretrained window, which ``linear`` and ``dynamic`` configs do not hold: it is asked
        for, never guessed.
    layer_type : str, optional
        Which RoPE to read when layers differ.

    Returns
    -------
    Extension. Its ``spec`` is what ``RopeSpec.from_hf`` reads; frequencies and attention factor
    are those of transformers 5.23.0, in float64 and beyond where it computes in float32; where it
    is installed they are compared with its own to 3e-6.

    Raises
    ------
    ValueError, TypeError
        Naming the key and the nearest known one.

    Notes
    -----
    ``dynamic`` grows its base from the config's own ``max_position_embeddings``, as transformers
    does: after that number was raised by hand the factor counts twice.

    Examples
    --------
    >>> config = {"model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32,
    ...           "max_position_embeddings": 4096, "rope_theta": 10000.0,
    ...           "rope_scaling": {"type": "linear", "factor": 4.0}}
    >>> extension_from_hf(config, original_length=4096).target
    16384
    >>> extension_from_hf(config)
    Traceback (most recent call last):
    ...
    ValueError: original_length must be given: a 'linear' config without \
original_max_position_embeddings does not hold the pretrained window, got None
    """
    return extension_of(rope_facts(read_config(config), original_length, layer_type), length)


def layer_extensions(
    config: str | os.PathLike[str] | Mapping[str, Any] | Any,
    *,
    length: int | None = None,
    original_length: int | None = None,
) -> tuple[Extension | None, ...]:
    r"""Return the extension of each decoder layer: the frequencies by which it turns.

    .. math:: q_j \mapsto q_j \, f \, e^{i m \theta'_j}

    with :math:`\theta'_j` in radians per token (d/2 of them) and the attention factor f, which
    layers of one model may have different.

    Parameters
    ----------
    config, length, original_length
        As for ``extension_from_hf``.

    Returns
    -------
    tuple with one entry a decoder layer, in order: its Extension, or None where the layer does not
    rotate (a layer without positions, or without attention). Layers that rotate alike share one.
    Where the config says neither how many layers there are nor of which type, each kind that it
    names has one entry.

    Raises
    ------
    ValueError, TypeError
        As for ``extension_from_hf``; a model of which no layer rotates; a layer whose RoPE cannot
        be given.

    Examples
    --------
    >>> config = {"model_type": "smollm3", "num_hidden_layers": 4, "no_rope_layers": [1, 1, 1, 0],
    ...           "hidden_size": 64, "num_attention_heads": 4, "rope_theta": 50000.0,
    ...           "max_position_embeddings": 4096, "num_key_value_heads": 4}
    >>> [None if layer is None else layer.spec.base for layer in layer_extensions(config)]
    [50000.0, 50000.0, 50000.0, None]
    """
    facts = model_facts(read_config(config), original_length)
    made: list[tuple[RopeFacts, Extension]] = []
    out: list[Extension | None] = []
    for layer in facts.layers:
        if layer.refusal is not None:
            raise ValueError(layer.refusal)
        if layer.rope is None:
            out.append(None)
            continue
        known = [extension for rope, extension in made if rope == layer.rope]
        if not known:
            known = [extension_of(layer.rope, length)]
            made.append((layer.rope, known[0]))
        out.append(known[0])
    if not made:
        facts.rotating()  # refuses, and says what the model has instead
    return tuple(out)


def extension_of(facts: RopeFacts, length: int | None = None) -> Extension:
    """Return the scheme that a config asks for, from what it says; ``length`` as above."""
    spec = RopeSpec.from_facts(facts)
    given = {name: facts.parameters.get(name) for name in _ARGUMENTS.get(facts.rope_type, ())}
    arguments = {name: value for name, value in given.items() if value is not None}
    if facts.rope_type == "proportional":
        arguments = {"factor": 1.0, "proportion": facts.proportion, **arguments}
    if facts.rope_type == "dynamic" and facts.longest is not None:
        arguments["reference_length"] = facts.longest
    if facts.rope_type in ("yarn", "longrope") and "factor" not in arguments:
        arguments["factor"] = _ratio(facts)
    target = _longest(facts, arguments.get("factor", 1.0)) if length is None else length
    if facts.rope_type == "qwen-ntk":
        return _first_qwen(spec, target)
    if "long_mscale" in facts.parameters and "short_mscale" in facts.parameters:
        beyond = target > facts.context_window
        arguments["attention_factor"] = facts.parameters[
            "long_mscale" if beyond else "short_mscale"
        ]
    extension = SCHEMES[facts.rope_type](spec, target, **arguments)
    _compare(facts, extension)
    return extension


def _first_qwen(spec: RopeSpec, target: int) -> Extension:
    """Return what modeling_qwen.py does with use_dynamic_ntk: factors 2^n - 1 beyond the window."""
    if target <= spec.context_window:
        return Unscaled(spec, target)
    return NTKAware(spec, target, factor=2.0 ** ceil(log2(target / spec.context_window) + 1) - 1.0)


def _compare(facts: RopeFacts, extension: Extension) -> None:
    """Refuse a scheme whose frequencies or factor are not those of transformers' own module."""
    if facts.embedding is None:
        return
    theirs, factor = facts.embedding.at(extension.target)
    ours = extension.frequencies
    same = ours.shape == theirs.shape and np.allclose(ours, theirs, LIBRARY_TOLERANCE, 0.0)
    if not same or abs(factor - extension.attention_factor) > LIBRARY_TOLERANCE * abs(factor):
        index = int(np.abs(ours - theirs).argmax()) if ours.shape == theirs.shape else 0
        raise ValueError(
            f"a {facts.rope_type!r} RoPE must turn as {facts.embedding.name} of transformers does, "
            f"got pair {index} of {ours.size} at {ours[index]:.6g} and factor "
            f"{extension.attention_factor:.6g} against {theirs[index]:.6g} of {theirs.size} and "
            f"{factor:.6g}"
        )


def _longest(facts: RopeFacts, factor: Any) -> int:
    if facts.longest is not None and facts.longest > facts.context_window:
        return facts.longest
    return int(facts.context_window * checks.real("factor", factor, at_least=1.0))


def _ratio(facts: RopeFacts) -> float:
    """Return max_position_embeddings over the pretrained window, where the factor is left out."""
    if facts.longest is None:
        raise ValueError(
            f"max_position_embeddings must be given for a {facts.rope_type!r} RoPE without factor, "
            "got none"
        )
    return max(1.0, facts.longest / facts.context_window)


AS_LOADED = "as loaded"  # the label of the model without any extension of ours


def described(extension: Extension | None) -> dict[str, Any]:
    """Return all that defines an extension, as JSON types."""
    if extension is None:
        return {"scheme": AS_LOADED}
    return {"scheme": type(extension).__name__, **plain(extension)}
