"""`pianalysis report`: readable, machine-readable, and one line on bad input."""

import json
import subprocess
import sys

import pytest

import pianalysis as pia
from pianalysis.commands import main


def run(capsys, *arguments):
    status = main.main(["report", *arguments])
    return status, capsys.readouterr().out


def test_table(capsys):
    status, out = run(capsys, "llama-7b", "--target", "32768")
    assert status == 0
    for part in ("589.46", "512.22", "129.59", "4861", "4505.68", "23 of 64", "0.493876"):
        assert part in out


def test_json(capsys):
    status, out = run(capsys, "smollm2-135m", "--target", "16384", "--json")
    body = json.loads(out)
    spec = pia.preset("smollm2-135m")
    assert status == 0
    assert body["factor"] == 2.0
    assert body["logit_scale"] == 0.125
    assert body["ratio"]["paper"] == pia.bound_ratio(spec)
    assert body["first_below"]["integer"] == pia.first_span_below(spec).integer
    assert body["wavelengths"]["beyond_window"] == int((spec.wavelengths > 8192).sum())


def test_config_file_directory_and_original_length(capsys, tmp_path):
    config = {
        "model_type": "llama",
        "hidden_size": 512,
        "num_attention_heads": 8,
        "rope_theta": 10000.0,
        "rope_scaling": {"type": "linear", "factor": 4.0},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    length = ("--original-length", "2048", "--target", "8192")
    first = run(capsys, str(tmp_path), *length)
    second = run(capsys, str(tmp_path / "config.json"), *length)
    assert first[0] == second[0] == 0
    assert "1181" in first[1]
    assert first[1].splitlines()[1:] == second[1].splitlines()[1:]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lama-7b", "--target", "4096"], "did you mean 'llama-7b'"),
        (["no/such/config.json", "--target", "4096"], "one of the presets llama-7b"),
        (["llama-7b"], "--target"),
        (["llama-7b", "--target", "1024"], "target must be at least the pretrained"),
        (["llama-7b", "--target", "-5"], "target must be an integer"),
        (["llama-7b", "--target", "many"], "invalid int value"),
        (["llama-7b", "--target", "9" * 30], "target must be an integer"),
        (["llama-7b", "--target", "8192", "--original-length", "1024"], "go with a config"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main.main(["report", *arguments])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_bad_configs(tmp_path, capsys):
    for content in ("{", "[]", '{"rope_thetta": 1}'):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(SystemExit) as caught:
            main.main(["report", str(tmp_path), "--target", "4096"])
        assert caught.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_module_and_command_are_the_same():
    done = subprocess.run(
        [sys.executable, "-m", "pianalysis", "report", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "llama-3.1-8b" in done.stdout
