"""Hostile input and interruption: short passes of both scripts, and what they once found."""

import contextlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import threading

import fuzz
import interrupt
import numpy as np
import preloaded
import pytest
import tiny
import torch

import pianalysis as pia
from paper_repro import __main__ as paper_repro
from paper_repro import committed, ledger, tables
from pianalysis import records
from pianalysis.commands import checkpoint, main

SCRIPTS = pathlib.Path(__file__).parent
SPEC = pia.RopeSpec(8, 10_000.0, 64)
LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "max_position_embeddings": 64,
    "rope_theta": 1e4,
}


def start(arguments, **named):
    paths = os.pathsep.join([str(SCRIPTS.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], env=environment, text=True, **named
    )


def finish(arguments, **named):
    with start(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **named) as run:
        out, err = run.communicate(timeout=300)
    return run.returncode, out, err


def test_random_and_mutated_inputs_are_answered_or_refused(tmp_path):
    failures = tmp_path / "failures.txt"
    script = [SCRIPTS / "fuzz.py", "--inputs", "400", "--seed", "20231", "--quiet"]
    status, out, err = finish([*script, "--failures", failures])
    assert status == 0, err + (failures.read_text() if failures.exists() else "")
    outcomes = json.loads(out)["outcomes"]
    assert set(outcomes) == {"commands", "configs", "constructors", "functions", "records"}
    # Not vacuous: either outcome is reached.
    assert sum(each.get("answer", 0) for each in outcomes.values()) > 60
    assert sum(each.get("refusal", 0) for each in outcomes.values()) > 100


def test_an_input_is_drawn_again_from_its_number():
    """In another process, where sets and dictionaries of other hashes are made, too."""
    surface, words, _ = fuzz.draw(3, 17)
    _, out, _ = finish([SCRIPTS / "fuzz.py", "--seed", "3", "--replay", "17"])
    assert out.startswith(f"{surface}: {words}\n")
    assert fuzz.draw(4, 17)[1] != words


def test_killed_runs_end_as_if_undisturbed(capsys):
    status = interrupt.main(["--kills", "1", "--runs", "heads", "--seed", "2"])
    out, err = capsys.readouterr()
    assert status == 0, err
    summary = json.loads(out)
    assert (summary["failures"], summary["heads killed"]) == (0, 1)


# What fuzz.py found, by the surface that now refuses it.


@pytest.mark.parametrize(
    "call",
    [
        lambda: pia.extrapolation_bound(SPEC, 2.0**40, 1e308),
        lambda: pia.attention_score(SPEC, np.full(4, 1e308), 2.0**40),
        lambda: pia.deviation_bound(
            pia.PositionInterpolation(SPEC, 128), torch.ones(2, device="meta")
        ),
        lambda: pia.partial_sums(SPEC, [torch.ones(2, requires_grad=True), 1.0]),
        lambda: pia.ratio_readings(SPEC, torch.ones(2, requires_grad=True) * 0.5),
        lambda: pia.score_coefficients(torch.eye(4).to_sparse(), torch.ones(4)),
        lambda: pia.score_coefficients(torch.full((4,), 1e30), torch.full((4,), 1e30)),
        lambda: pia.score_coefficients(np.full(4, 1e200), np.full(4, 1e200)),
        lambda: pia.deviation_bound(
            pia.PositionInterpolation(pia.RopeSpec(64, 1e4, 2**40), 2**41), []
        ),
        lambda: pia.theta_square_sum(float("nan")),
        lambda: pia.YaRN(SPEC, 128, attention_factor=1e300),
        lambda: pia.LongRoPE(
            SPEC, 128, short_factor=[1] * 4, long_factor=[1] * 4, attention_factor=1e300
        ),
        lambda: pia.RopeSpec.from_hf(
            {"head_dim": 8, "rope_theta": 1e4, "max_position_embeddings": 64},
            layer_type=torch.ones(2),
        ),
        lambda: pia.RopeSpec.from_hf(
            {"head_dim": 8, "rope_theta": torch.ones(2), "max_position_embeddings": 64}
        ),
        lambda: pia.RopeSpec.from_hf(
            {
                "head_dim": 8,
                "rope_theta": 1e4,
                "max_position_embeddings": 64,
                "rope_scaling": {"rope_type": "yarn", "factor": [np.ones(2)]},
            }
        ),
        lambda: pia.layer_extensions(
            LLAMA | {"model_type": "exaone4", "sliding_window_pattern": 0}
        ),
        lambda: tables.as_number(["7.2"]),
        lambda: tables.as_number("1e999"),
        lambda: tables.cell("table9", "0"),
        lambda: tables.cell("table3", "nowhere"),
        lambda: tables.need("table3", "0", weight="7B"),
    ],
)
def test_a_hostile_argument_is_refused(call):
    with pytest.raises((ValueError, TypeError), match="must"):
        call()


def test_a_config_that_holds_itself_is_read_once():
    config = LLAMA | {"inert": []}
    config["inert"].append(config)
    assert pia.RopeSpec.from_hf(config) == pia.RopeSpec.from_hf(LLAMA)


def test_a_text_in_the_place_of_a_config_is_no_config():
    odd = pia.extension_from_hf(LLAMA | {"model_type": "qwen2", "text_config": "text"}, length=64)
    assert (odd.frequencies == pia.extension_from_hf(LLAMA, length=64).frequencies).all()


def test_a_ramp_of_hardly_any_turns_exists():
    scaled = pia.YaRN(pia.RopeSpec(20, 1e6, 2**40), 2**40, beta_slow=1e-300)
    assert np.isfinite(scaled.frequencies).all()


def test_a_base_beyond_float32_is_emulated_without_a_warning():
    found = pia.first_wrong(pia.RopeSpec(8, 1e308, 64), pipeline="float32", stop=64)
    assert found.stop == 64


@pytest.mark.parametrize("value", ["5", "[]", "null", "[" * 100_000])
def test_a_ledger_that_holds_no_text_is_refused(tmp_path, root, value):
    rows = (root / "figures" / "claims.json").read_text()
    location = json.dumps(json.loads(rows)[0]["location"])
    (tmp_path / "claims.json").write_text(rows.replace(location, value, 1))
    with pytest.raises(ValueError, match="ledger must be readable"):
        ledger.read(tmp_path)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("csv", b""),
        ("csv", b"a,b\n1\n"),
        ("csv", b"a,b\n1,2,3\n"),
        ("csv", b"a,a\n1,2\n"),
        ("csv", b'a\n"' + b"x" * 200_000),
        ("csv", b"a\n\xff"),
        ("json", b"[]"),
        ("json", b"[" * 100_000),
        ("json", b'{"a": NaN}'),
        ("json", b'{"a": 1e999}'),
        ("json", b"\xff"),
    ],
)
def test_a_damaged_record_is_refused(tmp_path, monkeypatch, kind, data):
    monkeypatch.setattr(committed, "FOLDER", tmp_path)
    (tmp_path / f"fig1.{kind}").write_bytes(data)
    read = committed.columns if kind == "csv" else committed.summary
    with pytest.raises(ValueError, match="must"):
        read("fig1")


# Places that cannot be written, readers that went away, two at once.


@pytest.mark.parametrize(
    "line",
    [
        ["pianalysis", "report", "llama-7b", "--target", "8192"],
        ["paper_repro", "list"],
    ],
)
def test_a_closed_pipe_is_silence_and_the_status_of_sigpipe(line):
    reader, writer = os.pipe()
    os.close(reader)
    with start(["-m", *line], stdout=writer, stderr=subprocess.PIPE) as run:
        os.close(writer)
        _, err = run.communicate(timeout=120)
    assert (run.returncode, err) == (141, "")


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_cannot_be_written_is_one_line():
    line = ["-m", "pianalysis", "report", "llama-7b", "--target", "8192"]
    with open("/dev/full", "w") as full, start(line, stdout=full, stderr=subprocess.PIPE) as run:
        _, err = run.communicate(timeout=120)
    assert run.returncode == 2
    assert err.count("\n") == 1
    assert "the output could not be written" in err


@contextlib.contextmanager
def full_disk(limit):
    """Let no file grow beyond a size, as a disk that is full does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_what_was_there(tmp_path, capfd):
    assert paper_repro.main(["run", "fig3", "--out", str(tmp_path)]) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with full_disk(3000), pytest.raises(SystemExit) as caught:
        paper_repro.main(["run", "fig3", "--out", str(tmp_path)])
    assert caught.value.code == 2
    error = capfd.readouterr().err.strip().splitlines()
    assert "File too large" in error[-1]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny.llama(max_position_embeddings=64).save_pretrained(folder)
    tiny.letters().save_pretrained(folder)
    (folder / "text.txt").write_text("It was a bright cold day in April. " * 40)
    return folder


def evaluation(model, out):
    text = ["--text", str(model / "text.txt"), "--tokens", "200", "--window", "64"]
    return ["evaluate", str(model), "--perplexity", *text, "--stride", "32", "--out", str(out)]


def refused(capfd, line):
    with pytest.raises(SystemExit) as caught:
        main.main(line)
    assert caught.value.code == 2
    return capfd.readouterr().err.strip().splitlines()[-1]


def test_evaluate_on_a_full_disk(model, tmp_path, capsys):
    with full_disk(20):
        assert "File too large" in refused(capsys, evaluation(model, tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["/proc", "/proc/self/status"])
def test_a_place_that_cannot_be_written_is_one_line(model, place, capfd):
    if not pathlib.Path(place).exists():
        pytest.skip("no /proc here")
    assert place in refused(capfd, evaluation(model, place))
    with pytest.raises(SystemExit) as caught:
        paper_repro.main(["run", "fig3", "--out", f"{place}/figures"])
    assert caught.value.code == 2
    assert place in capfd.readouterr().err.strip().splitlines()[-1]


def test_a_second_run_in_the_same_folder_is_refused(model, tmp_path, capfd):
    with checkpoint.kept_units(tmp_path / ".evaluate-parts"):
        assert "in use by another run" in refused(capfd, evaluation(model, tmp_path))
    assert main.main(evaluation(model, tmp_path)) == 0
    assert not list(tmp_path.glob(".*"))


def test_two_runs_of_the_paper_in_one_folder_keep_both_claims(tmp_path):
    out, items = tmp_path / "figures", ("fig3", "fig4")
    with contextlib.ExitStack() as stack:
        runs = [
            stack.enter_context(
                preloaded.command("paper_repro", ["run", item, "--out", out], tmp_path / item)
            )
            for item in items
        ]
    said = [(tmp_path / item).read_text() for item in items]
    assert [run.exitcode for run in runs] == [0, 0], said
    assert {claim.item for claim in ledger.read(out)} == {"fig3", "fig4"}
    assert not list(out.glob(".*"))


def test_a_draft_that_another_writer_has_begun_meanwhile_stays(tmp_path, monkeypatch):
    draft = tmp_path / ".file.tmp"
    draft.write_text("whole")

    def renamed_meanwhile(handle, *, wait):
        os.replace(draft, tmp_path / "file")
        draft.write_text("begun")
        return True  # the first writer is done, and the lock on what was its draft is free

    monkeypatch.setattr(records, "_lock", renamed_meanwhile)
    records.clear_drafts(tmp_path)
    assert draft.read_text() == "begun"


def test_many_writers_of_one_file_leave_one_of_theirs(tmp_path):
    path, bodies = tmp_path / "file", [str(digit) * 50_000 for digit in range(4)]

    def write(body):
        for _ in range(10):
            records.write_atomic(path, body)
            assert path.read_text() in bodies
            records.clear_drafts(tmp_path)

    failed = []
    threads = [threading.Thread(target=_noting, args=(failed, write, b)) for b in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert list(tmp_path.iterdir()) == [path]


def _noting(failed, call, *given):
    try:
        call(*given)
    except BaseException as error:
        failed.append(error)


def test_what_a_killed_writer_left_is_taken_over(tmp_path):
    (tmp_path / ".file.tmp").write_text("half of something longer than the new one")
    records.write_atomic(tmp_path / "file", "whole")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "whole"}
    (tmp_path / ".other.tmp").write_text("half")
    records.clear_drafts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
