"""Injected faults: each one-line change of a formula must make its tests fail."""

import os
import shutil
import subprocess
import sys

import pytest

FAULTS = {
    "reversed sign in Eq. 8": (
        "bounds/extrapolation.py",
        "np.abs(known - following)",
        "np.abs(known + following)",
        "test_extrapolation.py",
    ),
    "h_{d/2} = 0 dropped in Eq. 8": (
        "bounds/extrapolation.py",
        "np.zeros_like(known[..., :1])",
        "known[..., -1:]",
        "test_extrapolation.py",
    ),
    "factor 2 in Eq. 5": (
        "bounds/interpolation.py",
        "spec.rotary_dim / (8.0 *",
        "spec.rotary_dim / (4.0 *",
        "test_interpolation.py",
    ),
    "factor 2 in the corrected bound": (
        "bounds/interpolation.py",
        "per_unit = 0.5 * theta_square_sum(spec)",
        "per_unit = theta_square_sum(spec)",
        "test_interpolation.py",
    ),
    "interleaved for half layout": (
        "scores.py",
        "return slice(0, dim // 2), slice(dim // 2, None)",
        "return slice(0, None, 2), slice(1, None, 2)",
        "test_scores.py",
    ),
    "conjugate on the query": (
        "scores.py",
        "(q[..., first] + 1j * q[..., second]) * (k[..., first] - 1j * k[..., second])",
        "(q[..., first] - 1j * q[..., second]) * (k[..., first] + 1j * k[..., second])",
        "test_scores.py",
    ),
    "theta from 2j/d to j/d": (
        "_phases.py",
        "context.ln(Decimal(base)), Decimal(-2))",
        "context.ln(Decimal(base)), Decimal(-1))",
        "test_rope.py",
    ),
    "second float of theta dropped": (
        "_phases.py",
        "tail + s * model.frequencies_tail - whole_tail",
        "tail - whole_tail",
        "test_extrapolation.py",
    ),
    "kernel sums one pair too few": (
        "_kernels.py",
        "total[w] += first + np.sqrt(x * x + y * y)",
        "total[w] += first",
        "test_extrapolation.py",
    ),
    "sine block with the wrong sign": (
        "fits.py",
        "(difference - total) / 2",
        "(difference + total) / 2",
        "test_fits.py",
    ),
    "PI by L'/L": (
        "extension/geometric.py",
        "return self.spec.base, Fraction(window, target)",
        "return self.spec.base, Fraction(target, window)",
        "test_extension.py",
    ),
    "NTK exponent d/(d-2) to 1": (
        "extension/geometric.py",
        "growth ** (dim / (dim - 2))",
        "growth",
        "test_extension.py",
    ),
    "dynamic NTK without its minus (k - 1)": (
        "extension/geometric.py",
        "growth - (self.factor - 1.0)",
        "growth",
        "test_schemes.py",
    ),
    "YaRN ramp the wrong way": (
        "extension/by_parts.py",
        "_between(1.0 - ramp, self.factor)",
        "_between(ramp, self.factor)",
        "test_schemes.py",
    ),
    "YaRN's 2 pi dropped": (
        "extension/by_parts.py",
        "(2.0 * math.pi * turns))",
        "turns)",
        "test_schemes.py",
    ),
    "YaRN never truncates": (
        "extension/by_parts.py",
        "if self.truncate:",
        "if False:",
        "test_schemes.py",
    ),
    "attention 0.1 ln k + 1 without the 1": (
        "extension/by_parts.py",
        "math.log(factor) + 1.0",
        "math.log(factor)",
        "test_schemes.py",
    ),
    "mscale upside down": (
        "extension/by_parts.py",
        "_magnitude(self.factor, self.mscale) / _magnitude(\n                self.factor, "
        "self.mscale_all_dim\n            )",
        "_magnitude(self.factor, self.mscale_all_dim) / _magnitude(\n                self.factor, "
        "self.mscale\n            )",
        "test_schemes.py",
    ),
    "LongRoPE's lists swapped": (
        "extension/by_pair.py",
        "self.long_factor if beyond else self.short_factor",
        "self.short_factor if beyond else self.long_factor",
        "test_schemes.py",
    ),
    "proportional over pairs instead of dimensions": (
        "extension/by_pair.py",
        "self.proportion * self.spec.head_dim // 2",
        "self.proportion * self.spec.head_dim // 4",
        "test_schemes.py",
    ),
    "base served: derivative bound too small by 4": (
        "bounds/cosine.py",
        "rate = m * float(exponents @ theta)",
        "rate = 0.25 * m * float(exponents @ theta)",
        "test_cosine.py",
    ),
    "chord of the wrong end in the deviation": (
        "bounds/deviation.py",
        "(n + 1 - t) * grid[n] + (t - n) * grid[n + 1]",
        "(n + 1 - t) * grid[n + 1] + (t - n) * grid[n]",
        "test_resolution.py",
    ),
    "critical dimension rounded down": (
        "resolution.py",
        "2 * math.ceil(turning)",
        "2 * math.floor(turning)",
        "test_resolution.py",
    ),
    "unseen phases counted for every pair": (
        "resolution.py",
        "unseen = (trained < 1.0) & (reached",
        "unseen = (reached",
        "test_resolution.py",
    ),
    "span with the wrong sign": (
        "_kernels.py",
        "x * centre_re[b, j] - y * centre_im[b, j]",
        "x * centre_re[b, j] + y * centre_im[b, j]",
        "test_heads_statistics.py",
    ),
    "one side of a block left out": (
        "_kernels.py",
        "away = abs(swing[r])",
        "away = swing[r]",
        "test_heads_statistics.py",
    ),
    "conjugate on the query of a head": (
        "heads/_layer.py",
        "query[m] * key[n].conj()",
        "query[m].conj() * key[n]",
        "test_heads_statistics.py",
    ),
    "query heads on the wrong key-value head": (
        "heads/_layer.py",
        "keys[index // group]",
        "keys[index % len(keys)]",
        "test_heads_statistics.py",
    ),
    "range of spans ends one too late": (
        "heads/_sweep.py",
        "starts.append(last * window - width)",
        "starts.append(last * window - width + 1)",
        "test_heads_statistics.py",
    ),
    "softmax counts the moved key twice": (
        "heads/_pairs.py",
        "(1.0 - own)[:, None] * np.exp(away)",
        "np.exp(away)",
        "test_heads_statistics.py",
    ),
    "scaling left out of the softmax": (
        "heads/_layer.py",
        "_sweep.causal_log_sums(spec, heads.scaling * query,",
        "_sweep.causal_log_sums(spec, query,",
        "test_heads_statistics.py",
    ),
    "search looks at future keys": (
        "_kernels.py",
        "count = first + t + 1\n",
        "count = tokens\n",
        "test_heads_statistics.py",
    ),
    "half-angle of the chord": (
        "heads/_pairs.py",
        "2.0 * np.sin(spec.frequencies / 4.0) ** 2",
        "2.0 * np.sin(spec.frequencies / 2.0) ** 2",
        "test_heads_statistics.py",
    ),
    "bfloat16 cut instead of rounded": (
        "_low_precision.py",
        "np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))",
        "np.uint32(0)",
        "test_phase_error.py",
    ),
    "bfloat16 ties away from even": (
        "_low_precision.py",
        "np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))",
        "np.uint32(0x8000)",
        "test_phase_error.py",
    ),
    "positions never cast": (
        "_low_precision.py",
        "held = rounded(positions.astype(np.float32), pipeline.phases)",
        "held = positions.astype(np.float32)",
        "test_phase_error.py",
    ),
    "cos and sin never cast": (
        "_low_precision.py",
        "rounded(rounded(plain * factor, pipeline.phases), pipeline.rotations)",
        "rounded(plain * factor, pipeline.phases)",
        "test_phase_error.py",
    ),
    "true phases from one float": (
        "_phases.py",
        "(computed - whole) - (rest + spans * tail)",
        "(computed - whole) - rest",
        "test_phase_error.py",
    ),
    "roundings of a pair bounded too low": (
        "_emulation.py",
        "2.1 * steps * furthest",
        "0.5 * steps * furthest",
        "test_phase_error.py",
    ),
    "rotation turned the wrong way in the ball": (
        "_emulation.py",
        "* unit(-phase)).arg()",
        "* unit(-phase)).conjugate().arg()",
        "test_phase_error.py",
    ),
    "a gap taken for packed texts": (
        "heads/_gap.py",
        "attention_mask=torch.ones_like(ids),",
        "attention_mask=None,",
        "test_heads_distance.py",
    ),
    "gap one token late": (
        "heads/_gap.py",
        "positions[before:] += gap",
        "positions[before + 1 :] += gap",
        "test_heads_distance.py",
    ),
    "passkey distance off by one": (
        "heads/passkey.py",
        "self.answer_at - 1 - self.key_at",
        "self.answer_at - self.key_at",
        "test_heads_distance.py",
    ),
    "attention factor left out of a model": (
        "heads/apply.py",
        'setattr(module, prefix + "attention_scaling", extension.attention_factor)',
        "pass",
        "test_heads_apply.py",
    ),
    "a model's own dynamic scheme left on": (
        "heads/apply.py",
        'module.rope_type = "default"',
        "pass",
        "test_heads_apply.py",
    ),
    "k_max beyond a failed distance": (
        "heads/passkey.py",
        "            break\n        reached",
        "            continue\n        reached",
        "test_heads_text.py",
    ),
    "warm-up from zero": (
        "finetune/recipe.py",
        "WARMUP_START = 0.1",
        "WARMUP_START = 0.0",
        "test_finetune_corpus.py",
    ),
    "gaps short of the target": (
        "finetune/gaps.py",
        "rng.integers(target - length + 1)",
        "rng.integers((target - length) // 2 + 1)",
        "test_finetune_corpus.py",
    ),
    "tokens of a sliding window scored twice": (
        "finetune/perplexity.py",
        "yield start, end, end - done",
        "yield start, end, end - start",
        "test_finetune_perplexity.py",
    ),
    "windows pooled unweighted": (
        "finetune/perplexity.py",
        'total, count = ("sum_of_means", "windows") if compat else ("total", "count")',
        'total, count = ("sum_of_means", "windows")',
        "test_finetune_perplexity.py",
    ),
    "prompt longer than k": (
        "finetune/passkeys.py",
        "while len(prompt.tokens) > k:",
        "while len(prompt.tokens) > k + 40:",
        "test_finetune_passkeys.py",
    ),
    "attention counted twice": (
        "finetune/cost.py",
        "attention=6 * score",
        "attention=12 * score",
        "test_finetune_plan.py",
    ),
}


def outcome(folder, root, test):
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    code = (
        "import sys, pianalysis, pytest; assert pianalysis.__file__.startswith(sys.argv[1]);"
        "sys.exit(pytest.main(sys.argv[2:]))"
    )
    config = str(root / "pyproject.toml")
    options = ["-q", "-x", "-c", config, "-p", "no:cacheprovider"]
    options += ["-o", "addopts=--import-mode=importlib"]
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), *options, str(root / "tests" / test)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture
def copy(root, tmp_path):
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(root / "pianalysis", tmp_path / "pianalysis", ignore=ignore)
    return tmp_path


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_caught(name, copy, root):
    file, before, after, test = FAULTS[name]
    path = copy / "pianalysis" / file
    source = path.read_text()
    assert source.count(before) == 1, f"{before!r} must occur once in {file}"
    path.write_text(source.replace(before, after))
    status, output = outcome(copy, root, test)
    assert status == 1, output  # 1: tests ran and some failed; anything else is no evidence


def test_the_unchanged_copy_passes(copy, root):
    status, output = outcome(copy, root, "test_interpolation.py")
    assert status == 0, output
