"""README's findings and notebook 00 are made of the committed records, and of nothing else."""

import csv
import json
import re
import shutil

import nbformat
import pytest

from paper_repro import committed, findings, found, ledger

STEMS = (
    *("theorem21_counterexample", "theorem21_scaling", "theorem21_fits", "grid_weights"),
    *("worst_case", "worst_case_tightness", "heads_map", "heads_bounds", "heads_permitted"),
    *("scratch_heads", "finetune_x4_loss", "finetune_x4_reach", "finetune_x4_passkeys"),
    *("finetune_x4_gaps", "finetune_x2_windows", "finetune_x2_whole"),
)


def stale(root, folder):
    """Whether README or the page of the numbers says something else than a folder's records."""
    text = (root / "README.md").read_text()
    block = text.split(findings.BEGIN)[1].split(findings.END)[0].strip()
    page = (root / findings.NUMBERS).read_text()
    return block != findings.block(folder) or page != findings.page(folder)


@pytest.fixture
def records(root, tmp_path):
    for stem in STEMS:
        for kind in ("csv", "json"):
            shutil.copy(root / "figures" / f"{stem}.{kind}", tmp_path)
    shutil.copy(root / "figures" / "claims.json", tmp_path)
    return tmp_path


def test_readme_is_what_the_records_say(root, records):
    assert not stale(root, records)


@pytest.mark.parametrize("stem", STEMS)
def test_a_changed_record_is_seen(root, records, stem):
    path = records / f"{stem}.csv"
    rows = list(csv.reader(path.read_text().splitlines()))
    for row in rows[1:]:
        row[:] = [changed(name, cell) for name, cell in zip(rows[0], row, strict=True)]
    with path.open("w", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows(rows)
    body = json.loads((records / f"{stem}.json").read_text())
    for name in ("alpha", "threshold_every_cell", "tokens", "batch_tokens"):
        if name in body:
            body[name] *= 3
    (records / f"{stem}.json").write_text(json.dumps(body))
    assert stale(root, records)


def changed(name, cell):
    """A measured number three times as large; what names a row stays."""
    keys = ("panel", "x", "seed", "scheme", "span", "max_coefficient", "case", "step", "k", "reach")
    if name in (*keys, "target", "layer", "head", "model", "gap", "factor", "text", "tokens"):
        return cell
    if name == "found_ratio":
        return str(0.3 * float(cell))  # below 1: fewer heads exceed the bound
    if name in ("one_sided", "bound", "updated", "paper", "upper"):
        return str(2.5 * float(cell))  # ratios move, too
    try:
        return str(3.0 * float(cell))
    except ValueError:
        return cell


def test_a_changed_ledger_is_seen(root, records):
    rows = json.loads((records / "claims.json").read_text())
    (records / "claims.json").write_text(json.dumps(rows[1:]))
    assert stale(root, records)


def test_an_edit_by_hand_is_undone(root, records, tmp_path):
    readme = tmp_path / "README.md"
    text = (root / "README.md").read_text()
    readme.write_text(text.replace("**1.936**", "**1.836**"))
    findings.update_readme(readme, records)
    assert readme.read_text() == text
    assert (tmp_path / findings.NUMBERS).read_text() == (root / findings.NUMBERS).read_text()
    readme.write_text(text.replace(findings.END, ""))
    with pytest.raises(ValueError, match="README must hold <!-- findings:begin -->"):
        findings.update_readme(readme, records)


def test_a_run_of_everything_writes_them(root):
    source = (root / "paper_repro" / "runner.py").read_text()
    assert "findings.update_readme(readme, folder)" in source


def test_bounds_are_rounded_away_from_what_they_bound():
    assert findings.at_most(1.93594, 4) == "1.936"
    assert findings.at_least(35.868008, 4) == "35.86"
    assert findings.at_most(1515.061, 4) == "1516"
    assert findings.at_most(2.0, 4) == findings.at_least(2.0, 4) == "2.000"


def test_findings_agree_with_the_ledger(root):
    ours = {claim.key: claim.ours for claim in ledger.read(root / "figures")}
    said = {one.name: " ".join((one.text, *one.more)) for one in findings.findings()}
    assert ours["theorem-2.1"].startswith("0.493876 attained, 1.1372 times")
    assert "0.4938 is attained" in said["false"]
    assert "**1.137 times** as far" in said["false"]
    assert "at most 1.93595" in ours["curve-interpolation"]
    assert "**1.936**" in said["worst"]
    plateau = re.search(
        r"at most (\S+) on the plateau of any scheme; (\S+) after", ours["curve-extrapolation"]
    )
    assert float(plateau[1]) == pytest.approx(1.899, abs=1e-3)
    assert "within a factor 1.899 of exact" in said["worst"]
    # Finding 5 speaks of the last step that both were read at, the ledger of each one's last two.
    both, twin = found.steps(root / "figures"), committed.columns("finetune_table4")
    names = ("context_window", "method", "column", "value")
    cells = zip(*(twin[name] for name in names), strict=True)
    k_max = {(method, step): value for at, method, step, value in cells if at == 32768}
    for method in ("PI", "FT"):
        assert f"up to {k_max[f'{method}, seed 0', both]:.0f} " in said["tuned"].replace("**", "")
        part = re.search(rf"{method} reaches 32768: \w+ (.*?\)\))", ours["table4-twin"])[1]
        told = re.findall(r"seed 0 step (\d+): \w+, k_max (\d+)", part)
        assert len(told) == 2
        assert [k_max[f"{method}, seed 0", float(step)] for step, _ in told] == [
            float(value) for _, value in told
        ]
    with pytest.raises(ValueError, match="name must be one of false, true"):
        findings.text("none")


def test_notebook_00_types_no_number_of_ours(root):
    notebook = nbformat.read(root / "notebooks" / "00_start_here.ipynb", as_version=4)
    shown = "".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    for finding in findings.findings():
        assert f'findings.text("{finding.name}")' in shown


def test_a_finding_keeps_to_few_numbers():
    """Settings apart: the text has one to four results, the page of the numbers the rest."""
    for finding in findings.findings():
        assert 1 <= len(re.findall(r"\d+\.\d+", finding.text.replace("Theorem 2.1", ""))) <= 4
        assert finding.text.count("**") == 2
        assert finding.more


def test_what_is_exact_is_said_of_one_span(root):
    """A worst case of one span is enclosed; one over all spans has a ceiling, nothing else."""
    with (root / "figures" / "worst_case_tightness.csv").open() as handle:
        rows = {(row["scheme"], row["span"]): row for row in csv.DictReader(handle)}
    for row in rows.values():
        assert float(row["upper"]) <= float(row["lower"]) * (1 + 1e-7)
        assert float(row["largest_upper"]) > 0
    reached, ceiling = rows["default", "6145.0"], rows["linear", "8191.0"]
    assert reached["lower"].startswith("35.86800")
    assert reached["largest_upper"].startswith("42.2425")
    assert ceiling["upper"].startswith("1.90233")
    assert ceiling["largest_upper"].startswith("1.93594")
