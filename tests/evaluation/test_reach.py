"""How sure k_max is, against rates drawn from the posterior and the rule applied to each draw."""

import numpy as np
import pytest

from pianalysis.evaluation.passkey_prompt import k_max
from pianalysis.evaluation.reach import k_max_interval, reach_probability

K = [1024, 2048, 3072, 4096, 5120]


@pytest.mark.parametrize(
    ("successes", "trials"),
    [([5, 5, 5, 0, 0], 5), ([10, 3, 2, 9, 1], 10), ([0, 5, 5, 5, 5], 5), ([1, 1, 1, 1, 1], 3)],
)
def test_it_is_the_rule_on_rates_drawn_from_the_posterior(successes, trials, rng):
    seen = np.array(successes)
    rates = rng.beta(seen + 0.5, trials - seen + 0.5, size=(20_000, 5))
    drawn = np.array([k_max(K, row) for row in rates.tolist()])
    probability = reach_probability(successes, trials)
    for k, share in zip(K, probability, strict=True):
        assert (drawn >= k).mean() == pytest.approx(share, abs=0.012)
    low, high = k_max_interval(K, successes, trials)
    assert (drawn < low).mean() <= 0.025 + 0.004
    assert (drawn > high).mean() <= 0.025 + 0.004
    wider = [0, *K]
    if high > 0:  # and no narrower interval would do
        assert (drawn >= high).mean() > 0.025 - 0.004
    if low < K[-1]:
        assert (drawn < wider[wider.index(low) + 1]).mean() > 0.025 - 0.004


def test_few_trials_leave_room_and_more_close_it():
    assert k_max_interval(K, [5, 5, 5, 0, 0], 5) == (3072, 4096)
    assert k_max_interval(K, [10, 10, 10, 0, 0], 10) == (3072, 4096)  # 0 of 10 leaves 3.5%
    assert k_max_interval(K, [20, 20, 20, 0, 0], 20) == (3072, 3072)
    assert k_max_interval(K, [0, 0, 0, 0, 0], 20) == (0, 0)
    assert k_max_interval(K, [10] * 5, 10) == (5120, 5120)


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
