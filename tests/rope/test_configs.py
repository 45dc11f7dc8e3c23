"""from_hf: both generations, the traps, and transformers' own config classes."""

import json

import pytest
import transformers
from transformers import AutoConfig

import pianalysis as pia

LLAMA = {"model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32}
V4 = {**LLAMA, "rope_theta": 500000.0, "max_position_embeddings": 8192}


def spec(**changes):
    return pia.RopeSpec.from_hf({**V4, **changes})


def test_v4_and_v5_give_the_same():
    new = {**LLAMA, "max_position_embeddings": 8192}
    new["rope_parameters"] = {"rope_theta": 500000.0, "rope_type": "default"}
    assert pia.RopeSpec.from_hf(new) == spec() == pia.RopeSpec(128, 5e5, 8192)


def test_window_is_the_pretrained_one():
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    extended = spec(max_position_embeddings=131072, rope_scaling=scaling)
    assert extended == pia.preset("llama-3.1-8b")


def test_phi3_keeps_its_length_at_the_top_level():
    config = {
        "model_type": "phi3",
        "hidden_size": 3072,
        "num_attention_heads": 32,
        "rope_theta": 10000.0,
        "max_position_embeddings": 131072,
        "original_max_position_embeddings": 4096,
        "rope_scaling": {"type": "su", "short_factor": [1.0] * 48, "long_factor": [2.0] * 48},
    }
    assert pia.RopeSpec.from_hf(config) == pia.preset("phi-3-mini-128k")


def test_gpt_neox_spelling():
    config = {
        "model_type": "gpt_neox",
        "hidden_size": 6144,
        "num_attention_heads": 64,
        "rotary_pct": 0.25,
        "rotary_emb_base": 10000,
        "max_position_embeddings": 2048,
    }
    assert pia.RopeSpec.from_hf(config) == pia.preset("gpt-neox-20b")


def test_first_llama_files_hold_neither_base_nor_window_key():
    config = {**LLAMA, "max_sequence_length": 2048}
    assert pia.RopeSpec.from_hf(config) == pia.preset("llama-7b")


def test_gptj_counts_rotating_dimensions():
    config = {"model_type": "gptj", "n_embd": 4096, "n_head": 16, "rotary_dim": 64}
    found = pia.RopeSpec.from_hf({**config, "n_positions": 2048})
    assert (found.head_dim, found.rotary_dim, found.base) == (256, 64, 10000.0)


def test_head_dim_that_is_not_hidden_over_heads():
    assert spec(head_dim=256).head_dim == 256
    assert pia.RopeSpec.from_hf({**V4, "model_type": "gemma2"}).head_dim == 256


def test_latent_attention_rotates_its_rope_part():
    latent = {"qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
    assert spec(model_type="deepseek_v3", **latent).head_dim == 64
    with pytest.raises(ValueError, match="'qk_rope_head_dim', which LlamaConfig"):
        spec(**latent)


def test_multimodal_config_is_read_through_its_text_part():
    assert pia.RopeSpec.from_hf({"model_type": "vision", "text_config": V4}) == spec()


def test_layer_types_that_differ_are_asked_for():
    layers = {
        "full_attention": {"rope_type": "default", "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    config = {**LLAMA, "model_type": "gemma3_text", "max_position_embeddings": 8192}
    config["rope_parameters"] = layers
    with pytest.raises(ValueError, match="layer_type must name one of full_attention, sliding_att"):
        pia.RopeSpec.from_hf(config)
    assert pia.RopeSpec.from_hf(config, layer_type="sliding_attention").base == 1e4
    assert pia.RopeSpec.from_hf(config, layer_type="full_attention").base == 1e6
    with pytest.raises(ValueError, match="layer_type must be one of"):
        pia.RopeSpec.from_hf(config, layer_type="full")


def test_gemma3_v4_has_two_bases():
    config = {**V4, "model_type": "gemma3_text", "rope_local_base_freq": 10000.0}
    with pytest.raises(ValueError, match="layer_type must name one of"):
        pia.RopeSpec.from_hf(config)
    assert pia.RopeSpec.from_hf(config, layer_type="sliding_attention").base == 1e4


@pytest.mark.parametrize("kind", ["linear", "dynamic"])
def test_linear_and_dynamic_ask_for_the_original_length(kind):
    config = {**V4, "rope_scaling": {"type": kind, "factor": 4.0}}
    with pytest.raises(ValueError, match="original_length must be given"):
        pia.RopeSpec.from_hf(config)
    assert pia.RopeSpec.from_hf(config, original_length=2048).context_window == 2048


def test_contradictory_lengths():
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}
    with pytest.raises(ValueError, match=r"original length must be the same.*4096.*2048"):
        pia.RopeSpec.from_hf({**V4, "rope_scaling": scaling}, original_length=2048)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rope_thet": 1e4}, "unknown key 'rope_thet'; did you mean 'rope_theta'"),
        ({"rope_scalling": None}, "unknown key 'rope_scalling'; did you mean 'rope_scaling'"),
        ({"partial_rotary_facotr": 0.5}, "did you mean 'partial_rotary_factor'"),
        ({"max_position_embedings": 1}, "did you mean 'max_position_embeddings'"),
        ({"rope_scaling": {"rope_type": "yarm", "factor": 2.0}}, "did you mean 'yarn'"),
        (
            {"rope_scaling": {"rope_type": "linear", "facter": 2.0}},
            "unknown key 'facter'; did you mean 'factor'",
        ),
        (
            {"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "attn_factor": 1.0}},
            "unknown key 'attn_factor'; did you mean 'attention_factor'",
        ),
        ({"rope_scaling": {"factor": 2.0}}, "rope_type must be given"),
        ({"rope_scaling": {"rope_type": "linear"}}, "must give factor"),
        ({"rope_scaling": {"rope_type": "linear", "type": "yarn", "factor": 2}}, "must agree"),
        ({"rope_scaling": {"rope_type": 5, "factor": 2.0}}, "rope_type must be a string, got 5"),
        (
            {"rope_scaling": {"rope_type": "linear", "factor": 0.5}},
            "factor must be a finite number at least 1, got 0.5",
        ),
        ({"rope_scaling": [1]}, "rope_scaling must be an object or null"),
        ({"rope_parameters": {"rope_theta": 1e4}}, "the RoPE base must be the same"),
        ({"rope_theta": "1e4"}, "rope_theta must be a finite number"),
        ({"rope_theta": 1.0}, "rope_theta must be a finite number above 1"),
        ({"rope_theta": float("nan")}, "rope_theta must be a finite number"),
        ({"hidden_size": 4097}, "hidden_size must be a multiple"),
        ({"hidden_size": None}, "head_dim, or hidden_size and num_attention_heads, must be given"),
        ({"num_attention_heads": 0}, "num_attention_heads must be an integer of at least 1"),
        ({"max_position_embeddings": -1}, "max_position_embeddings must be an integer"),
        ({"max_position_embeddings": None}, "max_position_embeddings .* must be given"),
        ({"partial_rotary_factor": 2.0}, "partial_rotary_factor must be a finite number"),
        ({"model_type": "mystery"}, "model_type must be one that transformers has, or one of the"),
        ({"alibi": True}, "alibi must be false"),
    ],
)
def test_refusals_name_the_key(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        spec(**changes)


def test_files_and_directories(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(V4))
    assert pia.RopeSpec.from_hf(tmp_path) == spec()
    assert pia.RopeSpec.from_hf(str(tmp_path / "config.json")) == spec()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "must be a readable JSON file"),
        (b"\xff\xfe\x00", "must be a readable JSON file"),
        (b"[1, 2]", "must be a JSON object, got a list"),
        (b"[" * 100000, "must be a readable JSON file"),
        (b"", "must be a readable JSON file"),
    ],
)
def test_broken_files(tmp_path, content, message):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        pia.RopeSpec.from_hf(tmp_path)


def test_missing_files(tmp_path):
    with pytest.raises(ValueError, match=r"directory must hold a config\.json"):
        pia.RopeSpec.from_hf(tmp_path)
    with pytest.raises(ValueError, match="must be an existing file or directory"):
        pia.RopeSpec.from_hf(tmp_path / "nothing")
    with pytest.raises(TypeError, match="config must be a path, a dict or a transformers config"):
        pia.RopeSpec.from_hf(42)


# What transformers itself makes of a class's defaults: head_dim, base and rotary dimension.
@pytest.mark.parametrize(
    "model_type",
    ["llama", "mistral", "qwen2", "qwen3", "phi", "gemma2", "gpt_neox", "olmo2", "stablelm"],
)
def test_transformers_configs_of_the_installed_generation(model_type):
    config = AutoConfig.for_model(model_type)
    parameters = config.rope_parameters
    fraction = parameters.get("partial_rotary_factor", 1.0)
    head_dim = getattr(config, "head_dim", None)
    head_dim = head_dim or config.hidden_size // config.num_attention_heads
    found = pia.RopeSpec.from_hf(config)
    assert found.base == parameters["rope_theta"]
    assert found.head_dim == head_dim
    assert found.rotary_dim == int(head_dim * fraction)
    assert found.context_window == config.max_position_embeddings


def test_transformers_frequencies():
    config = transformers.LlamaConfig(hidden_size=1024, num_attention_heads=16)
    config.rope_parameters = {"rope_theta": 12345.0, "rope_type": "default"}
    module = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(config)
    ours = pia.RopeSpec.from_hf(config).frequencies
    assert module.inv_freq.double().numpy() == pytest.approx(ours, rel=3e-6)


GEMMA3 = {
    "model_type": "gemma3_text",
    "hidden_size": 3840,
    "num_attention_heads": 16,
    "head_dim": 256,
    "max_position_embeddings": 131072,
    "rope_theta": 1e6,
    "rope_local_base_freq": 1e4,
    "rope_scaling": {"rope_type": "linear", "factor": 8.0},
}


def test_scaling_of_a_two_base_file_is_that_of_full_attention():
    full = pia.extension_from_hf(GEMMA3, original_length=32768, layer_type="full_attention")
    local = pia.extension_from_hf(GEMMA3, layer_type="sliding_attention")
    assert (full.factor, full.spec.base) == (8.0, 1e6)
    assert isinstance(local, pia.Unscaled)
    assert local.spec.base == 1e4


def test_global_layers_may_have_a_head_of_their_own():
    entry = {"rope_theta": 1e6, "rope_type": "proportional", "partial_rotary_factor": 0.25}
    nested = {"full_attention": entry, "sliding_attention": {"rope_theta": 1e4}}
    config = {**GEMMA3, "model_type": "gemma4_text", "global_head_dim": 512}
    del config["rope_scaling"], config["rope_local_base_freq"], config["rope_theta"]
    config["rope_parameters"] = nested
    full = pia.extension_from_hf(config, layer_type="full_attention")
    assert (full.spec.head_dim, full.spec.rotary_dim, full.proportion) == (512, 512, 0.25)
    local = pia.extension_from_hf(config, layer_type="sliding_attention")
    assert local.spec.head_dim == 256


def test_proportional_keeps_the_exponent_of_the_whole_head():
    entry = {"rope_theta": 1e4, "rope_type": "proportional", "partial_rotary_factor": 0.5}
    config = {**LLAMA, "max_position_embeddings": 4096, "rope_parameters": entry}
    spec = pia.RopeSpec.from_hf(config)
    assert (spec.rotary_fraction, spec.rotary_dim) == (1.0, 128)


@pytest.mark.parametrize("rope_type", ["linear", "dynamic"])
def test_schemes_without_a_window_ask_for_it(rope_type):
    config = {**V4, "rope_scaling": {"rope_type": rope_type, "factor": 2.0}}
    with pytest.raises(ValueError, match="original_length must be given"):
        pia.extension_from_hf(config)
    found = pia.extension_from_hf(config, original_length=4096)
    assert (found.spec.context_window, found.factor, found.target) == (4096, 2.0, 8192)


def test_target_is_the_longest_length_the_config_speaks_of():
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}
    config = {**V4, "rope_scaling": scaling}
    assert pia.extension_from_hf(config).target == 32768
    assert pia.extension_from_hf({**config, "max_position_embeddings": 40000}).target == 40000
    assert pia.extension_from_hf(config, length=9000).target == 9000
    with pytest.raises(ValueError, match="target must be at least the pretrained"):
        pia.extension_from_hf(config, length=4096)


def test_null_factor_needs_the_extended_length():
    scaling = {"rope_type": "yarn", "factor": None, "original_max_position_embeddings": 8192}
    config = {**V4, "rope_scaling": scaling}
    del config["max_position_embeddings"]
    with pytest.raises(ValueError, match="max_position_embeddings must be given"):
        pia.extension_from_hf(config)
