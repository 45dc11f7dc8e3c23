"""The keys of Hugging Face configs that speak of RoPE, whoever reads them.

Names are those of transformers 5.23.0 (``modeling_rope_utils.py`` and the ``configuration_*.py``
files) and of the families' own published code.
"""

from __future__ import annotations

# rope_type -> (required keys, optional keys), besides those of EVERY_TYPE.
ROPE_KEYS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "default": (frozenset(), frozenset()),
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
# Keys of a scheme's dict that change no frequency and no factor, and what they do.
INERT_IN_SCHEME = {
    "mrope_section": "shares the pairs among the axes of an image; a text's frequencies stay",
    "mrope_interleaved": "orders the pairs among the axes of an image; a text's frequencies stay",
    "llama_4_scaling_beta": "scales the queries of late positions; no frequency changes",
    "finetuned": "says that the model was trained so; no frequency changes",
}
# Hunyuan labels a fixed alpha "dynamic", and writes YaRN's keys beside it, which its code ignores.
HUNYUAN = frozenset({"hunyuan_v1_dense", "hunyuan_v1_moe"})
HUNYUAN_INERT = frozenset({"beta_fast", "beta_slow", "mscale", "mscale_all_dim"})
# LongRoPE's factor of either list, given outright: in Phi-3.5-MoE.
MSCALES = frozenset({"short_mscale", "long_mscale"})

# Top-level keys that RoPE reads here.
READ = frozenset(
    {
        "rope_theta",
        "rope_scaling",
        "rope_parameters",
        "rope_local_base_freq",
        "global_rope_theta",
        "local_rope_theta",
        "swa_rope_theta",
        "compress_rope_theta",
        "rotary_emb_base",
        "rotary_pct",
        "rotary_dim",
        "partial_rotary_factor",
        "qk_rope_head_dim",
        "global_head_dim",
        "dual_chunk_attention_config",
        "original_max_position_embeddings",
        "max_position_embeddings",
        "head_dim",
        "hidden_size",
        "num_attention_heads",
        "no_rope_layers",
        "no_rope_layer_interval",
    }
)
# Top-level keys that speak of RoPE in published files but change no frequency.
INERT = frozenset(
    {
        "rope_interleave",
        "rope_interleaved",
        "use_rotary_embedding",
        "rotary_value",
        "qk_nope_head_dim",
        "qk_head_dim",
        "v_head_dim",
        "swa_head_dim",
        "swa_v_head_dim",
        "index_head_dim",
        "indexer_rope_interleave",
        "rotary",  # Falcon's first files: the opposite of alibi, which is read
    }
)
# Heads under other names, and schemes outside rope_scaling: read where the family's code does.
ELSEWHERE = frozenset(
    {
        "kv_channels",
        "rope_pct",
        "rope_ratio",
        "use_dynamic_ntk",
        "use_logn_attn",
        "attention_head_dim",
        "head_size",
        "d_kv",
    }
)
SPELLINGS = frozenset(READ - {"hidden_size", "num_attention_heads"})

LARGEST_HEAD_DIM = 8192
# A config is read, never believed: what would be built once a layer or expert is bounded.
MOST_REPEATS = 1024

WINDOW_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length")
# A config may hold that of its decoder: under whichever of these names.
DECODERS = ("text_config", "llm_config", "language_config", "thinker_config")
