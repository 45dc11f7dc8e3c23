"""The families that are read without transformers, and what their classes fill in.

Defaults are those of transformers 5.23.0; of families that it does not have, those of the code
published with them (named beside each).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Family:
    """What a family's code says where its files do not.

    ``base`` is None where a file must give it. ``share`` is the rotating share of a head; None
    where the family always rotates the whole head, whatever its files say. ``keys`` are top-level
    keys that only this family's code reads. ``unrotated`` names what its layers without RoPE follow
    from: "no_rope_layers", "full_attention" (where a sliding window is set), or nothing.
    ``logit_scale`` is what scores are multiplied by where no key says it; None: 1/sqrt(head_dim).
    """

    base: float | None = 10000.0
    share: float | None = None
    head_dim: int | None = None
    keys: frozenset[str] = field(default=frozenset())
    unrotated: str | None = None
    logit_scale: float | None = None


_LLAMA = Family()
FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys(
        (
            *("llama", "mistral", "qwen2", "qwen2_moe", "qwen3_moe", "olmo", "olmo2", "olmoe"),
            *("starcoder2", "internlm3", "arcee", "aria_text", "minicpm"),
        ),
        _LLAMA,
    ),
    "mixtral": Family(base=1e6),
    "qwen3": Family(head_dim=128),
    "seed_oss": Family(head_dim=128),
    "gemma": Family(head_dim=256),
    **dict.fromkeys(("granite", "granitemoe", "granitemoehybrid"), Family(logit_scale=1.0)),
    "gemma2": Family(head_dim=256, logit_scale=0.0625),
    "gemma3_text": Family(base=None, head_dim=256, logit_scale=0.0625),
    "cohere": Family(base=500000.0),
    "cohere2": Family(unrotated="full_attention"),
    "smollm3": Family(base=2000000.0, unrotated="no_rope_layers"),
    "exaone4": Family(unrotated="full_attention"),
    "olmo3": _LLAMA,
    "ernie4_5": Family(base=500000.0, head_dim=128),
    "helium": Family(base=100000.0, head_dim=128),
    "gpt_oss": Family(base=150000.0, head_dim=64),
    "ministral3": Family(base=None, head_dim=128),
    "mimo_v2_flash": Family(base=None, share=1.0, head_dim=192),
    "hunyuan_v1_dense": _LLAMA,
    "jetmoe": Family(keys=frozenset({"kv_channels"}), head_dim=128),
    # Only a share of the head rotates.
    "gpt_neox": Family(share=0.25),
    "stablelm": Family(share=0.25),
    "phi": Family(share=0.5),
    "phi3": Family(share=1.0),
    "persimmon": Family(share=0.5),
    "nemotron": Family(share=0.5),
    "glm": Family(share=0.5, head_dim=128),
    "glm4": Family(share=0.5, head_dim=128),
    "glm4_moe": Family(share=0.5),
    "qwen3_next": Family(share=0.25, head_dim=256),
    "gptj": Family(share=0.25),
    "codegen": Family(share=1.0),
    "roformer": Family(),
    "falcon": _LLAMA,
    # Multi-head latent attention: the RoPE part has a dimension of its own.
    "deepseek_v2": _LLAMA,
    "deepseek_v3": _LLAMA,
    "deepseek_v4": Family(share=1.0, head_dim=512),
    "kimi_k2": _LLAMA,  # the code of deepseek_v3
    # Code published with the files alone.
    "internlm2": _LLAMA,  # modeling_internlm2.py
    "stablelm_epoch": Family(share=1.0, keys=frozenset({"rope_pct"})),  # modeling_stablelm_epoch.py
    "chatglm": Family(share=0.5, keys=frozenset({"kv_channels", "rope_ratio", "seq_length"})),
    "qwen": Family(  # modeling_qwen.py
        share=1.0, keys=frozenset({"kv_channels", "use_dynamic_ntk", "use_logn_attn", "seq_length"})
    ),
}

# model_type -> what stands in the place of RoPE.
WITHOUT_ROPE: Mapping[str, str] = {
    **dict.fromkeys(
        ("jamba", "nemotron_h", "kimi_linear", "kimi_k3"), "attention has no positions"
    ),
    **dict.fromkeys(("bloom", "mpt"), "ALiBi biases"),
    **dict.fromkeys(("mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm"), "no attention"),
    **dict.fromkeys(("gpt2", "gpt_neo", "gpt_bigcode", "opt", "openai-gpt"), "learned positions"),
    "zamba": "attention has no positions",
}
