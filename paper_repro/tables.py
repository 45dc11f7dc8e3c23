"""The paper's Tables 1-6 as data: CSV in, rows out."""

from __future__ import annotations

import csv
from functools import lru_cache
from importlib.resources import files

from pianalysis import checks

DATA = ("paper_repro/paper/*.csv",)
NAMES = {
    "table1": "table1_pg19_perplexity.csv",
    "table2": "table2_proofpile_perplexity.csv",
    "table3": "table3_perplexity_vs_steps.csv",
    "table4": "table4_passkey_kmax.csv",
    "table5": "table5_zero_shot.csv",
    "table6": "table6_govreport_rouge.csv",
}


@lru_cache
def rows(name: str) -> tuple[dict[str, str], ...]:
    """Return the rows of one table, cells as the paper prints them (empty: a dash)."""
    file = NAMES[checks.choice("name", name, NAMES)]
    with (files("paper_repro") / "paper" / file).open(encoding="utf-8") as handle:
        return tuple(csv.DictReader(handle))


def cell(name: str, column: str, **where: str) -> float | None:
    """Return one number: None for a dash, infinity for "> 10^3".

    Examples
    --------
    >>> cell("table3", "0", size="7B", context_window="8192")
    16.1
    """
    for key in (column, *where):
        checks.choice("column", key, rows(name)[0])
    matching = [row for row in rows(name) if all(row[key] == value for key, value in where.items())]
    if len(matching) != 1:
        raise ValueError(f"where must select one row of {name}, got {len(matching)} for {where}")
    return as_number(matching[0][column])


def as_number(text: str) -> float | None:
    """Return a printed cell as a number."""
    if checks.text("text", text) == "":
        return None
    return float("inf") if text.startswith(">") else checks.real("text", float(text))


def need(name: str, column: str, **where: str) -> float:
    """Return one number that the paper prints; a dash is an error."""
    value = cell(name, column, **where)
    if value is None:
        raise ValueError(f"the cell must hold a number, got a dash in {name}: {where}, {column}")
    return value
