"""The committed record of SmolLM2's heads: two layers and one gap of it measured again."""

import json

import numpy as np
import pytest

import pianalysis as pia
from paper_repro import committed, ledger
from paper_repro.items import gaps
from paper_repro.items import real_heads as item
from pianalysis.evaluation.text import default_text, encode
from pianalysis.heads import gap_likelihood, layer_statistics, open_checkpoint, visit_layers


@pytest.fixture(scope="module")
def model():
    checkpoint = open_checkpoint(item.MODEL)
    return checkpoint, encode(checkpoint.tokenizer, default_text(), item.TOKENS)


def test_layers_are_what_the_record_says(model):
    checkpoint, tokens = model
    table = committed.columns("heads_map")
    visit_layers(checkpoint, tokens, lambda heads: compare(heads, table), layers=[0, 2])


def compare(heads, table):
    found = layer_statistics(heads, seed=0)
    rows = table["layer"] == heads.layer
    for name in ("coefficient_median", "total_p95", "peak_1_max", "peak_2_median", "growth_max"):
        np.testing.assert_allclose(found.table[name], table[name][rows], rtol=1e-3)
    for name in ("beyond_score", "ceiling", "rms_own", "rms_2", "rms_deviation_predicted"):
        np.testing.assert_allclose(found.table[name], table[name][rows], rtol=1e-3)
    for name in ("from_chords_bound_max", "from_chords_p95", "from_unextended_median"):
        np.testing.assert_allclose(found.table[name], table[name][rows], rtol=1e-2, atol=1e-6)
    for name in ("mass_2", "slow_share", "weighted_ratio"):
        np.testing.assert_allclose(found.table[name], table[name][rows], rtol=1e-2)


def test_the_violating_pair_violates(model):
    """The pair that breaks Eq. 5, from the model and the formulas alone."""
    checkpoint, tokens = model
    table = committed.columns("heads_bounds")
    row = int(table["found_ratio"].argmax())
    layer, head = int(table["layer"][row]), int(table["head"][row])
    query, key = int(table["found_query"][row]), int(table["found_key"][row])
    span, caught = float(table["found_span"][row]), []
    visit_layers(checkpoint, tokens, caught.append, layers=[layer])
    heads = caught[0]
    h = heads.scaling * heads.coefficients(head, query, key)
    score = pia.attention_score(heads.spec, h, np.array([span - 0.5, span, span + 0.5]))
    deviation = abs(score[1] - 0.5 * (score[0] + score[2]))
    bounds = {
        form: float(pia.interpolation_bound(heads.spec, span, h, form=form))
        for form in ("paper", "corrected", "sharp", "weighted")
    }
    assert deviation == pytest.approx(table["found_deviation"][row], rel=1e-3)
    assert deviation > 1.05 * bounds["paper"]
    assert all(deviation < bounds[form] for form in ("corrected", "sharp", "weighted"))


def test_the_likelihood_across_one_gap(model):
    checkpoint, tokens = model
    table = committed.columns("heads_likelihood")
    row = int(np.flatnonzero((table["gap"] > 8192) & (np.array(table["scheme"]) == "as loaded"))[0])
    prefix = committed.summary("heads_likelihood")["prefix"]
    gap = int(table["gap"][row])
    found = gap_likelihood(checkpoint, tokens, prefix=prefix, gaps=[gap])
    assert found.mean[0] == pytest.approx(table["mean"][row], rel=1e-3)


def test_the_furthest_head_uses_what_its_limits_permit_in_part():
    """One row of the record from its limits alone, by the library's programme and by hand."""
    own = committed.columns("heads_permitted")
    row = int((own["observed"] / own["one_sided"]).argmax())
    low, high, most, span = (own[name][row] for name in ("low", "high", "max_coefficient", "span"))
    spec = pia.preset("smollm2-135m")
    assert spec.context_window <= span < 2 * spec.context_window
    worst = pia.worst_case_score(spec, span, max_coefficient=most, trained=(low, high))
    assert own["one_sided"][row] == pytest.approx(worst.value, rel=1e-6)
    # The coefficients that attain it keep the head's limits, by the definition of a score.
    grid = np.exp(1j * np.outer(np.arange(8192.0), spec.frequencies))
    scores = (grid * worst.coefficients).real.sum(axis=1)
    assert low * (1 + 1e-9) <= scores.min() < scores.max() <= high * (1 + 1e-9)
    assert np.abs(worst.coefficients).max() <= most * (1 + 1e-9)
    assert own["observed"][row] < 0.5 * worst.value
    # With a limit a pair the trained scores hardly matter: the bound is nearly the sum.
    assert (own["pairwise"] > 0.9 * own["in_phase"]).all()


def test_what_the_claims_on_limits_say_is_so():
    table = committed.columns("heads_map")
    for level in ("median", "p95", "max"):
        assert (table[f"logit_move_{level}"] <= table[f"delta_magnitude_{level}"] + 1e-12).all()
        assert (table[f"delta_magnitude_{level}"] <= table[f"delta_weighted_{level}"]).all()
        shift = np.tanh(table[f"delta_magnitude_{level}"] / 2)
        assert (table[f"from_chords_{level}"] <= shift + 1e-12).all()
    assert (table["beyond_score"] <= table["ceiling"]).all()
    np.testing.assert_allclose(table["beyond_score"], table["peak_2_max"], rtol=1e-9)
    assert 0.9 < np.median(table["rms_deviation"] / table["rms_deviation_predicted"]) < 1.1
    assert np.median(table["rms_own"] / table["rms_predicted"]) < 0.9


def test_the_ledger_reads_the_record(root):
    claims = {c.key: c for c in ledger.read(root / "figures") if c.item == "real_heads"}
    assert claims["heads-theorem21"].verdict == ledger.REFUTED
    for key in ("heads-growth", "heads-permitted", "heads-softmax", "heads-average"):
        assert claims[key].verdict == ledger.CORRECTED
    ratio = committed.columns("heads_bounds")["found_ratio"].max()
    assert ledger.number(ratio) in claims["heads-theorem21"].ours


def test_the_record_names_its_settings():
    summary = committed.summary("heads_map")
    assert (summary["tokens"], summary["pairs"], summary["seed"]) == (item.TOKENS, 1, 0)
    assert summary["provenance"]["command"] == "python -m paper_repro run real_heads"
    passkey = committed.summary("heads_passkey")
    assert passkey["provenance"]["command"] == "python -m paper_repro run gaps"
    assert (passkey["checkpoint"], passkey["trials"]) == (item.MODEL, gaps.TRIALS)
    assert set(passkey["k_max"]) == {"as loaded", *gaps.SCHEMES}
    assert json.dumps(passkey["extensions"])
