"""A scheme's own dict, its window and its keys, checked: nothing is passed over in silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pianalysis import checks
from pianalysis.rope.config_keys import (
    EVERY_TYPE,
    HUNYUAN,
    HUNYUAN_INERT,
    INERT_IN_SCHEME,
    MSCALES,
    ROPE_KEYS,
    WINDOW_KEYS,
)

ORIGINAL = "original_max_position_embeddings"


def scheme_dict(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dict that describes the scheme, nested or flat; empty where there is none."""
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
    return next(iter(given.values()), {})


def nested_entries(parameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return layer type -> its flat dict, of a nested one; layers that are null do not rotate."""
    return {k: dict(v) for k, v in parameters.items() if isinstance(v, Mapping)}


def scheme(
    config: Mapping[str, Any], parameters: Mapping[str, Any]
) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """Return the validated rope_type, the keys that count, and what is to be said of the others."""
    given = {k: parameters[k] for k in ("rope_type", "type") if parameters.get(k) is not None}
    for key, value in given.items():
        if not isinstance(value, str):
            raise TypeError(f"{key} must be a string, got {value!r}")
    family = config.get("model_type")
    # Phi-3's first files call LongRoPE by two other names; Qwen2-VL's mrope has the same
    # frequencies as default, split over three position axes.
    older = {"mrope": "default"}
    older |= {"su": "longrope", "yarn": "longrope"} if family == "phi3" else {}
    names = {older.get(name, name) for name in given.values()}
    if len(names) > 1:
        raise ValueError(f"rope_type and type must agree, got {' and '.join(sorted(names))}")
    if not names and set(parameters) - EVERY_TYPE - set(INERT_IN_SCHEME):
        keys = ", ".join(sorted(parameters))
        raise ValueError(f"rope_type must be given beside the keys {keys}, got none")
    rope_type = checks.choice("rope_type", names.pop() if names else "default", ROPE_KEYS)
    notices = [f"{key}: {INERT_IN_SCHEME[key]}" for key in parameters if key in INERT_IN_SCHEME]
    kept = {k: v for k, v in parameters.items() if k not in INERT_IN_SCHEME}
    if family in HUNYUAN and rope_type == "dynamic" and kept.get("alpha"):
        notices.append("alpha: a fixed NTK-aware factor that Hunyuan's code puts into the base")
        notices += [f"{k}: not read by Hunyuan's code" for k in kept if k in HUNYUAN_INERT]
        kept = {k: v for k, v in kept.items() if k not in HUNYUAN_INERT}
    window = kept.pop("max_position_embeddings", None)
    if window is not None and window != config.get("max_position_embeddings", window):
        raise ValueError(
            "max_position_embeddings must be the same in rope_parameters and beside it, "
            f"got {window!r} and {config['max_position_embeddings']!r}"
        )
    _check_keys(family, rope_type, kept)
    return rope_type, kept, tuple(notices)


def _check_keys(family: Any, rope_type: str, parameters: Mapping[str, Any]) -> None:
    required, optional = ROPE_KEYS[rope_type]
    known = required | optional | EVERY_TYPE
    if family in HUNYUAN and rope_type == "dynamic":
        known |= {"alpha"}
    if family == "phimoe" and rope_type == "longrope":
        known |= MSCALES
    for key in parameters:
        if key not in known:
            raise ValueError(
                f"keys of a {rope_type!r} RoPE must be known, got unknown key {key!r}"
                f"{checks.nearest(key, known)}"
            )
    if parameters.get("factor") is not None:
        checks.real("factor", parameters["factor"], at_least=1.0)
    missing = required - {k for k, v in parameters.items() if v is not None}
    missing -= {ORIGINAL}  # looked for in every place where it may be
    if rope_type == "yarn" and "factor" in parameters:
        missing -= {"factor"}  # null: max_position_embeddings over the original length
    if missing:
        raise ValueError(f"a {rope_type!r} RoPE must give {', '.join(sorted(missing))}, got none")


def agreed(name: str, places: Mapping[Any, Any]) -> Any:
    """Return the one value that all places give for ``name``, or None."""
    given = {place: value for place, value in places.items() if value is not None}
    values = list(given.values())
    if any(not isinstance(value, (int, float, str)) for value in values):
        raise TypeError(f"{name} must be a number, got {values}")
    if any(value != values[0] for value in values[1:]):
        listed = ", ".join(f"{place} = {value!r}" for place, value in given.items())
        raise ValueError(f"{name} must be the same wherever it is given, got {listed}")
    return values[0] if values else None


def window(
    config: Mapping[str, Any],
    parameters: Mapping[str, Any],
    rope_type: str,
    original_length: int | None,
) -> int:
    """Return the pretrained window: the original length where the model was extended."""
    if original_length is not None:
        original_length = checks.whole("original_length", original_length)
    fixed = rope_type == "dynamic" and bool(parameters.get("alpha"))
    elsewhere = None
    if rope_type == "default":
        # Layers that are not extended, in a model of which others are: one window for all.
        given = scheme_dict(config)
        entries = nested_entries(given).values() or [given]
        elsewhere = agreed("the original length", dict(enumerate(e.get(ORIGINAL) for e in entries)))
    chunks = config.get("dual_chunk_attention_config")
    if chunks is not None and not isinstance(chunks, Mapping):
        raise ValueError(f"dual_chunk_attention_config must be an object, got {chunks!r}")
    original = agreed(
        "the original length",
        {
            f"rope_parameters.{ORIGINAL}": parameters.get(ORIGINAL) or elsewhere,
            ORIGINAL: config.get(ORIGINAL),
            f"dual_chunk_attention_config.{ORIGINAL}": (chunks or {}).get(ORIGINAL),
            "original_length": original_length,
        },
    )
    if original is not None:
        return checks.whole(ORIGINAL, original)
    if chunks:
        raise ValueError(
            f"original_length must be given: dual_chunk_attention_config without {ORIGINAL} "
            "does not hold the pretrained window, got None"
        )
    if rope_type not in ("default", "proportional") and not fixed:
        raise ValueError(
            f"original_length must be given: a {rope_type!r} config without {ORIGINAL} "
            "does not hold the pretrained window, got None"
        )
    longest = longest_window(config)
    if longest is None:
        raise ValueError("max_position_embeddings (or original_length) must be given, got none")
    return longest


def longest_window(config: Mapping[str, Any]) -> int | None:
    """Return max_position_embeddings under whichever name the model family gives it."""
    for name in WINDOW_KEYS:
        if config.get(name) is not None:
            return checks.whole(name, config[name])
    return None
