"""Eq. 8: A_k and B(s) against naive sums, the three forms, and where B >= d ends."""

import numpy as np
import oracles
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import pianalysis as pia
from pianalysis.rope import phases


@pytest.mark.parametrize(("dim", "base"), [(2, 9.0), (6, 1e4), (64, 1e4), (128, 1e4), (256, 5e5)])
def test_abel_sum_at_fifty_digits(dim, base, rng):
    spec = pia.RopeSpec(dim, base, 2048)
    theta = oracles.theta(base, dim)
    spans = np.concatenate([[0.0, 0.5, 1.0, 1e6, 999_999.5], rng.uniform(0, 1e6, 8)])
    for s, ours in zip(spans, pia.abel_sum(spec, spans), strict=True):
        assert abs(ours / oracles.abel(theta, s) - 1) < 1e-12


@pytest.mark.parametrize(("dim", "base"), [(2, 9.0), (6, 1e4), (128, 1e4), (96, 1e4)])
@pytest.mark.parametrize(
    ("start", "step", "count"), [(0.0, 1.0, 3000), (997_000.0, 1.0, 2999), (7.5, 0.25, 257)]
)
def test_the_fast_way_keeps_the_accuracy(dim, base, start, step, count):
    spec = pia.RopeSpec(dim, base, 2048)
    spans = start + step * np.arange(count)
    assert phases.uniform_grid(spans) == (start, step)
    ours = pia.abel_sum(spec, spans)
    theta = oracles.theta(base, dim)
    for k in (0, 1, 127, 128, count // 2, count - 1):
        assert abs(ours[k] / oracles.abel(theta, spans[k]) - 1) < 1e-12


def test_spans_that_are_not_exactly_uniform_take_the_direct_way():
    assert phases.uniform_grid(np.linspace(0.0, 1.0, 1001) * 1e5) is None
    assert phases.uniform_grid(np.arange(1000) * 0.1) is None
    assert phases.uniform_grid(np.zeros(1000)) is None
    assert phases.uniform_grid(np.arange(1000) * 2.0**50) is None
    broken = np.arange(70_000.0)
    broken[69_999] += 0.5
    assert phases.uniform_grid(broken) is None


def test_extensions_have_their_own_sum(llama):
    extension = pia.PositionInterpolation(llama, 4096)
    assert pia.abel_sum(extension, 1000.0) == pytest.approx(pia.abel_sum(llama, 500.0), rel=1e-13)


def test_partial_sums(llama):
    sums = pia.partial_sums(llama, [0.0, 1.0])
    assert sums.shape == (2, 64)
    assert np.allclose(sums[0], np.arange(1, 65))
    naive = np.cumsum(np.exp(1j * llama.frequencies))
    assert np.allclose(sums[1], naive, atol=1e-13)


def test_abel_summation_is_an_identity():
    h = sympy.symbols("h0:5")
    e = sympy.symbols("e0:5")
    closed = sum(sum(e[: k + 1]) * (h[k] - (h[k + 1] if k + 1 < 5 else 0)) for k in range(5))
    assert sympy.expand(closed - sum(x * y for x, y in zip(h, e, strict=True))) == 0


@pytest.mark.parametrize("shift", [0.0, 1.0, 2 - 1j])
def test_difference_form_with_its_convention(rng, shift):
    # Reversing the sign in h_j - h_{j+1}, or dropping h_{d/2} = 0, breaks one of these.
    spec = pia.RopeSpec(32, 1e4, 64)
    h = rng.standard_normal((4, 16)) + 1j * rng.standard_normal((4, 16)) + 5 * shift
    s = rng.uniform(0, 5000, 6)
    ours = pia.extrapolation_bound(spec, s, h, form="difference")
    theta = oracles.theta(1e4, 32)
    for row, values in zip(h, ours, strict=True):
        padded = [*row, 0.0]
        largest = max(abs(padded[j] - padded[j + 1]) for j in range(16))
        for span, value in zip(s, values, strict=True):
            assert value == pytest.approx(largest * float(oracles.abel(theta, span)), rel=1e-12)


@settings(deadline=None)
@given(st.integers(1, 64), st.floats(1.01, 1e7), st.floats(0, 1e6), st.integers(0, 2**31))
def test_every_form_bounds_the_score_and_abel_never_wins(pairs, base, s, seed):
    spec = pia.RopeSpec(2 * pairs, base, 64)
    rng = np.random.default_rng(seed)
    h = rng.standard_normal(pairs) + 1j * rng.standard_normal(pairs)
    score = abs(float(pia.attention_score(spec, h, s)))
    bound = {
        f: float(pia.extrapolation_bound(spec, s, h, form=f))
        for f in ("abel", "difference", "triangle")
    }
    assert score <= min(bound.values()) * (1 + 1e-12) + 1e-12
    assert bound["difference"] <= bound["abel"] * (1 + 1e-12)
    assert bound["triangle"] <= bound["abel"] * (1 + 1e-12)
    assert 2 * pia.abel_sum(spec, s) >= pairs * (1 - 1e-12)


def test_triangle_is_attained(llama):
    s = 3000.0
    h = np.exp(-1j * s * llama.frequencies)
    assert pia.attention_score(llama, h, s) == pytest.approx(64.0, rel=1e-12)
    assert pia.extrapolation_bound(llama, s, form="triangle") == 64.0


def test_difference_can_win_for_smooth_coefficients(llama):
    h = np.linspace(1.0, 0.0, 64, endpoint=False)
    s = np.arange(1000.0, 4096.0)
    difference = pia.extrapolation_bound(llama, s, h, form="difference")
    assert (difference < 0.5 * pia.extrapolation_bound(llama, s, h, form="triangle")).all()


def test_extrapolation_is_not_inside_the_interpolation_bound(llama):
    h = np.exp(-3000j * llama.frequencies)
    inside = pia.interpolation_bound(llama, 3000.5, h)
    assert pia.attention_score(llama, h, 3000.0) > 100 * inside


def test_audited_minima(llama):
    values = pia.abel_sum(llama, np.arange(4096.0)) / 128
    assert values[0] == 16.25
    assert values.argmin() == 3643
    assert values.min() == pytest.approx(1.1159, abs=5e-5)
    fine = 3640 + np.arange(0, 6, 1 / 256)
    dense = pia.abel_sum(llama, fine) / 128
    assert dense.min() == pytest.approx(1.1148, abs=5e-5)
    assert fine[dense.argmin()] == pytest.approx(3642.89, abs=0.01)


@pytest.mark.parametrize(
    ("dim", "base", "integer", "real"),
    [(128, 1e4, 4861, 4505.68), (64, 1e4, 1181, None), (24, 1e4, 75, None), (64, 1e5, None, None)],
)
def test_first_span_below_against_brute_force(dim, base, integer, real):
    spec = pia.RopeSpec(dim, base, 2048)
    found = pia.first_span_below(spec, stop=20_000)
    if integer is not None:
        assert found.integer == integer
    if real is not None:
        assert found.real.lower == pytest.approx(real, abs=0.005)
    grid = pia.abel_sum(spec, np.arange(found.integer + 1.0)) / dim
    assert (grid[:-1] >= 1).all()
    assert grid[-1] < 1
    fine = np.arange(0, found.integer, 1 / 128)
    below = fine[pia.abel_sum(spec, fine) < dim]
    assert found.real.lower <= (below[0] if below.size else found.integer)
    theta = oracles.theta(base, dim)
    assert oracles.abel(theta, found.real.upper) < dim
    assert oracles.abel(theta, found.real.lower) >= dim
    assert found.real.width < 1e-8
    assert found.ratio.contains(oracles.abel(theta, found.integer) / dim)


def test_first_span_below_when_there_is_none(llama):
    found = pia.first_span_below(llama, stop=4096)
    assert (found.integer, found.ratio, found.real) == (None, None, None)
    assert pia.first_span_below(pia.RopeSpec(2, 10.0, 4)).integer == 0


def test_refusals(llama):
    with pytest.raises(ValueError, match="h must hold the coefficients for form 'difference'"):
        pia.extrapolation_bound(llama, 0.0, 1.0, form="difference")
    with pytest.raises(ValueError, match="form must be one of"):
        pia.extrapolation_bound(llama, 0.0, form="able")
    with pytest.raises(ValueError, match="s must be finite"):
        pia.abel_sum(llama, np.inf)
    with pytest.raises(ValueError, match="stop must be an integer"):
        pia.first_span_below(llama, stop=0)
    with pytest.raises(ValueError, match="level must be a finite number above 0"):
        pia.first_span_below(llama, -1.0)
