"""`pianalysis heads` from end to end on a tiny model: files, resuming, wrong input."""

import json
import signal
import time

import preloaded
import pytest
import tiny

from pianalysis.commands import heads, main
from pianalysis.pictures import style

TEXT = "It was a bright cold day in April, and the clocks were striking thirteen.\n" * 20
OPTIONS = ["--tokens", "96", "--trials", "2", "--scheme", "linear", "--factor", "2"]


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """Pictures of few dots: most of a run's time here would go into drawing them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style.STYLE, "savefig.dpi", 20)
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny.llama(num_hidden_layers=3, max_position_embeddings=64).save_pretrained(folder)
    tiny.letters().save_pretrained(folder)
    (folder / "text.txt").write_text(TEXT)
    return folder


def arguments(model, out):
    return ["heads", str(model), "--text", str(model / "text.txt"), *OPTIONS, "--out", str(out)]


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    assert main.main(arguments(model, out)) == 0
    return out


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_command_writes_records_and_pictures(whole):
    stems = ["map", "bands", "bounds", "growth", "likelihood", "passkey"]
    stems += ["softmax", "average", "permitted"]
    names = {f"heads_{stem}.{kind}" for stem in stems for kind in ("csv", "json", "png")}
    assert set(contents(whole)) == names
    body = json.loads((whole / "heads_map.json").read_text())
    assert (body["tokens"], body["pairs"], body["seed"]) == (96, 1, 0)
    rows = (whole / "heads_map.csv").read_text().splitlines()
    assert len(rows) == 1 + 3 * 2
    passkey = json.loads((whole / "heads_passkey.json").read_text())
    assert set(passkey["k_max"]) == {"as loaded", "linear x2"}


def test_the_report_takes_what_the_command_wrote(model, whole, capsys):
    assert main.main(["report", str(model), "--target", "128", "--heads", str(whole)]) == 0
    assert "TRAINED HEADS: 6 measured on 96 tokens" in capsys.readouterr().out


def test_the_models_own_scheme_stands_beside_pi(model, tmp_path, capsys):
    folder = tmp_path / "yarn"
    yarn = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64}
    config = tiny.llama(num_hidden_layers=1, max_position_embeddings=128).config
    tiny.llama(
        num_hidden_layers=1,
        max_position_embeddings=128,
        rope_parameters={**yarn, "rope_theta": config.rope_parameters["rope_theta"]},
    ).save_pretrained(folder)
    tiny.letters().save_pretrained(folder)
    (folder / "text.txt").write_text(TEXT)
    text = str(folder / "text.txt")
    given = ["heads", str(folder), "--text", text, *OPTIONS[:4], "--out", str(tmp_path)]
    assert main.main(given) == 0
    assert "as loaded: YaRN to 128 tokens" in capsys.readouterr().out
    passkey = json.loads((tmp_path / "heads_passkey.json").read_text())
    assert set(passkey["k_max"]) == {"as loaded", "linear"}


def test_the_same_bytes_again(model, whole, tmp_path):
    assert main.main(arguments(model, tmp_path)) == 0
    assert contents(tmp_path) == contents(whole)


@pytest.mark.parametrize("units", [3, 20])
def test_a_run_killed_anywhere_goes_on_to_the_same_bytes(model, whole, tmp_path, units):
    """SIGKILL as soon as so many units are stored; then the same call again."""
    parts = tmp_path / heads.PARTS
    with preloaded.command("pianalysis", arguments(model, tmp_path)) as run:
        limit = time.monotonic() + 120
        while len(list(parts.glob("*.json"))) < units and run.is_alive():
            assert time.monotonic() < limit
            time.sleep(0.002)
        run.kill()
    assert run.exitcode == -signal.SIGKILL
    stored = len(list(parts.glob("*.json")))
    assert stored >= units
    assert not list(tmp_path.glob("heads_*.json"))
    assert main.main(arguments(model, tmp_path)) == 0
    assert contents(tmp_path) == contents(whole)


def test_stored_units_are_not_measured_again(model, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(heads, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main.main(arguments(model, tmp_path)) == 130
    monkeypatch.undo()

    def never(*_, **__):
        raise AssertionError("measured again")

    monkeypatch.setattr("pianalysis.heads.measurement.visit_layers", never)
    monkeypatch.setattr("pianalysis.evaluation.forward._pass", never)
    assert main.main(arguments(model, tmp_path)) == 0
    assert contents(tmp_path) == contents(whole)


def test_a_damaged_unit_is_measured_again(model, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(heads, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main.main(arguments(model, tmp_path)) == 130
    monkeypatch.undo()
    for path in sorted((tmp_path / heads.PARTS).glob("*.json"))[::2]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert main.main(arguments(model, tmp_path)) == 0
    assert contents(tmp_path) == contents(whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--tokens", "0"], "tokens must be an integer of at least 8, got 0"),
        (["--draws", "0"], "draws must be an integer of at least 1, got 0"),
        (["--seed", "-1"], "seed must be an integer of at least 0, got -1"),
        (["--scheme", "yarm"], "did you mean 'yarn'"),
        (["--factor", "0.5"], "factor must be a finite number at least 1 "),
        (["--factor", "nan"], "factor must be a finite number"),
        (["--out", "nowhere"], "out must be an existing directory, got 'nowhere'"),
        (["--text", "nowhere"], "path must be a text file, got 'nowhere'"),
        (["--tokens", "100000"], "text must hold at least 100000 tokens, got"),
    ],
)
def test_wrong_input_is_one_line(model, tmp_path, change, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main.main([*arguments(model, tmp_path), *change])
    assert caught.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("pianalysis: error: ")
    assert message in error
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_tokenizer_is_refused(tmp_path, capsys):
    tiny.llama().save_pretrained(tmp_path / "bare")
    with pytest.raises(SystemExit):
        main.main(["heads", str(tmp_path / "bare"), "--out", str(tmp_path)])
    assert "model must come with a tokenizer.json" in capsys.readouterr().err
