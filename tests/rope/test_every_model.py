"""Every causal model type of transformers is read as it computes, or refused with a reason."""

import every_model
import numpy as np
import pytest

TABLES = (
    "gptj",
    "codegen",
    "roformer",
)  # hold a table of turns instead of a module with frequencies


@pytest.mark.parametrize("model_type", every_model.TYPES)
def test_both_readers_agree_with_the_library(model_type):
    saved, why = every_model.as_saved(model_type)
    given, why_not = every_model.as_object(model_type)
    plain, unknown = every_model.by_keys(model_type)
    if model_type in every_model.NO_ROPE:
        assert saved is None
        assert "which has no RoPE" in why
        assert "which has no RoPE" in why_not
        assert plain is None
    elif model_type in every_model.REFUSED:
        assert (saved, given) == (None, None)
        assert every_model.REFUSED[model_type] in why
        assert plain is None or "must build a model" in why  # its keys were enough
    else:
        assert every_model.equal(saved, given)
        assert plain is None or every_model.equal(plain, saved)
        assert any(layer is not None for layer in saved)
        if model_type not in TABLES:
            theirs = every_model.library_frequencies(model_type).values()
            for layer in saved:
                assert layer is None or any(
                    len(layer[0]) == len(other) and np.allclose(layer[0], other, 3e-6, 0.0)
                    for other in theirs
                )
    assert "rope_theta must be given" not in (why or "")
    assert plain is not None or unknown


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
