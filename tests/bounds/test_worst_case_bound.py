"""The closed form of the worst case: against dense matrices, exact worst cases and 60 digits."""

import math

import mpmath as mp
import numpy as np
import oracles
import pytest
import torch

import pianalysis as pia

MIDDLE = pia.RopeSpec(16, 100.0, 64)


def forms(spec, limits):
    """The two forms on (Re h, Im h) from their definitions, as dense matrices."""
    angle = np.outer(np.arange(spec.context_window), spec.frequencies)
    grid = np.concatenate([np.cos(angle), -np.sin(angle)], axis=1)
    limits = np.broadcast_to(limits, (spec.pairs,))
    return grid.T @ grid / spec.context_window, np.diag(np.tile(limits**-2.0, 2)) / spec.pairs


def dense(spec, s, limits, model=None):
    """The closed form by a fine search over lambda, an inverse each."""
    model = model or spec
    phase = s * model.frequencies
    c = np.concatenate([np.cos(phase), -np.sin(phase)]) * model.attention_factor**2
    grid, coefficients = forms(spec, limits)
    shares = np.concatenate([np.linspace(0, 1, 2001)[:-1], 1 - np.logspace(-8, -3.5, 400)])
    values = [c @ np.linalg.solve(x * grid + (1 - x) * coefficients, c) for x in shares]
    return math.sqrt(min(values))


def test_the_audited_values(llama):
    table = {
        0.1: (6.310, 6.400, 6.400, 6.03),
        1.0: (28.38, 50.82, 51.50, 8.26),
        10.0: (71.75, 440.8, 450.0, 8.39),
        100.0: (151.9, 4293.0, 4407.0, 8.54),
    }
    for limit, expected in table.items():
        found = pia.worst_case_bound(llama, [2100, 3000, 4096, 100.5], max_coefficient=limit)
        assert found == pytest.approx(expected, rel=1e-3)
    updated = {
        (4096.0, 1.0): (37.4, 35.0, 34.64),
        (2100.0, 1.0): (18.2, 14.6, 13.73),
        (3000.0, 10.0): (307.0, 290.8, 287.99),
    }
    for (s, limit), expected in updated.items():
        found = [
            pia.worst_case_bound(llama, s, max_coefficient=limit, updates=n) for n in (1, 5, 20)
        ]
        assert found == pytest.approx(expected, rel=4e-3)


@pytest.mark.parametrize("spec", [MIDDLE, pia.RopeSpec(12, 1000.0, 33), pia.RopeSpec(8, 50.0, 5)])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0, 20.0])
def test_against_dense_matrices(spec, limit, rng):
    spans = np.array([0.5, 7.25, 30.0, 41.0, 90.5, -12.0, 1e5])
    found = pia.worst_case_bound(spec, spans, max_coefficient=limit)
    assert found == pytest.approx([dense(spec, s, limit) for s in spans], rel=2e-5)
    own = limit * rng.uniform(0.1, 3.0, spec.pairs)
    found = pia.worst_case_bound(spec, spans, max_coefficient=own)
    assert found == pytest.approx([dense(spec, s, own) for s in spans], rel=2e-5)


def test_schemes_enter_with_frequencies_and_factor():
    for scheme in (pia.PositionInterpolation, pia.NTKAware, pia.YaRN):
        extension = scheme(MIDDLE, 256)
        found = pia.worst_case_bound(MIDDLE, 200.0, max_coefficient=1.0, extension=extension)
        assert found == pytest.approx(dense(MIDDLE, 200.0, 1.0, extension), rel=2e-5)
    yarn = pia.YaRN(MIDDLE, 256)
    assert yarn.attention_factor > 1.1
    small = pia.worst_case_bound(MIDDLE, 200.0, max_coefficient=1 / 100, extension=yarn)
    assert small == pytest.approx(yarn.attention_factor**2 * 8 / 100, rel=1e-12)


def test_orders_on_random_problems(rng):
    for _ in range(12):
        dim, window = 2 * int(rng.integers(2, 9)), int(rng.integers(5, 120))
        spec = pia.RopeSpec(dim, float(10 ** rng.uniform(1, 4)), window)
        limit, s = float(10 ** rng.uniform(-1.5, 1.5)), float(rng.uniform(0, 3 * window))
        exact = pia.worst_case_score(spec, s, max_coefficient=limit)
        bounds = [
            float(pia.worst_case_bound(spec, s, max_coefficient=limit, updates=n))
            for n in (0, 1, 4, 16)
        ]
        assert bounds == sorted(bounds, reverse=True)
        assert exact.lower <= bounds[-1] * (1 + 1e-12)
        assert bounds[0] <= limit * spec.pairs * (1 + 1e-12)
        certified = pia.worst_case_bound(spec, s, max_coefficient=limit, updates=4, certified=True)
        assert exact.lower <= certified <= bounds[2] * (1 + 1e-9)


@pytest.mark.parametrize(
    ("spec", "s", "limit", "updates"),
    [(MIDDLE, 20.5, 1.0, 1000), (MIDDLE, 200.0, 10.0, 300), (None, 100.5, 10.0, 100)],
)
def test_certified_keeps_what_many_updates_gain(spec, s, limit, updates, llama):
    """Weights that have fallen to nothing divide nothing."""
    settings = {"max_coefficient": limit, "updates": updates}
    plain = pia.worst_case_bound(spec or llama, s, **settings)
    certified = pia.worst_case_bound(spec or llama, s, certified=True, **settings)
    exact = pia.worst_case_score(spec or llama, s, max_coefficient=limit)
    assert exact.lower <= certified <= plain * (1 + 1e-6)


def test_updates_approach_the_exact_worst_case():
    for s in (20.5, 70.0, 200.0):
        exact = pia.worst_case_score(MIDDLE, s, max_coefficient=1.0)
        found = pia.worst_case_bound(MIDDLE, s, max_coefficient=1.0, updates=400)
        assert exact.lower <= found <= exact.upper * 1.003
    plain = pia.worst_case_bound(MIDDLE, 20.5, max_coefficient=1.0)
    assert plain > 1.5 * pia.worst_case_score(MIDDLE, 20.5, max_coefficient=1.0).upper


def test_own_limits_hold_on_random_heads(rng):
    own = rng.uniform(0.05, 2.0, 8)
    h = own * rng.uniform(size=(4000, 8)) * np.exp(2j * np.pi * rng.uniform(size=(4000, 8)))
    top = np.abs(pia.attention_score(MIDDLE, h, np.arange(64.0))).max(axis=1, keepdims=True)
    h /= np.maximum(top, 1.0)
    spans = np.linspace(-40, 200, 300)
    seen = np.abs(pia.attention_score(MIDDLE, h, spans)).max(axis=0)
    bound = pia.worst_case_bound(MIDDLE, spans, max_coefficient=own)
    assert (seen <= bound).all()
    assert (bound <= own.sum() * math.sqrt(8 * (own**2).sum()) / own.sum() + 1e-12).all()
    updated = pia.worst_case_bound(MIDDLE, spans[::60], max_coefficient=own, updates=10)
    assert (seen[::60] <= updated).all()
    assert (updated < bound[::60]).all()


def test_second_moments_bound_the_root_mean_square(rng):
    """Over a population whose mean square trained score is 1, with sigma_j^2 = E|h_j|^2."""
    mixing = rng.normal(size=(8, 3, 2)) @ [1, 1j]
    h = (mixing[None] * rng.normal(size=(5000, 1, 3))).sum(axis=-1)
    grid = pia.attention_score(MIDDLE, h, np.arange(64.0))
    h /= math.sqrt((grid**2).mean())
    sigma = np.sqrt((np.abs(h) ** 2).mean(axis=0))
    spans = np.linspace(64, 200, 60)
    scores = pia.attention_score(MIDDLE, h, spans)
    bound = pia.worst_case_bound(MIDDLE, spans, max_coefficient=sigma)
    assert (np.sqrt((scores**2).mean(axis=0)) <= bound).all()
    assert (np.abs(scores).max(axis=0) > bound).any()  # single pairs are not bounded


@pytest.mark.parametrize("limit", [1.0, 1e6, 1e9])
def test_certified_against_60_digits(limit):
    """At the lambda of the bound no inverse in float64 survives; mpmath's does."""
    spec = pia.RopeSpec(12, 10_000.0, 48)
    theta = oracles.theta(spec.base, 12)
    with mp.workdps(60):
        grid = mp.matrix(12, 12)
        for n in range(48):
            row = [mp.cos(t * n) for t in theta] + [-mp.sin(t * n) for t in theta]
            for i in range(12):
                for j in range(12):
                    grid[i, j] += row[i] * row[j] / 48
        for s in (10.5, 150.0):
            c = mp.matrix([mp.cos(t * s) for t in theta] + [-mp.sin(t * s) for t in theta])

            def value(logit, c=c):
                share = 1 / (1 + mp.exp(-logit))
                form = share * grid
                for i in range(12):
                    form[i, i] += (1 - share) / (mp.mpf(limit) ** 2 * 6)
                return mp.sqrt((c.T * mp.lu_solve(form, c))[0])

            low, high = mp.mpf(-45), mp.mpf(45)  # golden search, one value a step
            part = (3 - mp.sqrt(5)) / 2
            a, b = low + (high - low) * part, high - (high - low) * part
            at_a, at_b = value(a), value(b)
            for _ in range(28):
                if at_a < at_b:
                    high, b, at_b = b, a, at_a
                    a = low + (high - low) * part
                    at_a = value(a)
                else:
                    low, a, at_a = a, b, at_b
                    b = high - (high - low) * part
                    at_b = value(b)
            best = min(at_a, at_b, value(mp.mpf(-1000)))
            found = pia.worst_case_bound(spec, s, max_coefficient=limit, certified=True)
            assert best * (1 - mp.mpf(10) ** -9) <= found <= best * (1 + 1e-5)
            plain = pia.worst_case_bound(spec, s, max_coefficient=limit)
            assert plain == pytest.approx(float(best), rel=1e-5)


def test_shapes_and_tensors():
    spans = np.linspace(0, 100, 12).reshape(3, 4)
    found = pia.worst_case_bound(MIDDLE, spans, max_coefficient=1.0)
    assert found.shape == (3, 4)
    assert found.dtype == np.float64
    assert pia.worst_case_bound(MIDDLE, 3.0, max_coefficient=1.0).shape == ()
    assert pia.worst_case_bound(MIDDLE, [], max_coefficient=1.0).shape == (0,)
    tensor = torch.tensor(spans)
    again = pia.worst_case_bound(MIDDLE, tensor, max_coefficient=torch.ones(8))
    assert (again == found).all()


def test_windows_that_the_cone_programme_cannot_hold():
    spec = pia.RopeSpec(64, 500_000.0, 131_072)
    with pytest.raises(ValueError, match="context_window times rotary"):
        pia.worst_case_score(spec, 200_000.0, max_coefficient=1.0)
    bound = pia.worst_case_bound(spec, [200_000.0, 70_000.5], max_coefficient=1.0)
    assert (bound > 1.0).all()
    assert (bound < 32.0).all()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"max_coefficient": 0.0}, ValueError, "max_coefficient must be a finite number above 0"),
        ({"max_coefficient": math.inf}, ValueError, "max_coefficient must be finite"),
        ({"max_coefficient": 1e10}, ValueError, "max_coefficient must be"),
        ({"max_coefficient": [1.0, 2.0]}, ValueError, "max_coefficient must be a number or hold 8"),
        ({"max_coefficient": [1.0] * 7 + [-1.0]}, ValueError, "max_coefficient must be"),
        ({"max_coefficient": "1"}, TypeError, "max_coefficient must"),
        ({"s": math.nan}, ValueError, "s must be finite"),
        ({"spec": "llama-7b"}, TypeError, "spec must be a RopeSpec"),
        ({"spec": pia.RopeSpec(512, 1e4, 2048)}, ValueError, "rotary dimension of at most 256"),
        ({"spec": pia.RopeSpec(128, 1e4, 2**22)}, ValueError, "context_window times rotary"),
        ({"extension": 4.0}, TypeError, "extension must be"),
        ({"updates": -1}, ValueError, "updates must be an integer from 0"),
        ({"updates": 1.5}, ValueError, "updates must be an integer"),
        ({"certified": "yes"}, TypeError, "certified must be True or False"),
    ],
)
def test_refusals(change, error, words):
    asked = {"spec": MIDDLE, "s": 1.5, "max_coefficient": 1.0} | change
    with pytest.raises(error, match=words):
        pia.worst_case_bound(asked.pop("spec"), asked.pop("s"), **asked)
