"""RopeSpec and presets against the definition, and against published facts."""

import math

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pianalysis as pia


@pytest.mark.parametrize(("dim", "base"), [(2, 2.0), (64, 1e5), (96, 1e4), (128, 1e4), (256, 1e6)])
def test_frequencies_match_the_definition_at_fifty_digits(dim, base):
    spec = pia.RopeSpec(dim, base, 2048)
    for head, tail, exact in zip(
        spec.frequencies, spec.frequencies_tail, oracles.theta(base, dim), strict=True
    ):
        assert abs(head - exact) <= abs(exact) * 2**-53
        with oracles.mp.workdps(50):
            assert abs(oracles.mp.mpf(head) + oracles.mp.mpf(tail) - exact) <= abs(exact) * 2**-105


def test_frequencies_are_read_only_and_decreasing(llama):
    assert llama.frequencies[0] == 1.0
    assert (np.diff(llama.frequencies) < 0).all()
    with pytest.raises(ValueError, match="read-only"):
        llama.frequencies[0] = 2.0


def test_wavelengths(llama):
    assert math.isclose(llama.wavelengths[0], 2 * math.pi)
    assert (llama.wavelengths > llama.context_window).sum() == 23


def test_partial_rotation():
    spec = pia.preset("gpt-neox-20b")
    assert (spec.head_dim, spec.rotary_dim, spec.pairs) == (96, 24, 12)
    assert spec.frequencies[1] == pytest.approx(10_000 ** (-2 / 24), rel=1e-15)


@pytest.mark.parametrize(
    ("name", "head_dim", "base", "window"),
    [
        ("llama-7b", 128, 1e4, 2048),
        ("llama-65b", 128, 1e4, 2048),
        ("llama-2-7b", 128, 1e4, 4096),
        ("llama-3.1-8b", 128, 5e5, 8192),
        ("mistral-7b", 128, 1e4, 8192),
        ("qwen2.5-7b", 128, 1e6, 32768),
        ("phi-3-mini-128k", 96, 1e4, 4096),
        ("smollm2-135m", 64, 1e5, 8192),
    ],
)
def test_presets(name, head_dim, base, window):
    spec = pia.preset(name)
    assert (spec.head_dim, spec.base, spec.context_window) == (head_dim, base, window)


def test_every_preset_names_its_source():
    assert len(pia.PRESETS) >= 8
    assert all(preset.source and preset.name == name for name, preset in pia.PRESETS.items())


def test_unknown_preset_names_the_nearest():
    with pytest.raises(
        ValueError, match=r"preset must be one of .*got 'lama-7b'; did you mean 'll"
    ):
        pia.preset("lama-7b")


@pytest.mark.parametrize("bad", [7, 0, -2, 3.5, math.nan, math.inf, 10**9, 8194])
def test_bad_head_dim(bad):
    with pytest.raises(ValueError, match=r"head_dim must be a positive even integer.*got"):
        pia.RopeSpec(bad, 1e4, 2048)


@pytest.mark.parametrize("bad", ["64", None, True, [64]])
def test_head_dim_of_the_wrong_type(bad):
    with pytest.raises(TypeError, match="head_dim must be a positive even integer"):
        pia.RopeSpec(bad, 1e4, 2048)


@pytest.mark.parametrize("bad", [1.0, 0.5, 0, -10.0, math.nan, math.inf, -math.inf])
def test_bad_base(bad):
    with pytest.raises(ValueError, match="base must be a finite number above 1, got"):
        pia.RopeSpec(128, bad, 2048)


@pytest.mark.parametrize("bad", ["1e4", None, True, 1j])
def test_base_of_the_wrong_type(bad):
    with pytest.raises(TypeError, match="base must be a finite number above 1, got"):
        pia.RopeSpec(128, bad, 2048)


@pytest.mark.parametrize("bad", [0, -2048, 0.5, math.nan])
def test_bad_window(bad):
    with pytest.raises(ValueError, match="context_window must be an integer"):
        pia.RopeSpec(128, 1e4, bad)


@pytest.mark.parametrize("bad", [0.0, -0.5, 1.5, math.nan])
def test_bad_fraction(bad):
    with pytest.raises(ValueError, match="rotary_fraction must be a finite number above 0"):
        pia.RopeSpec(128, 1e4, 2048, bad)


def test_fraction_that_leaves_an_odd_dimension():
    with pytest.raises(ValueError, match="rotary_fraction must leave a positive even rotary dim"):
        pia.RopeSpec(128, 1e4, 2048, 0.0235)


def test_specs_are_frozen_and_comparable(llama):
    assert llama == pia.RopeSpec(128.0, 10_000, 2048.0)
    assert hash(llama) == hash(pia.preset("llama-13b"))
    with pytest.raises(AttributeError):
        llama.base = 5.0


@given(st.integers(1, 256), st.floats(1.001, 1e8))
def test_frequencies_are_geometric(pairs, base):
    theta = pia.RopeSpec(2 * pairs, base, 16).frequencies
    assert theta[0] == 1.0
    assert np.allclose(theta, base ** (-np.arange(pairs) / pairs), rtol=1e-14)
