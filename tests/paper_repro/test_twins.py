"""Twins of the paper's tables: cells are those of the records, verdicts follow from them."""

import copy
import math

import numpy as np
import panels
import pytest

from paper_repro import committed, ledger
from paper_repro.items import finetune as item
from paper_repro.small_scale import pictures as readings_drawn
from paper_repro.small_scale import twins
from paper_repro.small_scale.experiment import TIERS
from paper_repro.small_scale.readings import READINGS

KINDS = ("passkeys", "likelihood", "windows", "long", "heads")


@pytest.fixture(scope="module")
def found():
    """The committed records of tier cpu: kind -> (columns, summary)."""
    stems = {kind: f"finetune_cpu_{kind}" for kind in KINDS}
    return {kind: (committed.columns(s), committed.summary(s)) for kind, s in stems.items()}


@pytest.fixture
def seen(found):
    return twins.evidence(copy.deepcopy(found))


def test_the_committed_records_are_of_the_tier_as_it_stands(found):
    cases = found["passkeys"][1]["setting"]["cases"]
    assert [(c["scheme"], c["seed"], c["steps"]) for c in cases] == [
        (case.scheme, case.seed, case.steps) for case in TIERS["cpu"].cases
    ]
    last = np.array(found["passkeys"][0]["trials"]) == 10
    assert last.sum() == 4 * 32  # the paper's reading for two schemes and two seeds


def test_tables_hold_the_papers_cells_and_ours(seen):
    made = twins.table4(seen)
    cells = dict(
        zip(
            zip(made.source, made.context_window, made.method, made.column, strict=True),
            made.value,
            strict=True,
        )
    )
    paper, here = dict.fromkeys(made.source)
    assert cells[paper, "8192", "FT", "10000"] == "2560"
    case = seen.case("linear", seed=1)
    assert int(cells[here, "16384", "PI, seed 1", "200"]) == seen.value(
        "passkeys", "k_max", case, 200
    )
    text = "\n".join(twins.text(twins.table1(seen)))
    assert ">1e3" in text
    original = seen.value("long", "perplexity", seen.case("default"), 0, tokens=16384)
    assert f"{original:.2f}" in text
    last = seen.value("likelihood", "nats", seen.case("linear"), 200, reach=16384)
    assert f"{math.exp(last):.2f}" in twins.table3(seen).value


def verdicts(seen):
    return {claim.key: claim.verdict for claim in twins.claims(seen)}


def change(seen, kind, column, case, value, **where):
    table = seen.readings[kind]
    keep = np.array(table["case"]) == case
    for name, wanted in where.items():
        keep &= np.array(table[name]) == wanted
    assert keep.any()
    table[column] = np.where(keep, value, np.asarray(table[column]))


def test_verdicts_follow_the_numbers(seen):
    pi, ft = seen.case("linear"), seen.case("default")
    for seed in (0, 1):
        change(seen, "passkeys", "k_max", seen.case("linear", seed=seed), 16384, step=200)
        change(seen, "passkeys", "k_max", seen.case("default", seed=seed), 9216, step=200)
    for case, step, inside, beyond in ((ft, 0, 30.0, 90.0), (ft, 200, 28, 29), (pi, 200, 31, 30)):
        change(seen, "long", "perplexity", case, inside, step=step, tokens=8192)
        change(seen, "long", "perplexity", case, beyond, step=step, tokens=16384)
    change(seen, "likelihood", "nats", ft, 3.5, step=0, gap=0)
    change(seen, "likelihood", "nats", pi, 5.0, step=0, reach=16384)
    change(seen, "likelihood", "nats", pi, 3.4, step=200, reach=16384)
    assert set(verdicts(seen).values()) == {ledger.SMALL_SCALE}
    change(seen, "passkeys", "k_max", seen.case("linear", seed=1), 512, step=200)
    change(seen, "long", "perplexity", pi, 32.0, step=200, tokens=16384)
    change(seen, "likelihood", "nats", pi, 3.6, step=200, reach=16384)
    assert set(verdicts(seen).values()) == {ledger.PARTLY}
    change(seen, "likelihood", "nats", pi, 3.3, step=0, reach=16384)
    assert verdicts(seen)["table3-twin"] == ledger.NOT_REPRODUCED


def test_cases_that_are_not_there_are_named(seen):
    with pytest.raises(ValueError, match="scheme must be one that the tier trained, got 'llama3'"):
        seen.case("llama3")
    with pytest.raises(ValueError, match="k_max must have one value"):
        seen.value("passkeys", "k_max", seen.case("linear"), 7)


def test_bounds_on_trained_heads(seen):
    """What the theorems say of every head holds after fine-tuning, too."""
    for scheme in ("linear", "default"):
        for step in (0, 200):
            case = seen.case(scheme)
            for form in ("corrected", "sharp", "weighted"):
                violations = seen.value("heads", "value", case, step, quantity=f"{form}_violations")
                ratio = seen.value("heads", "value", case, step, quantity=f"{form}_ratio")
                assert violations == 0
                assert 0.3 < ratio <= 1.0


def pictures(found):
    """Draw the committed readings of tier cpu."""
    records = {}
    for kind in KINDS:
        table, about = found[kind]
        fields = {name: about[name] for name in ("tier", "setting", "window")}
        records[f"finetune_cpu_{kind}"] = READINGS[kind](**fields, **table)
    return item.plot(records)


def test_pictures_of_the_committed_records_draw_them(found):
    drawn = pictures(found)
    assert [line for stem in drawn for line in panels.differences(stem, drawn[stem])] == []
    for kind, column in (("likelihood", "nats"), ("windows", "perplexity")):
        axes = drawn[f"finetune_cpu_{kind}"].axes
        shown = {
            float(y) for ax in axes for line in ax.lines for y in np.atleast_1d(line.get_ydata())
        }
        shown |= {float(box.get_height()) for ax in axes for box in ax.patches}
        kept = {float(value) for value in found[kind][0][column]}
        assert len(kept & shown) > 0.25 * len(kept), kind


def test_series_are_called_by_what_they_are():
    assert readings_drawn.shown("default x2 seed 1") == "FT x2, seed 1"
    assert set(item.claims({})[-1].ours.split()) >= {"paper", "corrected"}
