"""Kinds of configs that were misread or wrongly refused: each by a small input of its own."""

import json
import math
import resource

import numpy as np
import pytest
from small_configs import small

import pianalysis as pia
from pianalysis.rope.configs import model_facts, rope_facts


def slowest(extension):
    return float(extension.frequencies[-1])


def geometric(base, dim):
    return base ** (-2.0 * np.arange(dim // 2) / dim)


def test_a_second_base(reader):
    config = small(
        "mimo_v2_flash", rope_theta=5e6, swa_rope_theta=1e4, head_dim=192, v_head_dim=128
    )
    config |= {"partial_rotary_factor": 0.334, "hybrid_layer_pattern": [0, 1]}
    full, sliding = pia.layer_extensions(config)
    assert full.frequencies == pytest.approx(geometric(5e6, 64), rel=1e-12)
    assert sliding.frequencies == pytest.approx(geometric(1e4, 64), rel=1e-12)
    with pytest.raises(ValueError, match="layer_type must name one of full_attention, sliding"):
        pia.extension_from_hf(config)
    assert pia.extension_from_hf(config, layer_type="sliding_attention").spec.base == 1e4


def test_a_scheme_of_full_layers_alone(reader):
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}
    config = small("olmo3", rope_theta=5e5, rope_scaling=scaling, sliding_window=1024)
    config["layer_types"] = ["sliding_attention", "full_attention"]
    sliding, full = pia.layer_extensions(config)
    assert isinstance(full, pia.YaRN)
    assert isinstance(sliding, pia.Unscaled)
    assert sliding.spec == full.spec == pia.RopeSpec(128, 5e5, 2048)
    named = pia.extension_from_hf(config, layer_type="sliding_attention")
    assert named == sliding


def test_bases_that_the_class_replaces_by_its_own_are_refused():
    mimo = small("mimo_v2_flash", rope_theta=5e6, swa_rope_theta=2e4, head_dim=192)
    mimo |= {"partial_rotary_factor": 0.334, "hybrid_layer_pattern": [0, 1]}
    with pytest.raises(ValueError, match="key 'swa_rope_theta'"):
        pia.layer_extensions(mimo)
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}
    olmo = small("olmo3", rope_scaling=scaling, sliding_window=1024)
    olmo["layer_types"] = ["sliding_attention", "full_attention"]
    with pytest.raises(ValueError, match=r"got \(10000\.0, 128\) in the file"):
        pia.layer_extensions(olmo)


@pytest.mark.parametrize(
    ("model_type", "changes", "rotating"),
    [
        ("smollm3", {"no_rope_layers": [1, 0]}, [0]),
        ("cohere2", {"sliding_window": 64}, [0]),
        ("exaone4", {"sliding_window": 64}, [0]),
    ],
)
def test_layers_without_positions(reader, model_type, changes, rotating):
    config = small(model_type, layer_types=["sliding_attention", "full_attention"], **changes)
    layers = pia.layer_extensions(config)
    assert [n for n, layer in enumerate(layers) if layer is not None] == rotating


def test_llama4_and_granite_swa_have_layers_without_positions():
    config = small("llama4_text", no_rope_layers=[1, 0], head_dim=128)
    assert [x is None for x in pia.layer_extensions(config)] == [False, True]
    bases = small("granite_swa", layer_rope_theta=[20000.0, 0], num_hidden_layers=2)
    bases["layer_types"] = ["sliding_attention", "full_attention"]
    first, second = pia.layer_extensions(bases)
    assert (first.spec.base, second) == (20000.0, None)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (small("granitemoehybrid", position_embedding_type="nope"), "position_embedding_type"),
        (small("jamba", rope_theta=None), "attention has no positions"),
        (small("nemotron_h", rope_theta=None), "attention has no positions"),
        (small("kimi_k3", rope_theta=None), "attention has no positions"),
        (small("falcon", alibi=True), "alibi must be false"),
        (small("baichuan", rope_theta=None, hidden_size=5120), "ALiBi"),
        (small("mpt", rope_theta=None), "ALiBi"),
    ],
)
def test_no_rope_is_an_answer(reader, config, why):
    for read in (pia.layer_extensions, pia.extension_from_hf, pia.RopeSpec.from_hf):
        with pytest.raises(ValueError, match=why) as error:
            read(config)
        assert "has no RoPE" in str(error.value)
        assert "rope_theta must" not in str(error.value)


def test_a_window_in_dual_chunk_attention(reader):
    chunks = {"chunk_size": 4096, "local_size": 512, "original_max_position_embeddings": 4096}
    config = small("qwen2", dual_chunk_attention_config=chunks, max_position_embeddings=16384)
    found = pia.extension_from_hf(config)
    assert (found.spec.context_window, found.target) == (4096, 16384)
    del chunks["original_max_position_embeddings"]
    with pytest.raises(ValueError, match="original_length must be given: dual_chunk"):
        pia.extension_from_hf(config)


def test_a_head_under_another_name(reader):
    found = pia.layer_extensions(small("jetmoe", kv_channels=64, num_local_experts=2))
    assert found[0].frequencies == pytest.approx(geometric(1e4, 64), rel=1e-12)
    for key in ("kv_channels", "attention_head_dim", "head_size", "d_kv"):
        with pytest.raises(ValueError, match=f"key '{key}'"):
            pia.extension_from_hf(small("llama", **{key: 64}))


def test_code_published_with_its_files():
    pct = pia.extension_from_hf(small("stablelm_epoch", rope_pct=0.25))
    assert pct.spec.rotary_dim == 32
    glm = small("chatglm", rope_theta=None, rope_ratio=50, kv_channels=128, seq_length=32768)
    found = pia.extension_from_hf(glm)
    assert found.frequencies == pytest.approx(geometric(5e5, 64), rel=1e-12)
    assert found.spec.context_window == 32768
    qwen = small("qwen", rope_theta=None, rotary_emb_base=10000, rotary_pct=1.0, kv_channels=128)
    qwen |= {"seq_length": 2048, "use_dynamic_ntk": True, "use_logn_attn": True}
    scaled = pia.extension_from_hf(qwen)
    assert scaled.spec.context_window == 2048
    assert scaled.base == pytest.approx(1e4 * 7.0 ** (128 / 126))  # 2^(log2(4) + 1) - 1
    assert isinstance(pia.extension_from_hf(qwen, length=2048), pia.Unscaled)


@pytest.mark.parametrize(
    "key", ["rope_ratio", "rope_pct", "use_dynamic_ntk", "rope_local_base_freq", "rotary_dim"]
)
def test_keys_of_other_families_are_refused_by_name(key):
    with pytest.raises(ValueError, match=f"key '{key}'"):
        pia.extension_from_hf(small("llama", **{key: 2}))


def test_alpha_of_hunyuan(reader):
    scaling = {"type": "dynamic", "alpha": 50.0, "factor": 1.0, "beta_fast": 32, "mscale": 1.0}
    config = small("hunyuan_v1_dense", head_dim=128, rope_scaling=scaling)
    found = pia.extension_from_hf(config)
    assert found.frequencies == pytest.approx(geometric(1e4 * 50.0 ** (128 / 126), 128), rel=1e-12)
    assert any("alpha" in said for said in rope_facts(config).notices)
    with pytest.raises(ValueError, match="unknown key 'alpha'"):
        pia.extension_from_hf(small("llama", rope_scaling=scaling), original_length=4096)


def test_equal_ends_are_limits():
    yarn = {"type": "yarn", "factor": 4.0, "beta_fast": 2.0, "beta_slow": 2.0}
    yarn["original_max_position_embeddings"] = 2048
    found = pia.extension_from_hf(small("llama", rope_scaling=yarn))
    assert set(found.ratios.tolist()) == {0.25, 1.0}
    llama3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 2.0, "high_freq_factor": 2.0}
    llama3["original_max_position_embeddings"] = 2048
    step = pia.extension_from_hf(small("llama", rope_scaling=llama3))
    near = pia.Llama3(step.spec, 8192, factor=4.0, low_freq_factor=2.0, high_freq_factor=2.0 + 1e-9)
    assert step.ratios.tolist() == near.ratios.tolist()
    assert set(step.ratios.tolist()) == {0.25, 1.0}
    turns = 2048 * step.spec.frequencies / (2 * math.pi)
    assert (step.ratios == 1.0).tolist() == (turns >= 2.0).tolist()


@pytest.mark.parametrize(
    "inert", [{"mrope_section": [24, 20, 20]}, {"mrope_interleaved": True}, {"finetuned": True}]
)
def test_keys_that_change_nothing_are_said(reader, inert):
    scaling = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}
    plain = pia.extension_from_hf(small("qwen2", rope_scaling=scaling))
    config = small("qwen2", rope_scaling={**scaling, **inert})
    assert pia.extension_from_hf(config) == plain
    assert next(iter(inert)) in rope_facts(config).notices[0]


def test_queries_scaled_by_position_are_said(reader):
    entry = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}
    entry |= {"llama_4_scaling_beta": 0.1, "rope_theta": 1e6, "mscale": 1.0, "mscale_all_dim": 1.0}
    config = small("ministral3", rope_theta=None, head_dim=128, rope_parameters=entry)
    assert pia.extension_from_hf(config).attention_factor == 1.0
    assert "llama_4_scaling_beta" in rope_facts(config).notices[0]


@pytest.mark.parametrize("name", ["text_config", "llm_config", "language_config", "thinker_config"])
def test_composite_configs(name):
    inner = small("qwen2", rope_theta=1e6)
    outer = {"text_config": inner} if name == "thinker_config" else inner
    found = pia.extension_from_hf({"model_type": "some_vision_model", name: outer})
    assert found.spec == pia.RopeSpec(128, 1e6, 8192)


def test_a_layer_types_own_base_wins(reader):
    entry = {"rope_type": "default", "partial_rotary_factor": 0.125}
    config = small("deepseek_v4", head_dim=512, layer_types=None, num_key_value_heads=None)
    config["layer_types"] = ["sliding_attention", "compressed_sparse_attention"]
    config["rope_parameters"] = {
        "main": {**entry, "rope_theta": 10000.0},
        "compress": {**entry, "rope_theta": 40000.0},
    }
    config |= {"compress_rope_theta": 40000, "partial_rotary_factor": 0.125}
    main, compress = pia.layer_extensions(config)
    assert (main.spec.base, compress.spec.base) == (10000.0, 40000.0)
    assert pia.extension_from_hf(config, layer_type="compress").spec.base == 40000.0


SCALES = {
    "granite": (small("granite", attention_multiplier=0.015625), 0.015625),
    "gemma2": (small("gemma2", query_pre_attn_scalar=144, head_dim=128), 144**-0.5),
    "llama": (small("llama"), 128**-0.5),
    "gpt_neox": (small("gpt_neox", rope_theta=None, rotary_pct=0.25), 128**-0.5),
}
_LATENT = {"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
_MSCALE = {"type": "yarn", "factor": 40.0, "mscale": 1.0, "mscale_all_dim": 1.0}
_MSCALE["original_max_position_embeddings"] = 4096
SCALES["deepseek_v3"] = (
    small("deepseek_v3", **_LATENT, rope_scaling=_MSCALE, max_position_embeddings=163840),
    192**-0.5 * (0.1 * math.log(40.0) + 1.0) ** 2,
)


@pytest.mark.parametrize("name", SCALES)
def test_the_models_own_multiplier(reader, name):
    config, scale = SCALES[name]
    assert rope_facts(config).logit_scale == pytest.approx(scale, rel=1e-12)


def test_gemma4_multiplies_by_one():
    facts = model_facts(small("gemma4_text", rope_theta=None, head_dim=128))
    assert {layer.rope.logit_scale for layer in facts.layers} == {1.0}


@pytest.mark.parametrize("model_type", ["llama", "bamba"])
def test_a_count_of_layers_is_not_believed(reader, model_type):
    with pytest.raises(ValueError, match=r"num_hidden_layers must be|model_type must be"):
        pia.extension_from_hf(small(model_type, num_hidden_layers=10**9))


def test_the_reader_is_a_fact(reader):
    assert rope_facts(small("llama")).reader.startswith(reader)


def test_saved_by_transformers_and_read_again(tmp_path):
    from transformers import SmolLM3Config

    config = SmolLM3Config(num_hidden_layers=4)
    config.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    seen = [None if x is None else slowest(x) for x in pia.layer_extensions(saved)]
    assert seen == [None if x is None else slowest(x) for x in pia.layer_extensions(config)]
    assert [x is None for x in seen] == [False, False, False, True]


@pytest.mark.parametrize(
    ("family", "key"), [("gemma2", "head_dim"), ("llama", "hidden_size"), ("olmo2", "hidden_size")]
)
def test_a_width_that_nobody_has_costs_no_memory(family, key):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="head_dim must be a positive even integer of at most"):
        pia.layer_extensions(small(family, **{key: 2**31}))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 2**20  # KiB: transformers itself is some of it
