"""Rotations of a whole grid in balls, block by block: against the naive sums, for every window."""

import flint
import numpy as np
import pytest

import pianalysis as pia
from pianalysis.bounds.worst_case import certificate

WINDOWS = (1, 2, 7, 31, 32, 33, 64, 101, 200)


def made(window, rng):
    spec = pia.RopeSpec(8, 300.0, window)
    h = rng.normal(size=4) + 1j * rng.normal(size=4)
    waves = np.exp(1j * np.outer(np.arange(window), 300.0 ** (-np.arange(4) / 4)))
    return spec, h, waves


def balls(h):
    return [(flint.arb(z.real), flint.arb(z.imag)) for z in h.tolist()]


@pytest.mark.parametrize("window", WINDOWS)
def test_scores_and_residuals_are_the_naive_sums(window, rng):
    spec, h, waves = made(window, rng)
    scores = [float(a.mid()) for a in certificate.grid_scores(spec, balls(h), 128)]
    np.testing.assert_allclose(scores, (waves @ h).real, atol=1e-13)
    weights = rng.normal(size=window)
    terms = [flint.acb(z.real, z.imag) for z in h.tolist()]
    rests = certificate.residuals(spec, terms, weights, 128)
    found = [complex(float(r.real.mid()), float(r.imag.mid())) for r in rests]
    np.testing.assert_allclose(found, h - weights @ waves, atol=1e-12)
    bound = certificate.dual_bound(spec, terms, weights, 2.0, 128, (-3.0, 0.5))
    naive = np.where(weights > 0, 0.5 * weights, -3.0 * weights).sum()
    naive += 2.0 * np.abs(h - weights @ waves).sum()
    assert float(bound.mid()) == pytest.approx(naive, rel=1e-12)


@pytest.mark.parametrize("window", WINDOWS)
def test_every_point_of_the_grid_is_checked_and_none_beyond(window, rng):
    """One score just at the limit, wherever it lies; those beyond the window may be larger."""
    spec, h, waves = made(window, rng)
    largest = np.abs((waves @ h).real).max()
    limit = 1e6
    assert certificate.within(spec, balls(h * (1 - 1e-13) / largest), limit, 128)
    assert not certificate.within(spec, balls(h * (1 + 1e-13) / largest), limit, 128)
    # A score that is large at one given point alone: the dual basis on as many points as numbers.
    if window >= 8:
        for place in (0, window // 2, window - 1):
            spread = np.concatenate([waves.real, -waves.imag], axis=1)
            single = np.linalg.lstsq(spread, np.eye(window)[place], rcond=None)[0]
            peak = single[:4] + 1j * single[4:]
            seen = (waves @ peak).real
            scaled = peak * 1.001 / np.abs(seen).max()
            assert not certificate.within(spec, balls(scaled), 1e6, 128)
            assert certificate.within(spec, balls(scaled / 1.002), 1e6, 128)
