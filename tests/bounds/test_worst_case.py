"""The exact worst case: against a plain solve and an independent check at 60 digits."""

import dataclasses
import itertools
import json
import math

import mpmath as mp
import numpy as np
import oracles
import pytest

import pianalysis as pia
from pianalysis.bounds.worst_case import certificate
from pianalysis.bounds.worst_case.case import holds

SMALL = pia.RopeSpec(8, 100.0, 24)
MIDDLE = pia.RopeSpec(16, 100.0, 64)


def plain_solve(spec, s, limit, frequencies=None, gain=1.0):
    """The programme in the raw basis, every grid point at once: no basis, no subset."""
    import clarabel
    from scipy import sparse

    def rows(theta, spans):
        angle = np.outer(spans, theta)
        return np.concatenate([np.cos(angle), -np.sin(angle)], axis=1)

    theta = spec.frequencies
    pairs, window = spec.pairs, spec.context_window
    grid = rows(theta, np.arange(window))
    cost = gain * rows(theta if frequencies is None else frequencies, [s])[0]
    blocks, offsets = [grid, -grid], [np.ones(2 * window)]
    kinds = [clarabel.NonnegativeConeT(2 * window)]
    if math.isfinite(limit):
        for j in range(pairs):
            disc = np.zeros((3, 2 * pairs))
            disc[1, j] = disc[2, pairs + j] = -1.0
            blocks.append(disc)
            offsets.append([limit, 0.0, 0.0])
            kinds.append(clarabel.SecondOrderConeT(3))
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    empty = sparse.csc_matrix((2 * pairs, 2 * pairs))
    matrix = sparse.csc_matrix(np.concatenate(blocks))
    found = clarabel.DefaultSolver(
        empty, -cost, matrix, np.concatenate(offsets), kinds, settings
    ).solve()
    assert str(found.status) == "Solved"
    return -found.obj_val


def primal_at_60_digits(found, frequencies, gain=1):
    """Return (objective, max|a(n)|, max|h_j|) of the returned h, in mpmath alone."""
    spec = found.spec
    theta = oracles.theta(spec.base, spec.rotary_dim)
    if found.digits:
        h = [mp.mpc(*map(mp.mpf, pair.split())) for pair in found.digits]
    else:
        h = [mp.mpc(complex(c)) for c in found.coefficients]

    def score(t, s):
        return sum((c * mp.expj(x * s) for c, x in zip(h, t, strict=True)), mp.mpc(0)).real

    grid = max(abs(score(theta, n)) for n in range(spec.context_window))
    return gain * score(frequencies, mp.mpf(found.span)), grid, max(abs(c) for c in h)


def dual_at_60_digits(found, frequencies, gain=1):
    """Return sum|w| + H sum_j |residual|, in mpmath alone."""
    theta = oracles.theta(found.spec.base, found.spec.rotary_dim)
    weights = [mp.mpf(float(w)) for w in found.dual.weight]
    total = sum(map(abs, weights), mp.mpf(0))
    for changed, own in zip(frequencies, theta, strict=True):
        rest = gain * mp.expj(changed * mp.mpf(found.span))
        for n, w in zip(found.dual.node, weights, strict=True):
            rest -= w * mp.expj(own * int(n))
        total += mp.mpf(found.max_coefficient) * abs(rest)
    return total


@pytest.mark.parametrize("spec", [SMALL, MIDDLE, pia.RopeSpec(12, 1000.0, 9)])
@pytest.mark.parametrize("limit", [0.3, 1.0, 10.0])
@pytest.mark.parametrize("s", [0.5, 7.5, -2.25, 70.0])
def test_agrees_with_a_plain_solve(spec, limit, s):
    found = pia.worst_case_score(spec, s, max_coefficient=limit)
    assert found.value == pytest.approx(plain_solve(spec, s, limit), rel=2e-6)
    assert found.lower <= found.value <= found.upper
    assert found.gap < 1e-7


def test_large_windows_enter_by_constraint_generation():
    spec = pia.RopeSpec(16, 10_000.0, 1024)
    for s in (0.5, 500.5, 1023.75, 1300.0):
        found = pia.worst_case_score(spec, s, max_coefficient=3.0)
        assert found.value == pytest.approx(plain_solve(spec, s, 3.0), rel=2e-6)
        assert found.gap < 1e-7


@pytest.mark.parametrize("limit", [1e-3, 1 / 64, 1 / 8])
@pytest.mark.parametrize("s", [0.0, 0.5, 63.0, 1e6])
def test_only_the_coefficients_bind(limit, s):
    found = pia.worst_case_score(MIDDLE, s, max_coefficient=limit)
    assert found.status == "coefficients"
    assert found.value == pytest.approx(8 * limit, rel=1e-14)
    assert found.upper >= 8 * limit >= found.lower
    assert found.gap < 1e-13


def test_outside_the_trivial_value_holds_while_the_grid_does_not_bind():
    found = pia.worst_case_score(MIDDLE, 96.0, max_coefficient=0.2)
    assert found.status == "coefficients"
    assert found.value == pytest.approx(1.6, rel=1e-14)


@pytest.mark.parametrize("limit", [0.5, 1e4, math.inf])
def test_at_a_grid_point_the_hypothesis_is_the_answer(limit):
    found = pia.worst_case_score(MIDDLE, 17.0, max_coefficient=limit)
    assert found.status == "grid point"
    assert found.value == pytest.approx(1.0, rel=1e-14)
    assert found.dual.node.tolist() == [17.0]


def test_grows_with_the_limit_and_stays_below_the_triangle():
    limits = [0.01, 0.1, 0.2, 0.5, 1.0, 3.0, 10.0, 1e3, 1e6, math.inf]
    for s in (20.5, 63.75, 80.0):
        found = [pia.worst_case_score(MIDDLE, s, max_coefficient=x) for x in limits]
        for low, high in itertools.pairwise(found):
            assert low.lower <= high.upper
            assert low.value <= high.value * (1 + 1e-6)
        for x, case in zip(limits, found, strict=True):
            assert case.lower <= case.value <= case.upper
            assert case.log10_lower <= case.log10_value <= case.log10_upper
            assert case.upper <= 8 * x * (1 + 1e-12)
            assert case.gap < (1e-6 if x <= 10 else 1e-3)


@pytest.mark.parametrize("limit", [0.1, 1.0, 50.0])
def test_both_sides_at_60_digits(limit):
    theta = oracles.theta(SMALL.base, SMALL.rotary_dim)
    with mp.workdps(60):
        for s in (0.5, 11.5, 23.75, 31.0):
            found = pia.worst_case_score(SMALL, s, max_coefficient=limit)
            value, grid, largest = primal_at_60_digits(found, theta)
            assert grid <= 1
            assert largest <= limit
            assert value >= found.lower
            if found.dual.node.size:
                assert dual_at_60_digits(found, theta) <= found.upper


def test_extensions_at_60_digits():
    target = 96
    schemes = {
        pia.PositionInterpolation(SMALL, target): [
            t / 4 for t in oracles.theta(SMALL.base, SMALL.rotary_dim)
        ],
        pia.Unscaled(SMALL, target): oracles.theta(SMALL.base, SMALL.rotary_dim),
    }
    changed = pia.NTKAware(SMALL, target)
    schemes[changed] = oracles.theta(changed.base, SMALL.rotary_dim)
    with mp.workdps(60):
        for scheme, theta in schemes.items():
            found = pia.worst_case_score(SMALL, 90.5, max_coefficient=2.0, extension=scheme)
            value, grid, largest = primal_at_60_digits(found, theta)
            assert max(grid, largest / 2) <= 1
            assert found.lower <= value
            assert dual_at_60_digits(found, theta) <= found.upper
            assert found.gap < 1e-6
            plain = plain_solve(SMALL, 90.5, 2.0, scheme.frequencies)
            assert found.value == pytest.approx(plain, rel=2e-6)


def test_interpolation_is_the_window_itself():
    scheme = pia.PositionInterpolation(MIDDLE, 256)
    for s, inside in ((82.0, 20.5), (255.0, 63.75)):
        ours = pia.worst_case_score(MIDDLE, s, max_coefficient=1.0, extension=scheme)
        same = pia.worst_case_score(MIDDLE, inside, max_coefficient=1.0)
        assert ours.value == pytest.approx(same.value, rel=1e-8)
    grid = pia.worst_case_score(MIDDLE, 80.0, max_coefficient=1.0, extension=scheme)
    assert grid.status == "grid point"


@dataclasses.dataclass(frozen=True)
class Warm:
    """A scheme without a closed form in the library: a temperature on unchanged frequencies."""

    spec: pia.RopeSpec
    attention_factor: float = 1.25
    geometric: None = None

    @property
    def frequencies(self):
        return self.spec.frequencies

    @property
    def frequencies_tail(self):
        return self.spec.frequencies_tail


def test_the_attention_factor_enters_squared():
    for limit in (0.1, 1.0):
        warm = pia.worst_case_score(MIDDLE, 70.5, max_coefficient=limit, extension=Warm(MIDDLE))
        cold = pia.worst_case_score(MIDDLE, 70.5, max_coefficient=limit)
        assert warm.value == pytest.approx(1.25**2 * cold.value, rel=1e-8)
        assert warm.gap < 1e-6


@pytest.mark.parametrize("s", [0.5, 11.5, 24.0, 60.0])
def test_without_limit_against_mpmath_and_a_linear_programme(s):
    from scipy.optimize import linprog

    found = pia.worst_case_score(SMALL, s, max_coefficient=math.inf)
    assert found.certificate == "active system"
    assert found.gap < 1e-12
    angle = np.outer(np.arange(24), SMALL.frequencies)
    grid = np.concatenate([np.cos(angle), -np.sin(angle)], axis=1)
    cost = np.concatenate([np.cos(s * SMALL.frequencies), -np.sin(s * SMALL.frequencies)])
    plain = linprog(
        -cost, A_ub=np.concatenate([grid, -grid]), b_ub=np.ones(48), bounds=(None, None)
    )
    assert found.value == pytest.approx(-plain.fun, rel=1e-6)
    theta = oracles.theta(SMALL.base, SMALL.rotary_dim)
    with mp.workdps(100):
        value, largest, _ = primal_at_60_digits(found, theta)
        assert largest <= 1
        assert value >= found.lower
        # The dual from its nodes alone: the weights that reproduce the objective exactly.
        nodes = [int(n) for n in found.dual.node]
        system = mp.matrix(8, 8)
        right = mp.matrix(8, 1)
        for j, t in enumerate(theta):
            right[j], right[4 + j] = mp.cos(t * s), mp.sin(t * s)
            for k, n in enumerate(nodes):
                system[j, k], system[4 + j, k] = mp.cos(t * n), mp.sin(t * n)
        weights = mp.lu_solve(system, right)
        assert sum(abs(w) for w in weights) <= found.upper
    assert 10**found.log10_value == pytest.approx(found.value, rel=1e-12)


def test_without_limit_far_outside_the_window():
    spec = pia.RopeSpec(32, 10_000.0, 256)
    found = pia.worst_case_score(spec, 512.0, max_coefficient=math.inf)
    assert found.gap < 1e-12
    assert found.log10_value > 10
    spread = pia.exact_fit_spread(spec, 512.0).log10[0]
    # sum|w| is at least the 2-norm of the least weights, which is the exact fit's spread.
    assert spread < found.log10_value < spread + 0.5 * math.log10(256)


def test_a_wrong_weight_or_coefficient_shows():
    import flint

    found = pia.worst_case_score(MIDDLE, 70.0, max_coefficient=1.0)
    weights = np.zeros(64)
    weights[found.dual.node.astype(int)] = found.dual.weight
    with flint.ctx.workprec(192):
        terms = certificate.objective_terms(MIDDLE, 70.0)

        def bound(w):
            return float(certificate.dual_bound(MIDDLE, terms, w, 1.0, 192).mid())

        assert bound(weights) <= found.upper
        for node in (0, 40, 63):
            wrong = weights.copy()
            wrong[node] += 0.01
            assert bound(wrong) > found.upper
            assert bound(wrong) > bound(weights) * (1 + 1e-5)
        assert bound(-weights) > 2 * found.upper
        h = [(flint.arb(c.real), flint.arb(c.imag)) for c in found.coefficients]
        assert certificate.excess(MIDDLE, h, 1.0, 192) <= 1.0
        h[3] = (h[3][0] + 0.01, h[3][1])
        assert certificate.excess(MIDDLE, h, 1.0, 192) > 1.001
        shrunk, _ = certificate.feasible(MIDDLE, h, 1.0, 192, 0)
        assert certificate.excess(MIDDLE, shrunk, 1.0, 192) <= 1.0
        assert float(certificate.objective(shrunk, terms).mid()) < found.upper


def test_the_record_writes_itself(tmp_path):
    for limit in (1.0, math.inf):
        found = pia.worst_case_score(SMALL, 30.0, max_coefficient=limit)
        found.save(tmp_path / "case")
        body = json.loads((tmp_path / "case.json").read_text())
        assert body["value"] == found.value
        assert len(body["dual"]["node"]) == found.dual.node.size
        assert float(body["max_coefficient"]) == limit
        assert len((tmp_path / "case.csv").read_text().splitlines()) == 5


def test_the_audited_values(llama):
    cases = {
        (0.1, 2100.0): 4.863,
        (1.0, 4096.0): 34.537,
        (1.0, 2047.75): 1.902,
        (10.0, 3000.0): 287.76,
    }
    for (limit, s), expected in cases.items():
        found = pia.worst_case_score(llama, s, max_coefficient=limit)
        assert found.value == pytest.approx(expected, rel=2e-4)
        assert found.gap < 1e-6
    scheme = pia.NTKAware(llama, 8192)
    found = pia.worst_case_score(llama, 8000.0, max_coefficient=1.0, extension=scheme)
    assert found.value == pytest.approx(30.1, rel=2e-3)
    assert found.gap < 1e-6


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"max_coefficient": 0.0}, ValueError, "max_coefficient must be a finite number above 0"),
        ({"max_coefficient": -1.0}, ValueError, "max_coefficient must be"),
        ({"max_coefficient": math.nan}, ValueError, "max_coefficient must be"),
        ({"max_coefficient": -math.inf}, ValueError, "max_coefficient must be"),
        ({"max_coefficient": 1e12}, ValueError, "math.inf stands for no limit"),
        ({"max_coefficient": "1"}, TypeError, "max_coefficient must be"),
        ({"s": math.nan}, ValueError, "s must be a finite number"),
        ({"s": math.inf}, ValueError, "s must be a finite number"),
        ({"s": 1e17}, ValueError, "s must be a finite number"),
        ({"s": [1.0, 2.0]}, TypeError, "s must be a finite number"),
        ({"spec": "llama-7b"}, TypeError, "spec must be a RopeSpec"),
        ({"spec": pia.RopeSpec(128, 1e4, 2**30)}, ValueError, "context_window times rotary"),
        ({"spec": pia.RopeSpec(512, 1e4, 2048)}, ValueError, "rotary dimension of at most 256"),
        ({"extension": 4.0}, TypeError, "extension must be an extension"),
        (
            {"extension": pia.PositionInterpolation(SMALL, 4096)},
            ValueError,
            "extension must be one of spec",
        ),
        (
            {"spec": pia.RopeSpec(128, 1e4, 127), "max_coefficient": math.inf},
            ValueError,
            "context_window must be at least the rotary dimension 128",
        ),
    ],
)
def test_refusals_come_before_any_work(monkeypatch, change, error, words):
    def work(*_):
        raise AssertionError("work was done")

    monkeypatch.setattr(certificate, "objective_terms", work)
    asked = {"spec": MIDDLE, "s": 1.5, "max_coefficient": 1.0, "extension": None} | change
    with pytest.raises(error, match=words):
        pia.worst_case_score(
            asked["spec"],
            asked["s"],
            max_coefficient=asked["max_coefficient"],
            extension=asked["extension"],
        )


def test_an_empty_window_is_refused():
    with pytest.raises(ValueError, match="context_window must be"):
        pia.RopeSpec(128, 1e4, 0)


def test_windows_shorter_than_the_dimension():
    for window in (1, 2, 5):
        spec = pia.RopeSpec(8, 100.0, window)
        found = pia.worst_case_score(spec, 9.5, max_coefficient=1.0)
        assert found.value == pytest.approx(plain_solve(spec, 9.5, 1.0), rel=2e-6)
        assert found.gap < 1e-7


def test_where_only_the_coefficients_bind_the_temperature_counts(llama):
    yarn = pia.YaRN(llama, 8192)
    worst = pia.worst_case_score(llama, 3000.0, max_coefficient=1 / 256, extension=yarn)
    assert worst.status == "coefficients"
    assert worst.value == pytest.approx(yarn.attention_factor**2 * 64 / 256, rel=1e-12)
    assert worst.value > 1.25 * 64 / 256


def test_the_gap_is_that_of_the_sides_and_of_their_logarithms():
    found = pia.worst_case_score(MIDDLE, 80.0, max_coefficient=3.0)
    wide = dataclasses.replace(
        found, upper=2.0 * found.lower, log10_upper=found.log10_lower + math.log10(2.0)
    )
    assert wide.gap == pytest.approx(1.0, rel=1e-14)
    beyond = dataclasses.replace(wide, upper=math.inf)
    assert beyond.gap == pytest.approx(1.0, rel=1e-12)


def test_what_fits_in_memory_ends_where_the_grid_does():
    assert holds(pia.RopeSpec(128, 1e4, 2**15))
    assert not holds(pia.RopeSpec(128, 1e4, 2**15 + 1))
    assert holds(pia.RopeSpec(256, 1e4, 2**14))
    assert not holds(pia.RopeSpec(258, 1e4, 64))
