"""What is handed to a visitor is what the model's softmax sees, or the layer is refused."""

import numpy as np
import pytest
import tiny_models
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import pianalysis as pia
from pianalysis.checkpoints.checkpoint import open_checkpoint
from pianalysis.heads.capture import visit_layers

SIZES = {
    **{"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256},
    **{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "rope_theta": 10_000.0},
}
LATENT = {
    **{"qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8, "kv_lora_rank": 8},
    **{"q_lora_rank": 8, "num_key_value_heads": 4, "n_routed_experts": 4, "n_group": 1},
    **{"topk_group": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    **{"first_k_dense_replace": 2},
}
OSS = {"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8}


def saved(directory, model_type, **changes):
    config = AutoConfig.for_model(model_type, **{**SIZES, **changes})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn_like(weight)
            weight.copy_(1 + 0.2 * noise if "norm" in name else 0.3 * noise)
    model.save_pretrained(directory)
    return directory


def layers_of(directory):
    found = []
    checkpoint = open_checkpoint(directory)
    visit_layers(checkpoint, tiny_models.text(), found.append)
    return checkpoint, found


@pytest.mark.parametrize("model_type", ["hunyuan_v1_dense"])
def test_a_norm_after_the_rotation_is_refused(tmp_path, model_type):
    with pytest.raises(ValueError, match="changed after the rotation"):
        layers_of(saved(tmp_path, model_type, head_dim=8))


@pytest.mark.parametrize(
    ("model_type", "changes", "pairs"),
    [
        ("gpt_oss", {**OSS, "rope_scaling": None}, 4),
        ("deepseek_v3", LATENT, 4),
        ("qwen3", {"head_dim": 8}, 4),
        ("granite", {"attention_multiplier": 0.5}, 4),
    ],
)
def test_logits_of_the_loaded_model(tmp_path, model_type, changes, pairs):
    if model_type == "gpt_oss":
        changes = {**changes, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
        changes.pop("rope_scaling")
    checkpoint, layers = layers_of(saved(tmp_path, model_type, **changes))
    assert [layer.queries.shape[-1] for layer in layers] == [pairs, pairs]
    if model_type in ("deepseek_v3", "gpt_oss"):
        return  # the content part, or the sink, stands beside a(s); compared while it was caught
    checkpoint.model.set_attn_implementation("eager")
    ids = torch.from_numpy(tiny_models.text())[None]
    weights = checkpoint.model(ids, output_attentions=True, use_cache=False).attentions
    last = ids.shape[1] - 1
    for layer, weight in zip(layers, weights, strict=True):
        theirs = np.log(weight[0, 1, last].detach().double().numpy())
        spans = last - np.arange(last + 1)
        ours = [
            layer.scaling
            * float(pia.attention_score(layer.spec, layer.coefficients(1, last, n), float(s)))
            for n, s in enumerate(spans)
        ]
        assert np.array(ours) - ours[0] == pytest.approx(theirs - theirs[0], abs=1e-3)


@pytest.mark.parametrize("model_type", ["gptj", "falcon"])
def test_other_rotations_are_right_or_refused_by_name(tmp_path, model_type):
    sizes = {"n_embd": 32, "n_head": 4, "n_layer": 2, "rotary_dim": 8, "n_positions": 64}
    if model_type == "gptj":
        with pytest.raises(ValueError, match="must rotate through apply_rotary_pos_emb"):
            layers_of(saved(tmp_path, "gptj", **sizes))
        return
    with pytest.raises(ValueError, match=r"scaling|shape|rotate"):
        layers_of(saved(tmp_path, "falcon", multi_query=False))


def test_a_wrong_scaling_is_found(tmp_path, monkeypatch):
    saved(tmp_path, "qwen3", head_dim=8)
    checkpoint = open_checkpoint(tmp_path)
    # What the module says it multiplies by, and what its attention is told, differ.
    attention = checkpoint.model.model.layers[0].self_attn
    inner = torch.nn.functional.scaled_dot_product_attention

    def other(*args, **kwargs):
        return inner(*args, **{**kwargs, "scale": 2 * attention.scaling})

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", other)
    with pytest.raises(ValueError, match="differ by up to"):
        visit_layers(checkpoint, tiny_models.text(), lambda heads: None)
