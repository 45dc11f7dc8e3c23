"""Sliding-window perplexity against one forward pass a token; its windows, pooling and refusals."""

import json
import math

import numpy as np
import pytest
import torch
from tiny import checkpoint, letters, llama
from tiny_models import build, save

import pianalysis as pia
from pianalysis.checkpoints.checkpoint import open_checkpoint
from pianalysis.evaluation import perplexity as module
from pianalysis.evaluation.perplexity import perplexity, window_spans

SPEC = pia.RopeSpec(16, 10_000.0, 32)
PI = {"PI x4": pia.PositionInterpolation(SPEC, 128)}


def sharp(**config):
    """A model whose losses differ much from token to token."""
    model = llama(**config)
    with torch.no_grad():
        model.lm_head.weight *= 20.0
    return model


@pytest.fixture(scope="module")
def tiny():
    return checkpoint(sharp(), letters())


@pytest.fixture(scope="module")
def documents():
    rng = np.random.default_rng(3)
    return [rng.integers(0, 260, n).tolist() for n in (45, 23, 2)]


def naive(model, tokens, window, stride):
    """Losses by window: each token alone, from the first window that can predict it."""
    windows = {}
    for place in range(1, len(tokens)):
        start = 0
        while start + window < place:
            start += stride
        with torch.inference_mode():
            logits = model(torch.tensor([tokens[start:place]])).logits[0, -1].double()
        loss = -torch.log_softmax(logits, -1)[tokens[place]].item()
        windows.setdefault(start, []).append(loss)
    return list(windows.values())


CASES = [(16, 4), (16, 5), (16, 1), (16, 16), (1, 1), (44, 7), (100, 8)]


@pytest.mark.parametrize(("window", "stride"), CASES)
def test_it_is_the_naive_sum(window, stride, tiny, documents):
    losses = [w for tokens in documents for w in naive(tiny.model, tokens, window, stride)]
    each = np.concatenate(losses)
    found = perplexity(tiny, documents, windows=[window], stride=stride)
    assert found.count[0] == each.size == sum(len(tokens) - 1 for tokens in documents)
    assert found.total[0] == pytest.approx(each.sum(), rel=1e-6)
    assert found.perplexity[0] == pytest.approx(math.exp(each.mean()), rel=1e-5)
    assert found.longest[0] == min(window, 44)
    unweighted = perplexity(tiny, documents, windows=[window], stride=stride, compat=True)
    means = [np.mean(losses) for losses in losses]
    assert unweighted.perplexity[0] == pytest.approx(math.exp(np.mean(means)), rel=1e-5)
    assert (unweighted.total[0], unweighted.count[0]) == (found.total[0], found.count[0])
    assert (found.pooling, unweighted.pooling) == ("tokens", "windows")


def test_pooling_and_context_make_a_difference(tiny, documents):
    found = perplexity(tiny, documents, windows=[8, 16], stride=8)
    overlapped = perplexity(tiny, documents, windows=[8, 16], stride=2)
    unweighted = perplexity(tiny, documents, windows=[8, 16], stride=8, compat=True)
    assert np.abs(np.log(found.perplexity / unweighted.perplexity)).min() > 0.01
    assert np.abs(np.log(found.perplexity / overlapped.perplexity)).min() > 0.01
    assert abs(math.log(found.perplexity[0] / found.perplexity[1])) > 0.01


@pytest.mark.parametrize("length", [2, 3, 9, 16, 17, 18, 40])
@pytest.mark.parametrize(("window", "stride"), CASES)
def test_every_token_after_the_first_is_scored_once(length, window, stride):
    scored = []
    for start, end, count in window_spans(length, window, stride):
        assert start % stride == 0
        assert 0 < end - start <= window
        assert 0 < count <= end - start
        # Behind every scored token stand window - stride others, or all there are.
        assert end - count - start >= min(window - stride, end - count)
        scored += range(end - count + 1, end + 1)
    assert scored == list(range(1, length))


@pytest.mark.parametrize("family", ["gemma2", "cohere", "gpt_neox", "mistral", "phi3"])
def test_the_head_is_the_familys_own_in_blocks_of_any_size(family, monkeypatch):
    model = build(family)
    case = checkpoint(model, letters())
    tokens = np.random.default_rng(1).integers(3, 96, 30).tolist()
    with torch.inference_mode():
        logits = model(torch.tensor([tokens[:-1]])).logits[0].double()
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(tokens[1:]))
    for block in (1, 7, 1000):
        monkeypatch.setattr(module, "MOST_LOGITS", 96 * block)
        found = perplexity(case, [tokens], windows=[64], stride=8)
        assert found.total[0] == pytest.approx(29 * expected.item(), rel=1e-6)
    assert "forward" not in vars(model.base_model)


def test_logits_are_made_for_scored_tokens_alone_and_in_blocks(documents, monkeypatch):
    model = llama()
    asked, read = [], []
    model.lm_head.register_forward_hook(lambda m, args, out: asked.append(out.shape[1]))
    model.model.layers[0].register_forward_hook(lambda m, args, out: read.append(out.shape[1]))
    monkeypatch.setattr(module, "MOST_LOGITS", 260 * 6)
    perplexity(checkpoint(model, letters()), documents[:1], windows=[16], stride=4)
    assert sum(asked) == len(documents[0]) - 1
    assert max(asked) == 6
    assert read == [16] * 8  # the layers read each window once, however many blocks the head takes


def test_what_stood_in_place_of_the_layers_is_put_back(documents):
    def fail(*_, **__):
        raise RuntimeError("no head")

    model = llama()
    model.lm_head.forward = fail
    original = model.model.forward
    model.model.forward = original  # as accelerate does
    with pytest.raises(RuntimeError, match="no head"):
        perplexity(checkpoint(model, letters()), documents, windows=[16], stride=4)
    assert vars(model.model)["forward"] is original


def test_extensions_are_those_of_the_config(tiny, documents):
    found = perplexity(tiny, documents, windows=[16, 64], stride=4, extensions=PI)
    assert found.scheme == ("as loaded", "as loaded", "PI x4", "PI x4")
    assert found.window.tolist() == [16, 64, 16, 64]
    stretched = checkpoint(sharp(**PI["PI x4"].to_hf()), letters())
    oracle = perplexity(stretched, documents, windows=[16, 64], stride=4)
    assert found.total[2:] == pytest.approx(oracle.total, rel=1e-6)
    assert np.abs(found.total[2:] - found.total[:2]).min() > 0.1


def test_the_record_tells_all_that_was_chosen(tiny, documents, tmp_path):
    opened = [[0, *tokens] for tokens in documents]
    tiny.model.config.bos_token_id = 0
    for texts, bos in (
        (opened, "every document"),
        ([documents[0], opened[1]], "some documents"),
        (documents, "no document"),
    ):
        found = perplexity(tiny, texts, windows=[16], extensions=PI, stride=8)
        assert found.bos == bos
    found.save(tmp_path / "ppl")
    summary = json.loads((tmp_path / "ppl.json").read_text())
    expected = {"documents": 3, "stride": 8, "pooling": "tokens", "digest": tiny.digest}
    assert summary.items() >= expected.items()
    assert summary["extensions"]["PI x4"]["target"] == 128
    header = (tmp_path / "ppl.csv").read_text().splitlines()[0]
    assert header == "scheme,window,longest,total,count,perplexity"
    again = perplexity(tiny, documents, windows=[16], extensions=PI, stride=8)
    assert (again.csv(), again.json()) == (found.csv(), found.json())


def test_known_units_are_not_computed_again(tiny, documents, monkeypatch):
    store = {}
    asked = {"windows": [8, 16], "stride": 4, "extensions": PI}
    first = perplexity(tiny, documents, **asked, store=store)
    assert len(store) == 2 * 2 * 3
    store = json.loads(json.dumps(store))
    monkeypatch.setattr(module, "_loss", None)
    second = perplexity(tiny, documents, **asked, store=store)
    assert first.csv() == second.csv()
    compat = perplexity(tiny, documents, **asked, store=store, compat=True)
    assert (compat.perplexity != first.perplexity).all()
    for change in ({"windows": [9]}, {"stride": 5}):
        with pytest.raises(TypeError, match="not callable"):
            perplexity(tiny, documents, **asked | change, store=store)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"documents": []}, "documents must hold at least one text, got none"),
        ({"documents": [[1, 2], [1]]}, "documents must hold at least 2 tokens, got 1 in 1"),
        ({"documents": [[1, 260]]}, "tokens must be an integer from 0 to 259, got 260"),
        ({"windows": []}, "windows must be increasing whole numbers"),
        ({"windows": [0, 8]}, "windows must be an integer from 1 to 16777216, got 0"),
        ({"stride": 0}, "stride must be an integer from 1 to 16, got 0"),
        ({"stride": 17}, "stride must be an integer from 1 to 16, got 17"),
        ({"extensions": {"as loaded": PI["PI x4"]}}, "label 'as loaded', which is taken"),
    ],
)
def test_refusals(change, message, tiny, documents):
    given = {"documents": documents, "windows": [16, 32], "stride": 8} | change
    with pytest.raises(ValueError, match=message):
        perplexity(tiny, given.pop("documents"), **given)


def test_losses_that_are_no_numbers_are_refused(documents):
    model = llama()
    with torch.no_grad():
        model.lm_head.weight[5] = math.nan
    message = "checkpoint must give finite losses, got nan at tokens 0 to 16 of document 0"
    with pytest.raises(ValueError, match=message):
        perplexity(checkpoint(model, letters()), documents, windows=[16], stride=8)


def test_weights_left_on_disk(tmp_path):
    directory, disk = save("llama", tmp_path / "model"), tmp_path / "disk"
    (directory / "tokenizer.json").unlink(missing_ok=True)
    tokens = np.random.default_rng(1).integers(3, 96, 30).tolist()
    kept = perplexity(open_checkpoint(directory), [tokens], windows=[16], stride=4)
    case = open_checkpoint(directory, device_map={"": "disk"}, offload_folder=disk)
    assert case.model.device.type == "meta"
    found = perplexity(case, [tokens], windows=[16], stride=4)
    assert found.total == pytest.approx(kept.total)
