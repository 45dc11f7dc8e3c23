"""The same tokens at every window: against one forward pass a token, and each token once."""

import json

import numpy as np
import pytest
import torch
from tiny import checkpoint, letters, llama

import pianalysis as pia
from pianalysis.evaluation import same_tokens as module
from pianalysis.evaluation.perplexity import token_losses
from pianalysis.evaluation.same_tokens import ending_spans, same_tokens

SPEC = pia.RopeSpec(16, 10_000.0, 32)
PI = {"PI x4": pia.PositionInterpolation(SPEC, 128)}


@pytest.fixture(scope="module")
def tiny():
    model = llama()
    with torch.no_grad():
        model.lm_head.weight *= 20.0  # losses differ much from token to token
    return checkpoint(model, letters())


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(3).integers(0, 260, 100).tolist()


@pytest.mark.parametrize("window", [4, 10, 33, 64, 99])
def test_every_token_is_scored_once_behind_half_a_window(window, tiny, tokens):
    """Each loss again, from a pass over that token's own part of its window."""
    places, losses = [], []
    for start, end, count in ending_spans(100, window, 32):
        assert end - start == min(window, end)
        for place in range(end - count + 1, end + 1):
            places.append(place)
            assert place - start >= max(window // 2, window - 31) or start == 0
            with torch.inference_mode():
                logits = tiny.model(torch.tensor([tokens[start:place]])).logits[0, -1].double()
            losses.append(-torch.log_softmax(logits, -1)[tokens[place]].item())
    assert places == list(range(68, 100))
    found = same_tokens(tiny, tokens, windows=[window], scored=32)
    np.testing.assert_allclose(found.nats, np.reshape(losses, (16, 2)).mean(-1), rtol=1e-4)
    assert found.block.tolist() == list(range(16))
    assert set(found.stride) == {min(window // 2, 32)}


def test_schemes_windows_and_stores(tiny, tokens, monkeypatch):
    store = {}
    asked = {"windows": [8, 64], "scored": 32, "extensions": PI}
    found = same_tokens(tiny, tokens, **asked, store=store)
    assert len(store) == 4
    assert found.scheme == ("as loaded",) * 32 + ("PI x4",) * 32
    plain, stretched = found.nats.reshape(2, 2, 16)
    assert np.abs(plain - stretched).max() > 0.01
    assert np.abs(plain[0] - plain[1]).max() > 0.01
    monkeypatch.setattr(module, "token_losses", None)
    again = same_tokens(tiny, tokens, **asked, store=json.loads(json.dumps(store)))
    assert (again.csv(), again.json()) == (found.csv(), found.json())
    for change in ({"scored": 16}, {"windows": [9]}):
        with pytest.raises(TypeError, match="not callable"):
            same_tokens(tiny, tokens, **asked | change, store=store)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"windows": [100]}, "windows must be an integer from 2 to 99, got 100"),
        ({"scored": 33}, "scored must be a multiple of 16, got 33"),
        ({"scored": 112}, "scored must be an integer from 1 to 99, got 112"),
    ],
)
def test_refusals(change, message, tiny, tokens):
    with pytest.raises(ValueError, match=message):
        same_tokens(tiny, tokens, **{"windows": [8], "scored": 32} | change)
    with pytest.raises(ValueError, match="scored must be an integer from 1 to 9, got 10"):
        token_losses(tiny.model, tokens[:10], 10)
