"""Every benchmark on tiny sizes: outputs are compared, pages are what records say; no clock."""

import importlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pianalysis.finetune import speed

FOLDER = Path(__file__).parents[1] / "benchmarks"
SHARED = ("common", "models", "page")
NEEDED = {"profiler": "rope_profiler"}  # installed by `make bench` alone
SCRIPTS = {path.stem: path.read_text() for path in FOLDER.glob("*.py") if path.stem not in SHARED}
NAMES = sorted(SCRIPTS)
PEERS = [(name, x) for name in NAMES for x in re.findall(r"^def (plain\w*)", SCRIPTS[name], re.M)]


@pytest.fixture(scope="module")
def load():
    """Import a script of benchmarks/ by its name, as its own folder does."""

    def script(name):
        if name in NEEDED and find_spec(NEEDED[name]) is None:
            pytest.skip(f"{NEEDED[name]} is not installed")
        return importlib.import_module(name)

    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    yield script
    sys.path.remove(str(FOLDER))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(FOLDER)):
            del sys.modules[name]  # their names are short, and others' as well


@pytest.fixture
def copy(root, tmp_path):
    """What the pages are made of and written to, in a folder of its own."""
    (tmp_path / "benchmarks").mkdir()
    shutil.copy(root / "README.md", tmp_path)
    for path in (root / "benchmarks").glob("*.json"):
        shutil.copy(path, tmp_path / "benchmarks")
    return tmp_path


@pytest.fixture(autouse=True)
def little_matrix(monkeypatch):
    """A large matrix product, the peak that training is held against, takes most of a small run."""
    monkeypatch.setitem(speed._SIZES, "cpu", 64)


def off(value):
    """A peer's output, wrong by a thousandth; of a pair it is the first that is compared."""
    if isinstance(value, dict):
        return {name: off(column) for name, column in value.items()}
    if isinstance(value, tuple):
        return off(value[0]), *value[1:]
    return value * (1.0 + 1e-3)


def test_every_script_is_on_the_page_and_has_a_peer(load):
    assert sorted(load("page").SCRIPTS) == NAMES
    assert {name for name, _ in PEERS} == {*NAMES} - {"imports"}


@pytest.mark.parametrize("name", NAMES)
def test_a_small_run_gives_a_whole_record(name, load):
    script, page = load(name), load("page")
    affinity = os.sched_getaffinity(0)
    record = script.measure(script.SIZES["small"])
    assert os.sched_getaffinity(0) == affinity
    assert script.SIZES["full"].keys() == script.SIZES["small"].keys()
    assert record["threads"] >= 1
    for row in record["rows"]:
        assert min(row["ours_s"], row["peer_s"], row["ratio"]) > 0.0
    for row in record["growth"]:
        assert len(row["sizes"]) == len(row["seconds"]) >= 3
        assert math.isfinite(row["exponent"])
    assert all(map(math.isfinite, record["numbers"].values()))
    whole = json.loads(json.dumps({**record, "machine": load("common").machine()}))
    text = page.page({name: whole})
    assert all(row["case"] in text for row in record["rows"])
    assert f"python benchmarks/{name}.py" in page.section({name: whole})


@pytest.mark.parametrize(("name", "peer"), PEERS)
def test_a_peer_that_is_off_by_a_thousandth_is_refused(name, peer, load, monkeypatch):
    script = load(name)
    right = getattr(script, peer)
    monkeypatch.setattr(script, peer, lambda *arguments: off(right(*arguments)))
    with pytest.raises(ValueError, match="ours and the peer's must agree"):
        script.measure(script.SIZES["small"])


def test_an_import_that_loads_something_heavy_is_refused(load, monkeypatch):
    script = load("imports")
    monkeypatch.setattr(script, "run", lambda code: "['torch']\n")
    with pytest.raises(ValueError, match="must load nothing heavy, got \\['torch'\\]"):
        script.measure(script.SIZES["small"])


def test_what_agrees(load):
    agree = load("common").agree
    one = np.array([1.0, -4.0])
    assert agree("x", one, one, 0.0) == 0.0
    assert agree("x", {"a": one, "b": one}, {"a": one + 0.4}, 0.2) == pytest.approx(0.4 / 3.6)
    for wrong in (one * 1.001, np.array([1.0, math.nan]), one[:1], one[:, None]):
        with pytest.raises(ValueError, match="x: ours and the peer's must agree to 1e-05"):
            agree("x", wrong, one, 1e-5)


def test_growth_of_a_known_power(load):
    common = load("common")
    sizes = (3, 10, 20, 100)
    assert common.exponent(sizes, [0.7 * n**1.5 for n in sizes]) == pytest.approx(1.5)
    rows = common.fastest_peer([{"peer_s": 2.0}, {"peer_s": 1.0}, {"peer_s": 3.0}])
    assert [row["headline"] for row in rows] == [False, True, False]


def test_peak_memory_is_that_of_the_function(root):
    # In a process of its own: what this one frees meanwhile would count against it.
    code = (
        "import common, numpy as np;"
        "print(common.peak_bytes(lambda: None), common.peak_bytes(lambda: np.ones(2**23)))"
    )
    paths = os.pathsep.join([str(root / "benchmarks"), str(root)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    nothing, array = map(int, done.stdout.split())
    assert nothing < 2**20
    assert array == pytest.approx(2**26, rel=0.1)


@pytest.mark.parametrize("size", ["small", "full"])
def test_only_a_full_run_is_kept(size, load, tmp_path, monkeypatch):
    common = load("common")
    monkeypatch.setattr(common, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["some/name.py", "--size", size])
    common.main(lambda given: {"rows": given}, {"full": [1], "small": [2]})
    kept = [path.name for path in tmp_path.iterdir()]
    assert kept == (["name.json"] if size == "full" else [])
    if kept:
        record = json.loads((tmp_path / "name.json").read_text())
        assert (record["rows"], record["versions"]["numpy"]) == ([1], np.__version__)


def test_a_measurement_alone_is_printed(load, monkeypatch, capsys):
    heads = load("heads")
    monkeypatch.setattr(sys, "argv", ["heads.py", "--size", "small", "--alone", "ours"])
    load("common").main(heads.measure, heads.SIZES, heads.ALONE)
    assert json.loads(capsys.readouterr().out) >= 0


def test_the_committed_pages_are_made_of_the_records(load, root):
    assert load("page").stale(root) == []


def test_a_changed_record_changes_both_pages(load, copy):
    page = load("page")
    for path, text in page.files(copy).items():
        path.write_text(text)
    assert page.stale(copy) == []
    path = copy / "benchmarks" / "abel_sum.json"
    record = json.loads(path.read_text())
    for row in record["rows"]:
        row["ratio"] = 17.25
    path.write_text(json.dumps(record))
    assert page.stale(copy) == ["benchmarks/README.md", "README.md"]
    assert all("17.2" in text for text in page.files(copy).values())


def test_a_missing_record_is_named(load, copy):
    page = load("page")
    (copy / "benchmarks" / "worst_case.json").unlink()
    made = page.files(copy)
    assert page.UNMEASURED in made[copy / "benchmarks" / "README.md"].split("worst_case.py`")[1]
    line = next(x for x in made[copy / "README.md"].splitlines() if "worst_case.py" in x)
    assert "not yet measured" in line


def test_an_edit_by_hand_is_seen(load, copy):
    page, readme = load("page"), copy / "README.md"
    text = readme.read_text()
    before, begin, section = text.partition(page.BEGIN)
    readme.write_text(before + begin + section.replace(" times", " thousand times", 1))
    assert "README.md" in page.stale(copy)
    readme.write_text(text.replace(page.END, ""))
    with pytest.raises(ValueError, match="README must hold <!-- speed:begin -->"):
        page.stale(copy)


def test_numbers_as_the_pages_write_them(load):
    page = load("page")
    assert [page._time(x) for x in (2e-5, 0.1234, 36.44)] == ["20 µs", "123 ms", "36.4 s"]
    assert [page._number(x) for x in (0.70758, 25.641, 367734.99)] == ["0.708", "25.6", "367,735"]
