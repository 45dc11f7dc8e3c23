"""What mutants left open: second attempts, proofs that must not pass, odd windows, limits."""

import math

import flint
import numpy as np
import pytest
import sympy as sp
from scipy import optimize, special

import pianalysis as pia
from pianalysis.bounds import deviation, extrapolation
from pianalysis.bounds.certified import abel, first, minimum
from pianalysis.bounds.grid import programmes
from pianalysis.bounds.symbolic import proofs
from pianalysis.bounds.symbolic import steps as derived
from pianalysis.bounds.symbolic.algebra import ball, is_zero
from pianalysis.bounds.symbolic.proofs import Step, Use
from pianalysis.bounds.worst_case import basis, cone, interior, programme, supremum, weights
from pianalysis.bounds.worst_case.closed_form import checked_problem

SMALL = pia.RopeSpec(8, 50.0, 24)


def test_a_search_far_out_is_as_long_as_its_integers():
    """However far it starts: what is limited is how many there are."""
    found = abel.smallest_at_integers(SMALL, 2**30 + 3, start=2**30)
    spans = np.arange(2.0**30, 2.0**30 + 3)
    values = pia.abel_sum(SMALL, spans)
    assert found.location_lower == spans[values.argmin()]
    assert found.value.lower == pytest.approx(values.min(), rel=1e-12)


def test_the_bits_stated_are_those_worked_with(monkeypatch):
    worked, sums = set(), abel.abel_ball

    def watched(theta, s):
        worked.add(flint.ctx.prec)
        return sums(theta, s)

    monkeypatch.setattr(abel, "abel_ball", watched)
    found = abel.smallest_at_integers(SMALL, 40)
    assert worked == {found.value.bits}


def test_one_pair_never_falls_below():
    """B is the constant 1: its slope is 0, and one cell holds every span."""
    found = first.first_span_below(pia.RopeSpec(2, 100.0, 16), level=0.25, stop=1000)
    assert (found.integer, found.ratio, found.real) == (None, None, None)


@pytest.mark.parametrize("chunk", [4, 6, 16])
def test_chunks_of_cells_leave_no_gap(monkeypatch, chunk):
    whole = minimum.smallest_abel_sum(SMALL, 0.0, 60.0).value
    steepest = abel.lipschitz(SMALL)
    monkeypatch.setattr(abel, "CHUNK", chunk)
    parts = list(minimum.first_points(SMALL, 0.0, 60.0, steepest))
    assert [part[0] for part in parts[1:]] == [part[-1] for part in parts[:-1]]
    found = minimum.smallest_abel_sum(SMALL, 0.0, 60.0).value
    assert found.lower == pytest.approx(whole.lower, rel=1e-14)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_rounding_within_its_bound_moves_no_crossing(monkeypatch, sign):
    sharp = first.first_span_below(SMALL, level=0.5, stop=100)
    exact = extrapolation.abel_sum
    monkeypatch.setattr(abel, "float_error", lambda pairs: 3.0)
    monkeypatch.setattr(extrapolation, "abel_sum", lambda spec, s: exact(spec, s) + sign * 2.9)
    found = first.first_span_below(SMALL, level=0.5, stop=100)
    assert found.integer == sharp.integer
    assert found.real.lower <= sharp.real.upper
    assert sharp.real.lower <= found.real.upper


def test_a_span_beyond_the_target_has_no_deviation():
    scheme = pia.PositionInterpolation(SMALL, 48)
    for beyond in (48.0, 48.5, 1000.0):
        with pytest.raises(ValueError, match=rf"s must lie in \[0, 48\), got {beyond}"):
            deviation.deviation_bound(scheme, [0.0, beyond])


def test_work_on_a_deviation_is_limited_as_stated():
    scheme = pia.PositionInterpolation(pia.RopeSpec(2, 100.0, 2**20), 2**21)
    words = "at most 268435456, got 269484032: take fewer spans"
    with pytest.raises(ValueError, match=words):
        deviation.deviation_bound(scheme, np.zeros(257))


@pytest.mark.parametrize(("highest", "limit"), [(0.5, 1e-2), (15.5, 1e-4), (63.5, 1e-9)])
def test_what_a_chebyshev_series_leaves_is_bounded(highest, limit):
    waves = np.linspace(0.0, highest, 4)
    found = programmes.Basis(waves, limit)
    orders = np.arange(found.degree + 1, found.degree + 200)
    left = 2.0 * np.abs(special.jv(orders[:, None], waves)).sum(axis=0)
    assert left.max() <= found.bessel <= limit


def test_a_form_that_is_put_together_counts_as_written():
    once = pia.interpolation_bound(SMALL, 0.5, form="corrected")
    assert pia.interpolation_bound(SMALL, 0.5, form="".join(["correct", "ed"])) == once


def test_a_complex_number_is_not_taken_as_imaginary():
    real = Step("", "", "identity", sp.Eq(sp.re(derived.z), 0), "", (proofs.by_identity(),))
    assert real.verdict() == "undecided"


def test_each_coefficient_has_its_own_rule():
    h, other, j = derived.h, sp.IndexedBase("g", complex=True), derived.j
    point = {h[j]: j, other[j]: j**2}
    assert ball(h[3] + other[4], point) == 3 + 16
    assert ball(h[3], {h[j]: j}) == 3


def test_a_sign_that_no_relation_gives_proves_nothing():
    x = sp.Symbol("x", real=True)
    weak, none = sp.Ge(x, 0, evaluate=False), sp.Gt(-x, -1, evaluate=False)
    positive = sp.Dummy(positive=True)
    proof = proofs.by_certificate(positive, Use(positive, weak))
    claim = Step("", "", "holds", sp.Gt(x, 0, evaluate=False), "", (proof,), (weak, none))
    assert claim.verdict() == "undecided"


def test_a_basis_is_orthonormal_where_384_bits_do_not_do():
    found = basis.grid_basis(pia.RopeSpec(32, 10_000.0, 32))
    np.testing.assert_allclose(found.functions.T @ found.functions, np.eye(32), atol=1e-10)


def test_a_basis_takes_the_bits_it_may(monkeypatch):
    made = basis.grid_basis.__wrapped__
    monkeypatch.setattr(basis, "_MOST_BITS", 512)
    assert made(pia.RopeSpec(32, 10_000.0, 32)).bits == 538
    monkeypatch.setattr(basis, "_MOST_BITS", 256)
    with pytest.raises(ValueError, match="at most 256 bits"):
        made(pia.RopeSpec(32, 10_000.0, 32))


@pytest.mark.parametrize("trained", [(-3.0, 3.0), (-0.1, 0.2), (-8.0, 2.0)])
def test_high_precision_agrees_with_float64(monkeypatch, trained):
    """Where both serve and the coefficients' limit binds."""
    limit = 0.7 * trained[1]
    plain = pia.worst_case_score(SMALL, 40.5, max_coefficient=limit, trained=trained)
    monkeypatch.setattr(programme, "LARGEST_FLOAT64", 0.0)
    exact = pia.worst_case_score(SMALL, 40.5, max_coefficient=limit, trained=trained)
    assert np.abs(exact.coefficients).max() == pytest.approx(limit, rel=1e-6)
    assert (exact.lower, exact.upper) == pytest.approx((plain.lower, plain.upper), rel=1e-6)


@pytest.mark.parametrize("trained", [(-1.0, 4.0), (-4.0, 1.0), (-5.0, 5.0)])
def test_without_a_limit_on_coefficients_both_sides_agree(trained):
    spec = pia.RopeSpec(4, 20.0, 30)
    found = pia.worst_case_score(spec, 33.3, max_coefficient=math.inf, trained=trained)
    assert found.gap < 1e-12


def _direct(spec, span, limit):
    """The closed form as its formula has it, the least over lambda by a search."""
    grid = np.exp(1j * np.outer(np.arange(spec.context_window), spec.frequencies))
    rows = np.concatenate([grid.real, -grid.imag], axis=1)
    both = rows.T @ rows / spec.context_window
    limits = np.eye(2 * spec.pairs) / (spec.pairs * limit**2)
    turn = np.exp(1j * span * spec.frequencies)
    c = np.concatenate([turn.real, -turn.imag])

    def bound(odds):
        share = 1.0 / (1.0 + math.exp(-odds))
        return math.sqrt(c @ np.linalg.solve(share * both + (1.0 - share) * limits, c))

    best = optimize.minimize_scalar(bound, bounds=(-40.0, 40.0), method="bounded")
    return best.fun


@pytest.mark.parametrize("window", [5, 6])
@pytest.mark.parametrize("limit", [0.3, 1.0, 10.0])
def test_the_closed_form_is_its_formula(window, limit):
    spec = pia.RopeSpec(4, 20.0, window)
    spans = np.linspace(-3.0, 20.0, 13)
    direct = [_direct(spec, s, limit) for s in spans]
    found = pia.worst_case_bound(spec, spans, max_coefficient=limit)
    np.testing.assert_allclose(found, direct, rtol=1e-9)
    certified = pia.worst_case_bound(spec, spans, max_coefficient=limit, certified=True)
    np.testing.assert_allclose(certified, direct, rtol=1e-9)


def test_another_base_has_no_grid_points_of_this_one():
    """At an integer span of the window, read by slower and by faster pairs."""
    for base in (25.0, 100.0):
        model = pia.RopeSpec(8, base, 24)
        found = pia.worst_case_score(SMALL, 20.0, max_coefficient=1.0, extension=model)
        assert found.status == "optimal"
        assert found.lower > 1.0


@pytest.fixture
def sloppy(monkeypatch):
    """A first attempt that leaves a gap of 1e-5."""

    def attempt(*args, fast=programme._fast, plain=False):
        steps, h, dual = fast(*args, plain=plain)
        if not plain:
            h = [(re * (1.0 - 1e-5), im * (1.0 - 1e-5)) for re, im in h]
        return steps, h, dual

    monkeypatch.setattr(programme, "_fast", attempt)


@pytest.mark.usefixtures("sloppy")
def test_what_a_first_attempt_leaves_is_solved_again():
    found = pia.worst_case_score(SMALL, 40.5, max_coefficient=1.0)
    assert found.gap < 1e-6


@pytest.mark.parametrize(("limit", "count"), [(1.0, 0), (1e7, 0), (3e7, 4)])
def test_decimals_come_with_large_limits_alone(limit, count):
    found = pia.worst_case_score(SMALL, 40.5, max_coefficient=limit)
    assert len(found.digits) == count


def test_rounds_are_the_steps_taken(monkeypatch):
    advance, taken = interior._advance, []

    def watched(*args):
        taken.append(advance(*args))
        return taken[-1]

    monkeypatch.setattr(interior, "_advance", watched)
    found = pia.worst_case_score(SMALL, 40.5, max_coefficient=1.0)
    assert found.rounds == sum(taken) > 0


def test_both_ways_of_solving_agree():
    terms = programme.Objective(SMALL, 40.5, contrast=False).centered(SMALL)
    value = pia.worst_case_score(SMALL, 40.5, max_coefficient=1.0).value
    for plain in (False, True):
        found = cone.solve(SMALL, terms, 1.0, (-1.0, 1.0), plain=plain)
        assert float((found.centered * terms).real.sum()) == pytest.approx(value, rel=1e-7)


def _weighting(coefficients):
    """With seven grid points of eight that the form needs: it rests on the coefficients."""
    problem = checked_problem(SMALL, 1.0, pia.NTKAware(SMALL, 48))
    system = problem.system()
    grid = np.zeros((2, 12))
    grid[0, :7] = (1.0 - coefficients) / 7
    others = np.full(4, coefficients / 4)
    return problem, system, supremum._weighting(problem, system, grid, others)


def test_weights_whose_form_rounding_hides_are_not_used():
    assert _weighting(1e-10)[2] is not None
    assert _weighting(1e-12)[2] is None


def test_between_two_spans_the_bound_rises_by_an_eighth_of_their_distance_squared():
    problem = checked_problem(SMALL, 1.0, None)
    for step in (1.0, 0.25, 0.0625):
        search = supremum._Search(problem, 30.0, 31.0, step)
        search._add(*weights.spread_evenly(search.system, 0.5))
        curvature = search.family[0].curvature
        dense = supremum._Search(problem, 30.0, 31.0, step / 16)
        dense._add(*weights.spread_evenly(search.system, 0.5))
        rise = search.upper - search.values.max()
        assert dense.values.max() <= search.upper
        assert rise == pytest.approx(step**2 * curvature / 8, rel=1e-9)


def test_the_curvature_is_that_of_the_worst_phases():
    problem, system, found = _weighting(0.3)
    turns = np.exp(1j * np.linspace(0.0, np.pi, 2001))[:, None, None] * np.eye(4)
    forms = (problem.coordinates.project(turns) * system.scale[None, None]).reshape(2001, 4, -1)
    worst = found.excess * np.linalg.norm(forms @ found.half, axis=-1).max(axis=0)
    expected = problem.model.attention_factor**2 * (problem.model.frequencies**2 @ worst)
    assert found.curvature == pytest.approx(expected, rel=1e-5)
    assert found.curvature >= expected * (1.0 - 1e-12)


def test_slopes_are_enclosed_where_sums_of_phases_cancel():
    """Theta of 4, 0 and -4 at 0: the sum of phases has no slope there, and the most curvature."""
    with flint.ctx.workprec(128):
        theta = [flint.arb(t) for t in (8, 4, 0)]
        for radius in (2.0**-10, 2.0**-6):
            _, slope = abel.abel_and_slope(theta, flint.arb(0), flint.arb(radius))
            fall = abel.abel_ball(theta, flint.arb(radius)) - abel.abel_ball(theta, flint.arb(0))
            assert slope.contains(fall / radius)
            steps = abel.abel_ball(theta, flint.arb(radius * 0.99))
            fall = abel.abel_ball(theta, flint.arb(radius)) - steps
            assert slope.contains(fall / (radius * 0.01))


@pytest.mark.parametrize("pairs", [1, 2, 3, 5, 7, 64, 128])
def test_the_error_of_float64_covers_the_steps_of_its_proof(pairs):
    partial = sum(1.45 * k**2 + 59.0 * k for k in range(1, pairs + 1))
    moduli = (pairs + 9) * pairs * (pairs + 1) / 2
    assert abel.float_error(pairs) * 2.0**53 > partial + moduli


def test_a_search_across_a_power_of_two_is_as_long_as_its_integers():
    found = abel.smallest_at_integers(SMALL, 2**30 + 2, start=2**30 - 2)
    assert found.value.quantity == "min B over 1073741822..1073741825"
    spans = np.arange(2.0**30 - 2, 2.0**30 + 2)
    assert found.location_lower == spans[pia.abel_sum(SMALL, spans).argmin()]


def test_cells_too_many_for_balls_are_halved_first(monkeypatch):
    monkeypatch.setattr(minimum, "BALL_TERMS", 256)
    monkeypatch.setattr(minimum, "MOST_BALL_TERMS", 2048)
    found = minimum.smallest_abel_sum(SMALL, 0.0, 20_000.0)
    assert found.value.width < 1e-9
    (lowest,) = pia.abel_sum(SMALL, found.location_lower)
    assert found.value.lower == pytest.approx(lowest, rel=1e-9)


def test_the_longest_search_of_reals_is_told():
    words = r"stop must be at most 1\.34218e\+08 tokens above start for base 50"
    with pytest.raises(ValueError, match=words):
        minimum.smallest_abel_sum(SMALL, 0.0, 2.0**40)


def test_a_nearest_trained_span_is_trained():
    """Under interpolation all pairs of 47.9 agree on 23.95, beyond the last trained span."""
    found = pia.deviation_bound(pia.PositionInterpolation(SMALL, 48), [46.5, 47.9])
    assert (found.nearest <= 23.0).all()


def test_an_error_that_is_largest_at_0_is_bounded():
    """Twelve fast cosines add up at 0 alone, where no Chebyshev point lies."""
    found = programmes.Basis(np.linspace(50.0, 63.5, 12), 1.0)
    assert found.error(np.full(12, 10.0 / 12), 2) >= 10.0


@pytest.mark.parametrize("weight", [0.0, -0.5, -1.0, 1.0, 1.5])
def test_a_weight_lies_between_0_and_1(weight):
    with pytest.raises(ValueError, match=f"weight must lie above 0 and below 1, got {weight:g}"):
        pia.required_margin(5, weight)


def test_a_squared_modulus_is_the_product_with_the_conjugate():
    z = sp.Symbol("z", complex=True)
    product = (z + 1) * (sp.conjugate(z) + 1)
    assert is_zero(sp.Abs(z + 1) ** 2 - product)
    assert is_zero(sp.Abs(z + 1) ** 3 - sp.Abs(z + 1) * product)


def test_what_refutes_the_theorem_are_the_models_named(monkeypatch):
    refute, points = proofs.by_counterexample, []

    def watched(*given, **options):
        points.extend(given)
        return refute(*given, **options)

    monkeypatch.setattr(proofs, "by_counterexample", watched)
    derived.derivation()
    assert {point[derived.d] for point in points if derived.H in point} == {128, 64}


def test_a_basis_that_is_kept_cannot_be_changed():
    found = basis.grid_basis(SMALL)
    with pytest.raises(ValueError, match="read-only"):
        found.functions[0, 0] = 0.0
    assert basis.grid_basis(SMALL) is found


@pytest.mark.parametrize("low", [0.0, -1e-7, -2e6])
def test_a_lower_limit_within_what_is_taken(low):
    with pytest.raises(ValueError, match=r"trained\[0\] must be"):
        pia.worst_case_score(SMALL, 0.5, max_coefficient=1.0, trained=(low, 1.0))


def test_a_gap_that_no_attempt_closes_is_told(monkeypatch):
    def loose(*args, attempt=programme._fast, plain=False):
        steps, h, dual = attempt(*args, plain=plain)
        return steps, [(re * 0.99, im * 0.99) for re, im in h], dual

    monkeypatch.setattr(programme, "_fast", loose)
    monkeypatch.setattr(programme, "_exact", programme._plain)
    found = pia.worst_case_score(SMALL, 40.5, max_coefficient=1.0)
    assert found.status == "loose"
    assert found.gap == pytest.approx(1 / 0.99 - 1, rel=1e-3)


def test_a_grid_too_large_is_refused():
    words = "at most 134217728 for the closed form, got 524289 "
    with pytest.raises(ValueError, match=words):
        pia.worst_case_bound(pia.RopeSpec(256, 1e4, 2**19 + 1), 1.0, max_coefficient=1.0)


def test_terms_in_phase_that_break_a_limit_are_no_optimum():
    """Beyond the coefficients that float64 checks first."""
    spec = pia.RopeSpec(2, 100.0, 2)
    found = pia.worst_case_score(spec, 2.4, max_coefficient=1.5e6, trained=(-1e6, 1e6))
    same = pia.worst_case_score(spec, 2.4, max_coefficient=1.5)
    assert found.status == same.status == "optimal"
    assert found.upper == pytest.approx(1e6 * same.upper, rel=1e-6)


@pytest.mark.usefixtures("sloppy")
def test_a_gap_is_relative_however_large_the_limits():
    found = pia.worst_case_score(SMALL, 40.5, max_coefficient=1e6, trained=(-1e6, 1e6))
    assert found.gap < 1e-6


@pytest.mark.parametrize("times", [1, 2, 4])
def test_an_active_system_may_take_more_bits(monkeypatch, times):
    bits, solve = basis.grid_basis(SMALL).bits, programme.certificate.vertex
    monkeypatch.setattr(
        programme.certificate,
        "vertex",
        lambda *args: solve(*args) if flint.ctx.prec >= times * bits else None,
    )
    found = pia.worst_case_score(SMALL, 40.5, max_coefficient=math.inf)
    assert found.bits == times * bits
    assert found.gap < 1e-12


@pytest.mark.parametrize("limit", [1e-3, 1e-2])
def test_small_limits_allow_no_more_than_all_terms_in_phase(limit):
    scheme = pia.YaRN(SMALL, 48)
    found = pia.largest_worst_case(scheme, max_coefficient=limit)
    assert found.upper == pytest.approx(4 * limit * scheme.attention_factor**2, rel=1e-9)
