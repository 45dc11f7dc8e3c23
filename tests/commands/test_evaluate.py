"""`pianalysis evaluate` from end to end on a tiny model: readings, resuming, wrong input."""

import json
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import preloaded
import pytest
import tiny

import pianalysis as pia
from pianalysis.checkpoints.checkpoint import open_checkpoint
from pianalysis.commands import evaluate, main
from pianalysis.evaluation import tasks
from pianalysis.evaluation.passkeys import passkeys
from pianalysis.evaluation.perplexity import perplexity
from pianalysis.evaluation.text import encode

needs_extra = pytest.mark.skipif(
    find_spec("lm_eval") is None or find_spec("rouge_score") is None,
    reason="lm_eval or rouge_score missing: pip install -e '.[eval]'",
)

TEXT = "It was a bright cold day in April, and the clocks were striking thirteen.\n" * 20
SCHEME = ["--scheme", "linear", "--factor", "2"]
READINGS = ["--perplexity", "--passkeys", "--likelihood"]
SETTINGS = ["--window", "64,400", "--stride", "64", "--tokens", "600"]
SETTINGS += ["--distances", "2", "--trials", "2"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny.llama(max_position_embeddings=512).save_pretrained(folder)
    tiny.letters().save_pretrained(folder)
    (folder / "text.txt").write_text(TEXT)
    questions = [
        {"goal": f"open door {n}", "sol1": "push it", "sol2": "paint it blue", "label": n % 2}
        for n in range(4)
    ]
    reports = [
        {"report": "The board met on Monday. " * 9, "summary": "The board met."},
        {"report": "Funds were spent on roads.", "summary": "Roads took the funds."},
    ]
    for name, rows in (("piqa", questions), ("reports", reports)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def arguments(model, out, *more):
    text = ["--text", str(model / "text.txt")]
    return ["evaluate", str(model), *text, *SCHEME, *SETTINGS, "--out", str(out), *more]


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    assert main.main(arguments(model, out, *READINGS)) == 0
    return out


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_each_reading_leaves_a_record_and_a_picture(whole):
    stems = ("perplexity", "passkeys", "likelihood")
    names = {f"evaluate_{stem}.{kind}" for stem in stems for kind in ("csv", "json", "png")}
    assert set(contents(whole)) == names
    for name in names:
        if name.endswith(".png"):
            assert (whole / name).read_bytes().startswith(b"\x89PNG")


def test_the_records_are_those_of_the_library(model, whole):
    checkpoint = open_checkpoint(str(model))
    extensions = {"linear x2": pia.PositionInterpolation(checkpoint.spec, 1024)}
    tokens = encode(checkpoint.tokenizer, TEXT, 600)
    asked = {"windows": [64, 400], "stride": 64, "extensions": extensions}
    assert (whole / "evaluate_perplexity.csv").read_text() == perplexity(
        checkpoint, [tokens], **asked
    ).csv()
    reading = passkeys(checkpoint, target=1024, distances=2, trials=2, extensions=extensions)
    assert (whole / "evaluate_passkeys.csv").read_text() == reading.csv()
    assert reading.k.tolist() == [512, 1024] * 2
    body = json.loads((whole / "evaluate_likelihood.json").read_text())
    assert (body["prefix"], body["tail"]) == (300, 300)
    assert list(body["extensions"]) == ["linear x2"]


def test_the_table_names_every_scheme_and_file(model, tmp_path, capsys):
    assert main.main(arguments(model, tmp_path, "--perplexity", "--compat")) == 0
    printed = capsys.readouterr().out
    row = (tmp_path / "evaluate_perplexity.csv").read_text().splitlines()[1].split(",")
    assert f"{float(row[-1]):.4f}" in printed
    for part in ("PPL as loaded", "PPL linear x2", "pooled by windows", "evaluate_perplexity.csv"):
        assert part in printed


def test_json_is_the_records(model, tmp_path, capsys):
    alone = ["evaluate", str(model), "--passkeys", "--distances", "1", "--trials", "1"]
    assert main.main([*alone, "--out", str(tmp_path), "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["evaluate_passkeys"]["scheme"] == ["as loaded"]
    assert body["evaluate_passkeys"]["limit"] == 512  # without a scheme: the window itself


@needs_extra
def test_short_tasks_and_summaries(model, tmp_path, capsys):
    asked = ["--tasks", "piqa", "--data", f"piqa={model / 'piqa.jsonl'}", "--limit", "3"]
    asked += ["--summaries", str(model / "reports.jsonl"), "--summary-tokens", "5"]
    asked += ["--document-tokens", "30"]
    assert main.main(arguments(model, tmp_path, *asked)) == 0
    printed = capsys.readouterr().out
    assert "ROUGE-L" in printed
    stems = ("tasks", "summaries")
    names = {f"evaluate_{stem}.{kind}" for stem in stems for kind in ("csv", "json", "png")}
    assert set(contents(tmp_path)) == names
    rows = (tmp_path / "evaluate_tasks.csv").read_text().splitlines()[1:]
    assert [row.split(",")[:3] for row in rows] == [
        [scheme, "piqa", metric]
        for scheme in ("as loaded", "linear x2")
        for metric in ("acc", "acc_norm")
    ]
    assert {row.split(",")[5] for row in rows} == {"3"}
    body = json.loads((tmp_path / "evaluate_summaries.json").read_text())
    assert (body["document_tokens"], body["summary_tokens"]) == (30, 5)


def test_a_run_killed_goes_on_to_the_same_bytes(model, whole, tmp_path):
    """SIGKILL as soon as some units are stored; then the same call again."""
    parts = tmp_path / evaluate.PARTS
    with preloaded.command("pianalysis", arguments(model, tmp_path, *READINGS)) as run:
        limit = time.monotonic() + 120
        while len(list(parts.glob("*.json"))) < 3 and run.is_alive():
            assert time.monotonic() < limit
            time.sleep(0.002)
        run.kill()
    assert run.exitcode == -signal.SIGKILL
    assert len(list(parts.glob("*.json"))) >= 3
    assert not list(tmp_path.glob("evaluate_*"))
    assert main.main(arguments(model, tmp_path, *READINGS)) == 0
    assert contents(tmp_path) == contents(whole)


def test_stored_units_are_not_measured_again(model, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main.main(arguments(model, tmp_path, *READINGS)) == 130
    assert {path.name for path in tmp_path.iterdir()} == {evaluate.PARTS}
    monkeypatch.undo()
    monkeypatch.setattr("pianalysis.evaluation.forward._pass", None)
    monkeypatch.setattr("pianalysis.evaluation.perplexity._loss", None)
    assert main.main(arguments(model, tmp_path, *READINGS)) == 0
    assert contents(tmp_path) == contents(whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([], "at least one reading must be asked for: --perplexity, --passkeys, --likelihood"),
        (["--perplexity", "--window", "64,many"], "must be whole numbers, comma-separated"),
        (["--perplexity", "--window", "400,64"], "windows must be increasing whole numbers"),
        (["--perplexity", "--stride", "65"], "stride must be an integer from 1 to 64, got 65"),
        (["--perplexity", "--tokens", "7"], "tokens must be an integer of at least 8, got 7"),
        (["--perplexity", "--tokens", "100000"], "text must hold at least 100000 tokens, got"),
        (["--likelihood", "--text", "nowhere"], "path must be a text file, got 'nowhere'"),
        (["--passkeys", "--distances", "0"], "distances must be an integer from 1 to 1024, got 0"),
        (
            ["--passkeys", "--distances", "32"],
            "the prompt's own without filler, got 32",
        ),
        (["--passkeys", "--trials", "0"], "trials must be an integer of at least 1, got 0"),
        (["--passkeys", "--scheme", "yarm"], "did you mean 'yarn'"),
        (["--passkeys", "--factor", "0.5"], "factor must be a finite number at least 1 "),
        (["--passkeys", "--out", "nowhere"], "out must be an existing directory, got 'nowhere'"),
        (["--passkeys", "--data", "piqa=x"], "data goes with tasks"),
        (["--tasks", "piqa", "--data", "piqa"], "must be TASK=FILE, got 'piqa'"),
    ],
)
def test_wrong_input_is_one_line(model, tmp_path, change, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main.main(arguments(model, tmp_path, *change))
    assert caught.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("pianalysis")
    assert message in error
    assert list(tmp_path.iterdir()) == []


@needs_extra
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--tasks", "boolk"], "did you mean 'boolq'"),
        (["--tasks", "piqa", "--data", "race=x"], "data must be for tasks that are asked for"),
        (["--summaries", "nowhere"], "path must be a text file, got 'nowhere'"),
    ],
)
def test_wrong_files_are_refused_before_any_reading(model, tmp_path, change, message, capsys):
    with pytest.raises(SystemExit):
        main.main(arguments(model, tmp_path, "--perplexity", *change))
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_one_line(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tasks, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as caught:
        main.main(arguments(model, tmp_path, "--tasks", "piqa"))
    assert caught.value.code == 2
    assert "pip install 'pianalysis[eval]'" in capsys.readouterr().err


def test_help_loads_no_model_library_and_no_pictures():
    heavy = ("torch", "transformers", "matplotlib", "lm_eval")
    code = (
        "import sys; from pianalysis.commands import main\n"
        "try: main.main(['--help'])\n"
        f"except SystemExit: print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "evaluate" in done.stdout
    assert "finetune" in done.stdout
    assert done.stdout.strip().endswith("[]")
