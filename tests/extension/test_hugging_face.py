"""extension_from_hf and to_hf against transformers' own functions, both config generations."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.gemma3.modeling_gemma3 import Gemma3RotaryEmbedding
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

import pianalysis as pia
from pianalysis.rope import library

CONFIGS = 200
BY_BOTH = 5
TYPES = ("default", "linear", "dynamic", "yarn", "longrope", "llama3", "proportional")


def theirs(config, length, layer_type=None):
    """Frequencies (float64) and attention factor as transformers computes them."""
    parameters = config.rope_parameters
    rope_type = (parameters[layer_type] if layer_type else parameters)["rope_type"]
    if rope_type == "default" and layer_type:
        found = Gemma3RotaryEmbedding.compute_default_rope_parameters(config, layer_type=layer_type)
    elif rope_type == "default":
        found = LlamaRotaryEmbedding.compute_default_rope_parameters(config)
    else:
        function = ROPE_INIT_FUNCTIONS[rope_type]
        found = function(config, "cpu", seq_len=length, layer_type=layer_type)
    return found[0].to(torch.float64).numpy(), float(found[1])


def their_config(config):
    """Build transformers' config from a copy: it writes into the dicts it is given."""
    return AutoConfig.for_model(**copy.deepcopy(config))


def agrees(ours, oracle):
    frequencies, attention = oracle
    np.testing.assert_allclose(ours.frequencies, frequencies, rtol=3e-6, atol=0.0)
    assert ours.attention_factor == pytest.approx(attention, rel=1e-6)


def random_config(rope_type, rng, *, nested):
    """A Llama config of ours, the length to use it at, and its pretrained window."""
    head_dim = int(rng.choice([16, 32, 64, 80, 96, 128, 256]))
    # transformers' Llama class ignores a share under "default": shown in a test of its own.
    share = 1.0 if rope_type == "default" else float(rng.choice([1.0, 0.5, 0.25]))
    pairs = int(head_dim * share) // 2
    window = int(rng.choice([512, 2048, 4096, 8192, 32768, 131072]))
    base = float(rng.choice([1e4, 5e5, 1e6, 1.5e5, float(np.exp(rng.uniform(7, 16)))]))
    factor = float(rng.choice([1.0, 2.0, 4.0, 8.0, 40.0, round(rng.uniform(1, 64), 3)]))
    longest = window if rng.random() < 0.4 else int(window * max(1.0, rng.uniform(0.5, 40)))
    entry = {"rope_type": rope_type}
    if rope_type != "default":
        entry["factor"] = factor
    if rope_type in ("yarn", "longrope", "llama3"):
        entry["original_max_position_embeddings"] = window
    if rope_type == "yarn":
        optional = {
            "beta_fast": float(rng.uniform(16, 64)),
            "beta_slow": float(rng.uniform(0.5, 4)),
            "mscale": float(rng.choice([0.0, 0.707, 1.0])),
            "mscale_all_dim": float(rng.choice([0.0, 0.5, 1.0])),
            "attention_factor": float(rng.uniform(0.5, 2)),
            "truncate": bool(rng.integers(2)),
        }
        entry |= {key: value for key, value in optional.items() if rng.random() < 0.5}
    if rope_type == "longrope":
        entry["short_factor"] = rng.uniform(1, 3, pairs).tolist()
        entry["long_factor"] = np.sort(rng.uniform(1, 64, pairs)).tolist()
        if rng.random() < 0.5:
            entry["attention_factor"] = float(rng.uniform(0.5, 2))
        if rng.random() < 0.5:
            del entry["factor"]
    if rope_type == "llama3":
        entry["low_freq_factor"] = float(rng.uniform(0.5, 2))
        entry["high_freq_factor"] = float(rng.uniform(4, 40))
    config = {
        "model_type": "llama",
        "hidden_size": 4 * head_dim,
        "num_attention_heads": 4,
        "max_position_embeddings": longest,
    }
    if rng.random() < 0.5:
        config["head_dim"] = head_dim
    if share != 1.0:
        entry["partial_rotary_factor"] = share
    if nested:
        config["rope_parameters"] = {**entry, "rope_theta": base}
    else:
        config |= {"rope_theta": base, "rope_scaling": entry}
    length = int(rng.choice([longest, window + 1, 2 * window, max(longest, window)]))
    return config, max(length, window), window


@pytest.mark.parametrize("nested", [False, True], ids=["v4", "v5"])
@pytest.mark.parametrize("rope_type", TYPES)
def test_random_configs_match_transformers(rope_type, nested, caplog, monkeypatch):
    rng = np.random.default_rng([TYPES.index(rope_type), nested])
    for number in range(CONFIGS // 2):
        if number == BY_BOTH:  # the oracle is transformers anyway: the rest by keys, which is quick
            monkeypatch.setattr(library, "knows", lambda model_type: False)
        config, length, window = random_config(rope_type, rng, nested=nested)
        original = window if rope_type in ("linear", "dynamic") else None
        if rope_type in ("default", "proportional"):
            length = max(length, config["max_position_embeddings"])
        ours = pia.extension_from_hf(config, length=length, original_length=original)
        oracle = theirs(their_config(config), length)
        agrees(ours, oracle)
        # Given back to transformers, the scheme still has the same frequencies.
        again = LlamaConfig(**{k: v for k, v in config.items() if "rope" not in k} | ours.to_hf())
        agrees(ours, theirs(again, length))
        original = ours.spec.context_window if rope_type in ("linear", "dynamic") else None
        back = pia.extension_from_hf(again, length=length, original_length=original)
        assert back.frequencies.tolist() == ours.frequencies.tolist()
        assert back.attention_factor == ours.attention_factor


@pytest.mark.parametrize("name", ["ntk", "ntk-by-parts", "base-change"])
def test_schemes_without_a_name_there_are_written_as_an_equal_one(name, llama):
    options = {"base": 5e5} if name == "base-change" else {}
    ours = pia.SCHEMES[name](llama, 16384, **options)
    config = LlamaConfig(hidden_size=4096, num_attention_heads=32, **ours.to_hf())
    agrees(ours, theirs(config, 16384))


def test_the_rotary_module_itself_turns_by_our_frequencies(llama):
    ours = pia.YaRN(llama, 8192)
    module = LlamaRotaryEmbedding(
        LlamaConfig(hidden_size=4096, num_attention_heads=32, **ours.to_hf())
    )
    positions = torch.arange(64)[None]
    cosine, sine = module(torch.zeros(1, 1, 128), positions)
    angle = np.arange(64)[:, None] * ours.frequencies
    expected = ours.attention_factor * np.exp(1j * np.concatenate([angle, angle], axis=1))
    np.testing.assert_allclose(cosine[0].numpy() + 1j * sine[0].numpy(), expected, atol=1e-5)


PUBLISHED = json.loads((Path(__file__).parent / "published_configs.json").read_text())


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs_unchanged(name):
    entry = PUBLISHED[name]
    config, layer = entry["config"], entry.get("layer_type")
    ours = pia.extension_from_hf(
        config, original_length=entry.get("original_length"), layer_type=layer
    )
    assert type(ours).__name__ == entry["scheme"]
    assert (ours.spec.context_window, ours.target) == (entry["window"], entry["target"])
    model = their_config(config)
    nested = layer is not None and layer in model.rope_parameters
    agrees(ours, theirs(model, ours.target, layer if nested else None))


# Where transformers 5.23.0 does not do what its own key names say. If one of these tests fails
# after an upgrade, the difference is gone: remove its mention.

LLAMA = {"model_type": "llama", "hidden_size": 256, "num_attention_heads": 4}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 4096,
}


def test_theirs_llama_class_ignores_the_rotary_share_without_scaling():
    entry = {"rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    config = {**LLAMA, "max_position_embeddings": 4096}
    plain = {**config, "rope_parameters": {"rope_type": "default", **entry}}
    linear = {**config, "rope_parameters": {"rope_type": "linear", "factor": 1.0, **entry}}
    assert theirs(their_config(plain), 4096)[0].size == 32
    assert theirs(their_config(linear), 4096)[0].size == 16
    assert pia.extension_from_hf(linear, original_length=4096).frequencies.size == 16
    with pytest.raises(ValueError, match="partial_rotary_factor must be what the model's code"):
        pia.extension_from_hf(plain)


def test_theirs_reads_truncate_of_nested_layers_at_the_wrong_level():
    nested = {"full_attention": {**YARN, "truncate": False}, "sliding_attention": YARN}
    config = their_config(
        {**LLAMA, "model_type": "gemma3_text", "head_dim": 64, "rope_parameters": nested}
    )
    full = theirs(config, 16384, "full_attention")[0]
    sliding = theirs(config, 16384, "sliding_attention")[0]
    assert (full == sliding).all()
    spec = pia.RopeSpec(64, 1e4, 4096)
    with_floor, without = pia.YaRN(spec, 16384), pia.YaRN(spec, 16384, truncate=False)
    assert np.abs(with_floor.ratios - without.ratios).max() > 0.01
    np.testing.assert_allclose(full, with_floor.frequencies, rtol=3e-6)


@pytest.mark.parametrize("spelling", ["su", "yarn"])
def test_first_phi3_spellings_mean_longrope(spelling):
    config = PUBLISHED["microsoft/Phi-3.5-mini-instruct"]["config"]
    older = {**config, "rope_scaling": {**config["rope_scaling"], "type": spelling}}
    ours = pia.extension_from_hf(older)
    assert ours == pia.extension_from_hf(config)
    if spelling == "su":  # theirs looks for the original length before it renames "su"
        with pytest.raises(KeyError, match="original_max_position_embeddings"):
            their_config(older)
    else:
        agrees(ours, theirs(their_config(older), ours.target))
        assert pia.extension_from_hf(their_config(older)).ratios.tolist() == ours.ratios.tolist()


def test_theirs_leaves_a_tiny_window_unscaled_under_yarn():
    entry = {**YARN, "original_max_position_embeddings": 3}
    config = {**LLAMA, "max_position_embeddings": 12, "rope_parameters": entry}
    found = theirs(their_config(config), 12)
    assert found[0][1] == pytest.approx(1e4 ** (-1 / 32))  # not divided by 4
    with pytest.raises(ValueError, match="context_window must exceed 2 pi beta_slow"):
        pia.extension_from_hf(config)


def test_theirs_takes_zero_for_the_default():
    entry = {**YARN, "beta_fast": 0.0}
    config = {**LLAMA, "max_position_embeddings": 16384}
    found = theirs(their_config({**config, "rope_parameters": entry}), 16384)
    agrees(pia.YaRN(pia.RopeSpec(64, 1e4, 4096), 16384), found)
    with pytest.raises(ValueError, match=r"beta_fast must be a finite number above 0, got 0\.0"):
        pia.extension_from_hf({**config, "rope_parameters": entry})


def test_theirs_drops_a_misspelt_attention_factor():
    entry = {**YARN, "attn_factor": 3.0}
    config = {**LLAMA, "max_position_embeddings": 16384}
    assert theirs(their_config({**config, "rope_parameters": entry}), 16384)[1] != 3.0
    with pytest.raises(ValueError, match="unknown key 'attn_factor'; did you mean 'attention_f"):
        pia.extension_from_hf({**config, "rope_parameters": entry})


def test_factor_counted_twice_under_dynamic_is_theirs_too():
    scaling = {"type": "dynamic", "factor": 4.0}
    config = {**LLAMA, "rope_theta": 10000.0, "rope_scaling": scaling}
    kept = {**config, "max_position_embeddings": 4096}
    raised = {**config, "max_position_embeddings": 16384}
    for given in (kept, raised):
        ours = pia.extension_from_hf(given, length=32768, original_length=4096)
        agrees(ours, theirs(their_config(given), 32768))
    assert pia.extension_from_hf(raised, length=16384, original_length=4096).base == 10000.0


def test_null_factor_of_yarn_is_the_ratio_of_lengths():
    config = {
        **LLAMA,
        "max_position_embeddings": 32768,
        "rope_parameters": {**YARN, "factor": None},
    }
    assert pia.extension_from_hf(config).factor == 8.0
    agrees(pia.extension_from_hf(config), theirs(their_config(config), 32768))
