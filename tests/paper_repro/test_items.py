"""Each item computed once: its figures are labelled, its claims are the committed ones."""

import pytest

from paper_repro import ledger, runner
from pianalysis.pictures import style

# Minutes each: comparison/test_growth.py and test_real_heads.py recompute parts of what is
# committed.
SAMPLED = {"schemes", "real_heads"}
COMPUTED = [name for name in runner.ITEMS if name not in SAMPLED]


@pytest.mark.parametrize("name", COMPUTED)
def test_figures_are_labelled_and_the_ledger_is_what_the_item_computes(name, root):
    # One test for both, so that no item is computed twice.
    item, records = runner.load(name), runner.compute(name)
    check_figures(item.plot(records), records)
    check_claims(name, item.claims(records), ledger.read(root / "figures"))


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
