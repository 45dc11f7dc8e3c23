"""Unscaled, PositionInterpolation (Eq. 4) and NTKAware."""

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pianalysis as pia


@given(st.integers(2048, 10**6), st.integers(0, 10**6))
def test_interpolation_is_scaling_positions(target, position):
    spec = pia.RopeSpec(32, 10_000.0, 2048)
    h = np.exp(1j * np.arange(16))
    scaled = pia.attention_score(spec, h, position * 2048 / target)
    direct = pia.attention_score(pia.PositionInterpolation(spec, target), h, position)
    assert direct == pytest.approx(scaled, abs=1e-15 * (position + 16) * 16)


def test_interpolation_against_torch_rotation_at_scaled_positions(rng):
    spec = pia.RopeSpec(64, 1e5, 8192)
    extension = pia.PositionInterpolation(spec, 20000)
    q, k = rng.standard_normal((2, 64))
    m, n = 19999, 777
    scale = 8192 / 20000
    expected = oracles.rotated_score(q, k, m * scale, n * scale, spec.frequencies, "interleaved")
    h = pia.score_coefficients(q, k)
    assert pia.attention_score(extension, h, m - n) == pytest.approx(expected, abs=1e-10)


def test_identity_at_the_same_window(llama):
    same = pia.PositionInterpolation(llama, 2048)
    assert same.factor == 1.0
    assert (same.frequencies == llama.frequencies).all()


def test_scaled_positions_stay_in_the_window(llama):
    extension = pia.PositionInterpolation(llama, 4096)
    assert extension.frequencies[0] * 4095 < llama.context_window


def test_unscaled_changes_nothing(llama):
    extension = pia.Unscaled(llama, 8192)
    assert (extension.frequencies == llama.frequencies).all()
    assert extension.attention_factor == 1.0
    assert extension.factor == 4.0


def test_frequencies_carry_two_floats(llama):
    extension = pia.PositionInterpolation(llama, 3 * 2048)
    for head, tail, exact in zip(
        extension.frequencies, extension.frequencies_tail, oracles.theta(1e4, 128), strict=True
    ):
        with oracles.mp.workdps(50):
            value = oracles.mp.mpf(head) + oracles.mp.mpf(tail)
            assert abs(3 * value - exact) <= abs(exact) * 2**-103


@pytest.mark.parametrize("scheme", [pia.Unscaled, pia.PositionInterpolation, pia.NTKAware])
@pytest.mark.parametrize("bad", [2047, 0, -1, float("nan"), 4096.5])
def test_bad_targets(llama, scheme, bad):
    with pytest.raises(ValueError, match="target must be"):
        scheme(llama, bad)


def test_bad_spec():
    with pytest.raises(TypeError, match="spec must be a RopeSpec"):
        pia.PositionInterpolation("llama-7b", 8192)


def test_ntk_aware_slows_the_last_pair_like_interpolation(llama):
    extension = pia.NTKAware(llama, 8192)
    linear = pia.PositionInterpolation(llama, 8192)
    assert extension.frequencies[0] == 1.0
    assert extension.frequencies[-1] == pytest.approx(linear.frequencies[-1], rel=1e-14)
    assert (extension.frequencies[1:-1] > linear.frequencies[1:-1]).all()
    assert extension.attention_factor == 1.0


def test_ntk_aware_frequencies_from_the_definition(llama):
    extension = pia.NTKAware(llama, 3 * 2048)
    assert extension.base == pytest.approx(10_000.0 * 3.0 ** (128 / 126), rel=1e-15)
    for head, tail, exact in zip(
        extension.frequencies,
        extension.frequencies_tail,
        oracles.theta(extension.base, 128),
        strict=True,
    ):
        with oracles.mp.workdps(50):
            value = oracles.mp.mpf(head) + oracles.mp.mpf(tail)
            assert abs(value - exact) <= abs(exact) * 2**-103


def test_ntk_aware_is_the_identity_at_the_same_window(llama):
    assert (pia.NTKAware(llama, 2048).frequencies == llama.frequencies).all()


def test_ntk_aware_needs_more_than_one_pair():
    with pytest.raises(ValueError, match="spec must have a rotary dimension above 2"):
        pia.NTKAware(pia.RopeSpec(2, 10_000.0, 2048), 4096)
