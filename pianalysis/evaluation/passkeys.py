r"""The passkey task (section 3.3, arXiv:2306.15595): recalled, written, nats a digit, and k_max.

At each distance k several keys are asked for. A trial draws its key, how many fillers stand before
it (X of Fig. 3) and its exact distance d near k, so the trials of one k are different prompts; all
of it follows from seed, k and the trial's number. d counts from the key's first digit to the last
token of the question, in positions. Two ways to fill a distance share everything else:
:func:`passkeys` repeats the filler up to it, :func:`gap_passkey` leaves positions out instead.

What is scored is what one forward pass over the true answer tells:

- **recalled**: each token that holds a digit is the most likely one, given the separator before the
  digits and the true digits before it. It asks for the key and for nothing else.
- **written**: the separator, too: then greedy decoding writes the answer as the prompt writes it.
  A model that knows the key and goes on with another word than the digits fails here alone.
- **nats**: the negative log-likelihood of the digits, given the separator, over five.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray, IntArray
from pianalysis.evaluation import units
from pianalysis.evaluation.forward import LARGEST_POSITION
from pianalysis.evaluation.passkey_prompt import Prompt, k_max
from pianalysis.evaluation.passkey_trials import Trials
from pianalysis.evaluation.reach import k_max_interval
from pianalysis.evaluation.text import opening
from pianalysis.evaluation.units import Measured, Store
from pianalysis.extension import Extension

if TYPE_CHECKING:
    from pianalysis.checkpoints.checkpoint import Checkpoint

DISTANCES = 32
TRIALS = 10
FILLERS = 5


@dataclass(frozen=True, slots=True)
class Passkeys(Measured):
    """Passkeys read out, a row for each scheme and distance k (tokens).

    Of ``trials`` keys at k, ``recalled`` were read out given the separator and ``written`` with it;
    ``nats`` a digit is a mean over the trials with its ``standard_error``, 0 where one trial gives
    none. Exact distances went from ``nearest`` to ``farthest``: within ``jitter`` tokens up to k,
    and such that no position reaches ``limit``. ``length`` is the longest prompt with its answer.
    ``gap``: positions are left out; else fillers stand there.

    By scheme: ``k_max`` is the 20% rule's value by keys recalled, ``k_max_interval`` its 95%
    interval (``evaluation.reach``), and the same by keys written.
    """

    gap: bool
    limit: int
    seed: int
    trials: int
    jitter: int
    fillers: int
    bos: bool
    k_max: dict[str, int]
    k_max_interval: dict[str, tuple[int, int]]
    k_max_written: dict[str, int]
    k_max_written_interval: dict[str, tuple[int, int]]
    scheme: tuple[str, ...]
    k: IntArray
    nearest: IntArray
    farthest: IntArray
    length: IntArray
    recalled: IntArray
    written: IntArray
    nats: FloatArray
    standard_error: FloatArray


def passkeys(
    checkpoint: Checkpoint,
    *,
    target: int,
    distances: int | Sequence[int] = DISTANCES,
    trials: int = TRIALS,
    seed: int = 0,
    jitter: int | None = None,
    fillers: int = FILLERS,
    extensions: Mapping[str, Extension] | None = None,
    store: Store | None = None,
) -> Passkeys:
    """Return how well a model reads out a passkey d tokens back, by scheme and distance k.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model; measured as loaded, and with each extension.
    target : int
        The window L' that is asked for, in tokens: no prompt with its answer is longer.
    distances : int or sequence of int
        How many k: target / distances, twice that, and so on up to the target itself. Or the k.
    trials : int
        Keys a distance.
    seed : int
        Of what the trials draw. It depends on seed, k and trial alone: all schemes get the same.
    jitter : int, optional
        An exact distance d has k - jitter < d <= k; half the space between distances unless given.
        Fillers come whole, so a prompt falls short of its d by less than one filler.
    fillers : int
        At least 0; fewer than so many stand before the key (X), drawn anew for each trial.
    extensions : mapping, optional
        Label -> extension of ``checkpoint.spec``.
    store : mutable mapping, optional
        Results of single units, one a scheme, distance and trial, by a key that names all that
        enters; a unit found there is not computed again.

    Raises
    ------
    ValueError, TypeError
        Naming the argument: a k below the prompt's own distance, an extension of another
        specification, a tokenizer that does not tell where its tokens stand.

    Notes
    -----
    The whole grid reads about trials * distances * target / 2 tokens a scheme. At k = L' the
    distances end where the answer's last token takes position L' - 1.
    """
    target = checks.whole("target", target, at_most=LARGEST_POSITION)
    if isinstance(distances, int):
        asked = spread(target, checks.whole("distances", distances, at_most=target))
        space = target // len(asked)
    else:
        asked = units.listed("distances", distances, at_least=1, at_most=target)
        space = min(np.diff([0, *asked]))
    trials_of = Trials(
        checkpoint.tokenizer,
        seed=checks.whole("seed", seed, at_least=0),
        jitter=checks.whole("jitter", max(1, space // 2) if jitter is None else jitter),
        fillers=checks.whole("fillers", fillers, at_least=0),
        limit=target,
        gap=False,
    )
    return _read(checkpoint, asked, trials, trials_of, extensions, store)


def gap_passkey(
    checkpoint: Checkpoint,
    *,
    distances: Sequence[int],
    trials: int = 5,
    seed: int = 0,
    jitter: int = 1,
    fillers: int = FILLERS,
    limit: int = LARGEST_POSITION,
    extensions: Mapping[str, Extension] | None = None,
    store: Store | None = None,
) -> Passkeys:
    """Return how well a model reads out a passkey across a gap, by scheme and distance k.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model; measured as loaded, and with each extension.
    distances : sequence of int
        The k, tokens from the key's first digit to the last token of the question, increasing; at
        least that of the prompt without filler, which the error names.
    trials : int
        Keys a distance; the paper takes 10.
    seed : int
        As for ``passkeys``.
    jitter : int
        An exact distance d has k - jitter < d <= k; 1 takes k itself.
    fillers : int
        How many stand before and after the key together, at least 0: how many of them before is
        drawn, one at least stays between the gap and the question; less often after where the
        distance is too short for that.
    limit : int
        Positions stay below it: d is that much shorter where k would lead beyond.
    extensions, store
        As for ``passkeys``.

    Raises
    ------
    ValueError, TypeError
        Naming the argument: a distance below the prompt's own or beyond the limit, an extension of
        another specification, a tokenizer that does not tell where its tokens stand.

    Notes
    -----
    The gap stands right behind the sentences with the key, and most of the filler that fills the
    distance in a whole prompt is missing here, so it does not distract. A small model's answers
    depend on the fillers kept: with none the question stands alone behind the gap.
    """
    limit = checks.whole("limit", limit, at_most=LARGEST_POSITION)
    trials_of = Trials(
        checkpoint.tokenizer,
        seed=checks.whole("seed", seed, at_least=0),
        jitter=checks.whole("jitter", jitter),
        fillers=checks.whole("fillers", fillers, at_least=0),
        limit=limit,
        gap=True,
    )
    asked = units.listed("distances", distances, at_least=1, at_most=limit)
    return _read(checkpoint, asked, trials, trials_of, extensions, store)


def _read(
    checkpoint: Checkpoint,
    asked: list[int],
    trials: int,
    trials_of: Trials,
    extensions: Mapping[str, Extension] | None,
    store: Store | None,
) -> Passkeys:
    trials = checks.whole("trials", trials)
    schemes = units.schemes(checkpoint, extensions)
    for trial in range(trials):
        trials_of.plan(asked[0], trial)  # refuse before any work
    groups = trials_of.groups(asked, trials)
    inputs = {case: trials_of.inputs(*case) for group in groups for case in group}
    results = units.run_groups(
        checkpoint, schemes, inputs, groups, trials_of.measure(checkpoint), store
    )
    shape = (len(schemes), len(asked), trials)
    rows = list(results)
    by_trial = {name: np.array([unit[name] for unit in rows]).reshape(shape) for name in rows[0]}
    recalled, written = by_trial["recalled"].sum(-1), by_trial["written"].sum(-1)
    nats = by_trial["nats"]
    error = nats.std(-1, ddof=1) / np.sqrt(trials) if trials > 1 else np.zeros(shape[:2])

    def reached(counts: IntArray) -> dict[str, int]:
        rates = (counts / trials).tolist()
        return {label: k_max(asked, rates[i]) for i, label in enumerate(schemes)}

    def interval(counts: IntArray) -> dict[str, tuple[int, int]]:
        return {
            label: k_max_interval(asked, counts[i].tolist(), trials)
            for i, label in enumerate(schemes)
        }

    return Passkeys(
        **units.about(checkpoint, schemes),
        gap=trials_of.gap,
        limit=trials_of.limit,
        seed=trials_of.seed,
        trials=trials,
        jitter=trials_of.jitter,
        fillers=trials_of.fillers,
        bos=bool(opening(checkpoint.tokenizer)),
        k_max=reached(recalled),
        k_max_interval=interval(recalled),
        k_max_written=reached(written),
        k_max_written_interval=interval(written),
        scheme=tuple(label for label in schemes for _ in asked),
        k=np.array(asked * len(schemes)),
        nearest=by_trial["distance"].min(-1).ravel(),
        farthest=by_trial["distance"].max(-1).ravel(),
        length=by_trial["length"].max(-1).ravel(),
        recalled=recalled.ravel(),
        written=written.ravel(),
        nats=nats.mean(-1).ravel(),
        standard_error=error.ravel(),
    )


def spread(target: int, count: int) -> list[int]:
    """Return ``count`` distances, evenly spread up to and including the target.

    Examples
    --------
    >>> spread(8192, 32)[:3], spread(8192, 32)[-1]
    ([256, 512, 768], 8192)
    """
    return [target * i // count for i in range(1, count + 1)]


def shortest_distance(tokenizer: Any) -> int:
    """Return a distance at which every key's prompt fits, without filler.

    Keys differ in their number of tokens by at most the digits: five, twice between the key's first
    digit and the question.
    """
    return Prompt.build(tokenizer, 0, 0).distance + 10
