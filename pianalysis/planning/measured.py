"""Sizes of the dense decoders that transformers has, read off its own model without weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pianalysis.planning.architecture import FAMILIES, Architecture
from pianalysis.rope import library
from pianalysis.rope.configs import decoder_config


def sizes_of(config: Mapping[str, Any]) -> Architecture:
    """Return the sizes of a config: by its keys, or of the model that transformers builds of it.

    Raises
    ------
    ValueError
        A family that neither serves; a decoder that is not dense (experts, layers that differ,
        latent attention), which these plans do not count.
    """
    decoder = decoder_config(config)
    family = decoder.get("model_type")
    if family in FAMILIES:
        return Architecture.from_hf(decoder)
    if not library.knows(family):
        raise ValueError(
            f"model_type must be one of {', '.join(FAMILIES)}, or a dense decoder that "
            f"transformers, installed, has, to be planned, got {family!r}"
        )
    return _measured(decoder)


def _measured(config: Mapping[str, Any]) -> Architecture:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    from pianalysis.rope import traced

    text = library.config_of(config)[1]
    factory: Any = AutoModelForCausalLM  # transformers types its factories in part only
    try:
        with torch.device("meta"), no_init_weights():
            model = factory.from_config(text, trust_remote_code=False)
            model.tie_weights()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"config must build a model in transformers, got {reason}") from None
    blocks = traced.blocks(model, text.num_hidden_layers)
    family = text.model_type
    counts = {sum(weight.numel() for weight in block.parameters()) for block in blocks}
    if len(counts) != 1:
        raise ValueError(f"layers must be alike to be planned, got several kinds in {family!r}")
    attention = traced.attention_of(blocks[0])
    hidden, heads = int(text.hidden_size), int(text.num_attention_heads)
    head_dim = int(library.value(text, "head_dim") or hidden // heads)
    intermediate = int(library.value(text, "intermediate_size") or 4 * hidden)
    within = {id(weight) for weight in attention.parameters()}
    matrices = [w for w in blocks[0].parameters() if w.ndim > 1]
    inside = sum(w.numel() for w in matrices if id(w) in within)
    outside = sum(w.numel() for w in matrices if id(w) not in within)
    both, rest = divmod(inside, 2 * hidden * head_dim)
    key_heads = both - heads
    if rest or not 1 <= key_heads <= heads or heads % key_heads:
        raise ValueError(
            f"attention must be of queries, keys, values and output to be planned, got {inside} "
            f"weights in {family!r}"
        )
    perceptron, rest = divmod(outside, hidden * intermediate)
    if rest or perceptron not in (2, 3) or any(w.ndim > 2 for w in matrices):
        raise ValueError(
            f"a layer must hold one dense perceptron to be planned, got {outside} weights outside "
            f"the attention of {family!r}"
        )
    total = sum(weight.numel() for weight in model.parameters())
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    count = counts.pop()
    outer = (1 if tied else 2) * int(text.vocab_size) * hidden + hidden
    return Architecture(
        vocabulary=int(text.vocab_size),
        hidden=hidden,
        intermediate=intermediate,
        layers=len(blocks),
        heads=heads,
        key_heads=key_heads,
        head_dim=head_dim,
        tied=tied,
        perceptron_matrices=perceptron,
        layer_extra=count - inside - outside - 2 * hidden,
        outer_extra=total - len(blocks) * count - outer,
    )
