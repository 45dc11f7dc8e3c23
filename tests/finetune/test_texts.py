"""The second kind of text: source code that pip installs; held-out files are never trained on."""

import pytest
import tiny

from pianalysis.finetune import corpus as corpora
from pianalysis.finetune import texts


def test_sources_are_whole_modules_without_tests_and_tables():
    sources = texts.source_files()
    assert len(sources) > 400
    assert sources[corpora.HELD_OUT_SOURCE].startswith('"""User-friendly public interface')
    for name, text in sources.items():
        assert "tests/" not in name
        assert "quinticconst" not in name
        assert len(text.encode()) >= texts.SHORTEST


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(texts, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match="needs the package sympy"):
        texts.source_files()


def test_both_kinds_are_of_one_size_and_the_held_out_ones_left_out(monkeypatch):
    kept, source = "A quite different play. " * 9, "def held_out(): pass\n" * 9
    plays = {"a": "x" * 600, corpora.HELD_OUT: kept, "b": "y" * 400}
    sources = {f"{n}.py": str(n) * 300 for n in range(10)} | {corpora.HELD_OUT_SOURCE: source}
    monkeypatch.setattr(corpora, "plays", lambda: dict(plays))
    monkeypatch.setattr(corpora, "source_files", lambda: dict(sources))
    letters = tiny.letters()
    corpus = corpora.mixed_corpus(letters)
    trained = letters.decode(corpus.tokens)
    assert trained.startswith("x" * 600 + "y" * 400)
    digits = trained.removeprefix("x" * 600 + "y" * 400)
    assert len(digits) == 1200  # whole files, until they hold as much as the plays
    assert len(set(digits)) == 4
    assert letters.decode(corpus.held_out) == kept + source
    assert corpora.mixed_corpus(letters).digest == corpus.digest
    plays["a"] = "x" * 6000  # more than all sources: each of them is taken
    everything = letters.decode(corpora.mixed_corpus(letters).tokens)
    assert all(text in everything for name, text in sources.items() if name[0].isdigit())
    assert source not in everything
    assert kept not in everything
