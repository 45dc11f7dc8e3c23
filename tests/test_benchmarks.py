"""Every benchmark on tiny sizes: outputs are compared, pages are what records say; no clock."""

import ast
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
from types import SimpleNamespace

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("little_matrix")
ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"
SHARED = ("common", "models", "page")
SCRIPTS = {path.stem: path.read_text() for path in FOLDER.glob("*.py") if path.stem not in SHARED}
NAMES = sorted(SCRIPTS)
PEERS = [(name, x) for name in NAMES for x in re.findall(r"^def (plain\w*)", SCRIPTS[name], re.M)]


@pytest.fixture(scope="module")
def load():
    """Import a script of benchmarks/ by its name, as its own folder does."""

    def script(name):
        needed = importlib.import_module("page").NEEDED.get(name)  # by `make bench` alone
        if needed and find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
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
        assert min(row["ours_s"], row["peer_s"], row["ratio"], *row["threads"]) > 0
        for side in ("ours", "peer") if "ours_range_s" in row else ():
            least, most = row[f"{side}_range_s"]
            assert least <= row[f"{side}_s"] <= most
    for row in record["growth"]:
        assert len(row["sizes"]) == len(row["seconds"]) >= 3
        assert math.isfinite(row["exponent"])
    assert all(map(math.isfinite, record["numbers"].values()))
    about = {"machine": load("common").machine(), "versions": load("common").versions()}
    whole = json.loads(json.dumps({**record, **about, "load": [0.0, 0.0]}))
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


def test_a_quick_row_gets_seven_rounds_and_a_trial_one(load):
    alternate = load("common").alternate
    done = []
    rows = [alternate("x", lambda: done.append(1), lambda: done.append(2), n) for n in (1, 2, 9)]
    assert [row["rounds"] for row in rows] == [1, 7, 9]
    assert done == [1, 2] * 17  # in turn


@pytest.mark.parametrize("best", [32, 1024, 2048, 2**14])
def test_the_best_setting_lies_between_two_worse_ones(best, load):
    tried = []

    def cost(n):
        tried.append(n)
        return abs(math.log2(n / best))

    assert load("common").best_setting("chunk", cost, 1024) == best
    assert min(tried) < best < max(tried)
    assert len(tried) == len(set(tried))


@pytest.mark.parametrize("cost", [lambda n: n, lambda n: -n])
def test_a_best_setting_at_an_end_is_refused(cost, load):
    with pytest.raises(ValueError, match="chunk: the best must not be at an end"):
        load("common").best_setting("chunk", cost, 1024)


def test_growth_of_a_known_power(load):
    common = load("common")
    sizes = (3, 10, 20, 100)
    assert common.exponent(sizes, [0.7 * n**1.5 for n in sizes]) == pytest.approx(1.5)
    rows = common.fastest_peer([{"peer_s": 2.0}, {"peer_s": 1.0}, {"peer_s": 3.0}])
    assert [row["headline"] for row in rows] == [False, True, False]


def in_a_child(root, code):
    """Return the whole numbers that the code prints in a process of its own."""
    paths = os.pathsep.join([str(root / "benchmarks"), str(root)])
    command = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return [int(word) for word in done.stdout.split()]


def test_peak_memory_is_that_of_the_function_and_the_peer_keeps_one_block(root):
    # In a process of its own: what this one frees meanwhile would count against it.
    code = (
        "import common, numpy as np;"
        "print(common.peak_bytes(lambda: None), common.peak_bytes(lambda: np.ones(2**23)));"
        "import heads, torch;"
        "rows, table = torch.ones(32, 2).double(), torch.ones(2**19, 2).double();"
        "heads.swept(rows, table[:8192]);"
        "print(common.peak_bytes(lambda: heads.swept(rows, table)))"
    )
    nothing, array, swept = in_a_child(root, code)
    assert nothing < 2**20
    assert array == pytest.approx(2**26, rel=0.1)
    assert swept < 2**24  # all scores at once are 2**27 bytes, those of a block 2**20


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
        assert record["seconds"] >= 0.0
        assert len(record["load"]) == 2


def test_an_interrupted_save_leaves_the_old_record(load, tmp_path, monkeypatch):
    common, path = load("common"), tmp_path / "name.json"
    path.write_text("old")
    monkeypatch.setattr(common, "FOLDER", tmp_path)
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        common.save("name", {"rows": []})
    assert path.read_text() == "old"


def test_other_systems_are_refused_in_one_sentence(load, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(sys, "argv", ["name.py", "--size", "small"])
    with pytest.raises(SystemExit, match=r"^error: the benchmarks run on Linux only, this is "):
        load("common").main(lambda size: {}, {"full": {}, "small": {}})


@pytest.mark.parametrize("ceiling", [math.inf, math.nan, 0.1])
def test_a_ceiling_that_is_none_or_says_nothing_is_refused(ceiling, load, monkeypatch):
    script = load("worst_case")
    monkeypatch.setattr(script.pia, "worst_case_bound", lambda *args, **names: ceiling)
    with pytest.raises(ValueError, match="the closed form must lie above the exact worst case"):
        script.measure(script.SIZES["small"])


def test_the_exact_peer_is_timed_at_the_bits_that_sufficed(load, monkeypatch):
    script = load("exact_fit")
    right, bits = script.plain, []

    def plain(spec, spans, given):
        bits.append(given)
        return right(spec, spans, given)[0], 999

    monkeypatch.setattr(script, "plain", plain)
    script.measure(script.SIZES["small"])
    assert bits[1:] == [999]
    assert bits[0] != 999
    assert right(script.SIZES["small"]["spec"], np.array([60.5]), 16)[1] > 16


def test_loading_above_its_limit_is_refused(load, monkeypatch):
    script = load("loading")
    size = script.SIZES["small"] | {"limit": script.SIZES["full"]["limit"], "rounds": 2}

    class Maker:
        """In place of a process that saves a model."""

        def __init__(self, target, args):
            self.start = self.join = lambda: Path(args[1], "a.safetensors").write_bytes(b"ab")

    monkeypatch.setattr(script, "server", lambda: SimpleNamespace(Process=Maker))
    side = {"seconds": 1.0, "start": 0, "files": 0, "samples": 1}
    peaks = {script.read_by_one: iter([1, 11]), script.read_by_each: iter([11, 11])}
    monkeypatch.setattr(script, "run", lambda how, *rest: ({}, side | {"peak": next(peaks[how])}))
    monkeypatch.setattr(script.common, "agree", lambda *what: 0.0)
    with pytest.raises(ValueError, match=r"2 processes: the peak must be at most 1\.3 times"):
        script.measure(size)


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


def test_a_busy_machine_and_a_slower_side_are_said(load):
    page = load("page")
    row = {"case": "some", "ours_s": 2.0, "peer_s": 1.0, "ratio": 0.5, "rounds": 3}
    row |= {"threads": [1, 1]}
    record = {"question": "x", "rows": [row], "growth": [], "numbers": {}, "threads": 1}
    record |= {"versions": {}}
    record |= {"machine": {"cpu": "a", "cores": 2, "python": "3"}, "load": [0.1, 2.4]}
    assert "busy" not in page.page({"heads": record})
    for change in ({"load": [2.6, 2.0]}, {"load": [2.0, 2.6]}, {"load": [2, 4.6], "processes": 4}):
        assert "**The machine was busy**" in page.page({"heads": record | change})
    assert "busy" not in page.page({"heads": record | {"load": [2, 4.4], "processes": 4}})
    assert "**0.5 times**, ours is slower" in page.section({"heads": record})
    two = record | {"rows": [row, row | {"case": "other", "ratio": 3.0}]}
    assert "**0.5 to 3 times**, ours is slower at: some (" in page.section({"heads": two})


def scripts(copy, bodies, *arguments):
    """Run page.py on scripts that write the record of abel_sum, but for those given.

    Their titles are the real ones; of abel_sum and worst_case there is a record before.
    """
    folder = copy / "benchmarks"
    for name in ("page", "common"):
        shutil.copy(FOLDER / f"{name}.py", folder)
    for name in NAMES:
        save = f"shutil.copy({str(FOLDER / 'abel_sum.json')!r}, {str(folder / f'{name}.json')!r})"
        body = bodies.get(name, f"import shutil; {save}")
        title = ast.get_docstring(ast.parse(SCRIPTS[name]))
        (folder / f"{name}.py").write_text(f"{title!r}\n{body}\n")
        if name not in ("abel_sum", "worst_case"):
            (folder / f"{name}.json").unlink(missing_ok=True)
    # What runs in the background of a shell ignores Ctrl-C, and so would all that it starts.
    command = ["env", "--default-signal=INT", sys.executable, str(folder / "page.py"), *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=300
    )


def test_a_script_that_fails_loses_nothing_of_the_others(load, copy):
    kept = (copy / "benchmarks" / "worst_case.json").read_bytes()
    done = scripts(copy, {"worst_case": "raise SystemExit(3)"}, "--measure")
    assert (done.returncode, done.stderr) == (
        1,
        "error: failed: worst_case; their old records stay\n",
    )
    assert (copy / "benchmarks" / "worst_case.json").read_bytes() == kept
    assert (copy / "benchmarks" / "imports.json").exists()
    assert load("page").stale(copy) == []
    assert "== script 11 of 11, loading\n" in done.stdout
    if find_spec("rope_profiler") is None:
        assert "== profiler is skipped: rope_profiler is not installed" in done.stdout


def test_one_script_alone_says_how_long_it_took_last_time(copy):
    path = copy / "benchmarks" / "abel_sum.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": 61.7}))
    done = scripts(copy, {"imports": "raise SystemExit(3)"}, "--measure", "abel_sum")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "== script 1 of 1, abel_sum, took 62 s last time\n"


def test_an_interrupt_is_one_line_and_leaves_pages_of_the_records(load, copy):
    stop = "import os, signal, time\nos.kill(os.getppid(), signal.SIGINT)\ntime.sleep(600)"
    done = scripts(copy, {"worst_case": stop}, "--measure")
    assert (done.returncode, done.stderr.count("\n")) == (130, 1)
    assert done.stderr.startswith("interrupted")
    assert not (copy / "benchmarks" / "exact_fit.json").exists()
    assert load("page").stale(copy) == []


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
