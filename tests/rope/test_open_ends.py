"""Ends that mutants found open: what a reader names, what a trace follows, what a limit allows."""

import dataclasses
import inspect
import math
import operator
from fractions import Fraction

import numpy as np
import pytest
import torch

import pianalysis as pia
from pianalysis.extension.registry import SCHEMES, extension_of
from pianalysis.precision.errors import first_wrong
from pianalysis.rope import parameters, traced
from pianalysis.rope.configs import model_facts, rope_facts
from pianalysis.rope.plain import plain_facts
from pianalysis.scores import exact_fits, fits

SMALL = pia.RopeSpec(8, 50.0, 24)
CONFIG = {
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "vocab_size": 32,
    "max_position_embeddings": 512,
}
LLAMA = CONFIG | {"model_type": "llama", "rope_theta": 1e4}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
OLMO3 = CONFIG | {"model_type": "olmo3", "rope_theta": 5e4, "rope_scaling": YARN}
MSCALES = {
    "type": "longrope",
    "short_factor": [1.0] * 8,
    "long_factor": [2.0] * 8,
    "short_mscale": 1.25,
    "long_mscale": 1.5,
    "original_max_position_embeddings": 256,
}


@pytest.mark.parametrize("scheme", SCHEMES.values())
def test_options_of_a_scheme_are_named(scheme):
    """A number in third place would be another option under each scheme."""
    given = list(inspect.signature(scheme).parameters.values())
    assert [x.name for x in given if x.kind is not x.KEYWORD_ONLY] == ["spec", "target"]


def test_interpolation_is_by_the_exact_fraction():
    """5/3 is no float64; the frequencies are those of 24/40 to all digits."""
    scaled = pia.PositionInterpolation(SMALL, 40)
    assert scaled.geometric == (50.0, Fraction(24, 40))
    assert scaled.factor == 40 / 24


def test_a_base_below_2_grows_too():
    scaled = pia.NTKAware(pia.RopeSpec(16, 1.5, 64), 65)
    assert scaled.base == pytest.approx(1.5 * (65 / 64) ** (16 / 14), rel=1e-12)


def test_the_pair_that_turns_otherwise_is_named():
    @dataclasses.dataclass
    class Other:
        frequencies: np.ndarray
        name: str = "Other"

        def at(self, length):
            return self.frequencies, 1.0

    theirs = rope_facts(LLAMA).embedding.at(512)[0]
    theirs[5] *= 2.0
    facts = dataclasses.replace(rope_facts(LLAMA), embedding=Other(theirs))
    with pytest.raises(ValueError, match=r"as Other of .*, got pair 5 of 8 at "):
        extension_of(facts)


def test_a_tolerance_that_an_error_equals_is_refused():
    """In float16 the slow pair stands still: at position 1 it is off by theta itself, 2^-49."""
    scaled = pia.PositionInterpolation(pia.RopeSpec(4, 2.0**60, 1), 2**19)
    for share, first in ((0.9, 1), (1.1, 2)):
        found = first_wrong(scaled, pipeline="float16", tolerance=share * 2.0**-49, stop=4)
        assert found.first == first
    with pytest.raises(ValueError, match=r"one that no phase error equals.* at 1 of pair 1"):
        first_wrong(scaled, pipeline="float16", tolerance=2.0**-49, stop=2)


def test_the_largest_head_is_as_stated():
    assert pia.RopeSpec(8192, 1e4, 16).pairs == 4096
    with pytest.raises(ValueError, match="at most 8192, got 8194"):
        pia.RopeSpec(8194, 1e4, 16)


def test_two_mscales_are_those_of_phi_moe_alone():
    kept = parameters.scheme({"model_type": "phimoe"}, MSCALES)[1]
    assert (kept["short_mscale"], kept["long_mscale"]) == (1.25, 1.5)
    linear = {"type": "linear", "factor": 2.0, "short_mscale": 1.25}
    for family, given in (("phi3", MSCALES), ("phimoe", linear)):
        with pytest.raises(ValueError, match="unknown key 'short_mscale'"):
            parameters.scheme({"model_type": family}, given)


def test_another_base_is_seen_where_layers_are_not_listed():
    """Three layers in the model, two kinds in the file: transformers reads another base."""
    with pytest.raises(ValueError, match=r"got \(50000.0, 16\) in the file.* \(500000.0, 16\)"):
        model_facts(OLMO3 | {"num_hidden_layers": 3})


def test_the_layer_that_is_read_otherwise_is_named():
    """A Gemma 3 file without its second base: the first layer is as the file says."""
    config = CONFIG | {"model_type": "gemma3_text", "head_dim": 16, "rope_theta": 1e6}
    config |= {"sliding_window": 64, "layer_types": ["full_attention", "sliding_attention"]}
    with pytest.raises(ValueError, match=r"got \(1000000.0, 16\) in the file.* \(10000.0, 16\)"):
        model_facts(config)


def test_kinds_that_no_layer_has_are_named():
    """One layer, which slides: the file's other base is none of the model's."""
    bases = {"sliding_attention": 1e4, "full_attention": 5e6}
    nested = {k: {"rope_type": "default", "rope_theta": v} for k, v in bases.items()}
    config = CONFIG | {"model_type": "gemma3_text", "head_dim": 16, "rope_parameters": nested}
    config |= {"num_hidden_layers": 1, "sliding_window": 64}
    words = r"got \[\(10000.0, 16\), \(5000000.0, 16\)\] in the file.* \[\(10000.0, 16\)\]"
    with pytest.raises(ValueError, match=words):
        model_facts(config)


def test_attention_that_states_no_scale_divides_by_the_root_of_its_width():
    facts = model_facts(CONFIG | {"model_type": "gpt_neox_japanese"})
    assert [layer.rope.logit_scale for layer in facts.layers] == [1.0 / math.sqrt(16)] * 2


def test_the_whole_head_turns_where_no_share_is_given():
    entry = {"rope_type": "proportional", "rope_theta": 1e4}
    config = {k: v for k, v in LLAMA.items() if k != "rope_theta"} | {"rope_parameters": entry}
    assert pia.extension_from_hf(config).proportion == 1.0
    assert plain_facts(config).layers[0].rope.proportion == 1.0
    for facts in (rope_facts(LLAMA), plain_facts(LLAMA).layers[0].rope):
        assert facts.proportion == 1.0


class Rotary(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("inv_freq", torch.tensor([1.0, 0.1]))

    def forward(self, x):
        angle = torch.outer(torch.arange(x.shape[1]), self.inv_freq.to(x.device)).repeat(1, 2)
        return angle.cos(), angle.sin()


class Attention(torch.nn.Module):
    """One head of four dimensions; ``use`` says what it makes of cos."""

    def __init__(self, use):
        super().__init__()
        self.use = use

    def forward(self, x, cos):
        return self.use(x, cos)


class Block(torch.nn.Module):
    def __init__(self, use, *, pair):
        super().__init__()
        self.attention, self.pair = Attention(use), pair

    def forward(self, x, cos):
        out = x + self.attention(x, cos)
        return (out, None) if self.pair else out


class Model(torch.nn.Module):
    def __init__(self, *uses, pair=False):
        super().__init__()
        self.rotary, self.pair = Rotary(), pair
        self.layers = torch.nn.ModuleList(Block(use, pair=pair) for use in uses)

    def forward(self, input_ids, use_cache):
        x = torch.zeros((1, 2, 4), dtype=torch.bfloat16)
        cos, _ = self.rotary(x)
        for layer in self.layers:
            if self.pair:
                x, _ = layer(x, cos)
            else:
                x = layer(x, cos)
        return x


def turning(*uses, pair=False):
    return [x.source is not None for x in traced.trace(Model(*uses, pair=pair), len(uses))]


def turn(x, cos):
    return x * cos[None]


def test_a_layer_that_only_prepares_its_rotation_does_not_turn():
    def prepare(x, cos):
        cos[..., :2].unsqueeze(0)
        return x

    assert turning(turn, prepare) == [True, False]
    assert turning(prepare, lambda x, cos: x * cos) == [False, True]


def test_a_layer_may_keep_whether_it_turns_in_a_tensor():
    def kept(number):
        return lambda x, cos: turn(x, cos) if number else x

    numbers = [torch.tensor(True), torch.tensor(False)]
    assert turning(*map(kept, numbers)) == [True, False]


@pytest.mark.parametrize("where", [(), (1,), {"dim": 1}])
def test_numbers_that_no_tensor_has_are_none_of_each(where):
    """Tokens of each expert, and room for them, by counts that a meta tensor does not hold."""

    def experts(x, cos):
        counts = (x > 0).sum(dim=(0, 2))
        named = where if isinstance(where, dict) else {}
        tokens = x if where else x[0]
        parts = tokens.split(counts.tolist(), *(() if named else where), **named)
        room = torch.zeros((operator.index(counts[0]), 4))
        return turn(torch.cat(parts, dim=1 if where else 0).reshape(x.shape), cos) + room.sum()

    assert turning(experts, experts) == [True, True]


def test_attention_gives_a_value_for_each_query():
    """Rotated in float32, fewer heads of keys and values: their product is not computed."""

    def grouped(x, cos):
        query = turn(x.float(), cos).expand(4, 2, 4)[None]
        key, value = x.float().expand(2, 2, 4)[None], x.expand(2, 2, 4)[None]
        attend = torch.nn.functional.scaled_dot_product_attention
        return attend(query, key, value).reshape(1, 4, 2, 4).sum(dim=1)

    assert turning(grouped, grouped, pair=True) == [True, True]


def test_a_fit_is_known_as_closely_as_asked():
    spec = pia.RopeSpec(16, 1.01, 20)
    first = exact_fits.exact_fit_spread(spec, 3.0, relative_radius=0.1)
    assert first.log10[0] < 0.0
    asked = 0.9 * math.log(10.0) * first.log10_radius[0]
    assert asked > 1e-14
    found = exact_fits.exact_fit_spread(spec, 3.0, relative_radius=asked)
    assert math.log(10.0) * found.log10_radius[0] <= asked


def test_the_most_bits_are_used(monkeypatch):
    monkeypatch.setattr(exact_fits, "_MOST_BITS", 256)
    assert exact_fits.exact_fit_spread(SMALL, 0.5).bits <= 256


@pytest.mark.parametrize("window", [6, 64])
def test_the_condition_of_a_small_design_is_enclosed(window):
    angle = np.outer(np.arange(window), [1.0, 20.0**-0.5])
    condition = math.log10(np.linalg.cond(np.hstack([np.sin(angle), np.cos(angle)])))
    found = exact_fits.design_condition(pia.RopeSpec(4, 20.0, window))
    assert found.log10_lower <= condition <= found.log10_upper


def test_a_float32_fit_is_evaluated_in_float32():
    noise = np.random.default_rng(0).standard_normal(24)
    for method in fits.METHODS:
        score = fits.fit_score(SMALL, noise, method=method).score([0.5, 3.25, 100.0])
        single = score == score.astype(np.float32)
        assert single.all() == (method == "normal_float32")


def test_factors_of_a_wide_head_are_counted():
    many = {"short_factor": [1.0] * 512, "long_factor": [2.0] * 512}
    assert pia.LongRoPE(pia.RopeSpec(1024, 1e4, 64), 128, **many).ratios.size == 512


class Turning:
    """What transformers would turn by, in place of its module."""

    name = "Turning"

    def __init__(self, frequencies, factor=1.0):
        self.frequencies, self.factor = frequencies, factor

    def at(self, length):
        return self.frequencies, self.factor


def test_another_attention_factor_is_refused():
    facts = rope_facts(LLAMA)
    theirs = facts.embedding.at(512)[0]
    other = dataclasses.replace(facts, embedding=Turning(theirs, 1.5))
    with pytest.raises(ValueError, match=r"and factor 1 against .* and 1\.5$"):
        extension_of(other)


def test_another_number_of_pairs_is_refused():
    facts = rope_facts(LLAMA)
    theirs = facts.embedding.at(512)[0][:5]
    with pytest.raises(ValueError, match=r"got pair 0 of 8 at 1 and .* 1 of 5 and 1$"):
        extension_of(dataclasses.replace(facts, embedding=Turning(theirs)))


@pytest.mark.parametrize("hidden", [2048, 4096, 5120, None])
def test_baichuan_has_rope_at_its_7b_width_alone(hidden):
    config = CONFIG | {"model_type": "baichuan", "hidden_size": hidden}
    if hidden == 4096:
        assert plain_facts(config).layers[0].rope.head_dim == 1024
        return
    with pytest.raises(ValueError, match="'baichuan', which has no RoPE"):
        plain_facts({k: v for k, v in config.items() if v is not None})


def test_a_family_that_is_not_listed_is_refused_by_name():
    for family in ("afmoe", "zzz"):
        with pytest.raises(ValueError, match=f"model_type must be one .*, got '{family}'"):
            plain_facts(CONFIG | {"model_type": family})


@pytest.mark.parametrize("family", ["cohere2", "exaone4"])
def test_a_pattern_says_which_layers_see_all(family):
    config = CONFIG | {"model_type": family}
    kinds = [x.layer_type for x in plain_facts(config | {"sliding_window_pattern": 2}).layers]
    assert kinds == ["sliding_attention", "full_attention"]
    assert [x.layer_type for x in plain_facts(config).layers] == [None, None]


def test_latent_attention_without_content_divides_by_the_root_of_its_head():
    config = CONFIG | {"model_type": "deepseek_v4", "qk_rope_head_dim": 8, "head_dim": 64}
    assert plain_facts(config).layers[0].rope.logit_scale == 1.0 / 8.0


def test_no_scores_are_an_empty_array():
    none = np.zeros((0, 4), complex)
    for spans in ([0.0, 1.0, 5.0], np.arange(100.0)):
        assert pia.attention_score(SMALL, none, spans).shape == (0, len(spans))


def test_vectors_of_two_precisions_keep_the_finer():
    fine, coarse = torch.tensor([1 / 3, 0.1], dtype=torch.float64), torch.ones(2)
    for pair in ((fine, coarse), (coarse, fine)):
        found = pia.score_coefficients(*pair, layout="half")
        assert found.dtype == torch.complex128
        assert abs(found.real.item() - (1 / 3 + 0.1)) < 1e-15


def test_a_float32_fit_is_solved_on_one_thread(monkeypatch):
    """The order of its sums decides the digits: on more threads they would not be repeatable."""
    seen, solve = [], torch.linalg.solve

    def noted(*given):
        seen.append(torch.get_num_threads())
        return solve(*given)

    monkeypatch.setattr(torch.linalg, "solve", noted)
    before = torch.get_num_threads()
    fits.fit_score(SMALL, np.ones(24), method="normal_float32")
    assert (seen, torch.get_num_threads()) == ([1], before)
