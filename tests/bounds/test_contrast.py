"""The worst contrast: against a plain solve, an independent check at 60 digits, and Bernstein."""

import dataclasses
import math

import mpmath as mp
import numpy as np
import oracles
import pytest

import pianalysis as pia

SMALL = pia.RopeSpec(8, 100.0, 24)
MIDDLE = pia.RopeSpec(16, 100.0, 64)


@dataclasses.dataclass(frozen=True)
class Turned:
    """Any frequencies, some of them zero, and a temperature."""

    spec: pia.RopeSpec
    frequencies: np.ndarray
    attention_factor: float = 1.0
    geometric: None = None

    @property
    def frequencies_tail(self):
        return np.zeros_like(self.frequencies)


def plain_solve(spec, s, limit, model=None):
    """The programme as scipy sees it: the discs as 64-gons from outside, every grid point."""
    from scipy.optimize import linprog

    model = spec if model is None else model
    angle = np.outer(np.arange(spec.context_window), spec.frequencies)
    grid = np.concatenate([np.cos(angle), -np.sin(angle)], axis=1)
    low, high = s * model.frequencies, (s + 1) * model.frequencies
    step = [np.cos(high) - np.cos(low), np.sin(low) - np.sin(high)]
    cost = model.attention_factor**2 * np.concatenate(step)
    sides = []
    for turn in 2 * np.pi * np.arange(64) / 64:
        eye = np.eye(spec.pairs)
        sides.append(np.concatenate([np.cos(turn) * eye, np.sin(turn) * eye], axis=1))
    rows = np.concatenate([grid, -grid, *sides])
    tops = np.concatenate([np.ones(2 * len(grid)), np.full(64 * spec.pairs, limit)])
    found = linprog(-cost, A_ub=rows, b_ub=tops, bounds=(None, None))
    assert found.status == 0
    return -found.fun


@pytest.mark.parametrize("limit", [0.3, 1.0, 10.0])
@pytest.mark.parametrize("s", [0.0, 7.0, 7.5, 23.0, 70.0])
@pytest.mark.parametrize("spec", [SMALL, MIDDLE])
def test_agrees_with_a_plain_solve(spec, s, limit):
    found = pia.worst_case_contrast(spec, s, max_coefficient=limit)
    assert found.lower <= found.value <= found.upper
    assert found.gap < 1e-7
    outside = plain_solve(spec, s, limit)
    # A 64-gon around the unit disc reaches out to 1 / cos(pi / 64).
    assert found.upper * (1 - 1e-7) <= outside
    assert found.value >= outside * math.cos(math.pi / 64) * (1 - 1e-7)


@pytest.mark.parametrize(
    "model",
    [
        pia.PositionInterpolation(SMALL, 96),
        pia.NTKAware(SMALL, 96),
        Turned(SMALL, np.array([1.0, 0.2, 0.01, 0.0]), 1.25),
    ],
)
def test_both_sides_at_60_digits(model):
    with mp.workdps(60):
        if isinstance(model, pia.PositionInterpolation):
            changed = [t / 4 for t in oracles.theta(100.0, 8)]
        elif isinstance(model, pia.NTKAware):
            changed = oracles.theta(model.base, 8)
        else:
            changed = [mp.mpf(float(t)) for t in model.frequencies]
        own = oracles.theta(100.0, 8)
        gain = mp.mpf(float(model.attention_factor)) ** 2
        for limit, s in ((1.0, 0.0), (1.0, 40.5), (5.0, 94.0)):
            found = pia.worst_case_contrast(SMALL, s, max_coefficient=limit, extension=model)
            h = [mp.mpc(complex(c)) for c in found.coefficients]
            step = gain * (oracles_score(changed, h, s + 1) - oracles_score(changed, h, s))
            assert found.lower <= step
            assert max(abs(c) for c in h) <= limit
            assert max(abs(oracles_score(own, h, n)) for n in range(24)) <= 1
            total = sum((abs(mp.mpf(float(w))) for w in found.dual.weight), mp.mpf(0))
            for new, old in zip(changed, own, strict=True):
                rest = gain * (mp.expj(new * (s + 1)) - mp.expj(new * s))
                for n, w in zip(found.dual.node, found.dual.weight, strict=True):
                    rest -= mp.mpf(float(w)) * mp.expj(old * int(n))
                total += limit * abs(rest)
            assert total <= found.upper
            assert found.gap < 1e-6


def oracles_score(theta, h, s):
    return sum((c * mp.expj(t * s) for c, t in zip(h, theta, strict=True)), mp.mpc(0)).real


def test_nothing_beats_it_and_the_returned_head_reaches_it(rng):
    h = rng.standard_normal((500, 8)) + 1j * rng.standard_normal((500, 8))
    h /= np.abs(pia.attention_score(MIDDLE, h, np.arange(64.0))).max(axis=1, keepdims=True)
    h = h[np.abs(h).max(axis=1) <= 1.0]
    assert len(h) > 100
    for model in (MIDDLE, pia.NTKAware(MIDDLE, 256)):
        for s in (0.0, 20.0, 63.5, 200.0):
            found = pia.worst_case_contrast(MIDDLE, s, max_coefficient=1.0, extension=model)
            steps = np.diff(pia.attention_score(model, h, [s, s + 1]))
            assert np.abs(steps).max() <= found.upper
            own = np.diff(pia.attention_score(model, found.coefficients, [s, s + 1]))[0]
            assert own == pytest.approx(found.value, rel=1e-12)


@pytest.mark.parametrize("factor", [1, 4, 16])
def test_position_interpolation_pays_the_sine_of_half_its_step(factor):
    # Bernstein: a step of 1/factor tokens is at most 2 sin(1/(2 factor)) of the largest score.
    spec = pia.RopeSpec(32, 10_000.0, 256)
    scheme = pia.PositionInterpolation(spec, 256 * factor)
    found = pia.worst_case_contrast(spec, 128.0 * factor, max_coefficient=1.0, extension=scheme)
    single = 2 * math.sin(0.5 / factor)
    assert single * 0.99 < found.value < single / math.cos(0.5)
    termwise = float(pia.adjacent_contrast(scheme))
    assert found.upper < termwise


def test_only_the_coefficients_bind():
    for s in (0.0, 30.5, 1e6):
        found = pia.worst_case_contrast(MIDDLE, s, max_coefficient=1 / 16)
        assert found.status == "coefficients"
        assert found.quantity == "contrast"
        assert found.value == pytest.approx(float(pia.adjacent_contrast(MIDDLE, 1 / 16)), rel=1e-13)
        assert found.gap < 1e-13


def test_pairs_that_do_not_turn_are_left_out():
    still = Turned(MIDDLE, np.where(np.arange(8) < 4, MIDDLE.frequencies, 0.0))
    found = pia.worst_case_contrast(MIDDLE, 3.0, max_coefficient=1 / 16, extension=still)
    assert (found.coefficients[4:] == 0).all()
    assert found.value == pytest.approx(float(pia.adjacent_contrast(still, 1 / 16)), rel=1e-13)
    with pytest.raises(ValueError, match="extension must turn at least one pair"):
        pia.worst_case_contrast(
            MIDDLE, 3.0, max_coefficient=1.0, extension=Turned(MIDDLE, np.zeros(8))
        )


def test_the_temperature_enters_squared():
    warm = Turned(MIDDLE, MIDDLE.frequencies, 1.25)
    ours = pia.worst_case_contrast(MIDDLE, 70.5, max_coefficient=1.0, extension=warm)
    cold = pia.worst_case_contrast(MIDDLE, 70.5, max_coefficient=1.0)
    assert ours.value == pytest.approx(1.25**2 * cold.value, rel=1e-8)


def test_without_limit():
    inside = pia.worst_case_contrast(MIDDLE, 20.0, max_coefficient=math.inf)
    assert inside.gap < 1e-12
    assert inside.value == pytest.approx(0.963665, abs=1e-6)
    # Two grid points: the dual is degenerate there, and the sides may stay apart, but true.
    edge = pia.worst_case_contrast(MIDDLE, 0.0, max_coefficient=math.inf)
    large = pia.worst_case_contrast(MIDDLE, 0.0, max_coefficient=1e4)
    assert large.value <= edge.upper <= 2 * (1 + 1e-12)
    assert edge.lower <= 2.0


def test_refusals():
    for change, error, words in (
        ({"max_coefficient": 0.0}, ValueError, "max_coefficient must be"),
        ({"s": math.nan}, ValueError, "s must be a finite number"),
        ({"spec": "llama-7b"}, TypeError, "spec must be a RopeSpec"),
        ({"extension": 4.0}, TypeError, "extension must be an extension"),
    ):
        asked = {"spec": MIDDLE, "s": 1.5, "max_coefficient": 1.0, "extension": None} | change
        with pytest.raises(error, match=words):
            pia.worst_case_contrast(
                asked["spec"],
                asked["s"],
                max_coefficient=asked["max_coefficient"],
                extension=asked["extension"],
            )
