"""RoPE facts of well-known models, each with its published source.

``context_window`` is the window of pretraining, before any extension: where a model was extended
before release (Llama 3.1, Phi-3-mini-128k), the length it was extended from.
"""

from __future__ import annotations

from dataclasses import dataclass

from pianalysis import checks
from pianalysis.rope.spec import RopeSpec


@dataclass(frozen=True, slots=True)
class Preset:
    """A named RoPE specification and where its numbers were published."""

    name: str
    spec: RopeSpec
    source: str


def _preset(
    name: str, head_dim: int, base: float, window: int, source: str, fraction: float = 1.0
) -> Preset:
    return Preset(name, RopeSpec(head_dim, base, window, fraction), source)


_LLAMA = "config.json of huggyllama/{} (hidden_size {} / {} heads, max_sequence_length 2048)"

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        _preset("llama-7b", 128, 1e4, 2048, _LLAMA.format("llama-7b", 4096, 32)),
        _preset("llama-13b", 128, 1e4, 2048, _LLAMA.format("llama-13b", 5120, 40)),
        _preset("llama-33b", 128, 1e4, 2048, _LLAMA.format("llama-30b", 6656, 52)),
        _preset("llama-65b", 128, 1e4, 2048, _LLAMA.format("llama-65b", 8192, 64)),
        _preset("llama-2-7b", 128, 1e4, 4096, "config.json of meta-llama/Llama-2-7b-hf"),
        _preset(
            "llama-3.1-8b",
            128,
            5e5,
            8192,
            "config.json of meta-llama/Llama-3.1-8B: original_max_position_embeddings 8192 of its "
            "llama3 scaling; section 3.4.2 of arXiv:2407.21783 (window raised from 8K to 128K)",
        ),
        _preset(
            "mistral-7b",
            128,
            1e4,
            8192,
            "config.json of mistralai/Mistral-7B-v0.1; window: context_len of Table 1, "
            "arXiv:2310.06825 (max_position_embeddings says 32768, sliding window 4096)",
        ),
        _preset(
            "qwen2.5-7b",
            128,
            1e6,
            32768,
            "config.json of Qwen/Qwen2.5-7B; window: section 3.3 of arXiv:2412.15115 "
            "(pretrained at 4096, then at 32768 with this base)",
        ),
        _preset("qwen3-8b", 128, 1e6, 32768, "config.json and card of Qwen/Qwen3-8B"),
        _preset(
            "phi-3-mini-128k",
            96,
            1e4,
            4096,
            "config.json of microsoft/Phi-3-mini-128k-instruct: "
            "original_max_position_embeddings 4096 (LongRoPE extends it to 131072)",
        ),
        _preset(
            "gpt-neox-20b",
            96,
            1e4,
            2048,
            "config.json of EleutherAI/gpt-neox-20b: rotary_pct 0.25, rotary_emb_base 10000",
            0.25,
        ),
        _preset("pythia-1.4b", 128, 1e4, 2048, "config.json of EleutherAI/pythia-1.4b", 0.25),
        _preset("gemma-2-9b", 256, 1e4, 8192, "config.json of google/gemma-2-9b"),
        _preset("olmo-2-7b", 128, 5e5, 4096, "config.json of allenai/OLMo-2-1124-7B"),
        _preset("smollm2-135m", 64, 1e5, 8192, "config.json of HuggingFaceTB/SmolLM2-135M"),
    )
}


def preset(name: str) -> RopeSpec:
    """Return the RoPE specification of a well-known model.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the known ones and the nearest.

    Examples
    --------
    >>> preset("llama-7b")
    RopeSpec(head_dim=128, base=10000.0, context_window=2048, rotary_fraction=1.0)
    """
    return PRESETS[checks.choice("preset", name, PRESETS)].spec
