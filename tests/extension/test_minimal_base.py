"""Cosine sums and the minimal base: naive sums, mpmath, and a search by brute force."""

import math

import mpmath as mp
import numpy as np
import pytest

import pianalysis as pia
from pianalysis.extension import minimal_base

LLAMA = pia.preset("llama-7b")


def by_mpmath(base, dim, m):
    with mp.workdps(50):
        return mp.fsum(mp.cos(m * mp.mpf(base) ** (-mp.mpf(2 * j) / dim)) for j in range(dim // 2))


def test_sum_matches_fifty_digits(rng):
    m = np.concatenate([rng.integers(0, 2**22, 30), [0, 1]]).astype(float)
    got = pia.cosine_sum(LLAMA, m.reshape(4, 8))
    assert got.shape == (4, 8)
    for value, span in zip(got.ravel(), m, strict=True):
        assert abs(value - float(by_mpmath(10_000.0, 128, mp.mpf(span)))) < 1e-11
    # the error that the search takes off is an upper bound of what was seen, and no licence
    assert (minimal_base._error(m, 64) > 1e-13).all()
    assert (minimal_base._error(m, 64) < 1e-6).all()


def test_sum_of_an_extension_is_that_of_its_frequencies():
    scaled = pia.PositionInterpolation(LLAMA, 8192)
    m = np.arange(0.0, 4000.0, 4.0)
    np.testing.assert_allclose(pia.cosine_sum(scaled, m), pia.cosine_sum(LLAMA, m / 4), atol=1e-11)


@pytest.mark.parametrize(("base", "dim"), [(10_000.0, 128), (500.0, 64), (100_000.0, 64)])
def test_first_negative_span_by_naive_sum(base, dim):
    spec = pia.RopeSpec(dim, base, 2048)
    m = np.arange(20_000.0)
    naive = np.cos(np.multiply.outer(m, base ** (-np.arange(0, dim, 2) / dim))).sum(axis=1)
    assert pia.cosine_length(spec) == int(np.flatnonzero(naive < 0)[0])


def test_a_base_that_serves_all_spans_has_no_first():
    assert pia.cosine_length(pia.RopeSpec(128, 1e9, 2048), stop=4096) is None


@pytest.mark.parametrize(("length", "dim"), [(5, 4), (100, 16), (300, 32), (1024, 128)])
def test_minimal_base_serves_and_nothing_below_does(length, dim, rng):
    found = pia.minimal_base(length, dim)
    assert 0 < found.base - found.lower < 1e-8 * found.base
    m = range(length)
    assert min(by_mpmath(found.base, dim, k) for k in m) >= 0
    assert by_mpmath(found.base, dim, found.binding) == pytest.approx(found.smallest_sum, abs=1e-9)
    assert by_mpmath(found.lower, dim, found.binding) < 0
    # every smaller base fails: a log grid of 400 and the neighbourhood of the answer
    grid = np.exp(rng.uniform(0.0, math.log(found.lower), 400))
    near = found.lower * (1.0 - np.logspace(-8, -2, 40))
    spans = np.arange(length, dtype=float)
    for base in [*grid, *near, found.lower]:
        theta = base ** (-np.arange(0, dim, 2) / dim)
        assert np.cos(np.multiply.outer(spans, theta)).sum(axis=1).min() < 0, base


def test_the_march_starts_below_the_answer():
    """That of half the length is no larger, and nothing between the two serves: a naive scan."""
    for dim, length in ((16, 2048), (32, 2100)):
        found = pia.minimal_base(length, dim)
        half = pia.minimal_base(length // 2, dim)
        assert half.lower <= found.lower < found.base
        spans = np.arange(length, dtype=float)
        for base in np.geomspace(half.lower, found.lower, 60):
            theta = base ** (-np.arange(0, dim, 2) / dim)
            assert np.cos(np.multiply.outer(spans, theta)).sum(axis=1).min() < 0, base


def test_bases_that_serve_are_no_interval():
    found = pia.minimal_base(1024, 128)
    serves = [
        pia.cosine_length(pia.RopeSpec(128, found.base * factor, 1024), stop=1024) is None
        for factor in np.linspace(1.0, 1.5, 200)
    ]
    assert serves[0]
    assert not all(serves)
    assert serves[-1]


@pytest.mark.parametrize("length", [1000, 4000, 16_000, 64_000])
def test_trend_of_men_et_al(length):
    # Their Figure 1 fits 0.0424 x^1.628; we find the points within a factor 1.8 of that line.
    trend = 0.0424 * length**1.628
    assert trend / 1.8 < pia.minimal_base(length, 128).base < 1.8 * trend


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pia.minimal_base(3, 128), ValueError, "length must be an integer from 4"),
        (lambda: pia.minimal_base(100, 7), ValueError, "rotary_dim must be even, got 7"),
        (lambda: pia.minimal_base(100, 2), ValueError, "rotary_dim must be an integer from 4"),
        (lambda: pia.minimal_base(1024.5, 128), ValueError, "length must be an integer"),
        (lambda: pia.cosine_length(LLAMA, stop=0), ValueError, "stop must be an integer from 1"),
        (lambda: pia.cosine_sum("llama", 1.0), TypeError, "model must be a RopeSpec"),
        (lambda: pia.cosine_sum(LLAMA, math.nan), ValueError, "s must be finite"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("length", [300, 1024])
def test_the_enclosure_has_the_width_that_is_stated(length):
    smallest = pia.minimal_base(length, 128)
    assert 1e-9 < smallest.base / smallest.lower - 1 < 2.1e-9
