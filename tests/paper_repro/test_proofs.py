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
)


def test_nothing_is_left_unproved():
    files = sorted(PROOFS.glob("*.v"))
    assert len(files) >= 5
    for file in files:
        found = re.search(r"Admitted|admit|Axiom|Parameter|Conjecture", file.read_text())
        assert found is None, f"{file.name}: {found.group()}"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    if shutil.which("coqc") is None:
        pytest.skip("coqc not installed")
    folder = tmp_path_factory.mktemp("proofs")
    for file in (*PROOFS.glob("*.v"), PROOFS / "Makefile"):
        shutil.copy(file, folder)
    done = subprocess.run(["make", "-C", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "assumptions.log").read_text()


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


def test_a_wrong_constant_does_not_compile(log, tmp_path):
    # Half the corrected constant is refused: the proof is about the number it states.
    for file in (*PROOFS.glob("*.v"), PROOFS / "Makefile"):
        shutil.copy(file, tmp_path)
    source = (tmp_path / "weighted.v").read_text()
    before = "(s - s1) * (s2 - s) / 2"
    assert before in source
    (tmp_path / "weighted.v").write_text(source.replace(before, "(s - s1) * (s2 - s) / 4"))
    done = subprocess.run(["make", "-C", str(tmp_path), "weighted.vo"], capture_output=True)
    assert done.returncode != 0
