"""After the softmax: against random rows, extremal groups and 50 digits."""

import math

import mpmath as mp
import numpy as np
import pytest
import torch

import pianalysis as pia


def softmax(logits):
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("delta", [0.01, 0.3, 1.0, 4.0])
def test_no_row_moves_further_and_the_extremal_group_reaches_it(delta, rng):
    logits = 3.0 * rng.normal(size=(5000, 20))
    moved = logits + delta * rng.choice([-1.0, 1.0, 0.3], size=logits.shape)
    shift = 0.5 * np.abs(softmax(moved) - softmax(logits)).sum(axis=1)
    assert shift.max() <= pia.attention_shift(delta)
    assert shift.max() > 0.5 * pia.attention_shift(delta)
    # One key of mass 1/(1 + e^delta) that gains delta while the other loses it.
    pair = np.array([0.0, delta])
    gained = softmax(pair + np.array([delta, -delta]))[0] - softmax(pair)[0]
    assert gained == pytest.approx(float(pia.attention_shift(delta)), rel=1e-12)


def test_against_50_digits():
    with mp.workdps(50):
        for delta in (1e-9, 0.1, 2.0, 30.0):
            assert float(mp.tanh(mp.mpf(delta) / 2)) == pytest.approx(
                float(pia.attention_shift(delta)), rel=1e-15
            )
        for keys, weight in ((2, 0.1), (8192, 0.5), (10**9, 0.999)):
            p = mp.mpf(weight)
            exact = mp.log((keys - 1) * p / (1 - p))
            assert float(exact) == pytest.approx(
                float(pia.required_margin(keys, weight)), abs=1e-13
            )


def test_outputs_move_no_further(rng):
    values = rng.normal(size=(20, 6))
    distance = max(np.linalg.norm(a - b) for a in values for b in values)
    logits = rng.normal(size=(3000, 20))
    moved = logits + 0.7 * rng.choice([-1.0, 1.0], size=logits.shape)
    change = np.linalg.norm((softmax(moved) - softmax(logits)) @ values, axis=1)
    bound = pia.output_shift(0.7, distance)
    assert change.max() <= bound
    pair = np.array([0.0, 0.7])
    ends = np.array([[3.0, 0.0], [0.0, 4.0]])
    attained = (softmax(pair + np.array([0.7, -0.7])) - softmax(pair)) @ ends
    assert np.linalg.norm(attained) == pytest.approx(float(pia.output_shift(0.7, 5.0)), rel=1e-12)


def test_the_margin_is_what_the_weight_takes(rng):
    for keys, weight in ((2, 0.5), (64, 0.9), (2048, 0.3), (8192, 1e-3)):
        margin = float(pia.required_margin(keys, weight))
        logits = np.zeros(keys)
        logits[0] = margin
        assert softmax(logits)[0] == pytest.approx(weight, rel=1e-12)
        logits[1:] -= rng.uniform(0, 3, keys - 1)
        assert softmax(logits)[0] >= weight
    assert pia.required_margin(8192, 0.5) - pia.required_margin(2048, 0.5) == pytest.approx(
        math.log(4), abs=1e-3
    )


def test_shapes_and_tensors():
    assert pia.attention_shift(torch.ones(2, 3)).shape == (2, 3)
    assert pia.attention_shift(0.0) == 0.0
    assert pia.output_shift(np.ones(4), 2.0).shape == (4,)
    assert pia.required_margin([10, 20], [[0.1], [0.2]]).shape == (2, 2)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: pia.attention_shift(-0.1), ValueError, "delta must be at least 0"),
        (lambda: pia.attention_shift(math.nan), ValueError, "delta must be finite"),
        (lambda: pia.attention_shift("1"), TypeError, "delta must hold real numbers"),
        (lambda: pia.output_shift(1.0, -1.0), ValueError, "value_norm must be at least 0"),
        (lambda: pia.output_shift([1.0, 2.0], [1.0] * 3), ValueError, "delta and value_norm must"),
        (lambda: pia.required_margin(1, 0.5), ValueError, "keys must be whole numbers from 2"),
        (lambda: pia.required_margin(2.5, 0.5), ValueError, "keys must be whole numbers from 2"),
        (lambda: pia.required_margin(10, 1.0), ValueError, "weight must lie above 0 and below 1"),
        (lambda: pia.required_margin([2, 3], [0.1] * 3), ValueError, "keys and weight must"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()
