"""The curve over all spans: parts of what is committed recomputed, and what its claims rest on."""

import numpy as np
import panels
import perturb
import pytest

import pianalysis as pia
from paper_repro import ledger
from paper_repro.items import worst_case_curve as item
from pianalysis.extension import named


@pytest.fixture(scope="module")
def records():
    return item.read_committed()


def test_the_exact_worst_case_is_never_above_the_closed_form(records):
    exact = records["worst_case_tightness"]
    assert len(exact.span) == len(item.EXACT) * len(named.COMPARABLE)
    assert (exact.lower <= exact.upper).all()
    assert (exact.upper <= exact.lower * (1 + 1e-6)).all()
    assert (exact.lower <= exact.updated * (1 + 1e-12)).all()
    assert (exact.updated <= exact.bound).all()
    # Where the scheme is solved inside [0, L'), the supremum over all its spans is no smaller.
    inside = exact.span < exact.target
    assert (exact.lower[inside] <= exact.largest_upper[inside]).all()
    assert (exact.largest_lower <= exact.largest_upper).all()


@pytest.mark.parametrize("name", ["linear", "yarn"])
def test_the_worst_head_of_one_span_stays_below_the_curve_and_nears_it(records, name):
    curve = records["worst_case_curve"]
    scheme = named.comparable_extensions(curve.spec, item.TARGET, [name])[name]
    worst = pia.worst_case_score(
        curve.spec, 16385.0, max_coefficient=item.LIMIT, extension=scheme
    ).coefficients
    n = np.arange(float(curve.spec.context_window))
    trained = np.exp(1j * np.outer(n, curve.spec.frequencies)) @ worst
    assert np.abs(trained.real).max() <= 1 + 1e-9
    assert np.abs(worst).max() <= item.LIMIT + 1e-9
    s = np.arange(float(item.REACH * item.TARGET))
    score = scheme.attention_factor**2 * (np.exp(1j * np.outer(s, scheme.frequencies)) @ worst).real
    share = np.abs(score).reshape(-1, item.CELL).max(axis=1) / curve.where(scheme=name).bound
    assert share.max() <= 1
    assert share[16385 // item.CELL] > 0.6


def test_what_is_committed_is_what_the_formulas_give(records, rng):
    curve, exact = records["worst_case_curve"], records["worst_case_tightness"]
    for index in rng.choice(len(exact.span), 2, replace=False):
        name, span = exact.scheme[index], exact.span[index]
        scheme = named.comparable_extensions(exact.spec, item.TARGET, [name])[name]
        options = {"max_coefficient": item.LIMIT, "extension": scheme}
        worst = pia.worst_case_score(exact.spec, span, **options)
        assert worst.value == pytest.approx(exact.lower[index], rel=1e-6)
        updated = pia.worst_case_bound(exact.spec, span, **options, updates=item.UPDATES)
        assert updated == pytest.approx(exact.updated[index], rel=1e-6)
        cells = curve.where(scheme=name)
        for start in (0, *rng.choice(cells.span.size, 3)):
            spans = cells.span[start] + np.arange(item.CELL)
            largest = max(pia.worst_case_bound(exact.spec, s, **options) for s in spans)
            assert largest == pytest.approx(cells.bound[start], rel=1e-9)


def test_the_supremum_of_interpolation_is_the_one_committed(records):
    exact = records["worst_case_tightness"].where(scheme="linear")
    found = pia.largest_worst_case(
        pia.PositionInterpolation(exact.spec, item.TARGET), max_coefficient=item.LIMIT
    )
    assert exact.largest_upper == pytest.approx(found.upper, rel=1e-5)
    assert exact.largest_lower == pytest.approx(found.lower, rel=1e-5)


def test_claims_and_pictures_follow_from_the_records(records, root):
    claims = item.claims(records)
    recorded = [c for c in ledger.read(root / "figures") if c.item == "worst_case_curve"]
    assert perturb.said(claims) == perturb.said(recorded)
    assert perturb.unmoved(item, records, claims) == set()
    for stem, figure in item.plot(records).items():
        assert panels.differences(stem, figure) == []
