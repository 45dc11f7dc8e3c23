"""Dense decoders are counted off transformers' own model; what is not dense is refused."""

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from pianalysis.planning.measured import sizes_of

SIZES = {
    **{"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 3, "vocab_size": 128},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "head_dim": 16},
}
DENSE = ("qwen3", "gemma2", "phi3", "olmo2", "granite", "starcoder2", "smollm3", "cohere", "glm")


@pytest.mark.parametrize("model_type", [*DENSE, "gpt_neox", "stablelm", "gemma3_text", "seed_oss"])
def test_parameters_are_those_of_the_model(model_type):
    config = AutoConfig.for_model(model_type, **SIZES)
    model = AutoModelForCausalLM.from_config(config)
    sizes = sizes_of(config.to_dict())
    assert sizes.parameters == sum(weight.numel() for weight in model.parameters())
    assert sizes.perceptron_matrices == (2 if model_type in ("gpt_neox", "starcoder2") else 3)
    assert sizes.layers == 3


def test_published_counts():
    qwen3 = {"model_type": "qwen3", "hidden_size": 1024, "num_attention_heads": 16, "head_dim": 128}
    qwen3 |= {"num_key_value_heads": 8, "num_hidden_layers": 28, "intermediate_size": 3072}
    qwen3 |= {"vocab_size": 151936, "tie_word_embeddings": True}
    assert sizes_of(qwen3).parameters == 596_049_920  # Qwen/Qwen3-0.6B


@pytest.mark.parametrize(
    ("model_type", "why"),
    [
        ("mixtral", "one dense perceptron"),
        ("jamba", "alike|several kinds|dense"),
        ("mystery", "model_type must be one of llama, mistral, qwen2, or a dense decoder"),
    ],
)
def test_what_is_not_dense_is_refused(model_type, why):
    with pytest.raises(ValueError, match=why):
        sizes_of({**SIZES, "model_type": model_type})
