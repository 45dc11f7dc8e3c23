"""Averages over phases and mixed bases: against 50-digit sums, quadrature and simulation."""

import mpmath as mp
import numpy as np
import oracles
import pytest
import torch

import pianalysis as pia

SPEC = pia.RopeSpec(32, 700.0, 128)


def test_deviation_term_by_term(rng):
    h = rng.normal(size=16) + 1j * rng.normal(size=16)
    theta = oracles.theta(700.0, 32)
    with mp.workdps(50):
        for left, s, right in ((3, 3.25, 4), (10, 12.5, 18), (0, 0, 1)):
            share = (mp.mpf(s) - left) / (mp.mpf(right) - left)
            total = mp.mpf(0)
            for t, c in zip(theta, h, strict=True):
                chord = (1 - share) * mp.expj(t * left) + share * mp.expj(t * right)
                total += abs(mp.mpc(complex(c))) ** 2 * abs(mp.expj(t * mp.mpf(s)) - chord) ** 2 / 2
            found = pia.expected_deviation(SPEC, s, h, left=left, right=right)
            assert float(mp.sqrt(total)) == pytest.approx(float(found), rel=1e-12, abs=1e-15)


def test_both_against_simulated_phases(rng):
    size = rng.uniform(0.1, 2.0, 16)
    h = size * np.exp(2j * np.pi * rng.uniform(size=(40_000, 16)))
    a = pia.attention_score(SPEC, h, [7.0, 7.4, 8.0])
    deviation = np.sqrt(np.mean((a[:, 1] - 0.6 * a[:, 0] - 0.4 * a[:, 2]) ** 2))
    assert deviation == pytest.approx(float(pia.expected_deviation(SPEC, 7.4, size)), rel=0.02)
    yarn = pia.YaRN(SPEC, 512)
    scores = pia.attention_score(yarn, h, [50.0, 400.0])
    expected = pia.expected_square(yarn, [50.0, 400.0], size)
    assert np.mean(scores**2, axis=0) == pytest.approx(expected, rel=0.03)
    assert expected == pytest.approx(0.5 * yarn.attention_factor**4 * (size**2).sum())


def test_between_the_magnitude_form_and_its_share(rng):
    h = rng.normal(size=(5, 16)) + 1j * rng.normal(size=(5, 16))
    s = np.linspace(0.01, 20.7, 50)
    magnitude = pia.interpolation_bound(SPEC, s, h, form="magnitude")
    average = pia.expected_deviation(SPEC, s, h)
    assert average.shape == magnitude.shape == (5, 50)
    assert (average <= magnitude * (1 + 1e-12)).all()
    assert (magnitude <= np.sqrt(32) * average * (1 + 1e-12)).all()


def test_a_number_stands_for_every_pair():
    flat = pia.expected_deviation(SPEC, [0.5, 1.5], 2.0)
    assert flat == pytest.approx(pia.expected_deviation(SPEC, [0.5, 1.5], np.full(16, 2.0)))
    assert pia.expected_square(SPEC, [[1.0, 2.0]], 2.0) == pytest.approx(np.full((1, 2), 32.0))
    tensor = torch.full((3, 16), 2.0, dtype=torch.complex128)
    assert pia.expected_square(SPEC, 0.0, tensor).shape == (3,)
    assert pia.expected_deviation(SPEC, torch.tensor([0.5]), tensor).shape == (3, 1)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: pia.expected_deviation("x", 0.5, 1.0), TypeError, "spec must be a RopeSpec"),
        (lambda: pia.expected_deviation(SPEC, 0.5, -1.0), ValueError, "h must be a finite number"),
        (lambda: pia.expected_deviation(SPEC, 0.5, [1.0]), ValueError, "h must have its last axis"),
        (lambda: pia.expected_deviation(SPEC, 5.0, 1.0, left=6.0), ValueError, "s must lie in its"),
        (lambda: pia.expected_square("x", 0.5, 1.0), TypeError, "extension must be a RopeSpec"),
        (lambda: pia.expected_square(SPEC, np.inf, 1.0), ValueError, "s must be finite"),
        (lambda: pia.mixed_base_bound(1, SPEC, 0.5), TypeError, "written must be a RopeSpec"),
        (lambda: pia.mixed_base_bound(SPEC, 1, 0.5), TypeError, "read must be a RopeSpec"),
        (
            lambda: pia.mixed_base_bound(SPEC, pia.RopeSpec(16, 700.0, 128), 0.5),
            ValueError,
            "read must have the 16 frequencies",
        ),
        (lambda: pia.mixed_base_bound(SPEC, SPEC, np.nan), ValueError, "position must be finite"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_mixed_bases_against_rotated_vectors(rng):
    """Keys rotated under one base, queries under another: the dot products themselves."""
    written, read = SPEC, pia.DynamicNTK(SPEC, 512)
    q, k = rng.normal(size=(2, 200, 32))
    h = pia.score_coefficients(q, k, layout="interleaved")
    positions = np.array([0.0, 1.0, 17.0, 127.0, 300.0])
    bound = pia.mixed_base_bound(written, read, positions, h)
    assert bound.shape == (200, 5)
    for column, n in enumerate(positions):
        for row in range(200):
            m = 321.0
            turned_q = turn(q[row], read, m)
            change = turned_q @ turn(k[row], written, n) - turned_q @ turn(k[row], read, n)
            assert abs(change) <= bound[row, column] + 1e-9


def turn(vector, model, position):
    pair = (vector[0::2] + 1j * vector[1::2]) * np.exp(1j * position * model.frequencies)
    return np.stack([pair.real, pair.imag], axis=1).ravel()


def test_mixed_bases_are_attained_and_term_by_term():
    changed = pia.NTKAware(SPEC, 512)
    old, new = oracles.theta(700.0, 32), oracles.theta(changed.base, 32)
    for n in (1.0, 90.0, 1000.0):
        bound = float(pia.mixed_base_bound(SPEC, changed, n))
        with mp.workdps(50):
            total = sum(
                2 * abs(mp.sin(mp.mpf(n) * (a - b) / 2)) for a, b in zip(old, new, strict=True)
            )
        assert float(total) == pytest.approx(bound, rel=1e-12)
        gap = np.exp(-1j * n * SPEC.frequencies) - np.exp(-1j * n * changed.frequencies)
        h = np.exp(-1j * np.angle(gap))
        assert (h * gap).real.sum() == pytest.approx(bound, rel=1e-9)
    assert pia.mixed_base_bound(SPEC, SPEC, 5000.0) == 0.0


def test_mixed_attention_factors():
    yarn = pia.YaRN(SPEC, 512)
    f = yarn.attention_factor
    expected = np.abs(f * (f - np.exp(1j * 9.0 * (yarn.frequencies - SPEC.frequencies)))).sum()
    assert pia.mixed_base_bound(SPEC, yarn, 9.0) == pytest.approx(expected, rel=1e-12)
