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
        "extension.py",
        "Fraction(self.spec.context_window, self.target)",
        "Fraction(self.target, self.spec.context_window)",
        "test_extension.py",
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
