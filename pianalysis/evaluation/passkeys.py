r"""The passkey task with its whole prompt (section 3.3, arXiv:2306.15595), and k_max.

At each of 32 distances k, spread evenly up to the target window, the passkey stands at the head of
a prompt that is filled with the paper's filler sentences until it is k tokens long. The success
rates give k_max by the 20% rule. The same question across a gap in positions, without the filler
between, is :func:`pianalysis.evaluation.passkeys.gap_passkey`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import IntArray
from pianalysis.evaluation import forward, units
from pianalysis.evaluation.forward import LARGEST_POSITION
from pianalysis.evaluation.passkey_prompt import Prompt, draw_key, k_max
from pianalysis.evaluation.text import opening
from pianalysis.evaluation.units import Measured, Store
from pianalysis.extension import Extension

if TYPE_CHECKING:
    from pianalysis.checkpoints.checkpoint import Checkpoint

DISTANCES = 32
TRIALS = 10


@dataclass(frozen=True, slots=True)
class Passkeys(Measured):
    """Passkeys read out of whole prompts, a row for each scheme and distance.

    ``k`` is the distance asked for and ``successes`` of ``trials`` the answers that were right.
    What the tokenizer made of it: ``fillers`` sentences, ``length`` tokens of prompt and answer,
    and ``achieved``, the distance from the key's first digit to the last token of the question;
    each the smallest over the trials. ``k_max`` holds the 20% rule's value of ``k`` by scheme.
    """

    target: int
    seed: int
    trials: int
    bos: bool
    k_max: dict[str, int]
    scheme: tuple[str, ...]
    k: IntArray
    fillers: IntArray
    length: IntArray
    achieved: IntArray
    successes: IntArray


def passkeys(
    checkpoint: Checkpoint,
    *,
    target: int,
    distances: int = DISTANCES,
    trials: int = TRIALS,
    seed: int = 0,
    extensions: Mapping[str, Extension] | None = None,
    store: Store | None = None,
) -> Passkeys:
    """Return how often a model reads out a passkey k tokens back, by scheme and distance k.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model; measured as loaded, and with each extension.
    target : int
        The window L' that is asked for, in tokens.
    distances : int
        How many k: target / distances, twice that, and so on up to the target itself.
    trials : int
        Keys a distance.
    seed : int
        Of the keys. A key depends on seed, k and trial alone, so all schemes get the same.
    extensions : mapping, optional
        Label -> extension of ``checkpoint.spec``.
    store : mutable mapping, optional
        Results of single units, one a scheme, distance and trial, by a key that names all that
        enters; a unit found there is not computed again.

    Raises
    ------
    ValueError, TypeError
        Naming the argument: a target whose shortest k is below the prompt's own length, an
        extension of another specification, a tokenizer that does not tell where its tokens stand.

    Notes
    -----
    The prompt is the paper's (Fig. 3) with X = 0 and the largest Y with which prompt and answer
    together hold at most k tokens: at k = L' no position leaves the target window, and the achieved
    distance is short of k by the sentences around the filler and by less than one filler more. A
    trial succeeds where greedy decoding writes all five digits, in the tokens in which the prompt
    itself writes them; one forward pass decides that, as in ``gap_passkey``.

    The whole grid reads about trials * distances * target / 2 tokens a scheme.
    """
    target = checks.whole("target", target, at_most=LARGEST_POSITION)
    count = checks.whole("distances", distances, at_most=target)
    trials = checks.whole("trials", trials)
    seed = checks.whole("seed", seed, at_least=0)
    schemes = units.schemes(checkpoint, extensions)
    asked = spread(target, count)
    tokenizer = checkpoint.tokenizer
    _filled(tokenizer, draw_key(seed, asked[0], 0), asked[0])  # refuse before any work

    def measure(case: tuple[int, int]) -> dict[str, Any]:
        prompt, fillers = _filled(tokenizer, draw_key(seed, *case), case[0])
        answer, given = prompt.tokens[prompt.answer_at :], prompt.tokens[:-1]
        logits = forward.logits(checkpoint, given, np.arange(len(given)), len(answer))
        return {
            "success": logits.argmax(-1).tolist() == answer,
            "fillers": fillers,
            "length": len(prompt.tokens),
            "achieved": prompt.distance,
        }

    inputs = {
        (k, trial): {"kind": "whole passkey", "seed": seed, "k": k, "trial": trial}
        for k in asked
        for trial in range(trials)
    }
    results = list(units.run(checkpoint, schemes, inputs, measure, store))
    by_trial = {
        name: np.array([unit[name] for unit in results]).reshape(len(schemes), count, trials)
        for name in results[0]
    }
    successes = by_trial["success"].sum(-1)
    rates = successes / trials
    return Passkeys(
        **units.about(checkpoint, schemes),
        target=target,
        seed=seed,
        trials=trials,
        bos=bool(opening(tokenizer)),
        k_max={label: k_max(asked, rates[i].tolist()) for i, label in enumerate(schemes)},
        scheme=tuple(label for label in schemes for _ in asked),
        k=np.array(asked * len(schemes)),
        **{name: by_trial[name].min(-1).ravel() for name in ("fillers", "length", "achieved")},
        successes=successes.ravel(),
    )


def spread(target: int, count: int) -> list[int]:
    """Return ``count`` distances, evenly spread up to and including the target.

    Examples
    --------
    >>> spread(8192, 32)[:3], spread(8192, 32)[-1]
    ([256, 512, 768], 8192)
    """
    return [target * i // count for i in range(1, count + 1)]


def _filled(tokenizer: Any, key: int, k: int) -> tuple[Prompt, int]:
    """Return the longest prompt of at most k tokens, answer included, and its fillers."""
    bare, one, two = (Prompt.build(tokenizer, key, n) for n in range(3))
    if len(bare.tokens) > k:
        raise ValueError(
            "target / distances must be at least the length of the prompt without filler and its "
            f"answer, {len(bare.tokens)} tokens, got {k}"
        )
    # Fillers repeat, so their tokens do, but for what the tokenizer joins at the ends.
    fillers = max(0, 1 + (k - len(one.tokens)) // (len(two.tokens) - len(one.tokens)))
    prompt = Prompt.build(tokenizer, key, fillers)
    while len(prompt.tokens) > k:
        fillers -= 1
        prompt = Prompt.build(tokenizer, key, fillers)
    while len((longer := Prompt.build(tokenizer, key, fillers + 1)).tokens) <= k:
        prompt, fillers = longer, fillers + 1
    return prompt, fillers


@dataclass(frozen=True, slots=True)
class GapPasskey(Measured):
    """Passkeys read out across a gap, a row for each scheme and distance.

    ``distance`` counts from the key's first digit, where it is stated first, to the last token of
    the question; ``successes`` of ``trials``. ``k_max`` holds the 20% rule's value by scheme.
    """

    seed: int
    trials: int
    fillers: int
    bos: bool
    k_max: dict[str, int]
    scheme: tuple[str, ...]
    distance: IntArray
    successes: IntArray


def gap_passkey(
    checkpoint: Checkpoint,
    *,
    distances: Sequence[int],
    trials: int = 5,
    seed: int = 0,
    fillers: int = 5,
    extensions: Mapping[str, Extension] | None = None,
    store: Store | None = None,
) -> GapPasskey:
    """Return how often a model reads out a passkey at a distance, by scheme and distance.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model; measured as loaded, and with each extension.
    distances : sequence of int
        Tokens from the key's first digit to the last token of the question, increasing; at least
        that of the prompt without filler, which the error names.
    trials : int
        Keys a distance; the paper takes 10.
    seed : int
        Of the keys. A key depends on seed, distance and trial alone, so all schemes get the same.
    fillers : int
        How often the filler stands between the gap and the question, at least 0; less often where
        the distance is too short for that.
    extensions, store
        As for ``gap_likelihood``; a unit is one scheme, distance and trial.

    Raises
    ------
    ValueError, TypeError
        Naming the argument: a distance below the prompt's own or beyond 2**24, an extension of
        another specification, a tokenizer that does not tell where its tokens stand.

    Notes
    -----
    A trial succeeds where greedy decoding writes all five digits, in the tokens in which the prompt
    itself writes them. That is so exactly when each such token is the most likely one after the
    true ones before it, so one forward pass decides. The prompt is the paper's (Fig. 3) with X = 0;
    the gap stands right behind the sentences with the key, and most of the filler that fills the
    distance there is missing here, so it does not distract. A small model's answers depend on the
    fillers kept: with none the question stands alone behind the gap.
    """
    trials = checks.whole("trials", trials)
    fillers = checks.whole("fillers", fillers, at_least=0)
    seed = checks.whole("seed", seed, at_least=0)
    distances = units.listed("distances", distances, at_least=1, at_most=LARGEST_POSITION)
    schemes = units.schemes(checkpoint, extensions)
    prompts = {
        (distance, trial): _fitting(
            checkpoint.tokenizer, draw_key(seed, distance, trial), fillers, distance
        )
        for distance in distances
        for trial in range(trials)
    }

    beginning = forward.Beginning(_common(list(prompts.values())))

    def measure(group: list[tuple[int, int]]) -> list[dict[str, Any]]:
        distance, first = group[0][0], prompts[group[0]]
        answers = [prompts[case].tokens[first.answer_at :] for case in group]
        given = [prompts[case].tokens[:-1] for case in group]
        positions = forward.positions(len(given[0]), first.rest_at, distance - first.distance)
        logits = beginning.logits(checkpoint, given, positions, len(answers[0]))
        best = logits.argmax(-1).tolist()
        return [{"success": a == b} for a, b in zip(best, answers, strict=True)]

    alike: dict[Any, list[tuple[int, int]]] = {}
    for case, prompt in prompts.items():
        shape = (len(prompt.tokens), prompt.key_at, prompt.rest_at, prompt.answer_at)
        alike.setdefault((case[0], shape), []).append(case)

    inputs = {
        (distance, trial): {
            "kind": "passkey",
            "seed": seed,
            "fillers": fillers,
            "distance": distance,
            "trial": trial,
        }
        for distance, trial in prompts
    }
    groups = list(alike.values())
    results = units.run_groups(checkpoint, schemes, inputs, groups, measure, store)
    answered = [unit["success"] for unit in results]
    successes = np.array(answered).reshape(len(schemes), len(distances), trials).sum(-1)
    rates = successes / trials
    return GapPasskey(
        **units.about(checkpoint, schemes),
        seed=seed,
        trials=trials,
        fillers=fillers,
        bos=bool(opening(checkpoint.tokenizer)),
        k_max={label: k_max(distances, rates[i].tolist()) for i, label in enumerate(schemes)},
        scheme=tuple(label for label in schemes for _ in distances),
        distance=np.array(distances * len(schemes)),
        successes=successes.ravel(),
    )


def _common(prompts: list[Prompt]) -> list[int]:
    """Return the tokens that all prompts begin with, at most up to the first key."""
    length = 0
    for column in zip(*(prompt.tokens[: prompt.key_at] for prompt in prompts), strict=False):
        if len(set(column)) > 1:
            break
        length += 1
    return prompts[0].tokens[:length]


def shortest_distance(tokenizer: Any) -> int:
    """Return a distance at which every key's prompt fits, without filler.

    Keys differ in their number of tokens by at most the digits: five, twice between the key's first
    digit and the question.
    """
    return Prompt.build(tokenizer, 0, 0).distance + 10


def _fitting(tokenizer: Any, key: int, fillers: int, distance: int) -> Prompt:
    """Return the prompt with as many fillers as the distance has room for."""
    for count in range(fillers, -1, -1):
        prompt = Prompt.build(tokenizer, key, count)
        if prompt.distance <= distance:
            return prompt
    raise ValueError(
        f"distances must be at least {prompt.distance}, the prompt's own without filler, "
        f"got {distance}"
    )
