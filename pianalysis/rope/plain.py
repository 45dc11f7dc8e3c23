"""Configs read by their keys alone, without transformers: the families listed, strictly.

A key that is not known and might change a frequency, a window or a scale is refused by name.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pianalysis import checks
from pianalysis.rope import parameters as keys
from pianalysis.rope.config_keys import ELSEWHERE, INERT, MOST_REPEATS, READ, SPELLINGS
from pianalysis.rope.facts import PLAIN, LayerFacts, ModelFacts, RopeFacts, without_rope
from pianalysis.rope.families import FAMILIES, WITHOUT_ROPE, Family

FULL, SLIDING = "full_attention", "sliding_attention"
# v4 files of two bases: the key of the other base -> (the full layers' key, the other type's name).
_SECOND_BASES = {
    "rope_local_base_freq": ("rope_theta", SLIDING),
    "local_rope_theta": ("global_rope_theta", SLIDING),
    "swa_rope_theta": ("rope_theta", SLIDING),
    "compress_rope_theta": ("rope_theta", "compress"),
}
# Names that suggest a bearing on RoPE, its window or a head's width.
_SUSPECT = re.compile(
    r"rope|rotary|ntk|yarn|alibi|logn|dual_chunk|kv_channels|head_dim|head_size|d_kv|nope(?!t)"
)


def plain_facts(config: Mapping[str, Any], original_length: int | None = None) -> ModelFacts:
    """Return the layers of a config of a listed family, or of one that names no family.

    Raises
    ------
    ValueError, TypeError
        A family that is not listed, and whatever a key says wrong, by name.
    """
    model_type = config.get("model_type")
    family = family_of(config)
    check_top_level(config, family.keys)
    layers = tuple(_layers(config, family, original_length))
    return ModelFacts(layers, PLAIN, model_type)


def family_of(config: Mapping[str, Any]) -> Family:
    """Return the listed family of a config; refuse models without RoPE, and families not listed."""
    model_type = config.get("model_type")
    if model_type is None:
        return Family(base=None, share=1.0)
    if not isinstance(model_type, str):
        raise TypeError(f"model_type must be a string, got {model_type!r}")
    refuse_without_rope(config)
    if model_type == "baichuan":
        return Family()
    if model_type not in FAMILIES:
        raise ValueError(
            "model_type must be one that transformers has, or one of the families read without "
            f"it ({', '.join(sorted(FAMILIES))}), got {model_type!r}"
        )
    return FAMILIES[model_type]


def refuse_without_rope(config: Mapping[str, Any]) -> None:
    """Refuse a model whose family or config has other positions than RoPE, or none."""
    model_type = config.get("model_type")
    instead = WITHOUT_ROPE.get(str(model_type))
    if instead is not None:
        raise ValueError(without_rope(model_type, instead))
    if model_type == "baichuan" and config.get("hidden_size") != 4096:
        raise ValueError(without_rope("baichuan", "above 7B its code puts ALiBi biases"))
    alibi = config.get("alibi")
    if alibi is not None and alibi is not False:
        raise ValueError(
            without_rope(model_type, f"alibi must be false for a RoPE model, got {alibi!r}")
        )
    if model_type == "granitemoehybrid" and config.get("position_embedding_type") != "rope":
        given = config.get("position_embedding_type")
        raise ValueError(
            without_rope(model_type, f"position_embedding_type is not 'rope', got {given!r}")
        )


@functools.lru_cache(maxsize=1024)  # most configs name the same keys
def suspect(name: str) -> bool:
    """Return whether a key's name suggests a bearing on RoPE, or is nearly one that has it."""
    close = difflib.get_close_matches(name, SPELLINGS, n=1, cutoff=0.86)
    return bool(_SUSPECT.search(name) or close)


def check_top_level(config: Mapping[str, Any], own: frozenset[str]) -> None:
    """Refuse keys that look like RoPE settings but are none: they would have no effect."""
    for key, value in config.items():
        name = str(key)
        if key in READ or key in INERT or key in own or name == "alibi":
            continue
        if key in ELSEWHERE and not value:
            continue
        if key in ELSEWHERE or suspect(name):
            hint = "" if key in ELSEWHERE else checks.nearest(name, SPELLINGS)
            raise ValueError(f"config keys must be known, got unknown key {name!r}{hint}")


def _layers(
    config: Mapping[str, Any], family: Family, original_length: int | None
) -> Iterator[LayerFacts]:
    entries = _entries(config)
    kinds = _kinds(config, list(entries))
    unrotated = _unrotated(config, family, len(kinds))
    made: dict[str | None, LayerFacts] = {}
    for index, kind in enumerate(kinds):
        label = _label(kind, entries)
        window = config.get("sliding_window") if kind == SLIDING else None
        if index in unrotated:
            yield LayerFacts(kind, None, window)
            continue
        if kind not in made:
            layer_type = label if label is not None else kind
            try:
                rope = _rope(config, family, entries[label], layer_type, original_length)
                made[kind] = LayerFacts(kind, rope, window, label=label)
            except ValueError as error:
                # One kind of layer may be readable where another is not.
                if len(entries) == 1:
                    raise
                made[kind] = LayerFacts(kind, None, window, str(error), label)
        yield made[kind]


def _entries(config: Mapping[str, Any]) -> dict[str | None, dict[str, Any]]:
    """Return layer type -> its scheme's flat dict with its base; under None where all share one."""
    parameters = keys.scheme_dict(config)
    nested: dict[Any, dict[str, Any]] = dict(keys.nested_entries(parameters))
    if nested:
        return nested
    for other, (own, name) in _SECOND_BASES.items():
        if config.get(other) is not None and config.get(own, parameters) is not None:
            # The scheme is that of the full-attention layers (of the compressed in DeepSeek-V4).
            bare = {"rope_theta": config[other]}
            main = {"rope_theta": config.get(own), **parameters}
            if name == "compress":
                return {"main": {"rope_theta": config.get(own)}, name: {**parameters, **bare}}
            return {FULL: main, name: bare}
    if config.get("model_type") == "olmo3":
        theta = {} if "rope_theta" not in parameters else {"rope_theta": parameters["rope_theta"]}
        return {FULL: parameters, SLIDING: theta}
    return {None: parameters}


def _label(kind: str | None, entries: Mapping[str | None, Any]) -> str | None:
    """Return the key of ``entries`` that answers to a layer type."""
    if kind in entries:
        return kind
    if None in entries:
        return None
    if "compress" in entries:
        return "main" if kind == SLIDING else "compress"
    raise ValueError(
        f"rope_parameters must hold every layer type, got {', '.join(map(str, entries))} "
        f"without {kind!r}"
    )


def _kinds(config: Mapping[str, Any], labels: list[str | None]) -> list[str | None]:
    """Return the layer type of each layer; one layer stands for all where none are counted."""
    listed = config.get("layer_types")
    if listed is not None:
        if not isinstance(listed, list) or not all(isinstance(x, str) for x in listed):
            raise ValueError(f"layer_types must be a list of names, got {listed!r}")
        return list(listed)
    pattern = config.get("hybrid_layer_pattern")
    if pattern is not None:
        return [SLIDING if x else FULL for x in pattern]
    count = config.get("num_hidden_layers", config.get("n_layer"))
    if count is None or labels == [None]:
        count = 1 if count is None else _layer_count(count)
        every = _every(config)
        if config.get("model_type") in ("cohere2", "exaone4") and every is not None:
            return [FULL if (n + 1) % every == 0 else SLIDING for n in range(count)]
        return list(labels) if count < len(labels) else [labels[0]] * count
    # Two bases and no list: every sixth layer of Gemma 3, every third of ModernBERT, every fourth
    # of OLMo-3 sees all; where the file does not say, each type is named once.
    every = _every(config)
    count = _layer_count(count)
    if every is not None and FULL in labels:
        return [FULL if (n + 1) % every == 0 else SLIDING for n in range(count)]
    return list(labels)


def _every(config: Mapping[str, Any]) -> int | None:
    """Return which layers see all: each so many; None where the file counts them otherwise."""
    every = config.get("sliding_window_pattern")
    return checks.whole("sliding_window_pattern", every) if isinstance(every, int) else None


def _layer_count(value: Any) -> int:
    return checks.whole("num_hidden_layers", value, at_most=MOST_REPEATS)


def _unrotated(config: Mapping[str, Any], family: Family, count: int) -> set[int]:
    """Return the numbers of the layers that do not rotate."""
    if family.unrotated == "no_rope_layers":
        listed = config.get("no_rope_layers")
        if listed:  # 1 where a layer rotates
            return {n for n, turns in enumerate(listed) if not turns}
        interval = checks.whole("no_rope_layer_interval", config.get("no_rope_layer_interval", 4))
        return {n for n in range(count) if (n + 1) % interval == 0}
    kinds = config.get("layer_types")
    if kinds:
        no_attention = {n for n, kind in enumerate(kinds) if kind in ("mamba", "linear_attention")}
        if family.unrotated == FULL and config.get("sliding_window") is not None:
            return no_attention | {n for n, kind in enumerate(kinds) if kind == FULL}
        return no_attention
    if family.unrotated == FULL and config.get("sliding_window") is not None:
        raise ValueError(
            f"layer_types must be given: full-attention layers of {config['model_type']!r} "
            "do not rotate, got none"
        )
    return set()


def _rope(
    config: Mapping[str, Any],
    family: Family,
    entry: Mapping[str, Any],
    layer_type: str | None,
    original_length: int | None,
) -> RopeFacts:
    rope_type, parameters, notices = keys.scheme(config, entry)
    head_dim = _head_dim(config, family, layer_type)
    base = _base(config, family, parameters, nested=layer_type is not None)
    share = _fraction(config, family, parameters, head_dim)
    window = _window(config, family, parameters, rope_type, original_length)
    alpha = parameters.get("alpha")
    if alpha:
        dim = int(head_dim * share)
        base *= checks.real("alpha", alpha, above=0.0) ** (dim / (dim - 2))
        rope_type, parameters = "default", {}
    if config.get("use_dynamic_ntk"):  # of the first Qwen alone: refused by name in others
        rope_type = "qwen-ntk"
    # Proportional RoPE lets a share of the pairs turn, over the frequencies of the whole head.
    proportional = rope_type == "proportional"
    return RopeFacts(
        head_dim=head_dim,
        base=base,
        context_window=window,
        rotary_fraction=1.0 if proportional else share,
        rope_type=rope_type,
        parameters=parameters,
        proportion=share if proportional else 1.0,
        longest=keys.longest_window(config),
        logit_scale=_logit_scale(config, family, head_dim, parameters),
        notices=notices,
    )


def _base(
    config: Mapping[str, Any], family: Family, parameters: Mapping[str, Any], *, nested: bool
) -> float:
    own = parameters.get("rope_theta")
    if own is None or not nested:  # the entry of a layer type wins over the flat base
        places = {"rope_parameters.rope_theta": own}
        places |= {k: config.get(k) for k in ("rope_theta", "rotary_emb_base")}
        own = keys.agreed("the RoPE base", places)
    base = family.base if own is None else own
    if base is None:
        raise ValueError(
            "rope_theta must be given: no default is known for "
            f"model_type {config.get('model_type')!r}, got none"
        )
    base = checks.real("rope_theta", base, above=1.0)
    if "rope_ratio" in family.keys and config.get("rope_ratio") is not None:
        base *= checks.real("rope_ratio", config["rope_ratio"], above=0.0)
    return base


def _head_dim(config: Mapping[str, Any], family: Family, layer_type: str | None = None) -> int:
    """Return the rotating head's dimension; for multi-head latent attention its RoPE part."""
    if layer_type == FULL and config.get("global_head_dim") is not None:
        return checks.whole("global_head_dim", config["global_head_dim"])
    names = ["qk_rope_head_dim", *sorted(family.keys & {"kv_channels"}), "head_dim"]
    for key in names:
        if config.get(key) is not None:
            return checks.whole(key, config[key])
    if family.head_dim is not None:
        return family.head_dim
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


def _fraction(
    config: Mapping[str, Any], family: Family, parameters: Mapping[str, Any], head_dim: int
) -> float:
    if config.get("qk_rope_head_dim") is not None:
        return 1.0
    names = ["partial_rotary_factor", "rotary_pct", *sorted(family.keys & {"rope_pct"})]
    places = {"rope_parameters.partial_rotary_factor": parameters.get("partial_rotary_factor")}
    places |= {k: config.get(k) for k in names}
    if config.get("rotary_dim") is not None:
        places["rotary_dim / head_dim"] = (
            checks.whole("rotary_dim", config["rotary_dim"]) / head_dim
        )
    given = keys.agreed("the rotary fraction", places)
    default = 1.0 if family.share is None else family.share
    share = checks.real(
        "partial_rotary_factor", default if given is None else given, above=0.0, at_most=1.0
    )
    if (
        family.share is None
        and share != 1.0
        and parameters.get("rope_type", "default") == "default"
    ):
        raise ValueError(
            f"partial_rotary_factor must be 1: the code of {config.get('model_type')!r} rotates "
            f"the whole head, got {share}"
        )
    return share


def _window(
    config: Mapping[str, Any],
    family: Family,
    parameters: Mapping[str, Any],
    rope_type: str,
    original_length: int | None,
) -> int:
    trained = config.get("seq_length") if "seq_length" in family.keys else None
    if trained is not None and original_length is None:
        return checks.whole("seq_length", trained)
    return keys.window(config, parameters, rope_type, original_length)


def _logit_scale(
    config: Mapping[str, Any], family: Family, head_dim: int, parameters: Mapping[str, Any]
) -> float:
    """Return what scores are multiplied by before the softmax."""
    if config.get("attention_multiplier") is not None:
        return checks.real("attention_multiplier", config["attention_multiplier"], above=0.0)
    scalar = config.get("query_pre_attn_scalar")
    if scalar is not None:
        return 1.0 / math.sqrt(checks.real("query_pre_attn_scalar", scalar, above=0.0))
    if family.logit_scale is not None:
        return family.logit_scale
    if config.get("qk_rope_head_dim") is None:
        return 1.0 / math.sqrt(head_dim)
    # Latent attention: the head has a part for content beside the one that rotates.
    content = config.get("qk_nope_head_dim")
    if content is None:
        return 1.0 / math.sqrt(checks.whole("head_dim", config.get("head_dim", head_dim)))
    scale = 1.0 / math.sqrt(checks.whole("qk_nope_head_dim", content) + head_dim)
    every, factor = parameters.get("mscale_all_dim"), parameters.get("factor")
    if every and factor:
        scale *= (0.1 * every * math.log(factor) + 1.0) ** 2
    return scale
