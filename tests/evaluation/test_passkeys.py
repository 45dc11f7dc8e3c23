"""Whole passkey prompts have the length asked for; k_max is the reach of what reads them."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import checkpoint, letters, llama

import pianalysis as pia
from pianalysis.evaluation import forward
from pianalysis.evaluation.passkey_prompt import FILLER, QUESTION, TASK, draw_key, passkey_prompt
from pianalysis.evaluation.passkeys import _filled, passkeys, spread

SPEC = pia.RopeSpec(16, 10_000.0, 32)
PI = {"PI x4": pia.PositionInterpolation(SPEC, 128)}


@pytest.fixture(scope="module")
def tiny():
    return checkpoint(llama(), letters())


def words():
    """A tokenizer of one token a word, as a contrast to one a letter: fillers are 19 tokens."""
    import tokenizers
    import transformers

    numbers = ["12345", "90210"]
    text = f"{TASK} {FILLER} The pass key is . Remember it {QUESTION}".split()
    split = {part for word in text for part in (word, word.rstrip("."), word.rstrip("?"), ".", "?")}
    vocabulary = {word: i for i, word in enumerate(["<unk>", *sorted(split), *numbers])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner)


class Reader(torch.nn.Module):
    """Reads the key out wherever its first digit is at most ``reach`` tokens away, by its text."""

    def __init__(self, reach, misses=()):
        super().__init__()
        self.reach, self.device, self.dtype = reach, torch.device("cpu"), torch.float32
        self.tokenizer, self.misses, self.seen = letters(), misses, []

    def forward(self, input_ids, position_ids, attention_mask, use_cache, logits_to_keep):
        ids = input_ids[0].tolist()
        assert position_ids[0].tolist() == list(range(len(ids)))  # no gap
        text = "".join(self.tokenizer.decode([i]) if i else "?" for i in ids)  # one letter a token
        self.seen.append(text)
        key_at = text.index("The pass key is ") + len("The pass key is ")
        asked_at = len(text) - logits_to_keep
        answer = " " + text[key_at : key_at + 5] if asked_at - key_at <= self.reach else " 00000"
        if len(self.seen) - 1 in self.misses:
            answer = answer[:-1] + str((int(answer[-1]) + 1) % 10)  # a single wrong digit
        logits = torch.zeros(1, len(ids), 260)
        for i, letter in enumerate(answer):
            logits[0, asked_at + i, self.tokenizer(letter)["input_ids"][0]] = 1.0
        return SimpleNamespace(logits=logits[:, -logits_to_keep:])


@pytest.mark.parametrize("bos", [False, True])
def test_k_max_is_the_reach(bos):
    tokenizer = letters(bos=bos)
    model = Reader(reach=1050)
    found = passkeys(checkpoint(model, tokenizer), target=3200, distances=8, trials=2)
    assert found.k.tolist() == [400, 800, 1200, 1600, 2000, 2400, 2800, 3200]
    assert (found.successes == np.where(found.achieved <= 1050, 2, 0)).all()
    assert found.successes.tolist() == [2, 2, 2, 0, 0, 0, 0, 0]
    assert found.k_max == {"as loaded": 1200}
    assert found.bos is bos
    # Prompt and answer: what the model was given is one token less, as the last is never read.
    asked = [len(text) + 1 for text in model.seen]
    assert asked == np.repeat(found.length, 2).tolist()


@pytest.mark.parametrize("tokenizer", [letters(), letters(bos=True), words()])
def test_lengths_are_the_longest_that_fit(tokenizer):
    for k in (500, 501, 777, 1000, 4321):
        prompt, fillers = _filled(tokenizer, 90210, k)
        text = passkey_prompt(0, fillers, 90210)
        start = len(tokenizer("")["input_ids"])
        length = len(tokenizer(f"{text} 90210", add_special_tokens=False)["input_ids"]) + start
        longer = passkey_prompt(0, fillers + 1, 90210)
        beyond = len(tokenizer(f"{longer} 90210", add_special_tokens=False)["input_ids"]) + start
        assert len(prompt.tokens) == length <= k < beyond
        before = text[: text.index("90210")]
        answer = len(prompt.tokens) - prompt.answer_at
        key_at = start + len(tokenizer(before.rstrip(), add_special_tokens=False)["input_ids"])
        key_at += len(before) - len(before.rstrip()) if answer == 6 else 0  # a space is a letter
        assert prompt.distance == length - answer - 1 - key_at


def test_every_length_is_the_longest_that_fits():
    tokenizer = words()
    bare = len(tokenizer(f"{passkey_prompt(0, 0, 12345)} 12345")["input_ids"])
    previous = -1
    for k in range(bare, bare + 100):
        prompt, fillers = _filled(tokenizer, 12345, k)
        assert k - 24 < len(prompt.tokens) <= k
        assert fillers in (previous, previous + 1) or previous == -1
        previous = fillers


class Uneven:
    """One token a word, but every third filler has one token more or less than the others."""

    is_fast, bos_token_id = True, None

    def __init__(self, more):
        self.inner, self.more = words(), more

    def __call__(self, text, **options):
        out = self.inner(text, add_special_tokens=False, return_offsets_mapping=True)
        pairs, seen = [], 0
        for token, (start, end) in zip(out["input_ids"], out["offset_mapping"], strict=True):
            seen += text[start:end] == "grass"
            odd = text[start:end] == "grass" and seen % 3 == 0
            pairs += [(token, (start, end))] * (1 + self.more * odd)
        return {"input_ids": [t for t, _ in pairs], "offset_mapping": [at for _, at in pairs]}


@pytest.mark.parametrize("more", [1, -1])
def test_fillers_of_uneven_length_still_fill_and_fit(more):
    tokenizer = Uneven(more)

    def length(fillers):
        return len(tokenizer(f"{passkey_prompt(0, fillers, 12345)} 12345")["input_ids"])

    assert length(3) - length(2) == length(2) - length(1) + more
    for k in range(400, 1500, 7):
        prompt, fillers = _filled(tokenizer, 12345, k)
        assert length(fillers) == len(prompt.tokens) <= k < length(fillers + 1)
    for k in (length(30), length(30) - 1):
        assert _filled(tokenizer, 12345, k)[1] == (30 if k == length(30) else 29)


def test_twenty_percent_decides():
    # Ten trials a distance: two successes of ten at the second, one of ten at the third.
    misses = {*range(10, 18), *range(20, 29)}
    case = checkpoint(Reader(reach=10_000, misses=misses), letters())
    found = passkeys(case, target=2000, distances=4)
    assert found.trials == 10
    assert found.successes.tolist() == [10, 2, 1, 10]
    assert found.k_max == {"as loaded": 1000}


def test_the_papers_distances(root):
    assert spread(8192, 32) == list(range(256, 8193, 256))
    with (root / "paper_repro/paper/table4_passkey_kmax.csv").open() as file:
        rows = list(csv.DictReader(file))
    printed = {
        (int(row["context_window"]), int(row[steps]))
        for row in rows
        for steps in list(rows[0])[3:]
        if row[steps]
    }
    assert len(printed) > 5
    for target, k in printed:
        assert k in spread(target, 32)


def test_one_pass_is_greedy_decoding(tiny):
    prompt, _ = _filled(tiny.tokenizer, draw_key(0, 600, 0), 600)
    given = prompt.tokens[: prompt.answer_at]
    with torch.inference_mode():
        written = tiny.model.generate(
            torch.tensor([given]), max_new_tokens=6, min_new_tokens=6, do_sample=False
        )[0, len(given) :].tolist()
    ids = given + written[:-1]
    best = forward.logits(tiny, ids, np.arange(len(ids)), 6).argmax(-1).tolist()
    assert best == written
    assert len(written) == 6


def test_units_are_known_again_and_bytes_repeat(tiny, monkeypatch):
    asked = {"target": 1000, "distances": 2, "trials": 2, "seed": 5, "extensions": PI}
    store = {}
    first = passkeys(tiny, **asked, store=store)
    assert len(store) == 8
    assert first.successes.tolist() == [0] * 4
    assert first.k_max == {"as loaded": 0, "PI x4": 0}
    assert first.csv().startswith("scheme,k,fillers,length,achieved,successes\n")
    monkeypatch.setattr(forward, "logits", None)
    second = passkeys(tiny, **asked, store=json.loads(json.dumps(store)))
    assert (first.csv(), first.json()) == (second.csv(), second.json())
    with pytest.raises(TypeError, match="not callable"):
        passkeys(tiny, **asked | {"seed": 6}, store=store)


def test_refusals(tiny):
    with pytest.raises(ValueError, match=r"its answer, \d+ tokens, got 100"):
        passkeys(tiny, target=3200, distances=32)
    with pytest.raises(ValueError, match="target must be an integer from 1 to 16777216, got 0"):
        passkeys(tiny, target=0)
    with pytest.raises(ValueError, match="distances must be an integer from 1 to 8, got 32"):
        passkeys(tiny, target=8)
    with pytest.raises(ValueError, match="trials must be an integer of at least 1, got 0"):
        passkeys(tiny, target=3200, distances=4, trials=0)
    with pytest.raises(TypeError, match="extensions must hold extensions, got x: 4"):
        passkeys(tiny, target=3200, distances=4, extensions={"x": 4})
    with pytest.raises(ValueError, match="where its tokens stand"):
        passkeys(checkpoint(tiny.model, None), target=3200, distances=4)
