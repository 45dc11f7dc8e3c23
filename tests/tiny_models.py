"""Tiny random models of the families that `heads` serves, and their files."""

import json

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

VOCABULARY = 96
TOKENS = 24
HEADS = 4

_COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": HEADS,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}
_GROUPED = {"num_key_value_heads": 2, "rope_theta": 10_000.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}

FAMILIES = {
    "llama": {"model_type": "llama", **_GROUPED},
    "llama-yarn": {"model_type": "llama", **_GROUPED, "rope_scaling": YARN},
    "mistral": {"model_type": "mistral", **_GROUPED, "sliding_window": 8},
    "qwen2": {"model_type": "qwen2", **_GROUPED},
    "qwen3": {"model_type": "qwen3", **_GROUPED, "head_dim": 12},
    "phi3": {"model_type": "phi3", **_GROUPED, "partial_rotary_factor": 0.5},
    "gemma2": {
        **{"model_type": "gemma2", **_GROUPED, "head_dim": 16, "num_hidden_layers": 4},
        **{"query_pre_attn_scalar": 24, "attn_logit_softcapping": 5.0, "sliding_window": 8},
    },
    "gpt_neox": {"model_type": "gpt_neox", "rotary_pct": 0.5, "rotary_emb_base": 10_000},
    "olmo2": {"model_type": "olmo2", **_GROUPED},
    "cohere": {"model_type": "cohere", **_GROUPED},
}
# Not served alike by all tests: two RoPEs, layers or a model without RoPE, another rotation.
OTHERS = {
    "gemma3": {"model_type": "gemma3_text", "num_key_value_heads": 2, "head_dim": 8},
    "smollm3": {"model_type": "smollm3", **_GROUPED},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_head": 4, "n_layer": 3},
    "gptj": {"model_type": "gptj", "n_embd": 32, "n_head": 4, "n_layer": 3, "rope_theta": 1e4},
}


def config_of(family, **changes):
    """The config of a family as a checkpoint would hold it."""
    return {**_COMMON, **(FAMILIES | OTHERS)[family], **changes}


def build(family, *, seed=0, dtype=torch.float32, **changes):
    """A random model whose logits are of order one, so that attention is far from uniform."""
    config = AutoConfig.for_model(**json.loads(json.dumps(config_of(family, **changes))))
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(1 + 0.2 * noise if "norm" in name and weight.ndim == 1 else 0.3 * noise)
    return model.to(dtype).eval()


def save(family, directory, *, tokenizer=False, shards=None, **changes):
    """Write a family's tiny checkpoint; its config.json is ours, of the first generation."""
    model = build(family, **changes.pop("build", {}), **changes)
    model.save_pretrained(directory, **({} if shards is None else {"max_shard_size": shards}))
    config = directory / "config.json"
    config.write_text(json.dumps(config_of(family, **changes)))
    (directory / "generation_config.json").unlink(missing_ok=True)
    if tokenizer:
        _tokenizer().save(str(directory / "tokenizer.json"))
    return directory


def text(seed=0, tokens=TOKENS):
    """Random token ids."""
    return np.random.default_rng(seed).integers(3, VOCABULARY, tokens)


def _tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {f"w{n}": n for n in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


_GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def save_gguf(path, *, extra=(), tensors=(), **changes):
    """Write the tiny Llama as GGUF: q and k rows in adjacent pairs, as llama.cpp stores them."""
    from gguf import GGUFWriter

    model = build("llama", **changes)
    config = model.config
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    words = [chr(33 + n) for n in range(VOCABULARY - 2)] + ["ab", "cd"]
    writer.add_token_list(words)
    writer.add_token_types([1] * VOCABULARY)
    writer.add_token_merges(["a b", "c d"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for add, *rest in extra:
        getattr(writer, add)(*rest)
    for name, weight in model.state_dict().items():
        values = weight.numpy()
        for part, heads in (("q_proj", HEADS), ("k_proj", config.num_key_value_heads)):
            if part in name:
                halves = values.reshape(heads, 2, -1, values.shape[-1])
                values = np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))
        writer.add_tensor(_gguf_name(name), values)
    for name, values in tensors:
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _gguf_name(name):
    name = name.removesuffix(".weight")
    whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    if name in whole:
        return f"{whole[name]}.weight"
    _, _, layer, part = name.split(".", 3)
    return f"blk.{layer}.{_GGUF_NAMES[part]}.weight"
