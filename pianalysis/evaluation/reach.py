r"""How sure k_max is: the 20% rule of section 3.3 (arXiv:2306.15595) on rates that are not known.

A success rate is seen in a few trials only. With s of n successes and Jeffreys' prior it has the
posterior Beta(s + 1/2, n - s + 1/2), by itself at each distance, so the k_max that the rates
themselves have exceeds a tested k with the probability

.. math:: P(k_{\max} \ge k_i) = \prod_{j \le i} P(p_j \ge 20\%) .
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.evaluation.passkey_prompt import RULE

COVERAGE = 0.95


def reach_probability(successes: Sequence[int], trials: int) -> FloatArray:
    """Return P(k_max >= k) at each tested distance k, given successes of so many trials.

    Parameters
    ----------
    successes : sequence of int
        At increasing distances, each 0 to ``trials``.
    trials : int
        Keys a distance.

    Returns
    -------
    float64, one a distance, not increasing.

    Raises
    ------
    ValueError
        Successes below 0 or above the trials.

    Notes
    -----
    Trials are taken as independent, and so are distances: what makes keys fail together, as one
    wording for all of them does, is not in it.

    Examples
    --------
    >>> reach_probability([10, 2, 0], 10).round(3)
    array([1.   , 0.533, 0.017])
    """
    from scipy.special import betainc

    trials = checks.whole("trials", trials)
    counts = [checks.whole("successes", n, at_least=0, at_most=trials) for n in successes]
    seen = np.array(counts, dtype=np.float64)
    at_least = 1.0 - betainc(seen + 0.5, trials - seen + 0.5, RULE)
    reached: FloatArray = np.cumprod(at_least)
    return reached


def k_max_interval(
    distances: Sequence[int], successes: Sequence[int], trials: int
) -> tuple[int, int]:
    """Return the tested distances between which k_max lies with 95%, 2.5% left at either end.

    Parameters
    ----------
    distances : sequence of int
        The tested k in tokens, increasing.
    successes : sequence of int
        At each, of ``trials``.
    trials : int

    Returns
    -------
    (low, high), each one of ``distances``, or 0 for a k_max below the first.

    Raises
    ------
    ValueError
        Distances that do not increase, another number of successes, successes out of range.

    Notes
    -----
    It speaks of the rates at the tested distances alone. The k_max that was seen may lie outside:
    at 2 of 10 the rule still counts a distance that the rates reach with 54% only.

    Examples
    --------
    >>> k_max_interval([1024, 2048, 3072, 4096], [5, 5, 0, 0], 5)
    (2048, 3072)
    """
    asked = [checks.whole("distances", distance) for distance in distances]
    if any(b <= a for a, b in itertools.pairwise(asked)):
        raise ValueError(f"distances must increase, got {asked}")
    if len(successes) != len(asked):
        raise ValueError(
            f"successes must have one value a distance, {len(asked)}, got {len(successes)}"
        )
    reached = reach_probability(successes, trials)
    tail = (1.0 - COVERAGE) / 2.0
    low = int((reached >= 1.0 - tail).sum())
    high = int((reached > tail).sum())
    ends = [0, *asked]
    return ends[low], ends[high]
