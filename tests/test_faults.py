"""Injected faults: each one-line change of a formula must make its tests fail."""

import compileall
import shutil
from pathlib import Path

import forked
import pytest

FAULTS = {
    "reversed sign in Eq. 8": (
        "bounds/extrapolation.py",
        "np.abs(known - following)",
        "np.abs(known + following)",
        "bounds/test_extrapolation.py::test_difference_form_with_its_convention",
    ),
    "h_{d/2} = 0 dropped in Eq. 8": (
        "bounds/extrapolation.py",
        "np.zeros_like(known[..., :1])",
        "known[..., -1:]",
        "bounds/test_extrapolation.py::test_difference_form_with_its_convention",
    ),
    "factor 2 in Eq. 5": (
        "bounds/interpolation.py",
        "spec.rotary_dim / (8.0 *",
        "spec.rotary_dim / (4.0 *",
        "bounds/test_interpolation.py",
    ),
    "factor 2 in the corrected bound": (
        "bounds/interpolation.py",
        "per_unit = 0.5 * theta_square_sum(spec)",
        "per_unit = theta_square_sum(spec)",
        "bounds/test_interpolation.py::test_audited_numbers",
    ),
    "interleaved for half layout": (
        "scores/expansion.py",
        "return slice(0, dim // 2), slice(dim // 2, None)",
        "return slice(0, None, 2), slice(1, None, 2)",
        "scores/test_expansion.py",
    ),
    "conjugate on the query": (
        "scores/expansion.py",
        "(q[..., first] + 1j * q[..., second]) * (k[..., first] - 1j * k[..., second])",
        "(q[..., first] - 1j * q[..., second]) * (k[..., first] + 1j * k[..., second])",
        "scores/test_expansion.py",
    ),
    "theta from 2j/d to j/d": (
        "rope/phases.py",
        "context.ln(Decimal(base)), Decimal(-2))",
        "context.ln(Decimal(base)), Decimal(-1))",
        "rope/test_spec.py",
    ),
    "second float of theta dropped": (
        "rope/phases.py",
        "tail + s * model.frequencies_tail - whole_tail",
        "tail - whole_tail",
        "bounds/test_extrapolation.py",
    ),
    "kernel sums one pair too few": (
        "scores/kernels.py",
        "total[w] += first + np.sqrt(x * x + y * y)",
        "total[w] += first",
        "bounds/test_extrapolation.py::test_the_fast_way_keeps_the_accuracy",
    ),
    "sine block with the wrong sign": (
        "scores/exact_fits.py",
        "(difference - total) / 2",
        "(difference + total) / 2",
        "scores/test_fits.py",
    ),
    "PI by L'/L": (
        "extension/geometric.py",
        "return self.spec.base, Fraction(window, target)",
        "return self.spec.base, Fraction(target, window)",
        "extension/test_geometric.py",
    ),
    "NTK exponent d/(d-2) to 1": (
        "extension/geometric.py",
        "growth ** (dim / (dim - 2))",
        "growth",
        "extension/test_geometric.py::test_ntk_aware_slows_the_last_pair_like_interpolation",
    ),
    "dynamic NTK without its minus (k - 1)": (
        "extension/geometric.py",
        "growth - (self.factor - 1.0)",
        "growth",
        "extension/test_schemes.py::test_dynamic_base_follows_its_formula",
    ),
    "YaRN ramp the wrong way": (
        "extension/by_parts.py",
        "_between(1.0 - ramp, self.factor)",
        "_between(ramp, self.factor)",
        "extension/test_schemes.py",
    ),
    "YaRN's 2 pi dropped": (
        "extension/by_parts.py",
        "context_window / (2.0 * math.pi * turns)",
        "context_window / turns",
        "extension/test_schemes.py::TestYaRN::test_ramp_is_linear_in_the_pair",
    ),
    "YaRN never truncates": (
        "extension/by_parts.py",
        "if self.truncate:",
        "if False:",
        "extension/test_schemes.py::TestYaRN::test_ramp_is_linear_in_the_pair",
    ),
    "attention 0.1 ln k + 1 without the 1": (
        "extension/by_parts.py",
        "math.log(factor) + 1.0",
        "math.log(factor)",
        "extension/test_schemes.py",
    ),
    "mscale upside down": (
        "extension/by_parts.py",
        "_magnitude(self.factor, self.mscale) / _magnitude(\n                self.factor, "
        "self.mscale_all_dim\n            )",
        "_magnitude(self.factor, self.mscale_all_dim) / _magnitude(\n                self.factor, "
        "self.mscale\n            )",
        "extension/test_schemes.py::TestYaRN::test_attention_factor_by_rule",
    ),
    "LongRoPE's lists swapped": (
        "extension/by_pair.py",
        "self.long_factor if beyond else self.short_factor",
        "self.short_factor if beyond else self.long_factor",
        "extension/test_schemes.py",
    ),
    "proportional over pairs instead of dimensions": (
        "extension/by_pair.py",
        "self.proportion * self.spec.head_dim // 2",
        "self.proportion * self.spec.head_dim // 4",
        "extension/test_schemes.py",
    ),
    "base served: derivative bound too small by 4": (
        "extension/minimal_base.py",
        "rate = m * float(exponents @ theta)",
        "rate = 0.25 * m * float(exponents @ theta)",
        "extension/test_minimal_base.py",
    ),
    "chord of the wrong end in the deviation": (
        "bounds/deviation.py",
        "(n + 1 - t) * grid[n] + (t - n) * grid[n + 1]",
        "(n + 1 - t) * grid[n + 1] + (t - n) * grid[n]",
        "comparison/test_profile.py::test_no_head_deviates_more_than_the_bound",
    ),
    "critical dimension rounded down": (
        "comparison/profile.py",
        "2 * math.ceil(turning)",
        "2 * math.floor(turning)",
        "comparison/test_profile.py",
    ),
    "unseen phases counted for every pair": (
        "comparison/profile.py",
        "unseen = (trained < 1.0) & (reached",
        "unseen = (reached",
        "comparison/test_profile.py",
    ),
    "span with the wrong sign": (
        "scores/kernels.py",
        "x * centre_re[b, j] - y * centre_im[b, j]",
        "x * centre_re[b, j] + y * centre_im[b, j]",
        "heads/test_statistics.py::test_every_column_is_what_naive_loops_give",
    ),
    "one side of a block left out": (
        "scores/kernels.py",
        "away = abs(swing[r])",
        "away = swing[r]",
        "heads/test_statistics.py::test_every_column_is_what_naive_loops_give",
    ),
    "conjugate on the query of a head": (
        "heads/layer.py",
        "h = heads.scaling * query[m] * key[n].conj()",
        "h = heads.scaling * query[m].conj() * key[n]",
        "heads/test_statistics.py::test_every_column_is_what_naive_loops_give",
    ),
    "query heads on the wrong key-value head": (
        "heads/layer.py",
        "keys[index // group]",
        "keys[index % len(keys)]",
        "heads/test_statistics.py::test_every_column_is_what_naive_loops_give",
    ),
    "range of spans ends one too late": (
        "heads/sweep.py",
        "starts.append(last * window - width)",
        "starts.append(last * window - width + 1)",
        "heads/test_statistics.py::test_every_column_is_what_naive_loops_give",
    ),
    "softmax counts the moved key twice": (
        "heads/sampled.py",
        "(1.0 - kept)[:, None] * np.exp(away)",
        "np.exp(away)",
        "heads/test_statistics.py::test_every_column_is_what_naive_loops_give",
    ),
    "scaling left out of the softmax": (
        "heads/layer.py",
        "sweep.causal_log_sums(spec, heads.scaling * query,",
        "sweep.causal_log_sums(spec, query,",
        "heads/test_statistics.py::test_every_column_is_what_naive_loops_give",
    ),
    "search looks at future keys": (
        "scores/kernels.py",
        "count = first + t + 1\n",
        "count = tokens\n",
        "heads/test_statistics.py::test_every_column_is_what_naive_loops_give",
    ),
    "half-angle of the chord": (
        "heads/sampled.py",
        "2.0 * np.sin(spec.frequencies / 4.0) ** 2",
        "2.0 * np.sin(spec.frequencies / 2.0) ** 2",
        "heads/test_statistics.py::test_every_column_is_what_naive_loops_give",
    ),
    "bfloat16 cut instead of rounded": (
        "precision/formats.py",
        "np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))",
        "np.uint32(0)",
        "precision/test_phase_error.py::test_rounding_is_torchs_on_every_kind_of_number",
    ),
    "bfloat16 ties away from even": (
        "precision/formats.py",
        "np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))",
        "np.uint32(0x8000)",
        "precision/test_phase_error.py::test_rounding_is_torchs_on_every_kind_of_number",
    ),
    "positions never cast": (
        "precision/formats.py",
        "held = rounded(positions.astype(np.float32), pipeline.phases)",
        "held = positions.astype(np.float32)",
        "precision/test_phase_error.py::test_phases_are_torchs_bit_for_bit",
    ),
    "cos and sin never cast": (
        "precision/formats.py",
        "rounded(rounded(plain * factor, pipeline.phases), pipeline.rotations)",
        "rounded(plain * factor, pipeline.phases)",
        "precision/test_phase_error.py::test_phases_are_torchs_bit_for_bit",
    ),
    "true phases from one float": (
        "rope/phases.py",
        "(computed - whole) - (rest + spans * tail)",
        "(computed - whole) - rest",
        "precision/test_phase_error.py::test_errors_match_fifty_digits",
    ),
    "roundings of a pair bounded too low": (
        "precision/emulation.py",
        "2.1 * steps * furthest",
        "0.5 * steps * furthest",
        "precision/test_phase_error.py::test_llama_by_naive_phases",
    ),
    "rotation turned the wrong way in the ball": (
        "precision/emulation.py",
        "* unit(-phase)).arg()",
        "* unit(-phase)).conjugate().arg()",
        "precision/test_phase_error.py::test_errors_match_fifty_digits",
    ),
    "a gap taken for packed texts": (
        "evaluation/forward.py",
        "attention_mask=torch.ones_like(ids),\n            logits_to_keep",
        "attention_mask=None,\n            logits_to_keep",
        "evaluation/test_gaps.py::test_attention_across_a_gap_is_the_score_at_the_longer_span",
    ),
    "gap one token late": (
        "evaluation/forward.py",
        "positions[before:] += gap",
        "positions[before + 1 :] += gap",
        "evaluation/test_gaps.py::test_attention_across_a_gap_is_the_score_at_the_longer_span",
    ),
    "passkey distance off by one": (
        "evaluation/passkey_prompt.py",
        "self.answer_at - 1 - self.key_at",
        "self.answer_at - self.key_at",
        "evaluation/test_gaps.py::test_passkey_is_counted_at_the_distance_asked",
    ),
    "attention factor left out of a model": (
        "checkpoints/extended.py",
        'setattr(module, prefix + "attention_scaling", extension.attention_factor)',
        "pass",
        "checkpoints/test_extended.py::test_equals_the_model_that_transformers_builds",
    ),
    "a model's own dynamic scheme left on": (
        "checkpoints/extended.py",
        'module.rope_type = "default"',
        "pass",
        "checkpoints/test_extended.py::test_a_scheme_that_follows_the_length_is_put_aside",
    ),
    "k_max beyond a failed distance": (
        "evaluation/passkey_prompt.py",
        "            break\n        reached",
        "            continue\n        reached",
        "evaluation/test_text.py",
    ),
    "warm-up from zero": (
        "planning/published.py",
        "WARMUP_START = 0.1",
        "WARMUP_START = 0.0",
        "finetune/test_corpus.py",
    ),
    "no sequence at the edge": (
        "finetune/reach.py",
        "    if part < 0:\n        return largest\n",
        "",
        "finetune/test_reach.py",
    ),
    "gaps that are not stratified": (
        "finetune/reach.py",
        "int((part + drawn) / (BLOCK - edge) * (largest + 1))",
        "int(drawn * (largest + 1))",
        "finetune/test_reach.py",
    ),
    "a held-out file among the training text": (
        "finetune/corpus.py",
        "sources.pop(HELD_OUT_SOURCE)",
        "sources[HELD_OUT_SOURCE]",
        "finetune/test_texts.py",
    ),
    "gaps short of the target": (
        "finetune/corpus.py",
        "rng.integers(target - length + 1)",
        "rng.integers((target - length) // 2 + 1)",
        "finetune/test_corpus.py",
    ),
    "tokens of a sliding window scored twice": (
        "evaluation/perplexity.py",
        "yield start, end, end - done",
        "yield start, end, end - start",
        "evaluation/test_perplexity.py::test_it_is_the_naive_sum",
    ),
    "windows pooled unweighted": (
        "evaluation/perplexity.py",
        'total, count = ("sum_of_means", "windows") if compat else ("total", "count")',
        'total, count = ("sum_of_means", "windows")',
        "evaluation/test_perplexity.py::test_it_is_the_naive_sum",
    ),
    "a recalled key must have its separator": (
        "evaluation/passkey_trials.py",
        "all(right[digits:])",
        "all(right)",
        "evaluation/test_passkeys.py::test_a_wrong_separator_is_not_a_lost_key",
    ),
    "every trial at k itself": (
        "evaluation/passkey_trials.py",
        "distance = farthest - int(drawn.short * room)",
        "distance = farthest",
        "evaluation/test_passkeys.py::test_each_trial_draws_its_fillers_and_its_distance",
    ),
    "an answer beyond the window": (
        "evaluation/passkey_trials.py",
        "self.limit - 1 - bare.key_at - answer",
        "self.limit - bare.key_at - answer",
        "evaluation/test_passkeys.py::test_no_position_leaves_the_window",
    ),
    "one success too few for the low end of k_max": (
        "evaluation/reach.py",
        "binom.sf(np.array(counts) - 1, trials, RULE)",
        "binom.sf(np.array(counts), trials, RULE)",
        "evaluation/test_reach.py",
    ),
    "prompt longer than k": (
        "evaluation/passkey_trials.py",
        "while prompt.distance > distance:",
        "while prompt.distance > distance + 40:",
        "evaluation/test_passkeys.py::test_fillers_of_uneven_length_still_fill_and_fit",
    ),
    "attention counted twice": (
        "planning/cost.py",
        "attention=6 * score",
        "attention=12 * score",
        "planning/test_plan.py::test_operations_are_those_torch_counts",
    ),
    "weights updated by the square instead of its root": (
        "bounds/worst_case/weights.py",
        "grid = grid * np.abs(current.scores)",
        "grid = grid * np.abs(current.scores) ** 2",
        "bounds/test_worst_case_bound.py",
    ),
    "d/2 dropped in the form of the coefficients": (
        "bounds/worst_case/closed_form.py",
        "limits = 1.0 / (self.largest**2 * self.spec.pairs)",
        "limits = 1.0 / self.largest**2",
        "bounds/test_worst_case_bound.py",
    ),
    "attention factor once in the closed form": (
        "bounds/worst_case/coordinates.py",
        "return turned * float(model.attention_factor) ** 2",
        "return turned * float(model.attention_factor)",
        "bounds/test_worst_case_bound.py::test_schemes_enter_with_frequencies_and_factor",
    ),
    "limits left out of the certified dual": (
        "bounds/worst_case/certificate.py",
        "total += _number(limit) * rest.abs_upper()",
        "total += rest.abs_upper() * 0",
        "bounds/test_worst_case_bound.py::test_certified_keeps_what_many_updates_gain",
    ),
    "certified bound without the weights' sum": (
        "bounds/worst_case/closed_form.py",
        "certificate.upward((squares * total).sqrt())",
        "certificate.upward((squares * total * total / 2).sqrt())",
        "bounds/test_worst_case_bound.py::test_orders_on_random_problems",
    ),
    "limits of trained scores swapped in the dual": (
        "bounds/worst_case/certificate.py",
        "zip(trained, sides, strict=True)",
        "zip(trained[::-1], sides, strict=True)",
        "bounds/test_certificate.py",
    ),
    "lower limit of trained scores ignored by the check": (
        "bounds/worst_case/certificate.py",
        "low <= a <= high",
        "a <= high",
        "bounds/test_certificate.py",
    ),
    "halves of a block exchanged": (
        "bounds/worst_case/certificate.py",
        "return even + odd, even - odd",
        "return even - odd, even + odd",
        "bounds/test_certificate.py",
    ),
    "offsets turned the wrong way in the residuals": (
        "bounds/worst_case/certificate.py",
        "(after - before) * tables.sines",
        "(before - after) * tables.sines",
        "bounds/test_certificate.py",
    ),
    "the smallest base started beyond that of half the length": (
        "extension/minimal_base.py",
        "_smallest(length // 2, dim).lower) - _WIDTH",
        "100.0 * _smallest(length // 2, dim).lower) - _WIDTH",
        "extension/test_minimal_base.py::test_the_march_starts_below_the_answer",
    ),
    "chord of a cell without its curvature": (
        "bounds/worst_case/supremum.py",
        "(higher + 0.125 * width**2 * slopes)",
        "(higher + 0.0 * width**2 * slopes)",
        "bounds/test_largest_worst_case.py::test_each_weighting_is_bounded_between_its_spans",
    ),
    "tanh of the whole delta": (
        "bounds/softmax.py",
        "return np.tanh(0.5 * _at",
        "return np.tanh(1.0 * _at",
        "bounds/test_softmax.py",
    ),
    "all keys against themselves": (
        "bounds/softmax.py",
        "np.log(count - 1.0)",
        "np.log(count)",
        "bounds/test_softmax.py",
    ),
    "mean square without its half": (
        "bounds/average.py",
        "mean = 0.5 * weighted_gaps",
        "mean = 1.0 * weighted_gaps",
        "bounds/test_average.py",
    ),
    "attention factor squared in a mean square": (
        "bounds/average.py",
        "float(extension.attention_factor) ** 4",
        "float(extension.attention_factor) ** 2",
        "bounds/test_average.py",
    ),
    "whole angle between two bases": (
        "bounds/mixed_base.py",
        "np.sin(lag / 2.0)",
        "np.sin(lag)",
        "bounds/test_average.py",
    ),
    "largest modulus for known ones": (
        "bounds/interpolation.py",
        "return weighted_gaps(spec, before, after, rows)",
        "return weighted_gaps(spec, before, after, rows * 0 + rows.max(axis=1, keepdims=True))",
        "bounds/test_interpolation.py::test_known_magnitudes_lie_between_the_observed_and_both_other_forms",
    ),
    "Eq. 14 compared at half its level": (
        "bounds/certified/constants.py",
        '"all": 4}',
        '"all": 8}',
        "bounds/test_certified.py::test_the_largest_base_with_eq_5_true_in_every_cell",
    ),
    "one layer for all": (
        "comparison/base_limits.py",
        "kept = epsilon ** (1.0 / layers)",
        "kept = epsilon",
        "comparison/test_base_limits.py",
    ),
}


@pytest.fixture(scope="module")
def server():
    with forked.Server() as server:
        yield server


def outcome(server, folder, root, test):
    options = ["-q", "-x", "--assert=plain", "-c", str(root / "pyproject.toml")]
    options += ["-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
    return server.run(folder, [*options, str(root / "tests" / test)])


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree")
    shutil.copytree(Path(__file__).parents[1] / "pianalysis", folder / "pianalysis")
    compileall.compile_dir(folder, quiet=2)
    return folder


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_caught(name, tree, root, server):
    file, before, after, test = FAULTS[name]
    path = tree / "pianalysis" / file
    source = path.read_text()
    assert source.count(before) == 1, f"{before!r} must occur once in {file}"
    path.write_text(source.replace(before, after))
    try:
        status, output = outcome(server, tree, root, test)
    finally:
        shutil.copy2(root / "pianalysis" / file, path)  # with its time: the compiled file fits
    assert status == 1, output  # 1: tests ran and some failed; anything else is no evidence


def test_the_unchanged_copy_passes(tree, root, server):
    status, output = outcome(server, tree, root, "bounds/test_interpolation.py")
    assert status == 0, output
