"""Importing the library is cheap and touches nothing."""

import ast
import statistics
import subprocess
import sys

import pytest

HEAVY = ("torch", "matplotlib", "transformers", "scipy", "sympy", "numba", "flint", "tabulate")


def test_import_loads_nothing_heavy():
    code = f"import sys, pianalysis; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_import_costs_little_beside_numpy():
    # No clock: what is loaded besides numpy and the standard library is this package alone.
    code = (
        "import sys, numpy; before = set(sys.modules); import pianalysis;"
        "print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    added = set(done.stdout.split())
    assert "pianalysis" in added
    assert added - {"pianalysis", "numpy"} <= set(sys.stdlib_module_names)


def test_importing_every_module_changes_no_matplotlib_setting():
    code = (
        "import matplotlib as mpl; before = dict(mpl.rcParams);"
        "import pianalysis.style, pianalysis.plots, paper_repro.runner as r;"
        "[r.load(n) for n in r.ITEMS]; assert dict(mpl.rcParams) == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


ORDER = (
    "_validate",
    "_phases",
    "configs",
    "rope",
    "extension",
    "scores",
    "bounds",
    "_low_precision",
    "_emulation",
    "_phase_search",
    "precision",
    "resolution",
    "compare",
    "report",
    "compare_report",
    "phase_report",
    "cli",
)


@pytest.mark.parametrize("name", ORDER[:-1])
def test_imports_point_one_way(root, name):
    later = set(ORDER[ORDER.index(name) + 1 :])
    target = root / "pianalysis" / name
    files = target.glob("*.py") if target.is_dir() else [target.with_suffix(".py")]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pianalysis"):
                parts = set(node.module.split(".")) | {alias.name for alias in node.names}
                assert not parts & later, f"{file.name} imports {parts & later}"


def test_files_stay_small(root):
    sizes = {p.name: len(p.read_text().splitlines()) for p in (root / "pianalysis").rglob("*.py")}
    assert statistics.median(sizes.values()) < 300
    assert max(sizes.values()) < 400, sizes
