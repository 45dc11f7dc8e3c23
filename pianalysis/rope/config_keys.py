"""The keys of Hugging Face configs that speak of RoPE, and what classes fill in without them.

Names and class defaults are those of transformers 5.23.0 (``modeling_rope_utils.py`` and the
``configuration_*.py`` files).
"""

from __future__ import annotations

# rope_type -> (required keys, optional keys), besides rope_type, rope_theta, partial_rotary_factor.
ROPE_KEYS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "default": (frozenset(), frozenset({"mrope_section", "mrope_interleaved"})),
    "linear": (frozenset({"factor"}), frozenset({"original_max_position_embeddings"})),
    "dynamic": (frozenset({"factor"}), frozenset({"original_max_position_embeddings"})),
    "yarn": (
        frozenset({"factor", "original_max_position_embeddings"}),
        frozenset(
            {
                "attention_factor",
                "beta_fast",
                "beta_slow",
                "mscale",
                "mscale_all_dim",
                "truncate",
                "finetuned",  # in YaRN's own published configs; no frequency depends on it
            }
        ),
    ),
    "longrope": (
        frozenset({"short_factor", "long_factor", "original_max_position_embeddings"}),
        frozenset({"factor", "attention_factor"}),
    ),
    "llama3": (
        frozenset(
            {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}
        ),
        frozenset(),
    ),
    "proportional": (frozenset(), frozenset({"factor"})),
}
EVERY_TYPE = frozenset({"rope_type", "type", "rope_theta", "partial_rotary_factor"})

# Top-level keys that RoPE reads here.
READ = frozenset(
    {
        "rope_theta",
        "rope_scaling",
        "rope_parameters",
        "rope_local_base_freq",
        "global_rope_theta",
        "local_rope_theta",
        "rotary_emb_base",
        "rotary_pct",
        "rotary_dim",
        "partial_rotary_factor",
        "qk_rope_head_dim",
        "global_head_dim",
        "original_max_position_embeddings",
        "max_position_embeddings",
        "head_dim",
        "hidden_size",
        "num_attention_heads",
    }
)
# Top-level keys that speak of RoPE in published files but change no frequency.
INERT = frozenset(
    {
        "rope_interleave",
        "rope_interleaved",
        "rope_scaling_layers",
        "no_rope_layers",
        "no_rope_layer_interval",
        "use_rotary_embedding",
        "use_mem_rope",
        "rotary_value",
        "qk_nope_head_dim",
        "v_head_dim",
        "rope_pct",
    }
)
SPELLINGS = frozenset(READ - {"hidden_size", "num_attention_heads"})

# What a class fills in when its file leaves the key out.
TEN_THOUSAND = (
    "llama",
    "mistral",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "phi",
    "phi3",
    "gemma",
    "gemma2",
    "gpt_neox",
    "gptj",
    "codegen",
    "falcon",
    "stablelm",
    "olmo",
    "olmo2",
    "starcoder2",
    "granite",
    "internlm2",
    "deepseek_v2",
    "deepseek_v3",
)
DEFAULT_BASE = dict.fromkeys(TEN_THOUSAND, 10000.0)
DEFAULT_FRACTION = {"gpt_neox": 0.25, "stablelm": 0.25, "phi": 0.5, "glm": 0.5, "glm4": 0.5}
DEFAULT_FRACTION |= {"nemotron": 0.5, "persimmon": 0.5, "glm4_moe": 0.5, "qwen3_next": 0.25}
DEFAULT_HEAD_DIM = {"gemma": 256, "gemma2": 256, "gemma3_text": 256, "qwen3": 128, "glm": 128}
DEFAULT_HEAD_DIM |= {"glm4": 128, "gpt_oss": 64, "helium": 128, "qwen3_next": 256}

WINDOW_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length")
