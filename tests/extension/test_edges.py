"""Where a rule turns: ramps of no width, factors by length, configs that say a thing twice."""

import dataclasses
import math

import numpy as np
import pytest
from small_configs import small

import pianalysis as pia
from paper_repro import ledger
from pianalysis.extension.rebased import rebased
from pianalysis.extension.registry import extension_of
from pianalysis.rope.configs import model_facts, rope_facts

SPEC = pia.RopeSpec(16, 100.0, 64)
LLAMA = small("llama")
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}


def test_a_base_between_1_and_2_is_a_base():
    changed = rebased(pia.PositionInterpolation(SPEC, 128), 1.5)
    expected = 1.5 ** (-2.0 * np.arange(8) / 16) / 2.0
    np.testing.assert_allclose(changed.frequencies, expected, rtol=1e-12)


def test_a_ramp_without_width_is_a_step():
    """Both ends at one pair: those before it turn as before, those after it by 1/k."""
    found = pia.YaRN(SPEC, 256, beta_fast=4.0, beta_slow=4.0, truncate=False).ratios
    first = 16 * math.log(64 / (2 * math.pi * 4.0)) / (2 * math.log(100.0))
    np.testing.assert_array_equal(found, np.where(np.arange(8) < first, 1.0, 0.25))


@pytest.mark.parametrize("target", range(65, 4000, 131))
def test_pairs_that_keep_their_frequency_keep_it_exactly(target):
    ratios = pia.YaRN(SPEC, target, beta_fast=4.0, beta_slow=0.5).ratios
    assert ratios[0] == 1.0
    assert ratios[-1] == 1.0 / (target / 64)


@pytest.mark.parametrize(("length", "factor"), [(2048, 1.25), (4096, 1.5)])
def test_the_attention_factor_of_a_long_context_is_its_own(length, factor):
    """Phi-3.5-MoE gives two: one up to the original window, one beyond."""
    scaling = {"type": "longrope", "short_factor": [1.0] * 64, "long_factor": [2.0] * 64}
    config = LLAMA | {"model_type": "phi3", "original_max_position_embeddings": 2048}
    facts = rope_facts(config | {"rope_scaling": scaling})
    two = {**facts.parameters, "short_mscale": 1.25, "long_mscale": 1.5}
    found = extension_of(dataclasses.replace(facts, parameters=two, embedding=None), length)
    assert found.attention_factor == factor


LONG = {"type": "longrope", "short_factor": [1.0] * 64, "long_factor": [2.0] * 64}
PHI = LLAMA | {"vocab_size": 33_000, "original_max_position_embeddings": 2048}


def test_longrope_is_followed_in_transformers_own_code():
    for model_type, scaling in (
        ("phi3", LONG),
        ("phimoe", LONG | {"short_mscale": 1.25, "long_mscale": 1.5}),
    ):
        config = PHI | {"model_type": model_type, "rope_scaling": scaling}
        assert model_facts(config).layers[0].rope.reader.startswith("transformers")
        found = pia.extension_from_hf(config, length=2048)
        expected = 1.25 if model_type == "phimoe" else math.sqrt(1 + math.log(4) / math.log(2048))
        assert found.attention_factor == pytest.approx(expected, rel=1e-6)


def test_what_was_read_before_changes_no_answer():
    """Youtu cannot run with half of its rotating part, whether or not its default was traced."""
    half = LLAMA | {"model_type": "youtu", "partial_rotary_factor": 0.5}
    half |= {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}
    said = []
    for _ in range(2):
        with pytest.raises(ValueError, match="must run so far as its attention") as caught:
            pia.extension_from_hf(half, original_length=8192)
        said.append(str(caught.value))
        assert model_facts(LLAMA | {"model_type": "youtu"}).layers[0].rope.rope_type == "default"
    assert said[0] == said[1]


def test_a_scheme_said_twice_is_one_scheme(reader):
    once = pia.extension_from_hf(LLAMA | {"rope_scaling": YARN})
    both = LLAMA | {"rope_scaling": YARN, "rope_parameters": dict(YARN)}
    assert pia.extension_from_hf(both) == once
    other = both | {"rope_parameters": YARN | {"factor": 2.0}}
    with pytest.raises(ValueError, match="must agree when both are given"):
        pia.extension_from_hf(other)


def test_layers_that_differ_by_scheme_alone_say_so(reader):
    config = LLAMA | {"model_type": "olmo3", "rope_theta": 5e5, "rope_scaling": YARN}
    config |= {"sliding_window": 1024, "layer_types": ["sliding_attention", "full_attention"]}
    with pytest.raises(ValueError, match="their RoPE differs"):
        pia.extension_from_hf(config)


def test_every_fourth_layer_of_smollm3_does_not_turn(reader):
    config = LLAMA | {"model_type": "smollm3", "num_hidden_layers": 9}
    turning = [layer is not None for layer in pia.layer_extensions(config)]
    assert turning == [True, True, True, False] * 2 + [True]


def test_a_share_of_the_head_turns_under_a_scheme_too(reader):
    config = LLAMA | {"model_type": "glm4", "rope_scaling": YARN, "partial_rotary_factor": 0.5}
    found = pia.extension_from_hf(config | {"head_dim": 128})
    assert isinstance(found, pia.YaRN)
    assert found.spec.rotary_dim == 64


def test_the_logit_scale_under_another_mscale(reader):
    """DeepSeek-V2: (0.1 * 0.707 ln 40 + 1)^2 / sqrt(128 + 64)."""
    scaling = {"type": "yarn", "factor": 40, "mscale": 0.707, "mscale_all_dim": 0.707}
    scaling |= {"original_max_position_embeddings": 4096, "beta_fast": 32, "beta_slow": 1}
    config = LLAMA | {"model_type": "deepseek_v3", "rope_scaling": scaling}
    config |= {"qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
    config |= {"max_position_embeddings": 163840}
    expected = (0.1 * 0.707 * math.log(40) + 1.0) ** 2 / math.sqrt(192)
    assert model_facts(config).layers[0].rope.logit_scale == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("llama-2-7b", (128, 1e4, 4096)),
        ("llama-3.1-8b", (128, 5e5, 8192)),
        ("mistral-7b", (128, 1e4, 8192)),
        ("qwen2.5-7b", (128, 1e6, 32768)),
        ("qwen3-8b", (128, 1e6, 32768)),
        ("phi-3-mini-128k", (96, 1e4, 4096)),
        ("gpt-neox-20b", (24, 1e4, 2048)),
        ("pythia-1.4b", (32, 1e4, 2048)),
        ("gemma-2-9b", (256, 1e4, 8192)),
        ("olmo-2-7b", (128, 5e5, 4096)),
        ("smollm2-135m", (64, 1e5, 8192)),
    ],
)
def test_presets_are_what_was_published(name, facts):
    spec = pia.preset(name)
    assert (spec.rotary_dim, spec.base, spec.context_window) == facts


def test_a_claim_that_is_gone_or_new_is_named_once():
    def claim(key):
        return ledger.Claim(
            key=key, location="Eq. 1", statement="s", verdict=ledger.REFUTED, paper="p",
            ours="o", certificate="c", item="fig1", test="t",
        )  # fmt: skip

    found = ledger.differences([claim("both"), claim("gone")], [claim("both"), claim("new")])
    assert found == [
        "gone: recorded, but no item computes it",
        "new: computed, but not recorded",
    ]
