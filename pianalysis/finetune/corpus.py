"""What is trained on: packed text, held-out text, and recall documents.

Every sequence follows from its number and the recipe alone, so all schemes train on the same
tokens, a resumed run goes on with the next one, and the number of processes changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import IntArray
from pianalysis.evaluation.forward import positions
from pianalysis.evaluation.text import PLAY, opening
from pianalysis.finetune.reach import stratified_gap
from pianalysis.finetune.recipe import Recipe
from pianalysis.finetune.texts import plays, source_files

HELD_OUT = PLAY.stem  # the text of `heads`: measured there, so never trained on here
HELD_OUT_SOURCE = "polys/polytools.py"  # chosen before training: paper_repro/small_scale/held_out

# Nothing here shares a run of five words with the passkey prompt, and no code has its five digits.
_OWNERS = (
    *("Anna", "Bertrand", "Cecily", "Dmitri", "Edith", "Farid", "Greta", "Hiroshi", "Ines"),
    *("Jonas", "Kavya", "Leon", "Marta", "Nadia", "Omar", "Petra"),
)
_THINGS = (
    *("locker", "suitcase", "bicycle", "ticket", "parcel", "cabin", "piano", "garden gate"),
    *("library card", "rowing boat", "workshop", "violin"),
)
_STATEMENTS = (
    "For the record, {owner}'s {thing} has code {code}.",
    "Somebody wrote down that {owner}'s {thing} was given number {code}.",
    "By the way: the label on {owner}'s {thing} reads {code}.",
)
_QUESTIONS = (
    "Which code belongs to {owner}'s {thing}? It has code {code}.",
    "Do you recall the number of {owner}'s {thing}? Yes, it was {code}.",
    "And the label on {owner}'s {thing}, how did it read? It read {code}.",
)
_DIGITS = (3, 4, 6)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Tokens to train on and tokens held out, each one stream of packed documents.

    ``tokenizer`` made them; it also writes the recall documents and goes into every checkpoint.
    """

    tokenizer: Any
    tokens: IntArray
    held_out: IntArray

    @property
    def digest(self) -> str:
        """Sha256 over both streams."""
        streams = (self.tokens, self.held_out)
        parts = [hashlib.sha256(s.astype("<i8").tobytes()).hexdigest() for s in streams]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def pack(tokenizer: Any, texts: Sequence[str], held_out: Sequence[str] = ()) -> Corpus:
    """Return the corpus of texts: each opened as the model expects it, and closed by EOS.

    Raises
    ------
    ValueError
        No tokenizer, or no text to train on.
    """
    if tokenizer is None:
        raise ValueError("tokenizer must be given for a model that has none, got None")
    if not texts:
        raise ValueError("texts must hold at least one text, got none")
    return Corpus(tokenizer, _stream(tokenizer, texts), _stream(tokenizer, held_out))


def default_corpus(tokenizer: Any) -> Corpus:
    """Return all plays, The Merry Wives of Windsor held out."""
    texts = plays()
    held_out = texts.pop(HELD_OUT)
    return pack(tokenizer, list(texts.values()), [held_out])


def mixed_corpus(tokenizer: Any) -> Corpus:
    """Return plays and source code of sympy, as many characters of each, one text of each held out.

    The source files are taken in an order that their names' digests decide, so that neighbouring
    files are of different subpackages, until they hold as much as the plays.

    Raises
    ------
    ModuleNotFoundError
        One of the two packages is not installed.
    """
    texts, sources = plays(), source_files()
    held_out = [texts.pop(HELD_OUT), sources.pop(HELD_OUT_SOURCE)]
    wanted = sum(map(len, texts.values()))
    chosen: list[str] = []
    for name in sorted(sources, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        if sum(map(len, chosen)) >= wanted:
            break
        chosen.append(sources[name])
    return pack(tokenizer, [*texts.values(), *chosen], held_out)


def _stream(tokenizer: Any, texts: Sequence[str]) -> IntArray:
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    start = opening(tokenizer)
    ids: list[int] = []
    for text in texts:
        ids += start + _ids(tokenizer, text) + end
    return np.array(ids, dtype=np.int64)


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


@dataclass(frozen=True, slots=True)
class Sequences:
    """The sequences of a run, in order; step k takes ``batch`` of them from k * batch on.

    Each pass over the corpus takes its blocks in a new random order.

    Raises
    ------
    ValueError
        A corpus shorter than one sequence, or sequences too short for a recall document; both
        numbers are named.
    """

    corpus: Corpus
    recipe: Recipe

    def __post_init__(self) -> None:
        length, size = self.recipe.sequence_length, self.corpus.tokens.size
        if size < length:
            raise ValueError(
                f"corpus must hold at least one sequence of {length} tokens, got {size}"
            )
        if self.recipe.recall_share:
            statement, question = _longest(self.corpus.tokenizer)
            if length < statement + question + 2:
                raise ValueError(
                    "sequence_length must be at least "
                    f"{statement + question + 2} for recall documents, got {length}"
                )

    def __len__(self) -> int:
        return self.recipe.steps * self.recipe.batch

    def __getitem__(self, index: int) -> tuple[IntArray, IntArray]:
        """Return tokens and positions of one sequence, each int64 (sequence_length,)."""
        recipe, length = self.recipe, self.recipe.sequence_length
        rng = np.random.default_rng([recipe.seed, 1, index])
        blocks = self.corpus.tokens.size // length
        epoch, place = divmod(index, blocks)
        block = int(_order(recipe.seed, epoch, blocks)[place])
        tokens = self.corpus.tokens[block * length : (block + 1) * length]
        head = None
        if rng.random() < recipe.recall_share:
            tokens, head = recall_document(self.corpus.tokenizer, tokens, rng)
        if not recipe.gap:
            return tokens, np.arange(length)
        gap = None
        if recipe.edge_share is not None:
            gap = stratified_gap(
                index, recipe.target - length, seed=recipe.seed, edge_share=recipe.edge_share
            )
        return tokens, gap_positions(length, recipe.target, rng, head=head, gap=gap)


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, blocks: int) -> IntArray:
    return np.random.default_rng([seed, 0, epoch]).permutation(blocks)


def recall_document(
    tokenizer: Any, text: IntArray, rng: np.random.Generator
) -> tuple[IntArray, tuple[int, int]]:
    """Return text with a code stated in its first half and asked for at its end.

    Parameters
    ----------
    tokenizer : transformers tokenizer
    text : int (n,)
        Ordinary text; as much of it is kept as leaves n tokens in all.
    rng : numpy Generator

    Returns
    -------
    tokens : int64 (n,)
    head : (int, int)
        How many tokens may stand before a gap that lies between statement and question.
    """
    statement, question = (_ids(tokenizer, part) for part in _recall(rng))
    free = text.size - len(statement) - len(question)
    if free < 0:
        raise ValueError(f"text must hold at least {text.size - free} tokens, got {text.size}")
    before = int(rng.integers(free // 2 + 1))
    parts = [text[:before], statement, text[before:free], question]
    stated, asked = before + len(statement), text.size - len(question)
    return np.concatenate([np.asarray(p, dtype=np.int64) for p in parts]), (stated, asked)


def _recall(rng: np.random.Generator) -> tuple[str, str]:
    kind = int(rng.integers(len(_STATEMENTS)))
    digits = int(rng.choice(_DIGITS))
    words = {
        "owner": _OWNERS[int(rng.integers(len(_OWNERS)))],
        "thing": _THINGS[int(rng.integers(len(_THINGS)))],
        "code": f"{int(rng.integers(10**digits)):0{digits}d}",
    }
    statement, question = _STATEMENTS[kind], _QUESTIONS[kind]
    return f"\n{statement.format(**words)}\n", f"\n{question.format(**words)}\n"


def _longest(tokenizer: Any) -> tuple[int, int]:
    """Return the most tokens that a statement and a question take, with digits unlike in turn."""
    code = "907531"[: max(_DIGITS)]
    words = [{"owner": o, "thing": t, "code": code} for o in _OWNERS for t in _THINGS]

    def longest(forms: Sequence[str]) -> int:
        return max(len(_ids(tokenizer, f"\n{f.format(**w)}\n")) for f in forms for w in words)

    return longest(_STATEMENTS), longest(_QUESTIONS)


def gap_positions(
    length: int,
    target: int,
    rng: np.random.Generator,
    *,
    head: tuple[int, int] | None = None,
    gap: int | None = None,
) -> IntArray:
    """Return positions 0, 1, ... of a sequence with one gap drawn at random.

    Parameters
    ----------
    length : int
        n, tokens of the sequence, at least 2.
    target : int
        L' >= n: positions stay below it.
    rng : numpy Generator
    head : (int, int), optional
        Smallest and largest number of tokens before the gap; 1 and n - 1 unless given.
    gap : int, optional
        0 .. L' - n, as ``reach.stratified_gap`` gives it; uniform there unless given.

    Returns
    -------
    int64 (n,). The length of the head is uniform in its range.

    Notes
    -----
    Every distance from 1 to L' - 1 occurs: between the first and the last token it is n - 1 plus
    the gap, hence anything up to L' - 1. The model needs an attention mask of ones beside these
    positions: transformers takes a jump for the border of two packed texts and would hide one
    from the other.

    Examples
    --------
    >>> gap_positions(6, 100, np.random.default_rng(0))
    array([ 0,  1,  2,  3,  4, 65])
    """
    length = checks.whole("length", length, at_least=2)
    target = checks.whole("target", target, at_least=length)
    low, high = (1, length - 1) if head is None else head
    low = checks.whole("head", low, at_most=length - 1)
    high = checks.whole("head", high, at_least=low, at_most=length - 1)
    before = int(rng.integers(low, high + 1))
    if gap is None:
        gap = int(rng.integers(target - length + 1))
    return positions(length, before, checks.whole("gap", gap, at_least=0, at_most=target - length))
