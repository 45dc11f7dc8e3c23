"""Theorem 2.1: the counterexample, what replaces it, order, tightness, refusals."""

import math

import numpy as np
import oracles
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import pianalysis as pia
from pianalysis.bounds.certified import constants

FORMS = ("paper", "corrected", "sharp", "weighted")


def counterexample(dim, base):
    return np.exp(-0.5j * pia.RopeSpec(dim, base, 2048).frequencies)


@pytest.mark.parametrize(
    ("dim", "attained", "claimed"), [(128, 0.493876, 0.434294), (64, 0.281828, 0.217147)]
)
def test_the_printed_theorem_is_violated_at_fifty_digits(dim, attained, claimed):
    gap = oracles.chord_gap(oracles.theta(1e4, dim), counterexample(dim, 1e4), 0, 0.5, 1)
    spec = pia.RopeSpec(dim, 1e4, 2048)
    paper = float(pia.interpolation_bound(spec, 0.5, form="paper"))
    assert float(gap) == pytest.approx(attained, abs=5e-7)
    assert paper == pytest.approx(claimed, abs=5e-7)
    assert paper == pytest.approx(dim / (32 * math.log(1e4)), rel=1e-14)
    assert gap > paper


@pytest.mark.parametrize(("dim", "base"), [(2, 3.0), (64, 1e4), (128, 1e4), (96, 5e5), (256, 1e6)])
def test_sharp_form_is_the_attained_supremum(dim, base):
    spec = pia.RopeSpec(dim, base, 2048)
    theta = oracles.theta(base, dim)
    for left, s, right in ((0.0, 0.25, 1.0), (7.0, 7.5, 8.0), (2.0, 4.5, 9.0)):
        with oracles.mp.workdps(50):
            share = (oracles.mp.mpf(s) - left) / (right - left)
            terms = [
                oracles.mp.expj(s * t)
                - (1 - share) * oracles.mp.expj(left * t)
                - share * oracles.mp.expj(right * t)
                for t in theta
            ]
            supremum = sum(abs(x) for x in terms)
            worst = [complex(oracles.mp.conj(x) / abs(x)) for x in terms]
        ours = pia.interpolation_bound(spec, s, form="sharp", left=left, right=right)
        assert float(ours) == pytest.approx(float(supremum), rel=1e-12)
        gap = oracles.chord_gap(theta, worst, left, s, right)
        assert float(gap) == pytest.approx(float(supremum), rel=1e-9)


def test_corrected_constant_is_the_geometric_sum():
    c, d = sympy.symbols("c d", positive=True)
    for half in (1, 2, 5):
        explicit = sum(c ** (sympy.Rational(-4 * j, 2 * half)) for j in range(half))
        closed = (1 - c**-2) / (1 - c ** (-4 / d))
        assert sympy.simplify((explicit - closed).subs({d: 2 * half, c: 7})) == 0
    for dim, base in ((128, 1e4), (64, 1e5), (2, 1.5)):
        spec = pia.RopeSpec(dim, base, 2048)
        exact = sum(t**2 for t in oracles.theta(base, dim))
        assert pia.theta_square_sum(spec) == pytest.approx(float(exact), rel=1e-14)


def test_audited_numbers(llama):
    assert pia.theta_square_sum(llama) == pytest.approx(3.998308, abs=5e-7)
    assert float(pia.interpolation_bound(llama, 0.5)) == pytest.approx(0.499789, abs=1e-6)
    assert pia.grid_constant(llama) == pytest.approx(1 / math.cos(0.5), rel=1e-15)


# Factor 2 in Eq. 5, written out by hand for each form.
def test_forms_against_their_formulas(rng):
    spec = pia.RopeSpec(48, 2500.0, 512)
    h = rng.standard_normal((3, 24)) + 1j * rng.standard_normal((3, 24))
    s = np.array([3.25, 10.5])
    u = np.array([0.25, 0.5])
    for row, magnitude in enumerate(np.abs(h)):
        theta2 = np.array([float(t) ** 2 for t in oracles.theta(2500.0, 48)])
        largest = magnitude.max()
        expected = {
            "paper": 48 * largest * u * (1 - u) / (8 * math.log(2500.0)),
            "corrected": largest * u * (1 - u) / 2 * theta2.sum(),
            "weighted": u * (1 - u) / 2 * (magnitude * theta2).sum(),
        }
        for form, value in expected.items():
            ours = pia.interpolation_bound(spec, s, h, form=form)
            assert ours.shape == (3, 2)
            assert ours[row] == pytest.approx(value, rel=1e-13)


def test_scalar_weighted_is_corrected(llama):
    s = np.linspace(0.1, 5.9, 7)
    assert np.allclose(
        pia.interpolation_bound(llama, s, 2.5, form="weighted"),
        pia.interpolation_bound(llama, s, 2.5, form="corrected"),
        rtol=1e-14,
    )


@settings(deadline=None)
@given(
    st.integers(1, 64),
    st.floats(1.01, 1e7),
    st.floats(0, 3000),
    st.floats(0.05, 8),
    st.floats(0, 1),
    st.integers(0, 2**31),
)
def test_order_of_the_bounds_always(pairs, base, left, width, share, seed):
    spec = pia.RopeSpec(2 * pairs, base, 64)
    rng = np.random.default_rng(seed)
    h = rng.standard_normal(pairs) + 1j * rng.standard_normal(pairs)
    right = left + width
    s = min(max(left + share * width, left), right)
    ends = pia.attention_score(spec, h, [left, right])
    mix = (s - left) / (right - left)
    observed = abs(pia.attention_score(spec, h, s) - (1 - mix) * ends[0] - mix * ends[1])
    bound = {
        f: float(pia.interpolation_bound(spec, s, h, form=f, left=left, right=right)) for f in FORMS
    }
    slack = 1e-13 * np.abs(h).sum()
    assert observed <= bound["weighted"] + slack
    assert observed <= bound["sharp"] + slack
    assert bound["weighted"] <= bound["corrected"] + slack
    assert bound["sharp"] <= bound["corrected"] + slack


def test_not_vacuous(llama):
    # The bounds are far below what a score may be at all, and nearly reached by some h.
    assert pia.interpolation_bound(llama, 0.5, form="corrected") < 64 / 100
    h = counterexample(128, 1e4)
    s = np.linspace(0, 1, 1001)
    ends = pia.attention_score(llama, h, [0.0, 1.0])
    gap = np.abs(pia.attention_score(llama, h, s) - (1 - s) * ends[0] - s * ends[1])
    weighted = pia.interpolation_bound(llama, s, h, form="weighted", left=0, right=1)
    assert (gap[1:-1] / weighted[1:-1]).max() > 0.98


def test_zero_at_the_ends_of_the_cell(llama):
    for form in FORMS:
        values = pia.interpolation_bound(llama, [3.0, 5.0], form=form, left=3.0, right=5.0)
        assert (values == 0).all()
        assert pia.interpolation_bound(llama, 7.0, form=form) == 0


def test_default_cell_of_negative_spans(llama):
    assert pia.interpolation_bound(llama, -0.25) == pia.interpolation_bound(llama, 0.75)


def test_threshold_base():
    threshold = pia.paper_bound_threshold(128)
    assert threshold.lower == pytest.approx(7.17, abs=0.01)
    for dim in (16, 128):
        root = pia.paper_bound_threshold(dim).upper
        for base, fails in ((root * 0.99, False), (root * 1.01, True)):
            spec = pia.RopeSpec(dim, base, 1)
            sharp = sum(1 - oracles.mp.cos(t / 2) for t in oracles.theta(base, dim))
            assert (sharp > dim / (32 * math.log(base))) == fails
            paper = pia.interpolation_bound(spec, 0.5, form="paper")
            assert (pia.interpolation_bound(spec, 0.5, form="sharp") > paper) == fails


def test_grid_constant_holds_on_a_long_grid(rng):
    spec = pia.RopeSpec(8, 50.0, 64)
    h = rng.standard_normal(4) + 1j * rng.standard_normal(4)
    grid = np.abs(pia.attention_score(spec, h, np.arange(200_000.0))).max()
    between = np.abs(pia.attention_score(spec, h, np.arange(0, 2000, 1 / 64))).max()
    assert between <= pia.grid_constant(spec) * grid
    assert pia.grid_constant(pia.PositionInterpolation(spec, 128)) == 1 / math.cos(0.25)


def test_adjacent_contrast_bounds_and_is_attained(rng):
    spec = pia.RopeSpec(64, 1e4, 2048)
    for model in (spec, pia.PositionInterpolation(spec, 8192)):
        h = rng.standard_normal((5, 32)) + 1j * rng.standard_normal((5, 32))
        score = pia.attention_score(model, h, np.arange(5000.0))
        assert (np.abs(np.diff(score)).max(axis=1) <= pia.adjacent_contrast(model, h)).all()
        s = 12.0
        worst = -1j * np.exp(-1j * (s + 0.5) * model.frequencies) * np.abs(h[0])
        step = np.diff(pia.attention_score(model, worst, [s, s + 1]))[0]
        assert abs(step) == pytest.approx(float(pia.adjacent_contrast(model, h[0])), rel=1e-10)
    explicit = 2 * sum(oracles.mp.sin(t / 2) for t in oracles.theta(1e4, 64))
    assert float(pia.adjacent_contrast(spec, 3.0)) == pytest.approx(3 * float(explicit), rel=1e-14)


def test_refusals(llama):
    with pytest.raises(
        ValueError, match=r"form must be one of .* got 'papr'; did you mean 'paper'"
    ):
        pia.interpolation_bound(llama, 0.5, form="papr")
    with pytest.raises(ValueError, match="s must lie in its cell"):
        pia.interpolation_bound(llama, 5.0, left=0.0, right=1.0)
    with pytest.raises(ValueError, match="s must lie in its cell"):
        pia.interpolation_bound(llama, 0.0, left=0.0, right=0.0)
    with pytest.raises(ValueError, match="left and right must broadcast"):
        pia.interpolation_bound(llama, [0.5, 0.5, 0.5], left=[0.0, 0.0])
    with pytest.raises(
        ValueError, match=r"h must be a finite number at least 0 and at most 1e\+100, got -1"
    ):
        pia.interpolation_bound(llama, 0.5, -1.0)
    with pytest.raises(ValueError, match="s must be finite"):
        pia.interpolation_bound(llama, math.nan)
    with pytest.raises(ValueError, match="h must be a finite number"):
        pia.interpolation_bound(llama, 0.5, math.nan)
    with pytest.raises(TypeError, match="h must be a finite number"):
        pia.interpolation_bound(llama, 0.5, 1j)
    with pytest.raises(TypeError, match="spec must be a RopeSpec"):
        pia.interpolation_bound("llama-7b", 0.5)
    with pytest.raises(ValueError, match="h must have its last axis of length"):
        pia.interpolation_bound(llama, 0.5, np.ones(3))


def test_grid_constant_needs_slow_pairs(llama):
    """Beyond pi the cosine of half of theta_0 is negative: 1 / cos was returned as a bound."""
    fast = pia.LongRoPE(llama, 4096, short_factor=[1.0] * 64, long_factor=[0.2] * 64, factor=2.0)
    assert fast.frequencies[0] > math.pi
    with pytest.raises(ValueError, match="model must have frequencies below pi"):
        pia.grid_constant(fast)


@pytest.mark.parametrize(("base", "smaller"), [(6.02, False), (6.03, True), (10_000.0, True)])
def test_the_papers_geometric_sum_is_smaller_from_a_threshold_on(base, smaller):
    spec = pia.RopeSpec(128, base, 2048)
    assert (128 / (4 * math.log(base)) < pia.theta_square_sum(spec)) == smaller


def test_weighted_is_approached_as_the_cell_narrows_not_as_s_nears_its_end(llama):
    def ratio(u, width):
        s, cell = u * width, {"left": 0.0, "right": width}
        sharp = pia.interpolation_bound(llama, s, form="sharp", **cell)
        return float(
            sharp / pia.interpolation_bound(llama, s, np.ones(64), form="weighted", **cell)
        )

    assert ratio(0.001, 1.0) < ratio(0.5, 1.0) < 0.99
    assert ratio(0.001, 0.01) > 1 - 1e-5


def test_known_magnitudes_lie_between_the_observed_and_both_other_forms(rng):
    for base, dim in ((10_000.0, 64), (50.0, 12)):
        spec = pia.RopeSpec(dim, base, 512)
        h = rng.normal(size=(30, spec.pairs)) + 1j * rng.normal(size=(30, spec.pairs))
        h *= rng.uniform(size=spec.pairs) ** 4
        s = np.sort(rng.uniform(0, 30, 40))
        left, right = np.floor(s), np.floor(s) + 1
        ends = [pia.attention_score(spec, h, x) for x in (left, s, right)]
        observed = np.abs(ends[1] - (right - s) * ends[0] - (s - left) * ends[2])
        magnitude = pia.interpolation_bound(spec, s, h, form="magnitude")
        assert magnitude.shape == (30, 40)
        slack = 1 + 1e-12
        assert (observed <= magnitude * slack + 1e-12).all()
        assert (magnitude <= pia.interpolation_bound(spec, s, h, form="weighted") * slack).all()
        assert (magnitude <= pia.interpolation_bound(spec, s, h, form="sharp") * slack).all()
        # Attained by the phases that turn every term to one direction.
        u = s[7] - left[7]
        gap = np.exp(1j * s[7] * spec.frequencies) - (
            (1 - u) * np.exp(1j * left[7] * spec.frequencies)
            + u * np.exp(1j * right[7] * spec.frequencies)
        )
        assert (np.abs(h) * np.abs(gap)).sum(axis=-1) == pytest.approx(magnitude[:, 7], rel=1e-9)
        ball = constants.interpolation_bound(spec, s[7], h[3], form="magnitude")
        assert ball.contains(magnitude[3, 7]) or abs(ball.lower / magnitude[3, 7] - 1) < 1e-13
    with pytest.raises(ValueError, match="h must hold the coefficients for form 'magnitude'"):
        pia.interpolation_bound(spec, 0.5, form="magnitude")
