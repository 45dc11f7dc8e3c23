"""Fig. 2: fits in float, and the exact spread against 120-digit linear algebra."""

import math

import mpmath as mp
import numpy as np
import oracles
import pytest

import pianalysis as pia
from pianalysis.scores.exact_fits import design_condition
from pianalysis.scores.fits import METHODS

SMALL = pia.RopeSpec(8, 50.0, 24)


def design_rows(spec, spans, digits):
    with mp.workdps(digits):
        theta = [mp.mpf(spec.base) ** (mp.mpf(-2 * j) / spec.rotary_dim) for j in range(spec.pairs)]
        return mp.matrix(
            [[f(t * mp.mpf(float(s))) for f in (mp.sin, mp.cos) for t in theta] for s in spans]
        )


@pytest.mark.parametrize(
    "spec", [SMALL, pia.RopeSpec(2, 3.0, 2), pia.RopeSpec(20, 1e4, 40), pia.RopeSpec(12, 9.0, 13)]
)
def test_exact_spread_against_plain_linear_algebra(spec):
    spans = [0.0, 0.5, spec.context_window - 0.5, 2.0 * spec.context_window, 1000.25]
    spread = pia.exact_fit_spread(spec, spans)
    with mp.workdps(120):
        grid = design_rows(spec, range(spec.context_window), 120)
        inverse = mp.inverse(grid.T * grid)
        for s, log10, radius in zip(spans, spread.log10, spread.log10_radius, strict=True):
            row = design_rows(spec, [s], 120)
            exact = mp.log10(mp.sqrt((row * inverse * row.T)[0]))
            assert abs(exact - mp.mpf(float(log10))) <= mp.mpf(float(radius))
            assert radius < 1e-9


@pytest.mark.parametrize(
    ("s", "expected"),
    [
        (0.5, -0.094241),
        (2046.5, -0.094241),
        (2049.0, 1.477754),
        (2098.0, 10.709516),
        (2560.0, 34.854512),
        (3072.0, 47.420748),
        (4096.0, 62.263047),
        (8192.0, 87.482846),
    ],
)
def test_audited_spreads(llama, s, expected):
    spread = pia.exact_fit_spread(llama, s)
    assert spread.log10[0] == pytest.approx(expected, abs=6e-7)
    assert spread.log10_radius[0] < 1e-12


def test_spread_of_a_square_system_is_one_on_the_grid():
    spread = pia.exact_fit_spread(pia.RopeSpec(8, 20.0, 8), np.arange(8))
    assert np.abs(spread.log10).max() < 1e-12


def test_spread_is_what_fits_do(rng):
    # Monte Carlo: where float64 resolves the problem, the fit's deviation is the exact spread.
    spans = np.array([0.5, 12.3, 30.0])
    values = rng.standard_normal((4000, 24))
    scores = np.array([pia.fit_score(SMALL, y, method="svd").score(spans) for y in values])
    exact = 10 ** pia.exact_fit_spread(SMALL, spans).log10
    assert scores.std(axis=0) == pytest.approx(exact, rel=0.06)


@pytest.mark.parametrize("method", METHODS)
def test_methods_agree_where_the_problem_is_easy(rng, method):
    y = rng.standard_normal(24)
    with mp.workdps(60):
        grid = design_rows(SMALL, range(24), 60)
        exact = mp.lu_solve(grid.T * grid, grid.T * mp.matrix([mp.mpf(v) for v in y]))
        expected = [float(v) for v in design_rows(SMALL, [3.5, 40.0], 60) * exact]
    fit = pia.fit_score(SMALL, y, method=method)
    tolerance = 2e-3 if method == "normal_float32" else 1e-9
    assert fit.score([3.5, 40.0]) == pytest.approx(expected, rel=tolerance, abs=tolerance)
    if method != "normal_float32":
        direct = pia.attention_score(SMALL, fit.coefficients, [3.5, 40.0])
        assert fit.score([3.5, 40.0]) == pytest.approx(direct, rel=1e-10)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ridge", [0.5, 10.0])
def test_ridge_solves_the_regularised_equations(rng, method, ridge):
    y = rng.standard_normal(24)
    with mp.workdps(60):
        grid = design_rows(SMALL, range(24), 60)
        normal = grid.T * grid + ridge * mp.eye(8)
        exact = mp.lu_solve(normal, grid.T * mp.matrix([mp.mpf(v) for v in y]))
    sine, cosine = np.array([float(v) for v in exact]).reshape(2, 4)
    fit = pia.fit_score(SMALL, y, method=method, ridge=ridge)
    tolerance = 1e-5 if method == "normal_float32" else 1e-12
    assert fit.coefficients == pytest.approx(cosine - 1j * sine, abs=tolerance)


def test_the_precision_decides_the_magnitude(llama):
    y = np.random.default_rng(0).standard_normal(2048)
    beyond = np.arange(2048.0, 4096.0)
    peak = {m: np.abs(pia.fit_score(llama, y, method=m).score(beyond)).max() for m in METHODS}
    assert peak["normal_float32"] < 1e4 < peak["normal_float64"] < 1e9 < peak["svd"] < 1e13
    assert pia.fit_score(llama, y, method="svd").rank == 80


def test_fits_repeat_bit_for_bit(llama):
    y = np.random.default_rng(1).standard_normal(2048)
    first, second = (pia.fit_score(llama, y).coefficients for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("spec", [SMALL, pia.RopeSpec(20, 1e4, 40)])
def test_condition_number_encloses_the_truth(spec):
    with mp.workdps(120):
        grid = design_rows(spec, range(spec.context_window), 120)
        values = mp.eigsy(grid.T * grid, eigvals_only=True)
        exact = mp.log10(mp.sqrt(max(values) / min(values)))
    found = design_condition(spec)
    assert found.log10_lower <= exact <= found.log10_upper
    assert found.log10_upper - found.log10_lower < 1.0


def test_condition_of_the_papers_design(llama):
    found = design_condition(llama)
    assert 125 < found.log10_lower < found.log10_upper < 126


def test_precision_is_raised_until_the_radius_is_small(llama):
    loose = pia.exact_fit_spread(llama, 4096.0, relative_radius=0.1)
    tight = pia.exact_fit_spread(llama, 4096.0)
    assert loose.bits <= tight.bits
    assert tight.bits > 256


def test_refusals(llama):
    with pytest.raises(ValueError, match=r"values must have shape \(2048,\)"):
        pia.fit_score(llama, np.zeros(2047))
    with pytest.raises(ValueError, match="method must be one of"):
        pia.fit_score(llama, np.zeros(2048), method="qr")
    with pytest.raises(ValueError, match="ridge must be a finite number at least 0, got -1"):
        pia.fit_score(llama, np.zeros(2048), ridge=-1)
    with pytest.raises(ValueError, match="values must be finite"):
        pia.fit_score(llama, np.full(2048, math.nan))
    with pytest.raises(ValueError, match="context_window must be at least the rotary dimension"):
        pia.exact_fit_spread(pia.RopeSpec(128, 1e4, 100), 0.5)
    with pytest.raises(ValueError, match="context_window times rotary dimension must be at most"):
        pia.fit_score(pia.RopeSpec(128, 1e4, 2**30), np.zeros(2))
    with pytest.raises(ValueError, match="s must be finite"):
        pia.exact_fit_spread(llama, math.inf)
    with pytest.raises(TypeError, match="spec must be a RopeSpec"):
        pia.exact_fit_spread(oracles, 0.5)


@pytest.mark.parametrize(
    ("method", "size"), [("normal_float32", 1e300), ("normal_float64", 1e308), ("svd", 1e308)]
)
def test_values_that_overflow_are_refused(method, size):
    values = np.full(16, size)
    with pytest.raises(ValueError, match=f"small enough for {method} .* got one of size 1e"):
        pia.fit_score(pia.RopeSpec(4, 10.0, 16), values, method=method, ridge=2.0)
    fit = pia.fit_score(pia.RopeSpec(4, 10.0, 16), np.full(16, 1e20), method=method, ridge=2.0)
    assert np.isfinite(fit.coefficients).all()
