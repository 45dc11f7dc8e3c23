"""Schemes by name, and the scheme a Hugging Face config asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

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
from pianalysis.rope.configs import RopeFacts, read_config, rope_facts
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
    are those of transformers 5.23.0, in float64 and beyond where it computes in float32.

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
    return SCHEMES[facts.rope_type](spec, target, **arguments)


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
