"""How sure k_max is: every outcome of a small grid, weighed by every choice of rates."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from pianalysis.evaluation.passkey_prompt import k_max
from pianalysis.evaluation.reach import k_max_interval

K = [1024, 2048, 3072, 4096, 5120]
RATES = (0.0, 0.1, 0.1999, 0.2, 0.25, 0.4, 1.0)


@pytest.mark.parametrize(("trials", "count"), [(9, 3), (5, 4), (1, 8)])
def test_whatever_the_rates_are_it_holds_their_k_max(trials, count):
    """Exact: outcomes are enumerated, not drawn, and so are the rates of all distances."""
    asked = list(range(1, count + 1))
    outcomes = np.array(list(itertools.product(range(trials + 1), repeat=count)))
    ends = np.array([k_max_interval(asked, row, trials) for row in outcomes.tolist()])
    choices = RATES if count < 5 else (0.1, 0.2, 0.6)
    mass = {rate: binom.pmf(np.arange(trials + 1), trials, rate) for rate in choices}
    worst = np.zeros(2)
    for rates in itertools.product(choices, repeat=count):
        chance = np.prod([mass[p][outcomes[:, i]] for i, p in enumerate(rates)], axis=0)
        own = k_max(asked, rates)
        worst = np.maximum(worst, [chance[ends[:, 0] > own].sum(), chance[ends[:, 1] < own].sum()])
    assert (worst <= 0.025).all()
    assert trials == 1 or (worst > 0.002).all()  # not vacuous


def test_more_trials_close_it():
    assert k_max_interval(K, [5, 5, 5, 0, 0], 5) == (3072, 5120)
    assert k_max_interval(K, [10, 10, 10, 0, 0], 10) == (3072, 5120)
    assert k_max_interval(K, [20, 20, 20, 0, 0], 20) == (3072, 4096)
    assert k_max_interval(K, [40, 40, 40, 0, 0], 40) == (3072, 3072)
    assert k_max_interval(K, [0, 0, 0, 0, 0], 20) == (0, 0)
    assert k_max_interval(K, [10] * 5, 10) == (5120, 5120)


def test_what_both_ends_rest_on():
    assert k_max_interval(K, [10, 6, 10, 10, 10], 10) == (5120, 5120)
    assert k_max_interval(K, [10, 5, 10, 10, 10], 10) == (1024, 5120)  # 5 of 10: 3.3% at 20%
    # Keys lost on the way end it although later ones are found.
    assert k_max_interval(K, [20, 0, 0, 20, 20], 20) == (1024, 2048)


def test_one_rate_for_all_distances_is_not_taken_for_a_fall():
    """Many distances at 40% each: by chance some of them see no key, which is no evidence."""
    rng = np.random.default_rng(0)
    drawn = rng.binomial(5, 0.4, size=(200, 16))
    ends = [k_max_interval(range(1, 17), row, 5) for row in drawn.tolist()]
    assert sum(high < 16 for _, high in ends) <= 5
    assert sum(0 in row for row in drawn.tolist()) > 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([2, 1], [0, 0], 5), "distances must increase"),
        (([1, 2], [0], 5), "successes must have one value a distance, 2, got 1"),
        (([1], [6], 5), "successes must be an integer from 0 to 5, got 6"),
        (([1], [0], 0), "trials must be an integer of at least 1, got 0"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        k_max_interval(*arguments)
