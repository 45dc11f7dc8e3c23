"""RoPE metadata of GGUF files against the config that transformers makes of them."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import pianalysis as pia
from pianalysis.checkpoints.checkpoint import open_checkpoint
from pianalysis.checkpoints.gguf_rope import put_back

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def gguf_name(name):
    stem, kind = name.rsplit(".", 1)
    if stem in OUTER:
        return f"{OUTER[stem]}.{kind}"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{NAMES[part]}.{kind}"


def starcoder2(path, *, base=1e6, dimension=32, extra=()):
    """A tiny StarCoder2, whose base transformers does not read from GGUF."""
    from gguf import GGUFWriter

    config = AutoConfig.for_model(
        "starcoder2",
        **{"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "vocab_size": 96},
        **{"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 256},
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    writer = GGUFWriter(path, "starcoder2")
    writer.add_block_count(1)
    writer.add_context_length(256)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(96)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_eps(1e-5)
    writer.add_rope_freq_base(base)
    writer.add_rope_dimension_count(dimension)
    writer.add_vocab_size(96)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([chr(33 + n) for n in range(94)] + ["ab", "cd"])
    writer.add_token_types([1] * 96)
    writer.add_token_merges(["a b", "c d"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for key, value in extra:
        writer.add_float32(key, value)
    for name, weight in model.state_dict().items():
        writer.add_tensor(gguf_name(name), weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("base", [1e6, 54321.0])
def test_a_base_that_is_dropped_is_put_back(tmp_path, base):
    checkpoint = open_checkpoint(starcoder2(tmp_path / "tiny.gguf", base=base))
    assert checkpoint.spec == pia.RopeSpec(32, base, 256)
    turned = checkpoint.model.model.rotary_emb.inv_freq.double().numpy()
    assert turned == pytest.approx(checkpoint.spec.frequencies, rel=3e-6)


def test_another_dimension_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"dimension_count must be what the model rotates.*16"):
        open_checkpoint(starcoder2(tmp_path / "tiny.gguf", dimension=16))


def test_unread_rope_keys_are_refused(tmp_path):
    extra = [("starcoder2.rope.scaling.attn_factor", 1.5)]
    with pytest.raises(ValueError, match=r"RoPE keys must be known.*attn_factor"):
        open_checkpoint(starcoder2(tmp_path / "tiny.gguf", extra=extra))


@pytest.mark.parametrize("kind", ["linear", "yarn", "longrope"])
def test_scaling_is_refused_by_name(tmp_path, kind):
    import tiny_models

    extra = [("add_string", "llama.rope.scaling.type", kind)]
    with pytest.raises(ValueError, match=rf"rope\.scaling\.type must be none.*{kind}"):
        open_checkpoint(tiny_models.save_gguf(tmp_path / "tiny.gguf", extra=extra))


def test_window_and_second_bases(tmp_path):
    config = AutoConfig.for_model("llama", hidden_size=64, num_attention_heads=2)
    metadata = {"general.architecture": "llama", "llama.context_length": 4096}
    put_back(tmp_path, metadata, config)
    assert config.max_position_embeddings == 4096
    gemma = AutoConfig.for_model("gemma3_text", head_dim=32)
    metadata = {"general.architecture": "gemma3", "gemma3.rope.freq_base": 7777.0}
    with pytest.raises(ValueError, match="freq_base must be a base of"):
        put_back(tmp_path, metadata, gemma)
    put_back(tmp_path, {**metadata, "gemma3.rope.freq_base": 1e6}, gemma)
