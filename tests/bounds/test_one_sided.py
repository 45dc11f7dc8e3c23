"""Trained scores limited to [-l, u]: against linear programmes and the two-sided worst case."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy.optimize import linprog

import pianalysis as pia
from pianalysis.bounds.worst_case import certificate, cone

MIDDLE = pia.RopeSpec(16, 100.0, 64)


def polygonal(spec, cost, limit, low, high, sides=48):
    """Maximise by linear programming, each disc |h_j| <= H by a polygon inside it or around."""
    angle = np.outer(np.arange(spec.context_window), spec.frequencies)
    grid = np.concatenate([np.cos(angle), -np.sin(angle)], axis=1)
    turns = 2 * np.pi * np.arange(sides) / sides
    faces = np.zeros((spec.pairs * sides, 2 * spec.pairs))
    for j in range(spec.pairs):
        faces[j * sides : (j + 1) * sides, j] = np.cos(turns)
        faces[j * sides : (j + 1) * sides, spec.pairs + j] = np.sin(turns)
    count = spec.context_window
    values = []
    for size in (limit * math.cos(math.pi / sides), limit):
        found = linprog(
            -cost,
            A_ub=np.concatenate([grid, -grid, faces]),
            b_ub=np.concatenate(
                [np.full(count, high), np.full(count, low), np.full(faces.shape[0], size)]
            ),
            bounds=(None, None),
        )
        values.append(-found.fun)
    return values


def cost(spec, s, model=None):
    phase = s * (model or spec).frequencies
    return np.concatenate([np.cos(phase), -np.sin(phase)])


def test_the_audited_values():
    for low, expected in ((1.0, 5.02), (2.0, 6.24), (4.0, 7.77), (8.0, 7.84)):
        found = pia.worst_case_score(MIDDLE, 96.0, max_coefficient=1.0, trained=(-low, 1.0))
        assert found.value == pytest.approx(expected, rel=2e-3)
        assert found.gap < 1e-7
        assert found.trained == (-low, 1.0)


@pytest.mark.parametrize("spec", [MIDDLE, pia.RopeSpec(10, 700.0, 41)])
@pytest.mark.parametrize("trained", [(-0.3, 1.0), (-3.0, 0.7), (-40.0, 2.5), (-1.0, 1.0)])
@pytest.mark.parametrize("s", [10.5, 45.0, 96.25, 12.0])
def test_between_two_linear_programmes(spec, trained, s):
    for limit in (0.4, 2.0):
        inner, outer = polygonal(spec, cost(spec, s), limit, -trained[0], trained[1])
        found = pia.worst_case_score(spec, s, max_coefficient=limit, trained=trained)
        assert inner * (1 - 1e-9) <= found.upper
        assert found.lower <= outer * (1 + 1e-9)
        assert found.gap < 1e-6


def test_the_contrast_between_two_linear_programmes():
    scheme = pia.NTKAware(MIDDLE, 256)
    for trained in ((-0.5, 1.0), (-5.0, 2.0)):
        step = cost(MIDDLE, 31.0, scheme) - cost(MIDDLE, 30.0, scheme)
        inner, outer = polygonal(MIDDLE, step, 1.5, -trained[0], trained[1])
        found = pia.worst_case_contrast(
            MIDDLE, 30.0, max_coefficient=1.5, extension=scheme, trained=trained
        )
        assert inner * (1 - 1e-9) <= found.upper
        assert found.lower <= outer * (1 + 1e-9)
        assert found.gap < 1e-6


def test_grows_with_both_limits_and_scales():
    for s in (20.5, 96.0):
        lows = (0.1, 0.5, 1.0, 3.0, 20.0)
        found = [
            pia.worst_case_score(MIDDLE, s, max_coefficient=2.0, trained=(-low, 1.0))
            for low in lows
        ]
        for less, more in itertools.pairwise(found):
            assert less.lower <= more.upper
            assert less.value <= more.value * (1 + 1e-7)
        assert found[-1].value > found[0].value * 1.05
    for size in (0.25, 7.0):
        two = pia.worst_case_score(MIDDLE, 96.0, max_coefficient=2.0)
        scaled = pia.worst_case_score(
            MIDDLE, 96.0, max_coefficient=2.0 * size, trained=(-size, size)
        )
        assert scaled.value == pytest.approx(size * two.value, rel=1e-7)
        one = pia.worst_case_score(MIDDLE, 96.0, max_coefficient=2.0, trained=(-3.0, 1.0))
        scaled = pia.worst_case_score(
            MIDDLE, 96.0, max_coefficient=2.0 * size, trained=(-3.0 * size, size)
        )
        assert scaled.value == pytest.approx(size * one.value, rel=1e-7)


def test_the_returned_head_keeps_its_limits():
    found = pia.worst_case_score(MIDDLE, 96.0, max_coefficient=1.0, trained=(-4.0, 1.0))
    scores = pia.attention_score(MIDDLE, found.coefficients, np.arange(64.0))
    assert scores.max() <= 1 + 1e-12
    assert -4 - 1e-12 <= scores.min() < -1.5
    assert np.abs(found.coefficients).max() <= 1 + 1e-12
    assert pia.attention_score(MIDDLE, found.coefficients, 96.0) == pytest.approx(found.value)


def test_without_a_limit_on_the_coefficients():
    spec = pia.RopeSpec(8, 100.0, 24)
    for trained in ((-1.0, 1.0), (-3.0, 1.0), (-0.5, 2.0)):
        for s in (11.5, 40.0):
            found = pia.worst_case_score(spec, s, max_coefficient=math.inf, trained=trained)
            assert found.gap < 1e-12
            angle = np.outer(np.arange(24), spec.frequencies)
            grid = np.concatenate([np.cos(angle), -np.sin(angle)], axis=1)
            plain = linprog(
                -cost(spec, s),
                A_ub=np.concatenate([grid, -grid]),
                b_ub=np.concatenate([np.full(24, trained[1]), np.full(24, -trained[0])]),
                bounds=(None, None),
            )
            assert found.value == pytest.approx(-plain.fun, rel=1e-6)


def test_at_a_grid_point():
    for trained, closed in (((-2.0, 1.5), True), ((-0.2, 1.5), False)):
        found = pia.worst_case_score(MIDDLE, 17.0, max_coefficient=1e3, trained=trained)
        assert (found.status == "grid point") == closed
        assert found.upper <= 1.5 * (1 + 1e-6)
        if closed:
            assert found.value == pytest.approx(1.5, rel=1e-12)
    # Where hardly any negative score is allowed, u itself may be out of reach.
    spec = pia.RopeSpec(4, 100.0, 64)
    found = pia.worst_case_score(spec, 0.0, max_coefficient=1.0, trained=(-0.01, 1.0))
    inner, outer = polygonal(spec, cost(spec, 0.0), 1.0, 0.01, 1.0)
    assert inner * (1 - 1e-9) <= found.upper
    assert found.lower <= outer * (1 + 1e-9)


@pytest.mark.parametrize(
    ("trained", "error", "words"),
    [
        ((0.0, 1.0), ValueError, r"trained\[0\] must be"),
        ((1.0, 2.0), ValueError, r"trained\[0\] must be"),
        ((-1.0, 0.0), ValueError, r"trained\[1\] must be"),
        ((-1.0, math.inf), ValueError, r"trained\[1\] must be"),
        ((-1.0, "1"), TypeError, r"trained\[1\] must be"),
        (1.0, TypeError, "trained must be a pair"),
        ((-1.0, 1.0, 2.0), TypeError, "trained must be a pair"),
    ],
)
def test_refusals(trained, error, words):
    for function in (pia.worst_case_score, pia.worst_case_contrast):
        with pytest.raises(error, match=words):
            function(MIDDLE, 1.5, max_coefficient=1.0, trained=trained)


def test_the_check_sees_each_limit():
    import flint

    found = pia.worst_case_score(MIDDLE, 96.0, max_coefficient=1.0)
    scores = pia.attention_score(MIDDLE, found.coefficients, np.arange(64.0))
    assert min(-scores.min(), scores.max()) > 0.999
    with flint.ctx.workprec(128):
        h = [(flint.arb(z.real), flint.arb(z.imag)) for z in found.coefficients.tolist()]
    for trained, holds in (
        ((-1.0, 1.0), True),
        ((-0.9, 1.0), False),
        ((-1.0, 0.9), False),
        ((-7.0, 1.0), True),
        ((-7.0, 0.9), False),
        ((-1.0, 5.0), True),
        ((-0.9, 5.0), False),
    ):
        assert certificate.within(MIDDLE, h, 1.0, 128, trained) == holds
        assert (certificate.excess(MIDDLE, h, 1.0, 128, trained) <= 1.0) == holds
    assert not certificate.within(MIDDLE, h, 0.9, 128)
    assert certificate.excess(MIDDLE, h, 0.9, 128) > 1.1


def test_no_random_problem_is_left_loose(rng):
    """Dimensions, windows, bases, limits and spans at random; each gap as documented."""
    for _ in range(60):
        dim, window = 2 * int(rng.choice([1, 2, 4, 8, 16])), int(rng.choice([1, 5, 24, 129]))
        spec = pia.RopeSpec(dim, float(10 ** rng.uniform(0.2, 6.0)), window)
        limit = float(10 ** rng.uniform(-2, 3.5))
        trained = (-float(10 ** rng.uniform(-1, 1)), float(10 ** rng.uniform(-0.5, 0.5)))
        s = float(rng.choice([rng.uniform(0, window), rng.uniform(0, 4 * window), window - 0.5]))
        scheme = pia.YaRN(spec, 4 * window) if window > 6 and rng.random() < 0.4 else None
        for function in (pia.worst_case_score, pia.worst_case_contrast):
            found = function(spec, s, max_coefficient=limit, extension=scheme, trained=trained)
            assert found.lower <= found.upper
            assert found.gap < (1e-6 if limit <= 10 * trained[1] else 1e-3), found


def test_where_float64_leaves_a_gap_slower_ways_follow(monkeypatch):
    """With the fast way spoilt, the plain one answers; with both, the exact basis."""
    expected = pia.worst_case_score(MIDDLE, 70.5, max_coefficient=2.0)
    usual = cone.solve
    for spoilt in ((False,), (False, True)):

        def solve(*given, plain=False, spoilt=spoilt):
            found = usual(*given, plain=plain)
            if plain in spoilt:
                found = dataclasses.replace(found, weights=0.5 * found.weights)
            return found

        monkeypatch.setattr(cone, "solve", solve)
        found = pia.worst_case_score(MIDDLE, 70.5, max_coefficient=2.0)
        assert found.value == pytest.approx(expected.value, rel=1e-7)
        assert found.gap < 1e-6
        assert found.rounds > expected.rounds
