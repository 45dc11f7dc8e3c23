"""The local grid theorem: weights, constants, consequence; independent evaluation at 50 digits."""

import math
from fractions import Fraction

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import mp

import pianalysis as pia
from paper_repro.items import grid as item
from pianalysis.bounds.grid import programmes, theorem

# Float64 linear programmes at s = 1/2, from the audit: a lower bound on every certified alpha.
TABLE = {
    (4, 1e-2): 1.137,
    (4, 1e-3): 1.247,
    (4, 1e-4): 1.478,
    (8, 1e-2): 1.128,
    (8, 1e-3): 1.162,
    (8, 1e-4): 1.210,
    (8, 1e-6): 1.395,
    (16, 1e-2): 1.120,
    (16, 1e-3): 1.147,
    (16, 1e-4): 1.165,
    (16, 1e-6): 1.212,
    (32, 1e-2): 1.120,
    (32, 1e-3): 1.134,
    (32, 1e-4): 1.151,
    (32, 1e-6): 1.168,
}
CASES = [(1, 0.1), (2, 1e-2), (4, 1e-4), (8, 1e-6), (16, 1e-4), (32, 1e-6), (64, 1e-3)]


def error(found, s, theta):
    """|e^{i s theta} - sum w_n(s) e^{i n theta}| for an array of theta, float64."""
    turns = np.exp(1j * np.outer(theta, found.offset))
    return np.abs(np.exp(1j * s * theta) - turns @ found.weights_at(s))


@pytest.mark.parametrize(("neighbours", "tolerance"), sorted(TABLE))
def test_alpha_against_the_audit(neighbours, tolerance):
    found = pia.local_grid_constant(neighbours, tolerance)
    reference = TABLE[neighbours, tolerance]
    assert reference - 6e-4 <= found.alpha_middle <= found.alpha < reference + 3.5e-3
    assert 0.98 * tolerance < found.eps <= tolerance


@pytest.mark.parametrize(("neighbours", "tolerance"), CASES)
def test_weights_hold_at_every_span_and_frequency(neighbours, tolerance):
    found = pia.local_grid_constant(neighbours, tolerance)
    theta = np.concatenate([np.linspace(0.0, 1.0, 2001), 1.0 - np.geomspace(1e-9, 1e-2, 50)])
    worst = 0.0
    for s in np.concatenate([np.linspace(0.0, 1.0, 41), [0.499, 0.4999, 0.5001]]):
        gap = error(found, s, theta).max()
        worst = max(worst, gap)
        assert gap <= found.eps + 1e-13
        assert np.abs(found.weights_at(s)).sum() <= found.alpha + 1e-13
    assert worst > 0.9 * found.eps  # not vacuous
    assert np.abs(found.weights).sum() == pytest.approx(found.alpha_middle, rel=1e-14)
    assert np.array_equal(found.weights_at(0.5), found.weights)
    assert found.weights_at(0.0)[neighbours - 1] == 1.0
    assert found.offset.tolist() == list(range(1 - neighbours, neighbours + 1))
    assert found.weights_at(0.3) == pytest.approx(found.weights_at(0.7)[::-1], abs=1e-15)


@pytest.mark.parametrize(("neighbours", "tolerance"), [(4, 1e-3), (16, 1e-4), (32, 1e-6)])
def test_errors_at_fifty_digits(neighbours, tolerance):
    found = pia.local_grid_constant(neighbours, tolerance)
    with mp.workdps(50):
        for k in range(201):
            theta = mp.mpf(k) / 200
            total = sum(
                mp.mpf(float(w)) * mp.expj(int(n) * theta)
                for w, n in zip(found.weights, found.offset, strict=True)
            )
            assert abs(mp.expj(theta / 2) - total) <= found.eps
        assert sum(abs(mp.mpf(float(w))) for w in found.weights) <= found.alpha_middle


@settings(max_examples=30, deadline=None)
@given(
    dim=st.sampled_from([2, 16, 64, 128]),
    base=st.floats(1.5, 1e7),
    left=st.integers(40, 1900),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_consequence_for_random_scores(dim, base, left, share, seed):
    found = pia.local_grid_constant(16, 1e-4)
    spec, rng = pia.RopeSpec(dim, base, 2048), np.random.default_rng(seed)
    size = rng.exponential(size=(8, dim // 2)) ** 3
    h = size * np.exp(2j * np.pi * rng.random((8, dim // 2)))
    on_grid = np.abs(pia.attention_score(spec, h, left + found.offset)).max(axis=1)
    score = np.abs(pia.attention_score(spec, h, [left + share]))[:, 0]
    assert (score <= found.alpha * on_grid + found.eps * np.abs(h).sum(axis=1) + 1e-11).all()


@pytest.mark.parametrize("method", ["svd", "normal_float64"])
def test_consequence_for_fitted_scores(method):
    # As real as Fig. 2: least squares with coefficients far above the scores.
    spec = pia.RopeSpec(128, 1e4, 512)
    noise = np.random.default_rng(1).standard_normal(512)
    h = pia.fit_score(spec, noise, method=method, ridge=1e-6).coefficients
    for neighbours, tolerance in ((8, 1e-3), (32, 1e-6), (64, 1e-9)):
        found = pia.local_grid_constant(neighbours, tolerance)
        for left in (neighbours - 1, 200, 511 - neighbours):
            on_grid = np.abs(pia.attention_score(spec, h, left + found.offset)).max()
            inside = np.abs(pia.attention_score(spec, h, left + np.linspace(0, 1, 65))).max()
            assert inside <= found.alpha * on_grid + found.eps * np.abs(h).sum()
    assert inside < 1.5 * on_grid < 1.5 * np.abs(h).sum()  # cancellation: sum|h| says nothing


def test_the_theorem_is_nearly_attained(llama):
    # One pair, cos(s - 1000.5): small at the six integers around, 1 between them.
    found = pia.local_grid_constant(3, 1e-2)
    h = np.zeros(64, complex)
    h[0] = np.exp(-1000.5j)
    on_grid = np.abs(pia.attention_score(llama, h, 1000 + found.offset)).max()
    score = float(np.abs(pia.attention_score(llama, h, [1000.5]))[0])
    assert score == pytest.approx(on_grid / math.cos(0.5), rel=1e-12)
    bound = found.alpha * on_grid + found.eps
    assert 0.98 * bound < score <= bound


def test_a_perturbed_weight_is_caught():
    found = pia.local_grid_constant(16, 1e-4)
    basis = programmes.Basis(np.arange(16.0) + 0.5, 1e-4)
    cosines = 2.0 * found.weights[16:]
    sound = basis.error(cosines, 0)
    assert sound <= found.eps
    for index in range(16):
        broken = cosines.copy()
        broken[index] += 1e-5
        assert basis.error(broken, 0) > found.eps
    theta = np.linspace(0, 1, 5001)
    seen = np.abs(np.cos(np.outer(theta, basis.frequencies)) @ cosines - 1).max()
    assert seen <= sound <= 1.01 * seen


def test_certificate_sees_between_its_points():
    # A spike of a degree beyond the points' reach must not pass: the tail carries it.
    basis = programmes.Basis(np.array([0.5, 200.0]), 1e-3)
    assert basis.error(np.array([0.0, 1.0]), 0) >= 2.0 - 1e-12  # 1 - cos(200 theta) reaches 2
    few = programmes.Basis(np.arange(4.0) + 0.5, 1e-2)
    few.degree = 4  # too few for cos(3.5 theta): the bound on the tail has to grow
    assert few._bessel(3.5) > 1e-2


def test_alpha_sees_between_its_points(monkeypatch):
    sound = pia.local_grid_constant(4, 1e-4)
    rows = np.array(sound.polynomials)
    assert theorem._total_weight(rows, len(rows) // 2)[0] == sound.alpha
    monkeypatch.setattr(theorem, "_CELLS", 4)
    coarse = theorem._total_weight(rows, len(rows) // 2)[0]
    share = np.linspace(0, 1, 3001)
    seen = max(np.abs(sound.weights_at(s)).sum() for s in share)
    assert seen <= sound.alpha <= seen + 1e-4
    assert coarse >= seen
    rows[5, 3] += 0.01
    assert theorem._total_weight(rows, len(rows) // 2)[0] > coarse


def test_multipliers_and_tails_against_their_functions():
    with mp.workdps(50):
        for mu in (0, Fraction(1, 3), Fraction(1, 2), 1):
            x = mp.mpf("0.9")
            share = mp.mpf(Fraction(mu).numerator) / Fraction(mu).denominator
            truth = mp.sin(share * x / 2) / mp.sin(x / 2)
            total = mp.mpf(0)
            for r, row in enumerate(programmes.multipliers(14)):
                value = sum(c * Fraction(mu) ** k for k, c in enumerate(row))
                assert value >= 0
                total += mp.mpf(value.numerator) / value.denominator * x ** (2 * r)
            assert abs(total - truth) < mp.mpf(10) ** -20
        secants = [mp.mpf(c.numerator) / c.denominator for c in programmes.secant(20)]
        for terms in range(1, 12):
            rest = 1 / mp.cos(mp.mpf(1) / 4) - sum(secants[:terms])
            assert rest <= programmes.tail(terms) < 1.05 * rest
        # A_r + B_r <= 4 lambda (1 - lambda) S_r, on a grid of lambda
        for r, row in list(enumerate(programmes.multipliers(8)))[1:]:
            for k in range(101):
                lam = Fraction(k, 100)
                both = sum(c * (lam**p + (1 - lam) ** p) for p, c in enumerate(row))
                assert 0 <= both <= 4 * lam * (1 - lam) * programmes.secant(8)[r]


def test_all_integer_constant(llama):
    assert pia.grid_constant(llama) == pytest.approx(1 / math.cos(0.5), rel=1e-15)
    assert pia.local_grid_constant(64, 1e-3).alpha < pia.grid_constant(llama)


def test_refusals():
    for bad in (0, -3, 65, 2.5):
        with pytest.raises(ValueError, match="neighbours must be an integer from 1 to 64"):
            pia.local_grid_constant(bad, 1e-3)
    for bad in (True, "8", None):
        with pytest.raises(TypeError, match="neighbours must be an integer from 1 to 64"):
            pia.local_grid_constant(bad, 1e-3)
    for bad in (0.0, -1e-3, 1.0, 2.0, math.nan, math.inf, 1e-12):
        with pytest.raises(ValueError, match="tolerance must be a finite number"):
            pia.local_grid_constant(8, bad)
    with pytest.raises(ValueError, match=r"tolerance must be large enough .* neighbours = 4"):
        pia.local_grid_constant(4, 1e-6)
    with pytest.raises(ValueError, match="s must be a finite number"):
        pia.local_grid_constant(4, 1e-3).weights_at(1.5)
    with pytest.raises(ValueError, match="read-only"):
        pia.local_grid_constant(4, 1e-3).weights[0] = 1.0


def test_record_writes_itself(tmp_path):
    found = pia.local_grid_constant()
    assert (found.neighbours, found.tolerance) == (16, 1e-4)
    assert found.alpha == pytest.approx(1.165, abs=5e-4)
    found.save(tmp_path / "grid")
    assert (tmp_path / "grid.csv").read_text().startswith("offset,weights\n-15.0,")


def test_oracle_is_independent():
    # The 50-digit score agrees with the weighted sum of grid scores, to eps sum|h|.
    found = pia.local_grid_constant(8, 1e-6)
    theta, h = oracles.theta(1e4, 16), [1, -2, 3j, 0.5, 1 - 1j, 2, -0.25, 1]
    between = oracles.score(theta, h, 50.5)
    with mp.workdps(50):
        mixed = sum(
            mp.mpf(float(w)) * oracles.score(theta, h, 50 + n)
            for w, n in zip(found.weights, found.offset, strict=True)
        )
        assert 0 < abs(mixed - between) <= found.eps * sum(abs(x) for x in h)


def test_item_draws_its_record_and_claims_what_it_certified(monkeypatch):
    monkeypatch.setattr(item, "NEIGHBOURS", (1, 8, 16))
    monkeypatch.setattr(item, "TOLERANCES", (1e-2, 1e-3))
    records = item.compute()
    table = records["grid_constants"]
    assert table.neighbours.tolist() == [8.0, 16.0] * 2  # one neighbour cannot reach 1e-2
    assert (table.alpha >= table.alpha_middle).all()
    figures = item.plot(records)
    axes = figures["grid_constants"].axes[0]
    drawn = {line.get_label(): line for line in axes.lines}
    assert drawn["ε = 1e-3"].get_ydata().tolist() == table.alpha[2:].tolist()
    assert "α" in axes.get_ylabel()
    assert "neighbours M" in axes.get_xlabel()
    weights = figures["grid_weights"].axes[0]
    assert sum(line.get_xdata().size for line in weights.lines) == 64
    (claim,) = item.claims(records)
    assert claim.location == "section 2.3"
    assert claim.verdict == "holds with correction"
    assert claim.certificate == "ball interval"
    assert "1.168" in claim.ours
