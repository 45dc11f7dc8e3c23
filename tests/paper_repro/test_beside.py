"""Items beside each other, and what is kept of them."""

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import torch

from paper_repro import __main__ as command
from paper_repro import beside, kept, ledger, runner

ITEMS = ["fig3", "fig1"]
FILES = [f"fig3.{kind}" for kind in ("pdf", "svg", "png", "csv", "json")]


# Work that needs no import of ours: names are expressions.
NUMBER, DIE = "__import__('os').getpid()", "__import__('os').abort()"
HOLD = "[open(f\"{__import__('os').getpid()}.pid\", 'w'), __import__('time').sleep(600)]"


def test_workers_fit_cores_and_memory(monkeypatch):
    monkeypatch.setattr(beside, "cores", lambda: 8)
    sizes = {"SC_PHYS_PAGES": 6 * 2**20, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", sizes.get)
    assert beside.workers(100) == 6  # 24 GiB at four each
    assert beside.workers(3) == 3
    sizes["SC_PHYS_PAGES"] = 1
    assert beside.workers(3) == 1


def test_results_come_in_the_order_asked_from_processes_of_their_own(monkeypatch, capsys):
    monkeypatch.setattr(beside, "cores", lambda: 2)
    made = beside.run(eval, ["2 + 3", NUMBER, "7"])
    assert list(made) == ["2 + 3", NUMBER, "7"]
    assert (made["2 + 3"], made["7"]) == (5, 7)
    assert made[NUMBER] != os.getpid()
    lines = capsys.readouterr().err.splitlines()
    assert sorted(line.rpartition("  ")[0].strip() for line in lines) == ["2 + 3", "7", NUMBER]
    with pytest.raises(ZeroDivisionError):
        beside.run(eval, ["1 / 0", "2"])
    with pytest.raises(BrokenProcessPool):
        beside.run(eval, [DIE, DIE + " "])


@pytest.mark.parametrize(
    ("name", "tier", "threads"),
    [("fig1", None, 1), ("finetune", "quick", 1), ("finetune", "cpu", 2)],
)
def test_an_item_is_held_to_one_thread_but_not_a_run_of_hours(name, tier, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with runner._threads(name, tier):
            assert torch.get_num_threads() == threads
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_is_loaded_later_is_held_to_one_thread_too(root):
    code = (
        "from paper_repro import beside; import threadpoolctl\n"
        "with beside.one_thread():\n"
        "    import scipy.linalg, scipy.optimize\n"
        "    print(*{x['num_threads'] for x in threadpoolctl.threadpool_info()})"
    )
    free = {k: v for k, v in os.environ.items() if not k.endswith("NUM_THREADS")}
    surroundings = {**free, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=surroundings
    )
    assert done.stdout.split() == ["1"]


def test_alone_and_beside_others_an_item_gives_the_same_bytes(tmp_path, monkeypatch):
    both, alone = tmp_path / "both", tmp_path / "alone"
    monkeypatch.setattr(beside, "cores", lambda: 2)
    runner.run(ITEMS, both)
    for name in ITEMS:
        runner.run([name], alone)
    files = sorted(path.name for path in both.iterdir())
    assert files == sorted(path.name for path in alone.iterdir())
    for file in files:
        assert (both / file).read_bytes() == (alone / file).read_bytes(), file


def test_workers_end_with_a_killed_run(tmp_path, root):
    if not Path("/proc/self/task").exists():
        pytest.skip("children are found by /proc")
    code = (
        "import sys; from paper_repro import beside; beside.cores = lambda: 2;"
        "beside.run(eval, [sys.argv[1], sys.argv[1] + ' '])"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code, HOLD],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("*.pid"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    numbers = [int(path.stem) for path in tmp_path.glob("*.pid")]
    assert len(numbers) == 2
    run.kill()
    run.wait()
    while any(map(alive, numbers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, numbers))


def alive(number):
    state = Path(f"/proc/{number}/stat")
    try:
        return state.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_the_same_sources_made_is_copied(tmp_path, monkeypatch):
    store, first, second = (tmp_path / name for name in ("store", "first", "second"))
    assert "kept from" not in runner.run(["fig3"], first, store=store)
    monkeypatch.setattr(runner, "compute", None)  # a call would fail
    assert "kept from a run of the same sources (--fresh: anew): fig3" in runner.run(
        ["fig3"], second, store=store
    )
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name
    for changed in (
        {"fresh": True},
        {"seed": 1},
    ):
        with pytest.raises(TypeError, match="not callable"):
            runner.run(["fig3"], second, store=store, **changed)
    monkeypatch.setattr(runner.sources, "digest", lambda name: "another")
    with pytest.raises(TypeError, match="not callable"):
        runner.run(["fig3"], second, store=store)


@pytest.mark.parametrize("fault", ["no list", "a file lost", "a file altered", "claims altered"])
def test_what_is_not_as_it_was_kept_is_not_copied(fault, tmp_path):
    place, out = tmp_path / "fig3-1", tmp_path / "out"
    runner.run(["fig3"], out)
    kept.keep(place, out, FILES, ledger.read(out))
    assert kept.recall(place, out) == ledger.read(out)
    if fault == "no list":
        (place / "files.json").unlink()
    elif fault == "a file lost":
        (place / "fig3.svg").unlink()
    elif fault == "a file altered":
        (place / "fig3.csv").write_text("part,text\n")
    else:
        rows = json.loads((place / "claims.json").read_text())
        rows[0]["verdict"] = "refuted"
        (place / "claims.json").write_text(json.dumps(rows))
    assert kept.recall(place, out) is None


def test_only_the_latest_of_an_item_is_kept(tmp_path):
    out = tmp_path / "out"
    runner.run(["fig3"], out)
    for place in ("fig3-1", "fig31-1", "fig3-2"):
        kept.keep(tmp_path / place, out, FILES, ledger.read(out))
    assert sorted(path.name for path in tmp_path.glob("fig*")) == ["fig3-2", "fig31-1"]


def test_runs_beside_each_other_keep_one_item_in_turn(tmp_path):
    out, failed = tmp_path / "out", []
    runner.run(["fig3"], out)

    def keep():
        try:
            for _ in range(10):
                kept.keep(tmp_path / "fig3-1", out, FILES, ledger.read(out))
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=keep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert kept.recall(tmp_path / "fig3-1", out) == ledger.read(out)


def test_a_killed_worker_is_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def broken(*_, **__):
        raise BrokenProcessPool

    monkeypatch.setattr(runner, "run", broken)
    with pytest.raises(SystemExit) as caught:
        command.main(["run", "fig1", "--out", str(tmp_path)])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "process was killed" in error
    assert error.count("\n") == 1
