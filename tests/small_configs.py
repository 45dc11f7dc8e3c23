"""Configs of small models, of any family."""

SMALL = {
    "hidden_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "num_hidden_layers": 2,
    "intermediate_size": 512,
    "vocab_size": 256,
    "rope_theta": 10000.0,
    "max_position_embeddings": 8192,
}


def small(model_type, **changes):
    config = {**SMALL, "model_type": model_type, **changes}
    return {key: value for key, value in config.items() if value is not None}
