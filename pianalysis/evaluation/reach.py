r"""How sure k_max is: the 20% rule of section 3.3 (arXiv:2306.15595) on rates that are not known.

Rates p_1, ..., p_K of success at the tested distances are seen in n trials each. Their own k_max is
the last k with p_j >= 20% for all j <= k, and the interval holds it with 95% whatever they are:

- **low** is the last k up to which at each distance as many successes as were seen, or more, would
  be had with at most 2.5% at a rate of 20%. Too high it is only where such a count falls on the
  first distance whose rate is below 20%; one test is at stake, however many distances there are.
- **high** is the last k that no run of distances up to it speaks against. S_i is the number of
  successes at the last i distances up to k, and its tail

  .. math:: t_i = P(\mathrm{Bin}(i n, 20\%) \le S_i).

  The p-value of k is the chance that rates of 20% at all k distances give a least tail as small as
  the one seen. Higher rates give it less often, for it falls in every success. S_1, S_2, ... are a
  random walk, and its chance to stay above a boundary is a sum of k convolutions. A k is given up
  where its own p-value is at most 1.25%, or that of one of the k - 1 before it 1.25% / (k - 1): a
  k_max of k asks for 20% at all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.evaluation.passkey_prompt import RULE

COVERAGE = 0.95
_TAIL = (1.0 - COVERAGE) / 2.0


def k_max_interval(
    distances: Sequence[int], successes: Sequence[int], trials: int
) -> tuple[int, int]:
    """Return the tested distances between which the rates' own k_max lies with 95%.

    Parameters
    ----------
    distances : sequence of int
        The tested k in tokens, increasing.
    successes : sequence of int
        At each, of ``trials``.
    trials : int

    Returns
    -------
    (low, high), each one of ``distances``, or 0 for a k_max below the first: at most 2.5% of all
    draws lead to a ``low`` beyond it, at most 2.5% to a ``high`` before it.

    Raises
    ------
    ValueError
        Distances that do not increase, another number of successes, successes out of range.

    Notes
    -----
    It speaks of the rates at the tested distances alone, and takes trials as independent: what
    makes keys fail together, as one wording for all of them does, is not in it. The k_max that was
    seen, by the paper's rule on shares of so few trials, may lie outside. With 5 trials a distance
    counts for ``low`` from 4 successes on, with 10 from 6, and one trial is never enough.

    Examples
    --------
    >>> k_max_interval([1024, 2048, 3072, 4096], [5, 5, 0, 0], 5)
    (2048, 4096)
    >>> k_max_interval([1024, 2048, 3072, 4096], [20, 20, 0, 0], 20)
    (2048, 3072)
    """
    asked = [checks.whole("distances", distance) for distance in distances]
    if any(b <= a for a, b in itertools.pairwise(asked)):
        raise ValueError(f"distances must increase, got {asked}")
    if len(successes) != len(asked):
        raise ValueError(
            f"successes must have one value a distance, {len(asked)}, got {len(successes)}"
        )
    trials = checks.whole("trials", trials)
    counts = [checks.whole("successes", n, at_least=0, at_most=trials) for n in successes]
    sure = _at_least(counts, trials) <= _TAIL
    low = len(counts) if sure.all() else int(sure.argmin())
    high, least = 0, 1.0
    for k in range(1, len(counts) + 1):
        own = _p_value(counts[:k], trials)
        if own > _TAIL / 2.0 and least > _TAIL / 2.0 / max(k - 1, 1):
            high = k
        least = min(least, own)
    ends = [0, *asked]
    return ends[low], ends[max(low, high)]


def _at_least(counts: Sequence[int], trials: int) -> FloatArray:
    """Return P(Bin(trials, 20%) >= count) for each of them."""
    from scipy.stats import binom

    tails: FloatArray = binom.sf(np.array(counts) - 1, trials, RULE)
    return tails


def _p_value(counts: Sequence[int], trials: int) -> float:
    """Return the chance of a least tail as small as of these counts, all rates being 20%."""
    walk = np.cumsum(counts[::-1])
    tails = _tails(len(counts), trials)
    least = min(float(tail[at]) for tail, at in zip(tails, walk, strict=True))
    step = np.diff(tails[0], prepend=0.0)  # P(Bin(trials, 20%) = 0, 1, ...)
    above = np.ones(1)  # P(S_i = 0, 1, ..., and no tail so far is as small)
    for tail in tails:
        above = np.where(tail > least, np.convolve(above, step), 0.0)
    return 1.0 - float(above.sum())


@lru_cache(maxsize=64)
def _tails(count: int, trials: int) -> tuple[FloatArray, ...]:
    """Return P(Bin(i trials, 20%) <= 0, 1, ..., i trials) for i to ``count``."""
    from scipy.stats import binom

    sizes = (i * trials for i in range(1, count + 1))
    return tuple(binom.cdf(np.arange(size + 1), size, RULE) for size in sizes)
