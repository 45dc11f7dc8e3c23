"""Recipe, position gaps, packed text and recall documents."""

import itertools
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tiny

import pianalysis as pia
from pianalysis.evaluation.passkey_prompt import FILLER, QUESTION, TASK, passkey_lines
from pianalysis.evaluation.text import default_text
from pianalysis.finetune import corpus as corpora
from pianalysis.finetune.corpus import Sequences, gap_positions, pack, recall_document
from pianalysis.finetune.recipe import Recipe
from pianalysis.finetune.texts import plays

TEXT = "It was a dark and stormy night; the rain fell in torrents. " * 60


def recipe(**changes):
    plan = Recipe(scheme="linear", target=1024, steps=4, sequence_length=256, gap=True)
    return replace(plan, **changes)


@pytest.fixture(scope="module")
def letters():
    return tiny.letters()


def test_recipe_reads_back_what_it_wrote():
    one = recipe(learning_rate=3e-4, batch=6, micro_batch=3, recall_share=0.6, seed=7)
    assert Recipe.from_json(one.json()) == one
    assert one.tokens_per_step == 6 * 256
    assert one.accumulation(2) == 1


def test_rate_is_that_of_section_3_1():
    shares = [recipe().rate(step) for step in range(30)]
    assert shares[0] == pytest.approx(0.1)
    assert np.diff(shares[:21]) == pytest.approx(0.9 / 20)
    assert shares[20:] == [1.0] * 10
    billion = 1_000_000_000
    sizes = [135_000_000, 7 * billion, 13 * billion, 33 * billion, 65 * billion]
    assert [recipe().peak_rate(n) for n in sizes] == [2e-4, 2e-5, 2e-5, 1e-5, 1e-5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scheme": "linaer"}, "scheme must be one of .* did you mean 'linear'"),
        ({"target": 256}, "sequence_length must be below target 256 with gaps, got 256"),
        ({"gap": False}, "sequence_length must equal target 1024 without gaps, got 256"),
        ({"steps": 0}, "steps must be an integer of at least 1, got 0"),
        ({"batch": 3, "micro_batch": 2}, "micro_batch must divide batch 3, got 2"),
        ({"recall_share": 1.5}, "recall_share must be a finite number .* got 1.5"),
        ({"dtype": "float16"}, "dtype must be one of"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number above 0, got 0.0"),
        ({"sequence_length": 2048}, "sequence_length must be an integer from 4 to 1024"),
    ],
)
def test_recipe_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        recipe(**changes)


def test_recipe_refuses_what_is_not_its_json():
    with pytest.raises(ValueError, match=r"a recipe's key must be one of .* 'step'; did you mean"):
        Recipe.from_json('{"step": 3}')
    with pytest.raises(ValueError, match="got none of target, steps"):
        Recipe.from_json('{"scheme": "yarn", "sequence_length": 4}')
    with pytest.raises(ValueError, match=r"batch must be a multiple .* 2 x 2, got 6"):
        recipe(batch=6, micro_batch=2).accumulation(2)


def test_target_below_the_window_is_refused():
    with pytest.raises(ValueError, match=r"target must be at least .* window 2048, got 1024"):
        recipe().extension(pia.preset("llama-7b"))


def test_gaps_cover_every_distance_and_no_more():
    n, target, seen = 6, 24, set()
    rng = np.random.default_rng(0)
    for _ in range(3000):
        positions = gap_positions(n, target, rng)
        steps = np.diff(positions)
        assert positions[0] == 0
        assert positions[-1] < target
        assert (steps > 1).sum() <= 1
        seen |= {int(b - a) for a, b in itertools.combinations(positions, 2)}
    assert seen == set(range(1, target))


def test_gap_lies_where_it_is_asked_to():
    rng = np.random.default_rng(1)
    for _ in range(200):
        jumps = np.flatnonzero(np.diff(gap_positions(10, 1000, rng, head=(4, 6))) > 1)
        assert all(4 <= jump + 1 <= 6 for jump in jumps)


def test_plays_are_read_as_the_one_of_heads():
    texts = plays()
    assert texts[corpora.HELD_OUT] == default_text()
    assert len(texts) > 30
    assert min(map(len, texts.values())) > 50_000


def test_held_out_text_is_not_trained_on(letters, monkeypatch):
    texts = {"a": TEXT, corpora.HELD_OUT: "A quite different play. " * 40, "b": TEXT[::-1]}
    monkeypatch.setattr(corpora, "plays", lambda: dict(texts))
    corpus = corpora.default_corpus(letters)
    assert letters.decode(corpus.held_out) == texts[corpora.HELD_OUT]
    trained = letters.decode(corpus.tokens)
    assert trained == texts["a"] + texts["b"]
    assert "quite different" not in trained


def test_texts_are_opened_and_closed_as_the_model_expects():
    tokenizer = tiny.letters(bos=True)
    tokenizer.eos_token = "z"
    end = tokenizer.eos_token_id
    tokens = pack(tokenizer, ["ab", "c"]).tokens.tolist()
    ids = [tokenizer.convert_tokens_to_ids(letter) for letter in "abc"]
    assert tokens == [0, ids[0], ids[1], end, 0, ids[2], end]


def test_sequences_follow_from_number_and_seed_alone(letters):
    corpus = pack(letters, [TEXT])
    one, again = Sequences(corpus, recipe()), Sequences(corpus, recipe())
    other = Sequences(corpus, recipe(scheme="default"))
    for index in (3, 0, 2):
        for a, b, c in zip(one[index], again[index], other[index], strict=True):
            assert (a == b).all()
            assert (a == c).all()
    reseeded = Sequences(corpus, recipe(seed=1))
    assert any((one[i][0] != reseeded[i][0]).any() for i in range(4))


def test_a_pass_takes_every_block_once(letters):
    corpus = pack(letters, [TEXT])
    blocks = corpus.tokens.size // 256
    sequences = Sequences(corpus, recipe(steps=2 * blocks))
    whole = corpus.tokens[: blocks * 256].reshape(blocks, 256)
    for start in (0, blocks):
        taken = np.array([sequences[start + i][0] for i in range(blocks)])
        assert sorted(map(tuple, taken)) == sorted(map(tuple, whole))
    first, second = ([sequences[s + i][0].tolist() for i in range(blocks)] for s in (0, blocks))
    assert first != second


def test_recall_documents_ask_at_the_end_for_what_was_stated_early(letters, rng):
    text = pack(letters, [TEXT]).tokens[:256]
    for _ in range(50):
        tokens, (low, high) = recall_document(letters, text, rng)
        words = letters.decode(tokens)
        assert tokens.size == 256
        code = re.search(r"(\d+)\.\n$", words)[1]
        assert len(code) != 5
        assert words.count(code) == 2
        assert words.index(code) < low <= high < words.rindex(code)
        assert words.index(code) < 256 * 0.75
        # The gap falls on ordinary text, never inside a statement or a question.
        assert TEXT.find(words[low:high]) >= 0 or words[low:high] in TEXT * 2


def test_gap_separates_statement_and_question(letters):
    sequences = Sequences(pack(letters, [TEXT]), recipe(recall_share=1.0, steps=40))
    for index in range(40):
        tokens, positions = sequences[index]
        words = letters.decode(tokens)
        code = re.search(r"(\d+)\.\n$", words)[1]
        jumps = np.flatnonzero(np.diff(positions) > 1)
        assert all(words.index(code) < jump < words.rindex(code) for jump in jumps)
    assert max(sequences[i][1].max() for i in range(40)) > 900


def test_share_of_recall_documents(letters):
    corpus = pack(letters, [TEXT])
    for share in (0.0, 0.3, 1.0):
        sequences = Sequences(corpus, recipe(recall_share=share, steps=400))
        with_code = [bool(re.search(r"\d", letters.decode(sequences[i][0]))) for i in range(400)]
        assert np.mean(with_code) == pytest.approx(share, abs=0.08 if 0 < share < 1 else 0)


def grams(text, count):
    words = re.findall(r"[a-z0-9']+", text.lower())
    return {tuple(words[i : i + count]) for i in range(len(words) - count + 1)}


def test_recall_shares_no_five_words_with_the_test_prompt():
    prompt = "\n".join([TASK, FILLER, *passkey_lines(2, 2, 12345), QUESTION])
    forms = [*corpora._STATEMENTS, *corpora._QUESTIONS]
    words = {"owner": "Anna", "thing": "key", "code": "12345"}
    for form in forms:
        ours = form.format(**words)
        assert not grams(ours, 5) & grams(prompt, 5)
        assert not grams(ours, 3) & grams(prompt, 3)
        assert "pass" not in ours.lower()
    assert grams(QUESTION, 5) & grams(prompt, 5)
    assert 5 not in corpora._DIGITS


def test_short_corpora_and_sequences_are_refused(letters):
    with pytest.raises(ValueError, match="at least one sequence of 256 tokens, got 10"):
        Sequences(pack(letters, ["0123456789"]), recipe())
    with pytest.raises(ValueError, match=r"sequence_length must be at least \d+ .* got 64"):
        Sequences(pack(letters, [TEXT]), recipe(sequence_length=64, recall_share=0.5))
    with pytest.raises(ValueError, match="texts must hold at least one text, got none"):
        pack(letters, [])
    with pytest.raises(ValueError, match="tokenizer must be given"):
        pack(None, [TEXT])


def test_training_loads_no_solver_and_no_compiler():
    names = ("numba", "clarabel")  # flint comes with sympy, which torch.distributed loads
    code = (
        "import sys, pianalysis.finetune.train, pianalysis.finetune.corpus;"
        f"print([m for m in {names!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
