r"""The passkey task (Fig. 3, arXiv:2306.15595; Mohtashami and Jaggi 2023), and its score k_max.

Five random digits are stated inside a lot of repeated text and asked for at the end.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.evaluation.text import opening

TASK = (
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. "
    "I will quiz you about the important information there."
)
FILLER = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
QUESTION = "What is the pass key? The pass key is"
LARGEST_KEY = 99999
RULE = 0.2  # the success rate that k_max asks for


def passkey_lines(before: int, after: int, key: int) -> list[str]:
    """Return the five parts of the passkey prompt, in order; see :func:`passkey_prompt`."""
    before = checks.whole("before", before, at_least=0)
    after = checks.whole("after", after, at_least=0)
    key = checks.whole("key", key, at_least=0, at_most=LARGEST_KEY)
    return [
        TASK,
        " ".join([FILLER] * before),
        f"The pass key is {key:05d}. Remember it. {key:05d} is the pass key.",
        " ".join([FILLER] * after),
        QUESTION,
    ]


def passkey_prompt(before: int, after: int, key: int) -> str:
    r"""Return the passkey prompt (Fig. 3; Mohtashami and Jaggi 2023).

    Parameters
    ----------
    before, after : int
        How often the filler stands before and after the key (X and Y of Fig. 3), at least 0.
    key : int
        0 to 99999; written with five digits.

    Notes
    -----
    Parts are separated by line breaks and repeated fillers by spaces, as in the public script of
    Mohtashami and Jaggi; an empty filler leaves no line.

    Examples
    --------
    >>> passkey_prompt(1, 0, 12345).splitlines()[2]
    'The pass key is 12345. Remember it. 12345 is the pass key.'
    """
    return "\n".join(line for line in passkey_lines(before, after, key) if line)


@dataclass(frozen=True, slots=True)
class Draw:
    """What chance decides of one trial: the key, and two numbers in [0, 1).

    ``before`` decides how many fillers stand before the key, ``short`` by how much the exact
    distance falls short of k.
    """

    key: int
    before: float
    short: float


def draw_trial(seed: int, k: int, trial: int) -> Draw:
    """Return what is drawn for one trial: the same for every scheme, whatever else is measured.

    Examples
    --------
    >>> draw_trial(0, 4096, 1) == draw_trial(0, 4096, 1)
    True
    >>> draw_trial(0, 4096, 1) == draw_trial(0, 4096, 2)
    False
    """
    rng = np.random.default_rng([seed, k, trial])
    return Draw(int(rng.integers(LARGEST_KEY + 1)), *rng.random(2).tolist())


def k_max(distances: Sequence[int], rates: Sequence[float]) -> int:
    r"""Return the effective context window of section 3.3: the 20% rule.

    .. math:: k_{\max} = \max\{k : \text{every tested } k' \le k
              \text{ has a success rate of at least } 20\%\}

    Parameters
    ----------
    distances : sequence of int
        The tested distances k in tokens, increasing.
    rates : sequence of float
        The success rate at each, in [0, 1].

    Returns
    -------
    int. One of ``distances``, or 0 where already the shortest fails.

    Raises
    ------
    ValueError
        Distances that do not increase, another number of rates, rates outside [0, 1].

    Notes
    -----
    It is a lower end: nothing is said about lengths between or beyond the tested ones, and one
    unlucky distance ends it. With 10 trials a true rate of 30% falls below 2 of 10 in 15% of all
    draws.

    Examples
    --------
    >>> k_max([1024, 2048, 3072, 4096], [1.0, 0.2, 0.1, 0.9])
    2048
    """
    distances = [checks.whole("distances", distance) for distance in distances]
    rates = [checks.real("rates", rate, at_least=0.0, at_most=1.0) for rate in rates]
    if len(distances) != len(rates):
        raise ValueError(
            f"rates must have one value a distance, {len(distances)}, got {len(rates)}"
        )
    if any(b <= a for a, b in itertools.pairwise(distances)):
        raise ValueError(f"distances must increase, got {distances}")
    reached = 0
    for distance, rate in zip(distances, rates, strict=True):
        if rate < RULE:
            break
        reached = distance
    return reached


@dataclass(frozen=True, slots=True)
class Prompt:
    """The tokens of a passkey prompt and its answer, and where in them the parts begin.

    The answer begins at ``answer_at`` with a separator, where the tokenizer writes one as a token
    of its own, and its first digit stands in the token at ``digits_at``.
    """

    tokens: list[int]
    key_at: int
    rest_at: int
    answer_at: int
    digits_at: int

    @property
    def distance(self) -> int:
        """Tokens from the key's first digit to the last token of the question."""
        return self.answer_at - 1 - self.key_at

    @classmethod
    def build(cls, tokenizer: Any, key: int, after: int, *, before: int = 0) -> Prompt:
        """Return the prompt with so many fillers before and after the key, and its answer."""
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(
                "checkpoint must have a tokenizer that tells where its tokens stand (a fast one), "
                f"got {type(tokenizer).__name__}"
            )
        text, digits = passkey_prompt(before, after, key), f"{key:05d}"
        stated = text.rindex(digits) + len(f"{digits} is the pass key.")
        encoded = tokenizer(
            f"{text} {digits}", add_special_tokens=False, return_offsets_mapping=True
        )
        start = opening(tokenizer)
        # The token that holds character c is the first to end beyond it.
        ends = [end for _, end in encoded["offset_mapping"]]
        at = [
            len(start) + next(i for i, end in enumerate(ends) if end > character)
            for character in (text.index(digits), stated, len(text), len(text) + 1)
        ]
        return cls(start + encoded["input_ids"], *at)
