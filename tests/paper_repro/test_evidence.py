"""Verdicts and numbers come from evidence: each cell of the tables and each prompt is altered."""

import dataclasses

import perturb
import pytest

from paper_repro import ledger, quoted, runner, tables
from paper_repro.items import fig3, fig4, sentences
from pianalysis.evaluation import passkey_prompt, summaries


def alterations(text):
    """A printed cell made larger, smaller and, where it is a limit, a plain number."""
    if text.startswith(">"):
        return ["1000.0"]
    digits = len(text.partition(".")[2])
    return [f"{float(text) * share:.{digits}f}" for share in (1.4, 0.6)]


def test_each_claim_about_the_tables_moves_with_some_cell(monkeypatch):
    item = runner.load("tables")
    before = perturb.said(item.claims(item.compute()))
    printed = {name: tables.rows(name) for name in tables.NAMES}
    moved = set()
    for name, rows in printed.items():
        for place, row in enumerate(rows):
            for column, text in row.items():
                if not text or not text.lstrip(">").replace(".", "").replace("e", "").isdigit():
                    continue
                if column == "context_window":
                    continue  # names the row
                for other in alterations(text):
                    altered = [dict(r) for r in rows]
                    altered[place][column] = other
                    monkeypatch.setattr(
                        tables, "rows", lambda n, a=altered, m=name: a if n == m else printed[n]
                    )
                    after = perturb.said(item.claims({"table_sentences": sentences.compute()}))
                    moved |= {key for key in before if after[key] != before[key]}
    open_ = {c.key for c in item.claims(item.compute()) if c.verdict == ledger.NOT_ATTEMPTED}
    assert set(before) - open_ - moved == {"thirty-two-times"}  # rests on which rows there are


def test_the_longest_window_is_that_of_the_rows(monkeypatch):
    rows = [*tables.rows("table1"), {**tables.rows("table1")[0], "context_window": "65536"}]
    monkeypatch.setattr(
        tables, "rows", lambda name, kept=tables.rows: rows if name == "table1" else kept(name)
    )
    claims = {claim.key: claim for claim in sentences.claims(sentences.compute())}
    assert claims["thirty-two-times"].verdict == ledger.HOLDS
    assert claims["thirty-two-times"].ours.startswith("32.00 times")


def changed(name, root):
    """The lines by which the ledger differs from what an item computes now."""
    item = runner.load(name)
    committed = [c for c in ledger.read(root / "figures") if c.item == name]
    return ledger.differences(committed, item.claims(item.compute()))


@pytest.mark.parametrize(
    ("name", "module", "constant"),
    [
        ("fig3", passkey_prompt, "TASK"),
        ("fig3", passkey_prompt, "FILLER"),
        ("fig3", passkey_prompt, "QUESTION"),
        ("fig4", summaries, "SUMMARY_BEFORE"),
        ("fig4", summaries, "SUMMARY_AFTER"),
    ],
)
def test_an_altered_prompt_fails_the_check(name, module, constant, root, monkeypatch):
    assert changed(name, root) == []
    monkeypatch.setattr(module, constant, getattr(module, constant).replace("e", "a", 1))
    lines = changed(name, root)
    assert len(lines) == 1
    assert "recomputed 'refuted'" in lines[0]
    assert "differs from the figure" in lines[0]


@pytest.mark.parametrize(("item", "figure"), [(fig3, "fig3"), (fig4, "fig4")])
def test_an_altered_quotation_or_record_changes_the_verdict(item, figure, monkeypatch):
    records = item.compute()
    record = records[figure]
    for place in range(len(record.text)):
        text = (*record.text[:place], record.text[place] + " ", *record.text[place + 1 :])
        claims = item.claims({figure: dataclasses.replace(record, text=text)})
        assert claims[0].verdict == ledger.REFUTED
        assert record.part[place] in claims[0].ours
    printed = quoted.prompt(figure)
    monkeypatch.setattr(quoted, "prompt", lambda _: printed[:-1])
    assert item.claims(records)[0].verdict == ledger.REFUTED
