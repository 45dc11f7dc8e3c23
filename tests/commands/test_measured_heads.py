"""`report --heads`: each answer from the recorded limits alone; one line for what does not fit."""

import csv
import hashlib
import json
import math
import shutil

import numpy as np
import pytest
from tiny import synthetic

import pianalysis as pia
from pianalysis.commands import main, measured_heads
from pianalysis.heads import combine, layer_statistics

SPEC = pia.RopeSpec(16, 100.0, 64)
CONFIG = {
    "model_type": "llama",
    "hidden_size": 32,
    "num_attention_heads": 2,
    "rope_theta": 100.0,
    "max_position_embeddings": 64,
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A folder as `pianalysis heads` leaves it, and the statistics in it: eight random heads."""
    folder, rng = tmp_path_factory.mktemp("heads"), np.random.default_rng(7)
    layers = [synthetic(rng, spec=SPEC, tokens=20, layer=n, size=1.0) for n in (0, 1)]
    statistics = combine([layer_statistics(layer, seed=0) for layer in layers])
    statistics.save(folder / "heads_map")
    return folder, statistics


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    return path


def test_each_answer_comes_from_the_recorded_limits(measured):
    folder, statistics = measured
    table = statistics.table
    found = measured_heads.read(str(folder), SPEC).answers(128)
    size = np.maximum(-table["dip_1_min"], table["peak_1_max"])
    limits = table["coefficient_max"] / size
    ceilings = [
        min(m * float(pia.worst_case_bound(SPEC, 127.0, max_coefficient=h)), 8 * m * h)
        for m, h in zip(size, limits, strict=True)
    ]
    order = np.argsort(ceilings)
    ranks = {"median": order[4], "p95": order[7], "largest": order[7]}  # of eight heads
    pi = pia.PositionInterpolation(SPEC, 128)
    for level, row in ranks.items():
        assert found["chosen"][level] == {"layer": row // 4, "head": row % 4}
        assert found["ceiling"][level] == pytest.approx(ceilings[row], rel=1e-12)
        trained = (table["dip_1_min"][row], table["peak_1_max"][row])
        for name, scheme in (("worst", None), ("interpolated", pi)):
            worst = pia.worst_case_score(
                SPEC,
                127.0,
                max_coefficient=table["coefficient_max"][row],
                trained=trained,
                extension=scheme,
            )
            assert found[f"{name}_upper"][level] == worst.upper
        assert found["interpolated_upper"][level] < found["worst_upper"][level]
        assert found["worst_upper"][level] <= found["ceiling"][level]
    rank = {"median": 4, "p95": 7, "largest": 7}
    for level, place in rank.items():
        delta = np.sort(table["delta_magnitude_max"])[place]
        assert found["delta"][level] == delta
        assert found["attention_shift"][level] == pytest.approx(math.tanh(delta / 2), rel=1e-14)
        assert found["average_score"][level] == np.sort(table["rms_predicted"])[place]
        deviation = np.sort(table["rms_deviation_predicted"])[place]
        assert found["average_deviation"][level] == deviation


def test_the_report_prints_them_beside_its_own(measured, config, capsys):
    folder, _ = measured
    given = ["report", str(config), "--target", "128", "--heads", str(folder)]
    assert main.main(given) == 0
    out = capsys.readouterr().out
    assert "WORST CASE at L' - 1, |a(n)| <= 1 in L" in out
    assert "TRAINED HEADS: 8 measured on 20 tokens" in out
    assert "WORST CASE at L' - 1, own limits -l, u, H" in out
    assert main.main([*given, "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["heads"]["heads"] == 8
    worst = body["heads"]["worst_upper"]
    shown = " / ".join(measured_heads.rounded_up(worst[x]) for x in ("median", "p95", "largest"))
    assert shown in out
    assert main.main(given[:4]) == 0
    assert "TRAINED HEADS" not in capsys.readouterr().out


def test_windows_too_long_keep_the_closed_answers(measured, monkeypatch):
    folder, _ = measured
    monkeypatch.setattr(measured_heads, "holds", lambda _: False)
    found = measured_heads.read(str(folder), SPEC).answers(128)
    assert found["worst_upper"] is None
    lines = dict(measured_heads.rows(found))
    assert lines["    the model as it is"] == "window or dimension too large"


def test_another_model_is_refused(measured):
    folder = str(measured[0])
    for spec, message in (
        (pia.RopeSpec(32, 100.0, 64), "of rotary dimension 32, got 16"),
        (pia.RopeSpec(16, 100.0, 128), "of context window 128, got 64"),
        (pia.RopeSpec(16, 10_000.0, 64), "of base 10000, got 100"),
    ):
        with pytest.raises(ValueError, match=f"heads must be of this model, {message}"):
            measured_heads.read(folder, spec)


@pytest.mark.parametrize("name", ["peak_1_max", "coefficient_max", "base", "mass_own"])
def test_an_altered_number_is_found(measured, tmp_path, name):
    copy = shutil.copytree(measured[0], tmp_path / "copy")
    path = copy / "heads_map.csv"
    header, *rows = list(csv.reader(path.read_text().splitlines()))
    rows[6][header.index(name)] = str(1.001 * float(rows[6][header.index(name)]))
    path.write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")
    with pytest.raises(ValueError, match=r"as heads_map.json was written with it, got another"):
        measured_heads.read(str(copy), SPEC)


def test_wrong_folders_and_files_are_one_line(measured, tmp_path, config, capsys):
    folder, _ = measured

    body = json.loads((folder / "heads_map.json").read_text())
    bare = {**body, "table_sha256": hashlib.sha256(b"layer,head\n0,0\n").hexdigest()}
    cases = [
        ("heads_map.csv", None, "must hold heads_map.csv, written by"),
        ("heads_map.json", None, "must hold heads_map.json, written by"),
        ("heads_map.json", "{", "heads_map.json as JSON"),
        ("heads_map.json", "[" * 10**5, "heads_map.json as JSON"),
        ("heads_map.json", "[]", "a record HeadStatistics, got list"),
        ("heads_map.json", '{"record": "Quantiles"}', "a record HeadStatistics, got Quantiles"),
        ("heads_map.json", json.dumps({**body, "tokens": 0}), "whole number tokens, got 0"),
        ("heads_map.json", json.dumps({**body, "rotary_dim": 16.0}), "rotary_dim, got 16.0"),
        ("heads_map.csv", "", "was written with it"),
        ("heads_map.csv", "layer,head\n0,0\n", "was written with it"),
    ]
    for number, (name, text, message) in enumerate(cases):
        copy = shutil.copytree(folder, tmp_path / str(number))
        (copy / name).unlink() if text is None else (copy / name).write_text(text)
        with pytest.raises(ValueError, match="heads must hold") as caught:
            measured_heads.read(str(copy), SPEC)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
    older = shutil.copytree(folder, tmp_path / "older")
    (older / "heads_map.csv").write_text("layer,head\n0,0\n")
    (older / "heads_map.json").write_text(json.dumps(bare))
    with pytest.raises(ValueError, match=r"with a column base: measure anew, got none"):
        measured_heads.read(str(older), SPEC)
    (tmp_path / "0" / "heads_map.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="as UTF-8 text"):
        measured_heads.read(str(tmp_path / "0"), SPEC)
    given = ["report", str(config), "--target", "128", "--heads", str(tmp_path / "nowhere")]
    with pytest.raises(SystemExit) as stopped:
        main.main(given)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "heads must be a folder" in error
