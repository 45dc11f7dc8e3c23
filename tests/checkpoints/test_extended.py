"""extended(): each scheme against transformers' own model of that config; nothing left behind."""

import numpy as np
import pytest
import torch
import transformers
from tiny import llama

import pianalysis as pia
from pianalysis.checkpoints.extended import extended

SPEC = pia.RopeSpec(16, 10_000.0, 32)
TARGET = 128
SHAPE = {
    "hidden_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "vocab_size": 64,
}
LISTS = {
    "short_factor": [1.0 + 0.1 * j for j in range(8)],
    "long_factor": [1.0 + j for j in range(8)],
}
SCHEMES = {
    "linear": pia.PositionInterpolation(SPEC, TARGET),
    "yarn": pia.YaRN(SPEC, TARGET),
    "llama3": pia.Llama3(SPEC, TARGET),
    "ntk": pia.NTKAware(SPEC, TARGET),
    "dynamic": pia.DynamicNTK(SPEC, TARGET, factor=2.0),
    "longrope": pia.LongRoPE(SPEC, TARGET, **LISTS),
    "base-change": pia.BaseChange(SPEC, TARGET, base=77_000.0),
    "unscaled": pia.Unscaled(SPEC, TARGET),
}


@pytest.fixture
def tokens():
    return torch.tensor(np.random.default_rng(7).integers(0, 64, (2, TARGET)))


def logits(model, tokens):
    with torch.inference_mode():
        return model(tokens).logits


@pytest.mark.parametrize("name", SCHEMES)
def test_equals_the_model_that_transformers_builds(name, tokens):
    extension = SCHEMES[name]
    oracle = logits(llama(**extension.to_hf()), tokens)
    model = llama()
    plain = logits(model, tokens)
    with extended(model, extension):
        ours = logits(model, tokens)
    assert (ours - oracle).abs().max() < 1e-5
    if name != "unscaled":  # not vacuous: the scheme does something here
        assert (plain - oracle).abs().max() > 1e-2
    assert torch.equal(logits(model, tokens), plain)


def state(model):
    module = model.model.rotary_emb
    return module.inv_freq, module.attention_scaling, module.rope_type


@pytest.mark.parametrize("own", ["unscaled", "dynamic", "longrope", "yarn"])
def test_restores_the_same_tensors_after_an_exception(own, tokens):
    model = llama(**SCHEMES[own].to_hf())
    before, plain = state(model), logits(model, tokens[:, :20])
    with pytest.raises(IndexError, match="out of range"), extended(model, SCHEMES["yarn"]):
        logits(model, tokens + 260)  # beyond the vocabulary: the model itself raises
    assert all(a is b for a, b in zip(state(model), before, strict=True))
    assert torch.equal(logits(model, tokens[:, :20]), plain)


@pytest.mark.parametrize("own", ["dynamic", "longrope"])
@pytest.mark.parametrize("length", [20, TARGET])
def test_a_scheme_that_follows_the_length_is_put_aside(own, length, tokens):
    plain, following = llama(), llama(**SCHEMES[own].to_hf())
    for extension in (SCHEMES["linear"], SCHEMES["dynamic"]):
        with extended(plain, extension), extended(following, extension):
            assert torch.equal(
                logits(plain, tokens[:, :length]), logits(following, tokens[:, :length])
            )


def test_dynamic_stays_at_its_target_on_short_inputs(tokens):
    model = llama()
    with extended(model, SCHEMES["dynamic"]):
        logits(model, tokens[:, :8])
        expected = torch.tensor(SCHEMES["dynamic"].frequencies, dtype=torch.float32)
        assert torch.equal(model.model.rotary_emb.inv_freq, expected)


def test_blocks_nest(tokens):
    model = llama()
    with extended(model, SCHEMES["linear"]):
        alone = logits(model, tokens)
        with extended(model, SCHEMES["yarn"]):
            assert not torch.equal(logits(model, tokens), alone)
        assert torch.equal(logits(model, tokens), alone)


def gemma(sliding_base):
    parameters = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": sliding_base},
    }
    torch.manual_seed(0)
    config = transformers.Gemma3TextConfig(
        **SHAPE,
        num_key_value_heads=1,
        head_dim=16,
        layer_types=["sliding_attention", "full_attention"],
        rope_parameters=parameters,
    )
    return transformers.Gemma3ForCausalLM(config).eval()


def test_layers_of_another_base_are_left_alone():
    model = gemma(1e4)
    rotary = model.model.rotary_emb
    kinds, full, local = rotary.rope_type, rotary.full_attention_inv_freq, state_of(rotary)
    extension = pia.YaRN(pia.RopeSpec(16, 1e6, 32), 128)
    with extended(model, extension):
        expected = torch.tensor(extension.frequencies, dtype=torch.float32)
        assert torch.equal(rotary.full_attention_inv_freq, expected)
        assert rotary.full_attention_attention_scaling == extension.attention_factor
        assert rotary.rope_type == {"full_attention": "default", "sliding_attention": "default"}
        assert all(a is b for a, b in zip(state_of(rotary), local, strict=True))
    assert rotary.full_attention_inv_freq is full
    assert rotary.rope_type is kinds
    with pytest.raises(ValueError, match=r"the model's base 10000\.0 or 1000000\.0, got 500\.0"):
        extended(model, pia.Unscaled(pia.RopeSpec(16, 500.0, 32), 64)).__enter__()


def test_both_layer_types_of_one_base_are_changed_and_restored():
    model = gemma(1e6)
    rotary = model.model.rotary_emb
    kinds = rotary.rope_type
    with extended(model, pia.PositionInterpolation(pia.RopeSpec(16, 1e6, 32), 64)):
        assert rotary.full_attention_inv_freq[0] == rotary.sliding_attention_inv_freq[0] == 0.5
    assert rotary.rope_type is kinds
    assert rotary.full_attention_inv_freq[0] == 0.125
    assert rotary.sliding_attention_inv_freq[0] == 1.0


def state_of(rotary):
    return rotary.sliding_attention_inv_freq, rotary.sliding_attention_attention_scaling


def test_refusals():
    model = llama()
    wide = pia.Unscaled(pia.RopeSpec(32, 10_000.0, 32), 64)
    with pytest.raises(ValueError, match="the model's rotary dimension 16, got 32"):
        extended(model, wide).__enter__()
    with pytest.raises(ValueError, match=r"the model's base 10000\.0, got 500\.0"):
        extended(model, pia.Unscaled(pia.RopeSpec(16, 500.0, 32), 64)).__enter__()
    with pytest.raises(TypeError, match="must be an Extension, got 8"):
        extended(model, 8).__enter__()
    with pytest.raises(ValueError, match="must have rotary embeddings"):
        extended(torch.nn.Linear(2, 2), wide).__enter__()


def test_partial_rotary_embeddings(tokens):
    spec = pia.RopeSpec(16, 10_000.0, 32, rotary_fraction=0.5)
    extension = pia.YaRN(spec, TARGET)
    keys = SHAPE | {"max_position_embeddings": 32}

    def neox(**more):
        torch.manual_seed(0)
        config = transformers.GPTNeoXConfig(
            **keys
            | {
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 10_000.0,
                    "partial_rotary_factor": 0.5,
                }
            }
            | more
        )
        return transformers.GPTNeoXForCausalLM(config).eval()

    oracle, model = logits(neox(**extension.to_hf()), tokens), neox()
    with extended(model, extension):
        assert (logits(model, tokens) - oracle).abs().max() < 1e-5
    assert (logits(model, tokens) - oracle).abs().max() > 1e-4
