"""The compiled loops against the sums that their docstrings state, in plain numpy."""

import numpy as np
import pytest

from pianalysis.scores import kernels


def turns(rng, *shape):
    return np.exp(1j * rng.uniform(-np.pi, np.pi, shape))


def parts(array):
    return np.ascontiguousarray(array.real), np.ascontiguousarray(array.imag)


@pytest.mark.parametrize("pairs", [1, 2, 5, 8])
def test_abel_sums_of_every_product_of_turns(rng, pairs):
    coarse, middle, fine = turns(rng, 3, pairs), turns(rng, 2, pairs), turns(rng, pairs, 7)
    out = np.empty((3, 2, 7))
    kernels.abel_sums(out, *parts(coarse), *parts(middle), *parts(fine))
    whole = coarse[:, None, :, None] * middle[None, :, :, None] * fine
    assert np.allclose(out, np.abs(whole.cumsum(axis=2)).sum(axis=2), rtol=1e-14, atol=0)


def test_products_of_rows_in_fours(rng):
    rows, basis = rng.normal(size=(12, 8)), rng.normal(size=(8, 5))
    out = np.full((12, 5), np.nan)
    kernels.products(out, rows, basis)
    assert np.allclose(out, rows @ basis, rtol=0, atol=1e-14)


def test_score_extremes_over_blocks_of_a_group(rng):
    h = rng.normal(size=(8, 4)) + 1j * rng.normal(size=(8, 4))
    theta = np.array([1.0, 0.31, 0.07, 0.011])
    centres, group = np.array([3.5, 11.5, 40.5, 97.5, 200.5]), np.array([0, 0, 2, 1, 2])
    offsets = np.arange(0.5, 4)
    high, low = np.full((8, 3), -np.inf), np.full((8, 3), np.inf)
    high[0, 1], low[0, 1] = 1e3, -1e3  # what was found before is kept
    kernels.score_extremes(
        high, low, *parts(h), *parts(np.exp(1j * np.outer(centres, theta))), group,
        *parts(np.exp(1j * np.outer(theta, offsets))),
    )  # fmt: skip
    for g in range(3):
        spans = np.concatenate([c + r for c in centres[group == g] for r in (offsets, -offsets)])
        scores = (h @ np.exp(1j * np.outer(theta, spans))).real
        expected = scores.max(axis=1), scores.min(axis=1)
        if g == 1:
            expected[0][0], expected[1][0] = 1e3, -1e3
        assert np.allclose(high[:, g], expected[0], rtol=1e-13, atol=0)
        assert np.allclose(low[:, g], expected[1], rtol=1e-13, atol=0)


@pytest.mark.parametrize("softcap", [0.0, 1.5])
@pytest.mark.parametrize("first", [0, 4, 16])
def test_causal_log_sums_reach_each_querys_own_position(rng, softcap, first):
    queries, keys = rng.normal(size=(8, 12)), rng.normal(size=(30, 12))
    width = 5
    blocks = np.ascontiguousarray(keys.reshape(6, width, 12).transpose(0, 2, 1))
    out = np.empty(8)
    kernels.causal_log_sums(out, queries, first, blocks, softcap)
    logits = queries @ keys.T
    if softcap:
        logits = softcap * np.tanh(logits / softcap)
    for t in range(8):
        seen = logits[t, : first + t + 1]
        assert out[t] == pytest.approx(np.log(np.exp(seen).sum()), rel=1e-13)


def test_causal_log_sums_of_large_logits_do_not_overflow(rng):
    queries, keys = 1e3 * rng.normal(size=(4, 4)), rng.normal(size=(1, 4, 8))
    out = np.empty(4)
    kernels.causal_log_sums(out, queries, 4, keys, 0.0)
    for t in range(4):
        seen = queries[t] @ keys[0][:, : 5 + t]
        peak = seen.max()
        assert out[t] == pytest.approx(peak + np.log(np.exp(seen - peak).sum()), rel=1e-14)


def test_the_largest_reach_the_first_key_that_has_it_and_how_many_exceed(rng):
    queries, keys = rng.uniform(0.1, 2.0, (5, 6)), rng.uniform(0.1, 2.0, (6, 9))
    keys[:, 3], keys[:, 2] = 0.0, keys[:, 1]
    queries[4] = 0.0
    bend, first = rng.uniform(0.1, 1.0, 6), 3
    x = queries[:, :, None] * keys
    with np.errstate(invalid="ignore"):
        values = np.nan_to_num((bend[None, :, None] * x).sum(axis=1) / x.max(axis=1))
    limit = float(np.median(values))
    reach, at, above = np.zeros(5), np.full(5, -1), np.zeros(5, np.int64)
    kernels.largest_reaches(reach, at, above, queries, first, keys, bend, limit)
    for t in range(4):
        seen = values[t, : first + t + 1]
        assert reach[t] == pytest.approx(seen.max(), rel=1e-14)
        assert seen[at[t]] == pytest.approx(seen.max(), rel=1e-14)
        assert at[t] != 2
        assert above[t] == (seen > limit).sum()
    assert (reach[4], at[4], above[4]) == (0.0, -1, 0)
