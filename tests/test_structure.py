"""The house stands, importing it is cheap and touches nothing, and each rule of it can fail."""

import shutil
import statistics
import subprocess
import sys

import pytest
import structure

HEAVY = ("torch", "matplotlib", "transformers", "scipy", "sympy", "numba", "flint", "tabulate")


def test_the_house_is_sound(root):
    assert structure.problems(root) == []


def test_modules_stay_small(root):
    sizes = [
        len(path.read_text().splitlines())
        for package in ("pianalysis", "paper_repro")
        for path in (root / package).rglob("*.py")
        if path.name != "__init__.py"
    ]
    assert statistics.median(sizes) < 200


# What is written into a copy of the tree, and the line that it must lead to.
INJECTED = {
    "a file that no room owns": (
        "pianalysis/attic.py",
        '"""Owned by none."""\n',
        "pianalysis/attic.py: no room owns it",
    ),
    "a folder that no room owns": (
        "pianalysis/bounds/attic/spec.py",
        '"""Owned by none, though another room has a spec.py."""\n',
        "pianalysis/bounds/attic/spec.py: no room owns it",
    ),
    "an upward arrow": (
        "pianalysis/rope/spec.py",
        "from pianalysis.extension.base import Extension\n",
        "pianalysis/rope/spec.py: imports upwards, from pianalysis/extension/base.py",
    ),
    "an upward arrow, lazy": (
        "pianalysis/checks.py",
        "def late() -> None:\n    from pianalysis.rope.spec import RopeSpec\n",
        "pianalysis/checks.py: imports upwards, from pianalysis/rope/spec.py",
    ),
    "an upward arrow, for the type checker": (
        "pianalysis/evaluation/text.py",
        "if TYPE_CHECKING:\n    from pianalysis.heads.layer import LayerStatistics\n",
        "pianalysis/evaluation/text.py: imports upwards, from pianalysis/heads/layer.py",
    ),
    "the face from below": (
        "pianalysis/bounds/ratio.py",
        "from pianalysis import preset\n",
        "pianalysis/bounds/ratio.py: imports upwards, from pianalysis/__init__.py",
    ),
    "an item that an older room takes": (
        "paper_repro/ledger.py",
        "from paper_repro.items import fig3\n",
        "paper_repro/ledger.py: imports upwards, from paper_repro/items/fig3.py",
    ),
    "a circle inside a room": (
        "pianalysis/rope/phases.py",
        "def late() -> None:\n    from pianalysis.rope.spec import RopeSpec\n",
        "a circle of imports",
    ),
    "a private name": (
        "pianalysis/scores/fits.py",
        "from pianalysis.rope.spec import _even_dim\n",
        "pianalysis/scores/fits.py: takes the private name _even_dim of pianalysis/rope/spec.py",
    ),
    "a private name, as an attribute": (
        "pianalysis/scores/fits.py",
        "from pianalysis.rope import spec as other\n\n\ndef late() -> None:\n    other._even_dim\n",
        "pianalysis/scores/fits.py: takes the private name _even_dim of pianalysis/rope/spec.py",
    ),
    "matplotlib below pictures": (
        "pianalysis/comparison/growth.py",
        "def late() -> None:\n    import matplotlib.pyplot\n",
        "pianalysis/comparison/growth.py: imports matplotlib below pictures/",
    ),
    "torch below checkpoints": (
        "pianalysis/precision/errors.py",
        "import torch\n",
        "pianalysis/precision/errors.py: imports torch below checkpoints/",
    ),
    "transformers below checkpoints, lazy": (
        "pianalysis/extension/registry.py",
        "def late() -> None:\n    from transformers import AutoConfig\n",
        "pianalysis/extension/registry.py: imports transformers lazily below checkpoints/ "
        "and is not listed",
    ),
    "a listed lazy import that is not lazy": (
        "pianalysis/planning/dry_run.py",
        "import torch\n",
        "pianalysis/planning/dry_run.py: imports torch below checkpoints/",
    ),
    "a long file": (
        "pianalysis/heads/sweep.py",
        "# one more\n" * 400,
        "pianalysis/heads/sweep.py: above 400 lines",
    ),
    "a face that computes": (
        "pianalysis/scores/__init__.py",
        "LARGEST = 2**20\n",
        "pianalysis/scores/__init__.py: a face only hands names on, got LARGEST = 2 ** 20",
    ),
}


@pytest.mark.parametrize("name", INJECTED)
def test_each_rule_can_fail(name, root, tmp_path):
    file, text, line = INJECTED[name]
    for package in ("pianalysis", "paper_repro"):
        ignore = shutil.ignore_patterns("__pycache__", "scratch_models", "*.nb[ci]")
        shutil.copytree(root / package, tmp_path / package, ignore=ignore)
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + "\n" + text)
    found = structure.problems(tmp_path)
    assert any(problem.startswith(line) for problem in found), found


def test_a_ninth_module_in_the_root(root, tmp_path):
    shutil.copytree(root / "pianalysis", tmp_path / "pianalysis")
    for name in "abc":
        (tmp_path / "pianalysis" / f"{name}.py").touch()
    assert "pianalysis/: more than 8 modules in the root" in structure.problems(tmp_path)


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
        "import pianalysis.pictures.style, pianalysis.pictures.heads, paper_repro.runner as r;"
        "[r.load(n) for n in r.ITEMS]; assert dict(mpl.rcParams) == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
