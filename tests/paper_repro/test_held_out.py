"""Held-out texts are chosen by what a window is worth on the same tokens, with its error."""

import numpy as np
import pytest
import tiny

from paper_repro.small_scale import held_out
from pianalysis.checkpoints.checkpoint import open_checkpoint
from pianalysis.evaluation.same_tokens import same_tokens
from pianalysis.evaluation.text import encode
from pianalysis.finetune import corpus

TEXTS = {"a": "It was a bright cold day in April. " * 20, "b.py": "def f(x):\n    return x\n" * 30}


@pytest.fixture
def found(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    tiny.llama(max_position_embeddings=256).save_pretrained(folder)
    tiny.letters().save_pretrained(folder)
    monkeypatch.setattr(held_out, "CANDIDATES", tuple(TEXTS))
    monkeypatch.setattr(held_out, "plays", lambda: {"a": TEXTS["a"]})
    monkeypatch.setattr(held_out, "source_files", lambda: {"b.py": TEXTS["b.py"]})
    monkeypatch.setattr(held_out, "WINDOWS", (16, 64, 128, 4096))
    made = held_out.measure(str(folder), excerpt=300, scored=64)
    return made, open_checkpoint(str(folder))


def test_gains_are_paired_over_blocks(found):
    made, checkpoint = found
    assert made.text == ("a",) * 3 + ("b.py",) * 3
    assert made.window.tolist() == [16, 64, 128] * 2  # 4096 is longer than the excerpt
    tokens = encode(checkpoint.tokenizer, TEXTS["b.py"], 300)
    nats = same_tokens(checkpoint, tokens, windows=[16, 64, 128], scored=64).nats.reshape(3, 16)
    np.testing.assert_allclose(made.perplexity[3:], np.exp(nats.mean(-1)))
    np.testing.assert_allclose(made.gain[3:], nats[0].mean() - nats.mean(-1))
    spread = (nats[0] - nats[2]).std(ddof=1) / 4.0
    assert made.standard_error[5] == pytest.approx(spread)
    assert made.gain[3] == made.standard_error[3] == 0.0
    assert (made.excerpt, made.scored) == (300, 64)


def test_the_texts_held_out_are_candidates():
    assert {corpus.HELD_OUT, corpus.HELD_OUT_SOURCE} <= set(held_out.CANDIDATES)
