"""Every scheme: its formula, its identity, its branches, and what it refuses."""

import math

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pianalysis as pia

LISTS = {"short_factor": [1.0] * 64, "long_factor": [2.0] * 64}
EXTRA = {
    "longrope": LISTS,
    "proportional": {"proportion": 1.0},
    "base-change": {"base": 10_000.0},
}


def make(name, spec, target, **options):
    return pia.SCHEMES[name](spec, target, **{**EXTRA.get(name, {}), **options})


@pytest.mark.parametrize("name", pia.SCHEMES)
def test_factor_one_is_the_identity(name, llama):
    same = make(name, llama, llama.context_window)
    assert (same.frequencies == llama.frequencies).all()
    assert (same.ratios == 1.0).all()
    assert same.attention_factor == 1.0
    assert same.factor == 1.0


@pytest.mark.parametrize("name", sorted(set(pia.SCHEMES) - {"default"}))
def test_scaling_changes_something(name, llama):
    options = {"base": 5e5} if name == "base-change" else {}
    scaled = make(name, llama, 8192, **options)
    assert not (scaled.frequencies == llama.frequencies).all()
    assert (scaled.frequencies <= llama.frequencies).all()
    assert scaled.factor == 4.0
    assert not scaled.frequencies.flags.writeable


@pytest.mark.parametrize("name", ["ntk", "dynamic", "ntk-by-parts", "yarn", "llama3"])
def test_fast_pairs_are_kept_and_slow_ones_interpolated(name, llama):
    scaled = make(name, llama, 8192, **({"factor": 1.0} if name == "dynamic" else {}))
    assert scaled.ratios[0] == 1.0
    assert scaled.ratios[-1] == pytest.approx(0.25, rel=1e-12)
    assert (np.diff(scaled.ratios) <= 1e-15).all()


@pytest.mark.parametrize("name", pia.SCHEMES)
def test_frequencies_carry_106_bits(name, llama):
    scaled = make(name, llama, 3 * 2048)
    base = getattr(scaled, "base", llama.base)
    with oracles.mp.workdps(50):
        for j, exact in enumerate(oracles.theta(base, 128)):
            if scaled.geometric is None:
                exact = exact * oracles.mp.mpf(float(scaled.ratios[j]))
            elif name == "linear":
                exact = exact / 3
            value = oracles.mp.mpf(scaled.frequencies[j]) + oracles.mp.mpf(
                scaled.frequencies_tail[j]
            )
            assert abs(value - exact) <= abs(exact) * oracles.mp.mpf(2) ** -101


def test_dynamic_is_static_ntk_at_each_length(llama):
    for length in (2048, 3000, 65536):
        dynamic = pia.DynamicNTK(llama, length, factor=1.0)
        np.testing.assert_array_equal(dynamic.frequencies, pia.NTKAware(llama, length).frequencies)


@given(st.floats(1.0, 64.0), st.integers(2048, 10**6))
def test_dynamic_base_follows_its_formula(factor, length):
    spec = pia.RopeSpec(64, 1e4, 2048)
    base = pia.DynamicNTK(spec, length, factor=factor).base
    assert base == pytest.approx(1e4 * (factor * (length / 2048 - 1) + 1) ** (64 / 62), rel=1e-12)


def test_dynamic_counts_from_its_reference_length(llama):
    late = pia.DynamicNTK(llama, 8192, factor=4.0, reference_length=8192)
    assert late.base == 10_000.0


def test_llama3_is_ntk_by_parts_with_other_limits(llama):
    parts = pia.NTKByParts(llama, 16384, alpha=1.0, beta=4.0)
    np.testing.assert_array_equal(parts.ratios, pia.Llama3(llama, 16384).ratios)
    assert (pia.NTKByParts(llama, 16384).ratios != parts.ratios).any()


@given(st.sampled_from([32, 64, 128]), st.floats(1e3, 1e6), st.floats(1.0, 64.0))
def test_parts_turn_between_their_limits(dim, base, factor):
    spec = pia.RopeSpec(dim, base, 4096)
    ratios = pia.NTKByParts(spec, 4096, factor=factor).ratios
    turns = 4096 / spec.wavelengths
    assert (ratios[turns > 32] == 1.0).all()
    np.testing.assert_allclose(ratios[turns < 1], 1 / factor, rtol=1e-15)
    between = (turns >= 1) & (turns <= 32)
    share = (turns[between] - 1) / 31
    np.testing.assert_allclose(ratios[between], share + (1 - share) / factor, rtol=1e-12)


class TestYaRN:
    """Each branch: ramp, truncate, mscale, explicit attention factor."""

    def ramp(self, llama, **options):
        ratios = pia.YaRN(llama, 8192, **options).ratios
        return 1 - (ratios - 0.25) / 0.75  # 0 where kept, 1 where interpolated

    def index(self, beta):
        return 128 * math.log(2048 / (2 * math.pi * beta)) / (2 * math.log(1e4))

    @pytest.mark.parametrize("truncate", [True, False])
    def test_ramp_is_linear_in_the_pair(self, llama, truncate):
        first, last = self.index(32), self.index(1)
        if truncate:
            first, last = math.floor(first), math.ceil(last)
        assert 0 < first < last < 63
        expected = np.clip((np.arange(64) - first) / (last - first), 0, 1)
        np.testing.assert_allclose(self.ramp(llama, truncate=truncate), expected, atol=1e-15)

    def test_truncate_matters(self, llama):
        assert (self.ramp(llama) != self.ramp(llama, truncate=False)).any()

    def test_ramp_starts_at_the_first_pair_at_least(self, llama):
        clipped = self.ramp(llama, beta_fast=1000.0, truncate=False)
        assert self.index(1000.0) < 0
        np.testing.assert_allclose(clipped[1], 1 / self.index(1), rtol=1e-12)

    def test_ramp_may_end_beyond_the_last_pair(self, llama):
        # Clipped to d - 1 as published, so the slowest pair is not interpolated by all of k.
        slow = pia.YaRN(llama, 8192, beta_slow=0.01)
        assert self.index(0.01) > 63
        assert slow.ratios[-1] > 0.25

    def test_a_ramp_of_no_width_is_a_step(self):
        spec = pia.RopeSpec(8, 1e4, 4096)
        step = pia.YaRN(spec, 16384, beta_fast=1e5, beta_slow=600.0)
        assert step.ratios.tolist() == [1.0, 0.25, 0.25, 0.25]

    def test_attention_factor_by_rule(self, llama):
        assert pia.YaRN(llama, 8192).attention_factor == 0.1 * math.log(4) + 1
        assert pia.YaRN(llama, 8192, mscale=0.7).attention_factor == 0.1 * math.log(4) + 1
        both = pia.YaRN(llama, 8192, mscale=1.0, mscale_all_dim=0.5).attention_factor
        assert both == pytest.approx((0.1 * math.log(4) + 1) / (0.05 * math.log(4) + 1))
        zero = pia.YaRN(llama, 8192, mscale=1.0, mscale_all_dim=0.0).attention_factor
        assert zero == 0.1 * math.log(4) + 1

    def test_an_explicit_attention_factor_wins(self, llama):
        given = pia.YaRN(llama, 8192, mscale=1.0, mscale_all_dim=0.5, attention_factor=1.5)
        assert given.attention_factor == 1.5
        assert given.to_hf()["rope_parameters"]["attention_factor"] == 1.5
        assert "attention_factor" not in pia.YaRN(llama, 8192).to_hf()["rope_parameters"]

    def test_score_changes_by_the_square(self, llama):
        h = np.zeros(64)
        h[0] = 1.0
        scaled = pia.YaRN(llama, 8192)
        assert pia.attention_score(scaled, h, 0.0) == pytest.approx(scaled.attention_factor**2)


def test_longrope_takes_the_long_list_beyond_the_window(llama):
    lists = {"short_factor": [1.5] * 64, "long_factor": [3.0] * 64}
    assert pia.LongRoPE(llama, 2048, **lists).ratios[0] == 1 / 1.5
    assert pia.LongRoPE(llama, 2049, **lists).ratios[0] == 1 / 3
    attention = pia.LongRoPE(llama, 65536, **lists).attention_factor
    assert attention == math.sqrt(1 + math.log(32) / math.log(2048))


def test_proportional_stands_still_in_the_slow_pairs(llama):
    scaled = pia.Proportional(llama, 4096, proportion=0.25)
    assert (scaled.ratios[:16] == 0.5).all()
    assert (scaled.frequencies[16:] == 0.0).all()
    h = np.zeros(64)
    h[40] = 1.0
    assert (pia.attention_score(scaled, h, [0.0, 5.0, 4095.0]) == 1.0).all()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("linear", {"factor": 0.5}, "factor must be a finite number at least 1"),
        ("ntk", {"factor": math.nan}, "factor must be a finite number at least 1"),
        ("dynamic", {"reference_length": 0}, "reference_length must be an integer from 1"),
        ("ntk-by-parts", {"alpha": 33.0}, "beta must not be below alpha, got 32 and 33"),
        (
            "llama3",
            {"low_freq_factor": 4.0, "high_freq_factor": 1.0},
            "high_freq_factor must not be",
        ),
        ("yarn", {"beta_slow": 40.0}, "beta_fast must not be below beta_slow, got 32 and 40"),
        ("yarn", {"attention_factor": 0.0}, "attention_factor must be a finite number at least"),
        ("yarn", {"attention_factor": 9e-7}, "at least 1e-06 and at most 1e\\+06, got 9e-07"),
        ("yarn", {"mscale": 1.0, "mscale_all_dim": 1e300}, "attention_factor must be a finite"),
        ("yarn", {"mscale": -1.0}, "mscale must be a finite number at least 0"),
        ("longrope", {"long_factor": [1.0]}, "long_factor must have one value a pair, 64, got 1"),
        ("longrope", {"short_factor": [0.0] * 64}, r"short_factor\[0\] must be a finite number"),
        ("longrope", {"long_factor": [5e-324] * 64}, r"long_factor\[0\] .* at least 1e-06 and at"),
        ("proportional", {"proportion": 0.0}, "proportion must be a finite number above 0"),
        ("proportional", {"proportion": 0.001}, "proportion must leave a turning pair of 64"),
        ("base-change", {"base": 1.0}, "base must be a finite number above 1"),
    ],
)
def test_impossible_values_are_named(name, options, message, llama):
    with pytest.raises(ValueError, match=message):
        make(name, llama, 8192, **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("yarn", {"truncate": 1}, "truncate must be True or False, got 1"),
        ("longrope", {"long_factor": 2.0}, "long_factor must be a list of 64 numbers, got 2.0"),
        ("yarn", {"beta_fast": "32"}, "beta_fast must be a finite number above 0, got '32'"),
    ],
)
def test_wrong_types_are_named(name, options, message, llama):
    with pytest.raises(TypeError, match=message):
        make(name, llama, 8192, **options)


@pytest.mark.parametrize("name", pia.SCHEMES)
def test_no_scheme_shortens_the_window(name, llama):
    with pytest.raises(ValueError, match="target must be at least the pretrained context window"):
        make(name, llama, 2047)


@pytest.mark.parametrize("name", ["ntk", "dynamic"])
def test_two_dimensions_have_no_ntk_exponent(name):
    with pytest.raises(ValueError, match="rotary dimension above 2"):
        make(name, pia.RopeSpec(2, 1e4, 2048), 4096)


def test_proportional_refuses_a_second_share():
    with pytest.raises(ValueError, match="rotary_fraction must be 1"):
        pia.Proportional(pia.RopeSpec(64, 1e4, 2048, 0.5), 4096, proportion=0.5)


def published_yarn(spec, factor, fast=32.0, slow=1.0):
    """The published ramp, followed wherever it leads."""

    def index(turns):
        length = math.log(spec.context_window / (2 * math.pi * turns))
        return spec.rotary_dim * length / (2 * math.log(spec.base))

    first, last = max(math.floor(index(fast)), 0), min(math.ceil(index(slow)), spec.rotary_dim - 1)
    last = last + 0.001 if first == last else last
    ramp = np.clip((np.arange(spec.pairs) - first) / (last - first), 0, 1)
    return (1 - ramp) + ramp / factor


@pytest.mark.parametrize(
    ("spec", "interpolated", "message"),
    [
        (pia.RopeSpec(128, 1e4, 5), 0, "context_window must exceed 2 pi beta_slow"),
        (pia.RopeSpec(128, 1e4, 6), 63, "context_window must exceed 2 pi beta_slow"),
        (pia.RopeSpec(64, 10.0, 32768), 32, "beta_fast must be a number of turns"),
    ],
)
def test_yarn_refuses_where_the_published_ramp_means_the_opposite(spec, interpolated, message):
    assert int((published_yarn(spec, 4.0) < 1.0).sum()) == interpolated
    with pytest.raises(ValueError, match=message):
        pia.YaRN(spec, 4 * spec.context_window)
