"""The tables as printed, and the sentences that cite them."""

import math

import pytest

from paper_repro import tables
from paper_repro.items import sentences
from paper_repro.items import tables as item


def test_cells():
    assert tables.cell("table1", "2048", size="7B", context_window="2048", method="None") == 7.2
    assert math.isinf(tables.cell("table1", "4096", size="7B", context_window="2048"))
    assert tables.cell("table1", "4096", size="13B", context_window="2048") is None
    assert tables.need("table4", "600", size="7B", context_window="32768") == 18432
    with pytest.raises(ValueError, match="where must select one row"):
        tables.cell("table1", "2048", size="7B")
    with pytest.raises(ValueError, match="the cell must hold a number"):
        tables.need("table1", "4096", size="13B", context_window="2048")


def test_every_table_has_its_shape():
    shapes = {name: (len(tables.rows(name)), len(tables.rows(name)[0])) for name in tables.NAMES}
    assert shapes == {
        "table1": (16, 8),
        "table2": (16, 8),
        "table3": (2, 8),
        "table4": (7, 9),
        "table5": (7, 8),
        "table6": (3, 5),
    }


def test_reductions_by_hand():
    original, itself = sentences.reduction("table1", "7B", 16384)
    assert (original, itself) == (pytest.approx(6.83 - 7.20), pytest.approx(6.83 - 7.11))
    original, itself = sentences.reduction("table2", "13B", 8192, "FT")
    assert (original, itself) == (pytest.approx(2.50 - 2.66), pytest.approx(2.50 - 2.71))


def test_readings():
    assert sentences._reading(-0.28, -0.37, -0.28) == "itself at 2048"
    assert sentences._reading(-0.27, -0.27, -0.24) == "original"
    assert sentences._reading(-0.5, -0.52, -0.54) == "original or itself at 2048"
    assert sentences._reading(-0.9, -0.52, -0.54) == "neither"


def test_verdicts_of_the_sentences():
    claims = {claim.key: claim for claim in item.claims(item.compute())}
    assert claims["gain-7B-table1"].verdict == "holds with correction"
    assert claims["gain-13B-table1"].verdict == "holds"
    assert claims["two-percent"].verdict == "refuted"
    assert claims["two-percent"].location == "section 3.4"
    assert "2.900" in claims["two-percent"].ours
    assert claims["kmax-consistent"].verdict == "refuted"
    assert claims["thirty-two-times"].verdict == "refuted"
    assert claims["ft-better"].verdict == "refuted"
