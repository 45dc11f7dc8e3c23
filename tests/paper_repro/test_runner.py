"""The runner and the ledger: same bytes, no half files, verdicts recomputed."""

import dataclasses
import json
import re
import signal
import time

import preloaded
import pytest

from paper_repro import __main__ as command
from paper_repro import ledger, runner

FAST = ("fig3", "fig4")


@pytest.fixture(scope="module")
def committed():
    from pathlib import Path

    return ledger.read(Path(__file__).parents[2] / "figures")


def test_list(capsys):
    assert command.main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in runner.ITEMS)


@pytest.mark.parametrize("name", FAST)
def test_same_inputs_same_bytes(name, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        runner.run([name], folder)
    written = sorted(path.name for path in one.iterdir())
    assert {"claims.csv", "claims.json", "claims.md"} < set(written)
    for stem in runner.compute(name):
        assert {f"{stem}.{kind}" for kind in ("pdf", "svg", "png", "csv", "json")} <= set(written)
    for file in written:
        assert (one / file).read_bytes() == (two / file).read_bytes(), file


def test_provenance_names_what_made_a_figure(tmp_path):
    runner.run(["fig4"], tmp_path)
    body = json.loads((tmp_path / "fig4.json").read_text())["provenance"]
    assert body["command"] == "python -m paper_repro run fig4"
    assert len(body["sources_sha256"]) == 64
    assert {"python", "numpy", "torch", "pianalysis"} <= body["versions"].keys()


def test_a_part_run_keeps_the_rest_of_the_ledger(tmp_path):
    runner.run(["fig4"], tmp_path)
    runner.run(["fig3"], tmp_path)
    before = ledger.read(tmp_path)
    assert {claim.item for claim in before} == {"fig3", "fig4"}
    runner.run(["fig3"], tmp_path)
    assert ledger.read(tmp_path) == before


def test_a_run_says_what_it_did_and_what_changed(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # nothing is kept here
    assert command.main(["run", "fig4", "fig3", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert sorted(line.split()[0] for line in err.splitlines()) == ["fig3", "fig4"]
    assert re.search(r"fig3 +\d+\.\d s", err)
    assert out.startswith("| verdict")
    assert f"{tmp_path}/claims.md" in out
    item = runner.load("fig4")
    claims = item.claims(item.compute())
    other = [dataclasses.replace(claims[0], verdict=ledger.REFUTED), *claims[1:]]
    monkeypatch.setattr(item, "claims", lambda records: other)
    said = runner.run(["fig4"], tmp_path)
    assert f"{claims[0].key}: recorded {claims[0].verdict!r}, recomputed 'refuted'" in said
    assert "no verdict differs" in runner.run(["fig4"], tmp_path)


def test_another_seed_leaves_the_ledger_alone(tmp_path):
    runner.run(["fig3"], tmp_path, seed=1)
    assert not (tmp_path / "claims.json").exists()


def test_a_killed_run_leaves_whole_files_and_can_be_repeated(tmp_path):
    line = ["run", *FAST, "--fresh", "--out", tmp_path]
    with preloaded.command("paper_repro", line) as run:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*.pdf")) and time.monotonic() < deadline:
            time.sleep(0.01)
        run.kill()
    assert run.exitcode == -signal.SIGKILL
    for path in tmp_path.iterdir():
        if path.suffix == ".json":
            json.loads(path.read_text())
        if path.suffix == ".pdf":
            assert path.read_bytes().rstrip().endswith(b"%%EOF")
    runner.run(FAST, tmp_path)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "fig9"], "item must be one of"),
        (["run", "fig1", "--seed", "x"], "invalid int value"),
        (["check", "--out", "nowhere"], "ledger must be readable"),
        ([], "required"),
        (["repeat"], "invalid choice"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_out_that_is_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as caught:
        command.main(["run", "fig3", "--out", str(tmp_path / "file")])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_ledger_is_complete(committed):
    assert len(committed) >= 30
    assert len({claim.key for claim in committed}) == len(committed)
    place = re.compile(r"(Eq\. \d+|Table \d|Fig\. \d|section \d\.\d|arXiv:\d{4}\.\d{5})")
    for claim in committed:
        assert place.fullmatch(claim.location), claim.location
        assert claim.verdict in ledger.VERDICTS
        assert claim.item in runner.ITEMS
        if claim.verdict == ledger.NOT_ATTEMPTED:
            assert claim.why
            continue
        numbers = re.findall(r"\d[\d.]*(?:e[+-]?\d+)?", claim.ours)
        digits = [len(re.sub(r"e.*|\.", "", n).lstrip("0")) for n in numbers]
        assert max(digits, default=0) >= 4, (claim.key, claim.ours)
        assert any(ch.isdigit() for ch in claim.statement + claim.paper), claim.key


def test_evidence_exists(committed, root):
    for claim in committed:
        if claim.test:
            assert (root / "tests" / claim.test).is_file(), claim.test


@pytest.mark.parametrize("key", ["theorem-2.1", "eq-14", "eq-7-bound", "abel-own-window"])
def test_what_the_audit_refutes(committed, key):
    assert next(claim for claim in committed if claim.key == key).verdict == ledger.REFUTED


def test_check_recomputes_and_notices(committed, tmp_path, capsys, monkeypatch):
    fast = [claim for claim in committed if claim.item == "fig3"]
    monkeypatch.setattr(runner, "ITEMS", ("fig3",))
    ledger.write(fast, tmp_path)
    assert command.main(["check", "--out", str(tmp_path)]) == 0
    assert "every verdict stands" in capsys.readouterr().out
    rows = json.loads((tmp_path / "claims.json").read_text())
    rows[0]["verdict"] = "refuted" if rows[0]["verdict"] != "refuted" else "holds"
    rows[1]["key"] = "invented"
    (tmp_path / "claims.json").write_text(json.dumps(rows))
    assert command.main(["check", "--out", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert rows[0]["key"] in out
    assert "invented: recorded, but no item computes it" in out


def test_records_of_older_sources_are_named(tmp_path):
    runner.run(["fig4"], tmp_path)
    assert runner.older(tmp_path) == []
    path = tmp_path / "fig4.json"
    body = json.loads(path.read_text())
    body["provenance"]["sources_sha256"] = "0" * 64
    path.write_text(json.dumps(body))
    assert runner.older(tmp_path) == ["fig4: made by older sources: fig4"]


def test_no_record_holds_what_a_clock_said(root):
    def keys(body):
        if isinstance(body, dict):
            yield from body
            for each in body.values():
                yield from keys(each)

    for path in (root / "figures").glob("*.json"):
        body = json.loads(path.read_text())
        timed = [k for k in keys(body) if re.search("second|peak$|threads|duration|elapsed", k)]
        assert not timed, (path.name, timed)


def test_unknown_verdicts_are_refused():
    with pytest.raises(ValueError, match="verdict must be one of"):
        ledger.Claim(
            key="k",
            location="Eq. 1",
            statement="s",
            verdict="true",
            paper="p",
            ours="o",
            certificate="c",
            item="fig1",
            test="t",
        )


def test_markdown_and_csv_agree(committed, root):
    text = (root / "figures" / "claims.md").read_text()
    assert text == ledger.markdown(committed)


def test_readme_summary_is_generated(committed, root, tmp_path):
    text = (root / "README.md").read_text()
    block = text.split(ledger.SUMMARY_BEGIN)[1].split(ledger.SUMMARY_END)[0].strip()
    assert block == ledger.summary(committed)
    copy = tmp_path / "README.md"
    copy.write_text("no markers")
    with pytest.raises(ValueError, match="README must hold"):
        ledger.update_readme(committed, copy)
