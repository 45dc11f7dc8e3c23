"""Passkeys: recalled, written, nats a digit; each trial its own prompt; k_max is the reach."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import checkpoint, letters, llama

import pianalysis as pia
from pianalysis.evaluation import forward, passkey_trials
from pianalysis.evaluation.passkey_prompt import (
    FILLER,
    QUESTION,
    TASK,
    Prompt,
    draw_trial,
)
from pianalysis.evaluation.passkey_trials import Trials
from pianalysis.evaluation.passkeys import gap_passkey, passkeys, spread

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
    """Reads the key out wherever its first digit is at most ``reach`` positions away, by its text.

    ``separator`` is what it goes on with; one digit of what ``misses`` counts is wrong.
    """

    def __init__(self, reach, misses=(), separator=" "):
        super().__init__()
        self.reach, self.device, self.dtype = reach, torch.device("cpu"), torch.float32
        self.tokenizer, self.misses, self.separator = letters(), misses, separator
        self.texts, self.at = [], []

    def forward(self, input_ids, position_ids, attention_mask, use_cache, logits_to_keep):
        rows = zip(input_ids.tolist(), position_ids.tolist(), strict=True)
        return SimpleNamespace(logits=torch.stack([self.read(*x, logits_to_keep) for x in rows]))

    def read(self, ids, positions, keep):
        text = "".join(self.tokenizer.decode([i]) if i else "?" for i in ids)  # one letter a token
        self.texts.append(text)
        self.at.append(positions)
        key_at = text.index("The pass key is ") + len("The pass key is ")
        asked_at = len(text) - keep
        span = positions[asked_at] - positions[key_at]
        digits = text[key_at : key_at + 5] if span <= self.reach else "xxxxx"
        if len(self.texts) - 1 in self.misses:
            digits = digits[:-1] + str((int(digits[-1]) + 1) % 10)  # a single wrong digit
        logits = torch.zeros(keep, 260)
        for i, letter in enumerate(self.separator + digits):
            logits[i, self.tokenizer(letter)["input_ids"][0]] = 9.0
        return logits


@pytest.mark.parametrize("bos", [False, True])
def test_k_max_is_the_reach(bos):
    model = Reader(reach=1050)
    found = passkeys(checkpoint(model, letters(bos=bos)), target=3200, distances=8, trials=2)
    assert found.k.tolist() == [400, 800, 1200, 1600, 2000, 2400, 2800, 3200]
    inside = (found.farthest <= 1050) * 2
    assert (found.recalled >= inside).all()
    assert found.recalled[found.nearest > 1050].sum() == 0
    assert found.recalled[:2].tolist() == [2, 2]
    assert found.k_max["as loaded"] in (800, 1200)
    assert (found.bos, found.gap, found.jitter, found.limit) == (bos, False, 200, 3200)
    assert all(at == list(range(len(at))) for at in model.at)  # no gap
    longest = [max(len(text) for text in model.texts[i : i + 2]) + 1 for i in range(0, 16, 2)]
    assert longest == found.length.tolist()  # the answer's last token is only predicted


@pytest.mark.parametrize("read", ["whole", "gap"])
def test_a_wrong_separator_is_not_a_lost_key(read):
    """Five digits right behind a separator that the model would not have written."""
    case = checkpoint(Reader(reach=700, separator="x"), letters())
    if read == "gap":
        found = gap_passkey(case, distances=[400, 600, 900], trials=3, fillers=1)
    else:
        found = passkeys(case, target=2000, distances=[400, 600, 900], trials=3, jitter=1)
    assert found.recalled.tolist() == [3, 3, 0]
    assert found.written.tolist() == [0, 0, 0]
    assert (found.k_max, found.k_max_written) == ({"as loaded": 600}, {"as loaded": 0})
    # One logit of 9 among 260: what the right one costs, and what it costs where x has it.
    right = np.log1p(259 * np.exp(-9.0))
    np.testing.assert_allclose(found.nats, [right, right, right + 9.0], rtol=1e-5)
    np.testing.assert_allclose(found.standard_error, 0.0, atol=1e-6)


def test_nats_are_a_mean_over_trials_with_its_error():
    """One digit of five wrong in one trial of four: 9/5 nats more there."""
    case = checkpoint(Reader(reach=9000, misses={2}), letters())
    found = gap_passkey(case, distances=[900], trials=4, fillers=0)
    right = np.log1p(259 * np.exp(-9.0))
    each = np.array([right, right, right + 9.0 / 5.0, right])
    assert (found.recalled[0], found.written[0]) == (3, 3)
    assert found.nats[0] == pytest.approx(each.mean(), rel=1e-5)
    assert found.standard_error[0] == pytest.approx(each.std(ddof=1) / 2.0, rel=1e-5)
    alone = gap_passkey(case, distances=[900], trials=1)
    assert alone.standard_error.tolist() == [0.0]


def test_separators_are_told_from_digits():
    """A tokenizer of one token a letter writes a space first; one of words has no separator."""
    apart, joined = (Prompt.build(t, 12345, 0) for t in (letters(), words()))
    assert (apart.digits_at - apart.answer_at, len(apart.tokens) - apart.digits_at) == (1, 5)
    assert joined.digits_at == joined.answer_at == len(joined.tokens) - 1


def plan(tokenizer=None, **changes):
    given = {"seed": 0, "jitter": 100, "fillers": 5, "limit": 5000, "gap": True} | changes
    return Trials(tokenizer or letters(), **given)


@pytest.mark.parametrize("gap", [True, False])
def test_each_trial_draws_its_fillers_and_its_distance(gap):
    trials = [plan(gap=gap).plan(3000, n) for n in range(40)]
    distances = [trial.distance for trial in trials]
    short = 0 if gap else len(FILLER) + 1  # a whole prompt falls short by less than one filler
    assert 3000 - 100 - short < min(distances) < 3000 - 90
    assert 2990 - short < max(distances) <= 3000
    starts = {trial.prompt.key_at for trial in trials}
    assert len(starts) == 5
    assert min(np.diff(sorted(starts))) >= len(FILLER)
    again = [plan(gap=gap).plan(3000, n) for n in range(40)]
    assert trials == again
    other = plan(gap=gap, seed=1).plan(3000, 0)
    assert other.prompt.tokens != trials[0].prompt.tokens
    if gap:  # of one length, so that they share a pass
        assert len({len(trial.prompt.tokens) for trial in trials}) == 1


@pytest.mark.parametrize("gap", [True, False])
def test_no_position_leaves_the_window(gap):
    """At k = L' the longest distances end where the answer's last token stands at L' - 1."""
    ends = []
    for n in range(40):
        trial = plan(gap=gap, limit=3000, jitter=1).plan(3000, n)
        ends.append(len(trial.prompt.tokens) - 1 + trial.gap)
    assert max(ends) <= 2999
    assert max(ends) == 2999 if gap else max(ends) > 2999 - len(FILLER)


def test_a_distance_exact_to_the_token():
    for k in (700, 701, 2999):
        trial = plan(jitter=1).plan(k, 0)
        at = forward.positions(len(trial.prompt.tokens), trial.prompt.rest_at, trial.gap)
        assert at[trial.prompt.answer_at - 1] - at[trial.prompt.key_at] == k
    bare = Prompt.build(letters(), 7, 0).distance
    near = plan(jitter=1000).plan(bare + 40, 0)  # no filler fits, and hardly a jitter
    assert bare <= near.distance <= bare + 40


@pytest.mark.parametrize("tokenizer", [letters(), letters(bos=True), words()])
def test_whole_prompts_have_the_most_fillers_that_fit(tokenizer):
    for k in (300, 301, 777, 1000):
        trial = plan(tokenizer, gap=False, jitter=1, fillers=0).plan(k, 0)
        key = draw_trial(0, k, 0).key
        own = [Prompt.build(tokenizer, key, n).distance for n in range(60)]
        after = own.index(trial.distance)
        assert own[after] <= k < own[after + 1]
        assert trial.gap == 0


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

    own = [Prompt.build(tokenizer, 12345, n).distance for n in range(90)]
    assert own[3] - own[2] == own[2] - own[1] + more
    trials = plan(tokenizer, gap=False, jitter=1, fillers=0)
    for k in range(400, 1400, 23):
        prompt = trials._filled(12345, 0, k)
        fillers = own.index(prompt.distance)
        assert own[fillers] <= k < own[fillers + 1]


def test_trials_share_a_pass_and_are_each_the_same_alone(tiny, monkeypatch):
    """Positions differ within a batch; every trial reads what it would read by itself."""
    asked = {"distances": [600, 1500], "trials": 7, "jitter": 90}
    sizes, run = [], forward.Beginning.logits

    def counted(self, checkpoint, texts, positions, keep):
        sizes.append(len(texts))
        return run(self, checkpoint, texts, positions, keep)

    monkeypatch.setattr(forward.Beginning, "logits", counted)
    together = gap_passkey(tiny, **asked)
    assert sum(sizes) == 14
    assert max(sizes) == 5
    monkeypatch.setattr(passkey_trials, "MOST_TOKENS", 1)
    alone = gap_passkey(tiny, **asked)
    np.testing.assert_allclose(together.nats, alone.nats, rtol=1e-4)
    assert together.nearest.tolist() == alone.nearest.tolist()
    assert set(sizes[-14:]) == {1}


def test_a_group_is_measured_whole(tiny):
    """Who else is in a batch changes last digits: a run stopped anywhere ends in the same bytes."""
    asked = {"distances": [600], "trials": 5, "jitter": 90}
    store = {}
    first = gap_passkey(tiny, **asked, store=store)
    for key in list(store)[1:4]:
        del store[key]
    again = gap_passkey(tiny, **asked, store=store)
    assert first.csv() == again.csv()
    assert len(store) == 5
    fewer = gap_passkey(tiny, **asked | {"distances": [600, 900]}, store=store)
    assert fewer.nats[0] == first.nats[0]


def test_twenty_percent_decides():
    # Ten trials a distance: two successes of ten at the second, one of ten at the third.
    misses = {*range(10, 18), *range(20, 29)}
    case = checkpoint(Reader(reach=10_000, misses=misses), letters())
    found = passkeys(case, target=2000, distances=4)
    assert found.trials == 10
    assert found.recalled.tolist() == [10, 2, 1, 10]
    assert found.k_max == {"as loaded": 1000}
    assert found.k_max_interval == {"as loaded": (500, 2000)}  # 1 of 10 leaves room


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
    prompt = plan(gap=False, jitter=1, fillers=0).plan(700, 0).prompt
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
    assert first.recalled.tolist() == [0] * 4
    assert first.k_max == {"as loaded": 0, "PI x4": 0}
    columns = "scheme,k,nearest,farthest,length,recalled,written,nats,standard_error"
    assert first.csv().startswith(columns + "\n")
    monkeypatch.setattr(forward.Beginning, "logits", None)
    second = passkeys(tiny, **asked, store=json.loads(json.dumps(store)))
    assert (first.csv(), first.json()) == (second.csv(), second.json())
    for change in ({"seed": 6}, {"jitter": 7}, {"fillers": 4}, {"distances": [400]}):
        with pytest.raises(TypeError, match="not callable"):
            passkeys(tiny, **asked | change, store=store)


def test_refusals(tiny):
    with pytest.raises(
        ValueError,
        match=r"target / distances must be at least \d+, the prompt's own without filler, got 50",
    ):
        passkeys(tiny, target=3200, distances=64)
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
