"""Critical dimension, profiles and deviation: definitions checked by counting and by heads."""

import math

import numpy as np
import pytest

import pianalysis as pia
from pianalysis.extension.named import COMPARABLE, comparable_extensions

LLAMA = pia.preset("llama-7b")
SMALL = pia.RopeSpec(32, 1000.0, 96)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (pia.RopeSpec(128, 10_000.0, 4096), 92),  # the number of the paper, for LLaMA 2
        (pia.RopeSpec(128, 10_000.0, 6), 0),
        (pia.RopeSpec(128, 10_000.0, 2**20), 128),
    ],
)
def test_critical_dimension(spec, expected):
    assert pia.critical_dimension(spec) == expected


@pytest.mark.parametrize("window", [64, 2048, 4096, 30_000])
@pytest.mark.parametrize("base", [500.0, 10_000.0, 500_000.0])
def test_critical_dimension_counts_pairs_that_turn(base, window):
    spec = pia.RopeSpec(128, base, window)
    assert pia.critical_dimension(spec) == 2 * int((spec.wavelengths < window).sum())


def test_critical_base_gives_the_critical_pair_the_target_as_wavelength():
    spec = pia.RopeSpec(128, 10_000.0, 4096)
    exponent = math.log(4096 / (2 * math.pi)) / math.log(spec.base)  # theta = base**-exponent
    for target in (4096, 8192, 131072):
        wavelength = 2 * math.pi * pia.critical_base(spec, target) ** exponent
        assert wavelength == pytest.approx(target, rel=1e-12)


def test_profile_counts_unseen_phases_by_brute_force():
    target = 384
    for name, extension in comparable_extensions(SMALL, target).items():
        found = pia.scheme_profile(extension)
        unseen = 0
        for theta, new in zip(SMALL.frequencies, extension.frequencies, strict=True):
            # each phase of the target, in [0, 2 pi), against the arc that training swept
            reached = np.linspace(0.0, target, 40_001)[:-1] * new % (2 * np.pi)
            unseen += bool((reached > SMALL.context_window * theta + 1e-9).any())
        assert found.unseen_pairs == unseen, name
        assert found.unseen_pairs == found.unseen.sum()


def test_profile_of_position_interpolation_and_yarn():
    plain = pia.scheme_profile(pia.PositionInterpolation(LLAMA, 8192))
    assert (plain.unseen_pairs, plain.kept_pairs, plain.fastest_ratio) == (0, 0, 0.25)
    assert plain.temperature == plain.score_multiplier == 1.0
    assert plain.contrast_kept == pytest.approx(0.25, abs=0.01)
    np.testing.assert_allclose(plain.wavelength_extended, 4 * LLAMA.wavelengths, rtol=1e-15)
    np.testing.assert_allclose(plain.turns_target, plain.turns_trained, rtol=1e-15)
    warm = pia.scheme_profile(pia.YaRN(LLAMA, 8192))
    assert warm.score_multiplier == pytest.approx((0.1 * math.log(4) + 1) ** 2)
    assert warm.temperature == pytest.approx(1 / warm.score_multiplier)
    assert warm.fastest_ratio == 1.0
    assert warm.kept_pairs > 10
    assert warm.unseen_pairs == 0


def test_profile_of_a_scheme_that_stops_pairs():
    found = pia.scheme_profile(pia.Proportional(SMALL, 384, proportion=0.5))
    assert np.isinf(found.wavelength_extended[8:]).all()
    assert not found.unseen[8:].any()
    assert found.beyond_target >= 8


def test_profile_writes_itself(tmp_path):
    pia.scheme_profile(pia.Proportional(SMALL, 384, proportion=0.5)).save(tmp_path / "profile")
    assert (tmp_path / "profile.csv").read_text().count("\n") == 17


@pytest.mark.parametrize("name", COMPARABLE)
def test_no_head_deviates_more_than_the_bound(name, rng):
    extension = comparable_extensions(SMALL, 384, [name])[name]
    spans = rng.uniform(0.0, 383.9, 40)
    h = rng.normal(size=(200, 16)) + 1j * rng.normal(size=(200, 16))
    h /= np.abs(h).max(axis=1, keepdims=True)
    found = pia.deviation_bound(extension, spans)
    n = np.minimum(np.floor(found.nearest), 94)
    u = found.nearest - n
    chord = (1 - u) * pia.attention_score(SMALL, h, n) + u * pia.attention_score(SMALL, h, n + 1)
    gap = np.abs(pia.attention_score(extension, h, spans) - chord)
    assert (gap <= found.bound * (1 + 1e-12)).all()
    assert (found.bound <= found.trivial * (1 + 1e-12)).all()
    # attained: the head whose every term points the same way
    turn = extension.attention_factor**2 * np.exp(1j * np.outer(spans, extension.frequencies))
    ends = (
        np.exp(1j * n[:, None] * SMALL.frequencies),
        np.exp(1j * (n[:, None] + 1) * SMALL.frequencies),
    )
    distance = turn - (1 - u)[:, None] * ends[0] - u[:, None] * ends[1]
    np.testing.assert_allclose(np.abs(distance).sum(axis=1), found.bound, rtol=1e-9)


def test_deviation_of_interpolation_is_the_sharp_bound(rng):
    extension = pia.PositionInterpolation(SMALL, 384)
    spans = rng.uniform(0.0, 379.0, 30)
    deviation = pia.deviation_bound(extension, spans)
    sharp = pia.interpolation_bound(SMALL, spans / 4, form="sharp")
    np.testing.assert_allclose(deviation.nearest, spans / 4, atol=0.01)
    assert (deviation.bound <= sharp).all()
    np.testing.assert_allclose(deviation.bound, sharp, rtol=0.01)
    at_grid_points = pia.deviation_bound(extension, [0.0, 40.0, 376.0])
    assert at_grid_points.bound.tolist() == [0.0] * 3


@pytest.mark.parametrize(
    "extension",
    [pia.Unscaled(SMALL, 384), pia.PositionInterpolation(SMALL, 384, factor=2.0)],
    ids=["unscaled", "half a PI"],
)
def test_deviation_is_a_minimum_where_all_ratios_are_equal(extension):
    """Spans that the common scale puts beyond the window: the edge is not the nearest chord."""
    spans = np.array([200.0, 300.0, 380.0])
    deviation = pia.deviation_bound(extension, spans)
    grid = np.exp(1j * np.outer(np.arange(96), SMALL.frequencies))
    turns = np.exp(1j * np.outer(spans, extension.frequencies))
    for turn, bound in zip(turns, deviation.bound, strict=True):
        steps = np.linspace(0, 1, 41)
        chords = [(1 - u) * grid[:-1] + u * grid[1:] for u in steps]
        least = min(float(np.abs(turn - chord).sum(axis=1).min()) for chord in chords)
        at_the_edge = float(np.abs(turn - grid[-1]).sum())
        assert bound <= least * (1 + 1e-12) < at_the_edge
        assert bound > 0.95 * least


@pytest.mark.parametrize("name", ["linear", "yarn", "ntk-by-parts", "llama3"])
def test_position_interpolation_is_not_alone_in_adding_no_unseen_pair(name):
    extension = comparable_extensions(LLAMA, 8192, [name])[name]
    assert pia.scheme_profile(extension).unseen_pairs == 0


def test_deviation_finds_the_nearest_chord_by_brute_force(rng):
    extension = pia.NTKAware(SMALL, 384)
    weights = rng.uniform(size=16)
    found = pia.deviation_bound(extension, [100.0, 300.5], weights)
    grid = np.exp(1j * np.outer(np.arange(96), SMALL.frequencies))
    for span, bound in zip(found.span, found.bound, strict=True):
        turn = np.exp(1j * span * extension.frequencies)
        least = min(
            float((np.abs(turn - (1 - u) * grid[:-1] - u * grid[1:]) @ weights).min())
            for u in np.linspace(0, 1, 41)
        )
        assert bound <= least * (1 + 5e-3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pia.critical_base(SMALL, 95), ValueError, "target must be at least the context"),
        (
            lambda: pia.critical_base(pia.RopeSpec(32, 1000.0, 6), 95),
            ValueError,
            "context_window must exceed 2 pi",
        ),
        (
            lambda: pia.critical_base(pia.RopeSpec(128, 10_000.0, 7), 2**20),
            ValueError,
            r"target must have a critical base within float64, got e\^1025\.19",
        ),
        (lambda: pia.critical_dimension("llama"), TypeError, "spec must be a RopeSpec"),
        (lambda: pia.scheme_profile(SMALL), TypeError, "extension must be an extension"),
        (lambda: pia.deviation_bound(SMALL, 1.0), TypeError, "extension must be an extension"),
        (
            lambda: pia.deviation_bound(pia.NTKAware(SMALL, 384), 384.0),
            ValueError,
            r"s must lie in \[0, 384\), got 384",
        ),
        (
            lambda: pia.deviation_bound(pia.NTKAware(SMALL, 384), -1.0),
            ValueError,
            r"s must lie in \[0, 384\), got -1",
        ),
        (
            lambda: pia.deviation_bound(pia.NTKAware(SMALL, 384), 1.0, np.ones((2, 16))),
            ValueError,
            "h must be a number or of shape",
        ),
        (
            lambda: pia.deviation_bound(pia.NTKAware(LLAMA, 2**16), np.arange(60_000.0)),
            ValueError,
            "take fewer spans",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
