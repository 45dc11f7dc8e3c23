"""What transformers says of a config, checked against the file: no key is passed over in silence.

The file's own keys are held to the same rules as without transformers; frequencies, bases, shares
and layers come from its classes. Where these ignore a key that could change something, the file is
refused by that key.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

from pianalysis import checks
from pianalysis.rope import library
from pianalysis.rope import parameters as keys
from pianalysis.rope.config_keys import ELSEWHERE, INERT, READ, SPELLINGS
from pianalysis.rope.facts import LayerFacts, ModelFacts, RopeFacts, without_rope
from pianalysis.rope.families import FAMILIES
from pianalysis.rope.plain import FULL, plain_facts, refuse_without_rope, suspect

# Keys that transformers' base class reads for every family, or that are read here for all of them.
_EVERY_FAMILY = frozenset(
    {
        "rope_theta",
        "rope_scaling",
        "rope_parameters",
        "partial_rotary_factor",
        "dual_chunk_attention_config",
        "original_max_position_embeddings",
        "max_position_embeddings",
        "head_dim",
        "hidden_size",
        "num_attention_heads",
    }
)


def library_facts(
    config: Mapping[str, Any], decoder: Mapping[str, Any], original_length: int | None
) -> ModelFacts:
    """Return the layers of a config that transformers has classes for.

    Parameters
    ----------
    config : mapping
        The saved config, possibly composite; its ``model_type`` is known to transformers.
    decoder : mapping
        Its part that describes the decoder; ``config`` itself where it is not composite.
    """
    model_type = decoder.get("model_type", config.get("model_type"))
    refuse_without_rope(decoder)
    parameters = keys.scheme_dict(decoder)
    whole, text = library.config_of(config)
    unread = _check_top_level(decoder, text)
    _check_schemes(decoder, parameters)
    layers = library.layers_of(whole, text)
    reader = f"transformers {library.version()}"
    if all(layer.embedding is None for layer in layers):
        raise ValueError(without_rope(str(model_type), "no layer of its model rotates"))
    made: dict[tuple[Any, ...], tuple[RopeFacts | None, str | None]] = {}
    out = []
    for layer in layers:
        embedding = layer.embedding
        if embedding is None:
            out.append(LayerFacts(layer.layer_type, None, layer.sliding_window))
            continue
        place = (id(embedding), layer.scale)
        if place not in made:
            try:
                facts = _facts(decoder, text, layer, original_length, reader)
                made[place] = (facts, None)
            except ValueError as error:
                made[place] = (None, str(error))
        rope, refusal = made[place]
        label = embedding.label
        out.append(LayerFacts(layer.layer_type, rope, layer.sliding_window, refusal, label))
    refusals = [refusal for _, refusal in made.values() if refusal]
    if len(refusals) == len(made):
        raise ValueError(refusals[0])
    _check_against_keys(decoder, text, out, unread, original_length)
    return ModelFacts(tuple(out), reader, str(model_type))


def _check_against_keys(
    config: Mapping[str, Any],
    text: Any,
    layers: list[LayerFacts],
    unread: list[str],
    original_length: int | None,
) -> None:
    """Refuse what the class makes of keys of older files, where the family's own code says other.

    Its conversions leave some out (MiMo's two bases, OLMo-3's base beside a scheme): where the
    class default is what the file says, nothing is lost.
    """
    plain: tuple[LayerFacts, ...] | None = None
    if config.get("model_type") in FAMILIES:
        with contextlib.suppress(ValueError, TypeError):
            plain = plain_facts(config, original_length).layers
    ours, theirs = (
        [None if x.rope is None else (x.rope.base, _rotary_dim(x.rope)) for x in found]
        for found in (plain or (), layers)
    )
    same = ours == theirs or (len(ours) != len(theirs) and set(ours) == set(theirs))
    if unread and not (plain and same):
        raise ValueError(
            f"config keys must be read by the model's code, got key {unread[0]!r}, which "
            f"{type(text).__name__} of transformers does not know"
        )
    if plain and not same and not any(x.refusal for x in (*plain, *layers)):
        wrong = next(
            (pair for pair in zip(ours, theirs, strict=False) if pair[0] != pair[1]), (ours, theirs)
        )
        raise ValueError(
            f"rope_theta and rotary dimension must be those that {type(text).__name__} of "
            f"transformers reads, got {wrong[0]} in the file, which it reads as {wrong[1]}"
        )


def _rotary_dim(rope: RopeFacts) -> int:
    return int(rope.head_dim * rope.rotary_fraction)


def _check_top_level(config: Mapping[str, Any], text: Any) -> list[str]:
    """Return the known keys that the config class does not read; refuse others that look so."""
    unread = []
    fields = library.own_keys(text)
    for key, value in config.items():
        name = str(key)
        # A key that the class does not know and has used up is no attribute afterwards.
        if name in fields or not library.holds(text, name) or name in INERT or name == "alibi":
            continue
        if name in _EVERY_FAMILY or (name in ELSEWHERE and not value):
            continue
        if name in ELSEWHERE or name in READ:
            unread.append(name)
        elif suspect(name):
            hint = checks.nearest(name, SPELLINGS)
            raise ValueError(f"config keys must be known, got unknown key {name!r}{hint}")
    return unread


def _check_schemes(config: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Hold every scheme of the file to the keys that its type has."""
    nested = keys.nested_entries(parameters)
    for entry in nested.values() or [dict(parameters)]:
        keys.scheme(config, entry)
    if not nested:
        for name, others in (
            ("rope_theta", ("rope_theta", "rotary_emb_base")),
            ("partial_rotary_factor", ("partial_rotary_factor", "rotary_pct")),
        ):
            places = {f"rope_parameters.{name}": parameters.get(name)}
            places |= {other: config.get(other) for other in others}
            what = "the RoPE base" if name == "rope_theta" else "the rotary fraction"
            given = keys.agreed(what, places)
            if given is not None:
                above, most = (1.0, math.inf) if name == "rope_theta" else (0.0, 1.0)
                checks.real(name, given, above=above, at_most=most)


def _facts(
    config: Mapping[str, Any],
    text: Any,
    layer: library.LibraryLayer,
    original_length: int | None,
    reader: str,
) -> RopeFacts:
    embedding = layer.embedding
    assert embedding is not None
    rope_type, parameters, notices = keys.scheme(config, embedding.parameters)
    own = _own_entry(config, embedding.label, rope_type)
    _, own_parameters, said = keys.scheme(config, own)
    notices = tuple(dict.fromkeys((*notices, *said)))
    dim = embedding.rotary_dim
    share = parameters.get("partial_rotary_factor")
    if rope_type == "proportional":  # frequencies of the whole head, of which a share turns
        head_dim, fraction = dim, 1.0
    else:
        head_dim, fraction = _head(config, text, layer, 1.0 if share is None else float(share))
    base = checks.real("rope_theta", parameters.get("rope_theta"), above=1.0)
    window = _window(config, text, own_parameters, rope_type, original_length)
    alpha = parameters.get("alpha")
    if alpha:
        base *= checks.real("alpha", alpha, above=0.0) ** (dim / (dim - 2))
        rope_type, parameters = "default", {}
    if own_parameters.get("factor", 0) is None:
        parameters = {**parameters, "factor": None}  # the class puts its own window into it
    scale = 1.0 / math.sqrt(head_dim) if layer.scale is None else layer.scale
    return RopeFacts(
        head_dim=head_dim,
        base=base,
        context_window=window,
        rotary_fraction=fraction,
        rope_type=rope_type,
        parameters=parameters,
        proportion=float(share or 1.0) if rope_type == "proportional" else 1.0,
        longest=_longest(config, text, own_parameters),
        logit_scale=scale,
        reader=reader,
        notices=notices,
        embedding=embedding,
    )


def _own_entry(config: Mapping[str, Any], label: str | None, rope_type: str) -> dict[str, Any]:
    """Return the file's dict of a layer type; one without a scheme where transformers gives none.

    The class may write a window into a scheme that the file leaves without one: what the file says
    is what counts.
    """
    parameters = keys.scheme_dict(config)
    nested = keys.nested_entries(parameters)
    if nested:
        return nested.get(str(label), {})
    return parameters if rope_type != "default" else {}


def _window(
    config: Mapping[str, Any],
    text: Any,
    own: Mapping[str, Any],
    rope_type: str,
    original_length: int | None,
) -> int:
    filled = dict(config)
    if keys.longest_window(config) is None:
        filled["max_position_embeddings"] = library.value(text, "max_position_embeddings")
    return keys.window(filled, own, rope_type, original_length)


def _longest(config: Mapping[str, Any], text: Any, own: Mapping[str, Any]) -> int | None:
    longest = keys.longest_window(config)
    if longest is None and own.get("factor", 0) is not None:  # null: the file's own is asked for
        value = library.value(text, "max_position_embeddings")
        longest = value if isinstance(value, int) else None
    return longest


def _head(
    config: Mapping[str, Any], text: Any, layer: library.LibraryLayer, share: float
) -> tuple[int, float]:
    """Return head_dim and rotating share that leave the embedding's own rotary dimension."""
    assert layer.embedding is not None
    dim = layer.embedding.rotary_dim
    widths = [library.value(text, "qk_rope_head_dim")]
    if layer.layer_type == FULL:
        widths.append(library.value(text, "global_head_dim"))
    widths.append(library.value(text, "head_dim"))
    hidden, heads = (library.value(text, x) for x in ("hidden_size", "num_attention_heads"))
    if isinstance(hidden, int) and isinstance(heads, int) and heads:
        widths.append(hidden // heads)
    widths = [width for width in widths if isinstance(width, int)]
    for width in widths:
        if width == dim and width == library.value(text, "qk_rope_head_dim"):
            return width, 1.0
        if int(width * share) == dim:
            return width, share
    given = config.get("partial_rotary_factor")
    if (given is not None and float(given) != 1.0) or share != 1.0:
        raise ValueError(
            f"partial_rotary_factor must be what the model's code rotates: "
            f"{layer.embedding.name} of transformers turns "
            f"{dim} dimensions, got {share} of {widths[0] if widths else None}"
        )
    for width in widths:
        if dim < width and int(width * (dim / width)) == dim:
            return width, dim / width
    return dim, 1.0
