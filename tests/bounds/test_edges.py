"""Where a rule turns: limits as stated, one-sided limits of another size, what is only just so."""

import math

import numpy as np
import pytest

import pianalysis as pia
from pianalysis.bounds import deviation
from pianalysis.bounds.worst_case import supremum
from pianalysis.bounds.worst_case.closed_form import checked_problem
from pianalysis.precision.table import tabulate_schemes
from pianalysis.scores import fits, threads

SMALL = pia.RopeSpec(8, 50.0, 24)
TINY = pia.RopeSpec(4, 20.0, 6)


def _updated(updates):
    return pia.worst_case_bound(TINY, 0.5, max_coefficient=1.0, updates=updates)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: pia.worst_case_score(SMALL, 0.5, max_coefficient=1e9 + 0.5), "at most 1e"),
        (lambda: _updated(1001), "from 0 to 1000"),
        (lambda: tabulate_schemes(SMALL, 2**20 + 1, {}), "from 1 to 1048576"),
        (lambda: fits.fit_score(pia.RopeSpec(8, 50.0, 2**24 + 1), []), "at most 134217728"),
    ],
)
def test_just_beyond_a_limit_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_at_a_limit_is_answered():
    at_most = pia.worst_case_score(TINY, 0.5, max_coefficient=1e9)
    assert 1.0 < at_most.lower <= at_most.upper
    assert _updated(1000) >= 1.0


@pytest.mark.parametrize("trained", [(-1.0, 3.0), (-5.0, 1.0), (-2.0, 2.0)])
@pytest.mark.parametrize("limit", [math.inf, 3e7])
def test_all_limits_doubled_double_the_worst_case(trained, limit):
    """At high precision, where the limits enter as shares of the upper one."""
    once = pia.worst_case_score(SMALL, 40.5, max_coefficient=limit, trained=trained)
    doubled = tuple(2.0 * x for x in trained)
    twice = pia.worst_case_score(SMALL, 40.5, max_coefficient=2 * limit, trained=doubled)
    assert twice.lower == pytest.approx(2.0 * once.lower, rel=1e-9)
    assert twice.upper == pytest.approx(2.0 * once.upper, rel=1e-9)
    assert once.gap < 1e-6


@pytest.mark.parametrize(
    ("spec", "s", "limits"),
    [
        (pia.RopeSpec(16, 1e4, 64), 90.0, {"max_coefficient": 1e6}),
        (pia.RopeSpec(16, 100.0, 32), 35.2, {"max_coefficient": 2e3, "trained": (-1e-3, 1e-3)}),
    ],
)
def test_rounding_that_breaks_a_limit_again_is_shrunk_away(spec, s, limits):
    """Coefficients far above the scores: rounding them moves a score by as much as the excess."""
    found = pia.worst_case_score(spec, s, **limits)
    assert 0.0 < found.lower <= found.upper
    assert found.gap < 1e-3


def test_inside_is_what_half_a_window_on_one_side_allows():
    """Of two neighbours of the grid one has half the window on its far side."""
    found = pia.largest_worst_case(pia.PositionInterpolation(SMALL, 48), max_coefficient=1.0)
    half = checked_problem(pia.RopeSpec(8, 50.0, 12), 1.0, None)
    search = supremum._Search(half, 0.0, 1.0, 0.25)
    search.run()
    assert found.inside == search.upper
    spans = np.linspace(0.0, 1.0, 9)
    cases = [pia.worst_case_score(half.spec, s, max_coefficient=1.0) for s in spans]
    assert max(case.lower for case in cases) <= found.inside


def test_cells_are_those_of_the_search():
    extension = pia.NTKAware(SMALL, 48)
    found = pia.largest_worst_case(extension, max_coefficient=1.0)
    problem = checked_problem(SMALL, 1.0, extension)
    search = supremum._Search(problem, 0.0, 47.0, supremum._STEP)
    search.run()
    assert found.cells == len(search.ends) - 1


def test_a_crossing_after_the_last_but_one_span_is_found():
    """B(s) = 1 + 2 |cos((theta_0 - theta_1) s / 2)| of two pairs, below 1.1 around s = 3.17."""
    spec = pia.RopeSpec(4, 10_000.0, 16)
    where = (math.pi / 2 - math.asin(0.05)) / (0.99 / 2)
    assert 3 < where < 4
    for stop in (5, 4):  # spans up to stop - 1
        found = pia.first_span_below(spec, level=1.1 / 4, stop=stop)
        assert found.integer is None
        if stop == 4:
            assert found.real is None
        else:
            assert found.real.lower <= where <= found.real.upper


def test_a_level_that_is_reached_and_not_crossed_is_named():
    with pytest.raises(ValueError, match=r"B\(0\.?0*\) is level|B\(1\.0*\) is level"):
        pia.first_span_below(pia.RopeSpec(2, 100.0, 16), level=0.5, stop=4)


@pytest.mark.parametrize(("s", "nearest"), [(7.25, 3.625), (30.0, 15.0), (46.5, 23.0)])
def test_all_pairs_agree_on_a_trained_span_under_interpolation_alone(s, nearest):
    assert deviation._common(pia.PositionInterpolation(SMALL, 48), s) == nearest
    assert deviation._common(pia.NTKAware(SMALL, 48), s) is None


def test_where_the_system_names_no_cores_the_machines_count(monkeypatch):
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 7)
    assert threads.cores() == 3
    monkeypatch.delattr(threads.os, "sched_getaffinity")
    assert threads.cores() == 7


def test_the_least_sum_may_lie_at_the_start_of_a_range():
    """B(s) = 1 + 2 |cos((theta_0 - theta_1) s / 2)| grows from 3.3 to 4."""
    found = pia.smallest_abel_sum(pia.RopeSpec(4, 10_000.0, 16), start=3.3, stop=4.0)
    value = 1.0 + 2.0 * abs(math.cos(0.99 * 3.3 / 2))
    assert found.value.lower <= value * (1 + 1e-12)
    assert value * (1 - 1e-12) <= found.value.upper


def test_a_threshold_says_for_which_cells_it_is():
    assert "in every cell" in pia.paper_bound_threshold(16, cells="all").quantity
    assert "midpoints" in pia.paper_bound_threshold(16, cells="unit").quantity


def test_the_end_of_a_search_is_named():
    with pytest.raises(TypeError, match="positional"):
        pia.cosine_length(SMALL, 64)
