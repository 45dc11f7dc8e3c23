"""The Coq proofs: compiled where coqc is installed, and resting on the libraries' axioms alone."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PROOFS = Path(__file__).parents[2] / "paper_repro" / "proofs"

# What the real numbers of Coq's standard library and of Coquelicot rest on, and nothing else.
LIBRARY_AXIOMS = {
    "ClassicalDedekindReals.sig_not_dec",
    "ClassicalDedekindReals.sig_forall_dec",
    "FunctionalExtensionality.functional_extensionality_dep",
    "Classical_Prop.classic",
}
THEOREMS = (
    "theorem_2_1_false_128",
    "theorem_2_1_false_64",
    "counterexample_128",
    "counterexample_64",
    "corrected_bound",
    "corrected_bound_max",
    "weighted_bound",
    "triangle_bound",
    "Abel_bound",
    "Abel_bound_max_modulus",
    "B_lower",
    "Abel_never_beats_triangle",
    "theorem_2_1_iff",
    "magnitude_bound",
    "magnitude_attained",
    "dual_bound",
    "ellipsoid_bound",
    "weighted_limits",
    "attention_shift",
)
# One constant of a statement made wrong: its file no longer compiles.
WRONG = {
    "half the weighted bound": ("weighted", "(s - s1) * (s2 - s) / 2", "(s - s1) * (s2 - s) / 4"),
    "tanh of a quarter": ("softmax", "n <= tanh (delta / 2)", "n <= tanh (delta / 4)"),
    "coefficients left out of the dual": (
        "worst_case",
        "+ H * Rsum (rest c m L",
        "+ 0 * Rsum (rest c m L",
    ),
    "both shares alike": (
        "worst_case",
        "lambda * alpha k + (1 - lambda) * beta k",
        "alpha k + beta k",
    ),
    "attained by half": ("magnitude", "Rsum (fun j => r j * gap", "Rsum (fun j => r j / 2 * gap"),
}


def test_nothing_is_left_unproved():
    files = sorted(PROOFS.glob("*.v"))
    assert len(files) >= 5
    for file in files:
        found = re.search(r"Admitted|admit|Axiom|Parameter|Conjecture", file.read_text())
        assert found is None, f"{file.name}: {found.group()}"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder in which every proof is compiled."""
    if shutil.which("coqc") is None:
        pytest.skip("coqc not installed")
    folder = tmp_path_factory.mktemp("proofs")
    for file in (*PROOFS.glob("*.v"), PROOFS / "Makefile"):
        shutil.copy(file, folder)
    done = subprocess.run(["make", "-C", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def log(built):
    return (built / "assumptions.log").read_text()


def test_the_assumptions_are_those_of_every_theorem():
    text = (PROOFS / "assumptions.v").read_text()
    checked = re.findall(r"^Check (\w+)\.", text, re.MULTILINE)
    together = text.partition("main_theorems := (")[2].partition(")")[0]
    assert checked == [name.strip() for name in together.split(",")]
    assert set(THEOREMS) <= set(checked)
    assert "Print Assumptions main_theorems." in text


def test_every_theorem_is_checked(log):
    for name in THEOREMS:
        assert re.search(rf"^{name}\b", log, re.MULTILINE), name


def test_no_axioms_beyond_the_libraries(log):
    # `Print Assumptions` lists qualified names at the start of a line, after "Axioms:".
    printed = set()
    for block in log.split("Axioms:")[1:]:
        printed |= set(re.findall(r"^([A-Z]\w*(?:\.\w+)+)\b", block, re.MULTILINE))
    assert printed
    assert printed <= LIBRARY_AXIOMS


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_constant_does_not_compile(fault, built, tmp_path):
    # The proof is about the number it states. What it stands on is compiled already.
    name, before, after = WRONG[fault]
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    source = (tmp_path / f"{name}.v").read_text()
    assert before in source
    (tmp_path / f"{name}.v").write_text(source.replace(before, after))
    done = subprocess.run(["make", "-C", str(tmp_path), f"{name}.vo"], capture_output=True)
    assert done.returncode != 0
