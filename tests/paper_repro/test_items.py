"""Each item computed once: its figures are labelled, its claims are the committed ones."""

import dataclasses
import functools

import numpy as np
import panels
import perturb
import pytest

from paper_repro import committed, ledger, runner
from paper_repro.items import basis, fig2
from paper_repro.scratch import reading
from pianalysis.heads.permitted import PermittedScores
from pianalysis.records import Record
from pianalysis.rope.spec import RopeSpec

# Long: comparison/test_growth.py, test_worst_case_curve.py, test_real_heads.py and test_scratch.py
# recompute parts of what is committed; test_small_scale.py runs a tier on a tiny model.
SAMPLED = {"schemes", "worst_case_curve", "real_heads", "gaps", "scratch", "finetune"}
# Identities and certified numbers that rest on no record, each with a test of its own. The cells
# that sentences on the tables rest on are altered one by one in test_evidence.py.
CLOSED_FORMS = {
    "theorem-2.1-d64": "bounds/test_interpolation.py::test_audited_numbers",
    "grid-words": "bounds/test_grid_theorem.py::test_all_integer_constant",
    "fig2-last-span": "scores/test_fits.py::test_audited_spreads",
    "frequencies": "rope/test_spec.py::test_frequencies_match_the_definition_at_fifty_digits",
    "pi-inside": "extension/test_geometric.py::test_interpolation_is_scaling_positions",
    "relative": "scores/test_expansion.py::test_score_depends_on_the_span_alone",
    "expansion": "scores/test_expansion.py::test_score_equals_rotating_in_torch",
    "degrees": "scores/test_fits.py::test_condition_of_the_papers_design",
}
COMPUTED = [name for name in runner.ITEMS if name not in SAMPLED]


@pytest.mark.parametrize("name", COMPUTED)
def test_figures_are_labelled_and_the_ledger_is_what_the_item_computes(name, root, monkeypatch):
    # One test for both, so that no item is computed twice.
    # The two slow functions of a specification answer once for each: altered records ask again.
    monkeypatch.setattr(fig2, "exact_fit_spread", once(fig2.exact_fit_spread))
    for asking in (fig2, basis):
        monkeypatch.setattr(asking, "design_condition", functools.cache(asking.design_condition))
    item, records = runner.load(name), runner.compute(name)
    claims = item.claims(records)
    check_figures(item.plot(records), records)
    check_claims(name, claims, ledger.read(root / "figures"))
    if name != "tables":  # what it judges is altered cell by cell
        check_evidence(item, records, claims, root)


def check_figures(figures, records):
    assert figures.keys() == records.keys()
    for figure in figures.values():
        for ax in figure.axes:
            if ax.axison:
                labels = [ax.get_xlabel(), ax.get_ylabel()]
                shared = figure.get_supxlabel() or len(figure.axes) > 1
                assert any(labels) or shared
                assert ax.get_title(loc="left") or ax.get_title() or shared
    assert [line for stem in figures for line in panels.differences(stem, figures[stem])] == []


def check_claims(name, claims, committed):
    # The committed verdicts and numbers are generated, not typed. Measured numbers may differ in
    # their last digits from machine to machine; table arithmetic may not.
    computed = {claim.key: claim for claim in claims}
    recorded = {claim.key: claim for claim in committed if claim.item == name}
    assert computed.keys() == recorded.keys()
    for key, claim in computed.items():
        assert (claim.verdict, claim.statement) == (recorded[key].verdict, recorded[key].statement)
        if claim.certificate == "table arithmetic":
            assert claim.ours == recorded[key].ours


def check_evidence(item, records, claims, root):
    # Whatever a claim says follows from its records: some wrong number in them changes it.
    open_ = {claim.key for claim in claims if claim.verdict == ledger.NOT_ATTEMPTED}
    assert perturb.unmoved(item, records, claims, CLOSED_FORMS.keys() | open_) == set()
    for claim in claims:
        if claim.key in CLOSED_FORMS:
            file, _, test = CLOSED_FORMS[claim.key].partition("::")
            assert f"def {test}(" in (root / "tests" / file).read_text()


def once(function):
    """Keep the answers of a slow function of a specification and spans."""
    kept = functools.cache(lambda spec, spans: function(spec, list(spans)))
    return lambda spec, spans: kept(spec, tuple(spans))


def test_the_fine_tune_is_drawn_and_judged_from_its_readings(root):
    item = runner.load("finetune")
    records = item.at_hand()
    assert item.plot({"finetune_quick_loss": None}) == {}  # a smoke test: no figures
    claims = item.claims(records)
    check_figures(item.plot(records), records)
    check_claims("finetune", claims, ledger.read(root / "figures"))
    check_evidence(item, records, claims, root)
    for stem, record in records.items():  # nothing of it is made anew for that: same bytes
        assert (root / "figures" / f"{stem}.csv").read_text(encoding="utf-8") == record.csv()


@dataclasses.dataclass(frozen=True)
class Overall(Record):
    quantity: tuple[str, ...]
    median: np.ndarray
    p95: np.ndarray


@dataclasses.dataclass(frozen=True)
class Heads:
    """What the claims on SmolLM2's heads read of the record, from the committed one."""

    table: dict
    overall: Overall
    tokens: int
    pairs: int
    chord_spans: int


SCRATCH = {
    "scratch_training": reading.Trainings,
    "scratch_heads": reading.HeadBounds,
    "scratch_growth": reading.Growth,
    "scratch_likelihood": reading.Extrapolation,
}


def test_the_small_models_pictures_and_claims_are_those_of_the_record(root):
    records = {}
    for stem, kind in SCRATCH.items():
        kept = {**committed.columns(stem), **committed.summary(stem)}
        if "spec" in kept:
            kept["spec"] = RopeSpec(**kept["spec"])
        records[stem] = kind(**{field.name: kept[field.name] for field in dataclasses.fields(kind)})
    item = runner.load("scratch")
    claims = item.claims(records)
    check_figures(item.plot(records), records)
    check_claims("scratch", claims, ledger.read(root / "figures"))
    check_evidence(item, records, claims, root)


def test_claims_on_real_heads_follow_from_the_record():
    item, about = runner.load("real_heads"), committed.summary("heads_map")
    table = {
        name: column
        for name, column in committed.columns("heads_map").items()
        if isinstance(column, np.ndarray)
    }
    rows = about["overall"]
    overall = Overall(tuple(rows["quantity"]), np.array(rows["median"]), np.array(rows["p95"]))
    heads = Heads(table, overall, about["tokens"], about["pairs"], about["chord_spans"])
    own = {**committed.columns("heads_permitted"), **committed.summary("heads_permitted")}
    permitted = PermittedScores(
        **{f.name: own[f.name] for f in dataclasses.fields(PermittedScores)}
    )
    records = {"heads_map": heads, "heads_permitted": permitted}
    claims = item.claims(records)
    recorded = [claim for claim in ledger.read(committed.FOLDER) if claim.item == "real_heads"]
    assert perturb.said(claims) == perturb.said(recorded)
    assert perturb.unmoved(item, records, claims) == set()


def test_a_verdict_that_is_a_constant_is_seen(monkeypatch):
    item = runner.load("ratio")
    records = item.compute()
    claims = item.claims(records)
    assert perturb.unmoved(item, records, claims) == set()
    monkeypatch.setattr(item, "claims", lambda records: claims)
    assert perturb.unmoved(item, records, claims) == {claim.key for claim in claims}


def swapped(ax):
    x, y = ax.get_xlabel(), ax.get_ylabel()
    ax.set_xlabel(y)
    ax.set_ylabel(x)


def other_unit(ax):
    ax.set_xlabel(ax.get_xlabel().replace("tokens", "radians"))


def removed(ax):
    ax.set_xlabel("")
    ax.set_ylabel("")
    ax.set_title("", loc="left")


FAULTS = {
    "axis labels swapped": swapped,
    "one label blanked": lambda ax: ax.set_xlabel(""),
    "the unit of a label": other_unit,
    "title removed": lambda ax: ax.set_title("", loc="left"),
    "all labels removed": removed,
    "a scale": lambda ax: ax.set_yscale("log"),
    "a panel removed": lambda ax: ax.remove(),
    "a line removed": lambda ax: ax.lines[0].remove(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_a_panel_is_seen(fault):
    """Of a picture of one panel, and of one panel among several."""
    for name, stem in (("fig5", "fig5"), ("fig1", "fig1")):
        figure = runner.load(name).plot(runner.compute(name))[stem]
        assert panels.differences(stem, figure) == []
        FAULTS[fault](figure.axes[-1])
        assert panels.differences(stem, figure) != [], name
