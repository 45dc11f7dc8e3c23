"""Every causal model type of transformers is read as it computes, or refused with a reason."""

import functools

import every_model
import numpy as np
import pytest

TYPES = every_model.TYPES
# What a refusal may say: the model has no RoPE; its default config is not one that can be built;
# its layers are no single numbered list.
REASONS = (
    "which has no RoPE",
    "must build a model in transformers",
    "must be one that",
    "must number its layers",
    "must be what the model's code rotates",  # an odd width, of a default that no model has
    "must hold one list of its",
    "validate_architecture",
)


@pytest.mark.parametrize("model_type", TYPES)
def test_saved_config_and_object_agree(model_type):
    saved, why = every_model.as_saved(model_type)
    given, why_not = every_model.as_object(model_type)
    if saved is None:
        assert given is None
        assert any(reason in why for reason in REASONS), why
        assert "rope_theta must be given" not in why
        assert (why_not == why) or "which has no RoPE" not in why
    else:
        assert every_model.equal(saved, given)


@pytest.mark.parametrize("model_type", TYPES)
def test_frequencies_are_those_of_the_library(model_type):
    found, _ = every_model.as_saved(model_type)
    if found is None or model_type in ("gptj", "codegen"):
        pytest.skip("refused, or a table instead of a module")
    theirs = every_model.library_frequencies(model_type)
    assert any(layer is not None for layer in found)
    for layer in found:
        if layer is not None:
            assert any(
                len(layer[0]) == len(other) and np.allclose(layer[0], other, 3e-6, 0.0)
                for other in theirs.values()
            )


@pytest.mark.parametrize("model_type", TYPES)
def test_reading_by_keys_agrees_or_refuses(model_type):
    found, _ = every_model.as_saved(model_type)
    plain, why = every_model.by_keys(model_type)
    if plain is not None and found is not None:
        assert every_model.equal(plain, found)
    elif plain is not None:
        # transformers cannot build the default config; its keys were enough.
        assert "must build a model" in every_model.as_saved(model_type)[1]
    else:
        assert why


@functools.cache
def counts():
    read = [name for name in TYPES if every_model.as_saved(name)[0] is not None]
    plain = [name for name in TYPES if every_model.by_keys(name)[0] is not None]
    return len(read), len(plain)


def test_most_are_read():
    read, plain = counts()
    assert read >= 110
    assert plain >= 25


def test_table_of_gptj_turns_as_its_keys_say():
    import torch
    from transformers import GPTJConfig
    from transformers.models.gptj.modeling_gptj import create_sinusoidal_positions

    import pianalysis as pia

    found = pia.layer_extensions(GPTJConfig(n_layer=2))
    table = create_sinusoidal_positions(2, 64)  # sin of one turn, then cos
    assert torch.asin(table[1, :32]).double().numpy() == pytest.approx(
        found[0].frequencies, rel=1e-4
    )
    assert len(found) == 2
