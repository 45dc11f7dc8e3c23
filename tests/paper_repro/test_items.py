"""Each item computed once: its figures are labelled, its claims are the committed ones."""

import panels
import perturb
import pytest

from paper_repro import ledger, runner
from pianalysis.pictures import style

# Minutes each: comparison/test_growth.py and test_real_heads.py recompute parts of what is
# committed.
SAMPLED = {"schemes", "real_heads"}
# Identities that rest on no record, and claims whose evidence is altered by a test of its own.
CLOSED_FORMS = {
    "theorem-2.1-d64": "bounds/test_interpolation.py::test_audited_numbers",
    "grid-words": "bounds/test_grid_theorem.py::XXX",
}
ELSEWHERE = {}
COMPUTED = [name for name in runner.ITEMS if name not in SAMPLED]


@pytest.mark.parametrize("name", COMPUTED)
def test_figures_are_labelled_and_the_ledger_is_what_the_item_computes(name, root):
    # One test for both, so that no item is computed twice.
    item, records = runner.load(name), runner.compute(name)
    check_figures(item.plot(records), records)
    check_claims(name, item.claims(records), ledger.read(root / "figures"))
    check_evidence(item, records, root)


def check_figures(figures, records):
    assert figures.keys() == records.keys()
    for figure in figures.values():
        for ax in figure.axes:
            if ax.axison:
                labels = [ax.get_xlabel(), ax.get_ylabel()]
                shared = figure.get_supxlabel() or len(figure.axes) > 1
                assert any(labels) or shared
                assert ax.get_title(loc="left") or ax.get_title() or shared
        assert figure.get_figwidth() <= style.TEXT_WIDTH
    kept = [stem for stem in figures if not stem.startswith(panels.SMOKE)]
    assert [line for stem in kept for line in panels.differences(stem, figures[stem])] == []


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


def check_evidence(item, records, root):
    # Whatever a claim says follows from its records: some wrong number in them changes it.
    claims = {claim.key: claim for claim in item.claims(records)}
    judged = {key for key, claim in claims.items() if claim.verdict != ledger.NOT_ATTEMPTED}
    aside = CLOSED_FORMS.keys() | ELSEWHERE.keys() | (claims.keys() - judged)
    assert perturb.unmoved(item, records, aside) == set()
    for key in judged & (CLOSED_FORMS.keys() | ELSEWHERE.keys()):
        file, _, test = (CLOSED_FORMS | ELSEWHERE)[key].partition("::")
        assert f"def {test}(" in (root / "tests" / file).read_text()


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
