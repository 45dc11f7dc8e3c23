"""Twins of the paper's tables: cells are those of the readings, verdicts follow from them."""

import csv
import math

import numpy as np
import pytest

from paper_repro import ledger
from paper_repro.items import finetune as item
from paper_repro.small_scale import claims, plan, tables, twins
from paper_repro.small_scale.plan import Case, Reading
from paper_repro.small_scale.rules import reach
from paper_repro.small_scale.twins import Evidence
from pianalysis.bounds.interpolation import FORMS
from pianalysis.finetune.corpus import HELD_OUT_SOURCE

L = 8192
STEPS = (0, 800, 1000)


def recalled(k, edge, target):
    """All keys up to an edge; there it is two of ten unless it is the target: k_max, not surely."""
    return 2 if k == edge < target else 10 * (k <= edge)


def passkeys(edge, target):
    return [
        {
            **{"k": k, "nearest": k - 100, "farthest": k, "recalled": recalled(k, edge, target)},
            **{"written": 0, "nats": 0.1 if k <= edge else 3.0, "standard_error": 0.05},
            "trials": 10,
        }
        for k in range(target // 32, target + 1, target // 32)
    ]


def windows(level):
    """Blocks that differ by far more than models do; ``level`` is window -> nats."""
    base = np.random.default_rng(0).normal(size=16)
    jitter = np.random.default_rng(1).normal(size=16)
    return [
        {"text": text, "window": w, "block": b, "nats": base[b] + nats + 0.01 * jitter[b] * (i + 1)}
        for text in ("play", "source")
        for i, (w, nats) in enumerate(level.items())
        for b in range(16)
    ]


def heads(found):
    value = {f"{form}_violations": 0 for form in FORMS} | {"checked": 100, "found_ratio": found}
    return [{"quantity": name, "value": number} for name, number in value.items()]


def readings(pi=4 * L, ft=L, *, seed1=None, orig=(3.0, 6.0), tuned=(2.9, 3.1), before=4.0):
    """All that a full run reads, as the paper would have it unless told otherwise."""
    read = {}
    for scheme, edge in (("linear", pi), ("default", ft)):
        for seed in (0, 1):
            for step in STEPS:
                end = seed1 if seed1 and seed and scheme == "linear" and step == 1000 else edge
                case = Case(scheme, 4, seed, 1000)
                read[case, step, Reading("passkeys", (16, 10))] = passkeys(end, 4 * L)
        case = Case(scheme, 2, 0, 1000)
        read[case, 1000, Reading("passkeys", (16, 10))] = passkeys(12288, 2 * L)
        for step in (0, 1000):
            read[case, step, Reading("heads", (1024,))] = heads(1.2 if step else 0.9)
    pi2, ft2 = (Case(scheme, 2, 0, 1000) for scheme in ("linear", "default"))
    read[ft2, 0, Reading("windows", (L, 2 * L))] = windows(dict(zip((L, 2 * L), orig, strict=True)))
    read[pi2, 0, Reading("windows", (2 * L,))] = windows({2 * L: before})
    for case, level in ((pi2, tuned[0]), (ft2, tuned[1])):
        read[case, 1000, Reading("windows", (L, 2 * L))] = windows({L: 3.0, 2 * L: level})
    return read


def evidence(read):
    made = tables.tables(read, plan.TIERS["full"], window=L)
    return Evidence({kind: [table] for kind, table in made.items()}, L)


def verdicts(read):
    return {claim.key: claim.verdict for claim in claims.claims(evidence(read))}


def said(read):
    return {claim.key: claim.ours for claim in claims.claims(evidence(read))}


def cells(made):
    names = (made.source, made.context_window, made.method, made.text, made.column)
    return dict(zip(zip(*names, strict=True), made.value, strict=True))


def test_tables_hold_the_papers_cells_and_ours():
    seen = evidence(readings(seed1=20480))
    fourth = cells(twins.table4(seen))
    paper, here = dict.fromkeys(twins.table4(seen).source)
    assert fourth[paper, "8192", "FT", "", "10000"] == "2560"
    assert fourth[here, "32768", "PI, seed 0", "", "1000"] == "32768"
    assert fourth[here, "32768", "PI, seed 1", "", "1000"] == "20480"
    assert fourth[here, "16384", "FT, seed 0", "", "1000"] == "12288"
    first, third = cells(twins.table1(seen)), cells(twins.table3(seen))
    assert first[paper, "2048", "None", "play", "4096"] == ">1e3"
    assert first[paper, "8192", "FT", "source", "4096"] == "2.74"  # Table 2
    blocks = [row["nats"] for row in seen.scored("source", 2 * L, "default", 0)]
    assert len(blocks) == 16
    value = f"{math.exp(np.mean(blocks)):.2f}"
    assert first[here, "8192", "None", "source", "16384"] == value
    # The same reading in both tables: the cell of Table 3 is that of Table 1.
    assert third[here, "16384", "FT", "source", "0"] == value
    assert first[here, "16384", "PI", "play", "16384"] == third[here, "16384", "PI", "play", "1000"]
    assert third[paper, "16384", "PI", "play", "0"] == "112.13"
    shown = twins.text(twins.table1(seen))
    assert [name in "\n".join(shown) for name in ("PG-19", "proof-pile", "source")] == [True] * 3
    assert [line.split("; ")[1:] for line in shown if " L = " in line] == [
        [],
        ["below each value one standard error"],
    ]
    assert sum("±" in line for line in shown) == 3  # a line a model of ours
    assert list(dict.fromkeys(twins.table1(seen).where(source=here).method)) == ["None", "FT", "PI"]


def test_every_cell_of_ours_has_its_seed_error_count_and_protocol():
    seen = evidence(readings())
    for made in (table(seen) for table in twins.TABLES.values()):
        table = made.columns()
        for name in ("seed", "uncertainty", "count", "protocol"):
            ours = [c for c, of in zip(table[name], made.source, strict=True) if "here" in of]
            assert ours
            assert all(ours), name
    blocks = [row["nats"] for row in seen.scored("play", 2 * L, "linear", 1000)]
    row = twins.table3(seen).where(method="PI", text="play", column="1000", seed="0")
    assert row.uncertainty == (f"{np.exp(np.mean(blocks)) * np.std(blocks, ddof=1) / 4:.2f}",)
    row = twins.table4(seen).where(method="FT, seed 1", column="1000")
    assert (row.uncertainty, row.count) == (("7168 to 10240",), ("320",))


def test_verdicts_follow_the_numbers():
    tables_ = ("table1-twin", "table3-twin", "table4-twin")
    agree = verdicts(readings())
    assert [agree[key] for key in tables_] == [ledger.SMALL_SCALE] * 3
    assert agree["heads-finetuned"] == ledger.REFUTED
    part = verdicts(readings(seed1=20480, tuned=(3.1, 3.1)))
    assert [part[key] for key in tables_] == [ledger.PARTLY] * 3
    none = verdicts(readings(pi=L, ft=4 * L, orig=(3.0, 2.9), tuned=(3.1, 2.9), before=2.9))
    assert [none[key] for key in tables_] == [ledger.NOT_REPRODUCED] * 3
    assert "seed 1 step 1000: no, k_max 20480" in said(readings(seed1=20480))["table4-twin"]


def test_where_pi_ends_short_the_original_is_asked_at_the_same_phases():
    why = {c.key: c.why for c in claims.claims(evidence(readings(pi=30720, ft=6144)))}
    assert "10 of 10 keys at 5120, 2 of 10 keys at 6144, 0 of 10 keys at 7168" in why["table4-twin"]
    assert not {c.key: c.why for c in claims.claims(evidence(readings()))}["table4-twin"]


def test_where_pi_is_worse_than_the_original_training_alone_stands_beside():
    why = {c.key: c.why for c in claims.claims(evidence(readings(tuned=(3.4, 3.1))))}["table3-twin"]
    alone, _, beside = why.partition(". Position Interpolation at 16384 against FT at 8192, ")
    assert alone.startswith("This training costs without a scheme, too: FT at 8192 against the ")
    assert "better: open (" in alone
    assert "better: no (" in beside
    assert "+0.4" in beside  # 3.4 against 3.0
    assert not {c.key: c.why for c in claims.claims(evidence(readings()))}["table3-twin"]


def test_an_answer_that_the_numbers_leave_open_is_no_disagreement():
    open_ = verdicts(readings(orig=(3.0, 3.0), tuned=(3.0, 3.0), before=3.0))
    assert open_["table1-twin"] == open_["table3-twin"] == ledger.PARTLY


def test_what_was_not_read_is_said_and_judged_by_nothing():
    read = readings()
    tuned = {key: rows for key, rows in read.items() if key[1:] != (1000, key[2])}
    words, judged = said(tuned), verdicts(tuned)
    assert judged["table1-twin"] == judged["table3-twin"] == ledger.PARTLY
    assert words["table1-twin"].count("not read yet") == 2
    assert words["table3-twin"].endswith("not read yet")
    only = {key: rows for key, rows in read.items() if key[2].kind == "passkeys" and key[1]}
    judged = verdicts(only)
    assert judged["table1-twin"] == judged["heads-finetuned"] == ledger.NOT_ATTEMPTED
    assert judged["table4-twin"] == ledger.SMALL_SCALE
    left = [c for c in claims.claims(evidence(only)) if c.verdict == ledger.NOT_ATTEMPTED]
    assert all("tier full" in claim.why for claim in left)
    assert twins.table1(evidence(only)) is twins.table3(evidence(only)) is None


def test_where_nothing_agrees_yet_what_is_missing_decides():
    """One open answer, two not read: that is no part of the table."""
    read = readings(orig=(3.0, 3.0))
    early = {key: rows for key, rows in read.items() if key[2].kind != "windows" or not key[1]}
    assert verdicts(early)["table1-twin"] == ledger.NOT_ATTEMPTED
    assert verdicts(readings(before=2.9, tuned=(3.0, 3.1)))["table3-twin"] == ledger.PARTLY


def test_a_longer_window_is_held_against_the_same_model():
    """Training that costs as much at every window takes no gain away, and gives none."""
    told = said(readings(tuned=(3.2, 2.9)))["table1-twin"]
    assert f"FT is better at {2 * L} tokens at once than at {L}: yes" in told
    assert f"PI is better at {2 * L} tokens at once than at {L}: no" in told


def test_heads_are_judged_after_training():
    read = readings()
    for key in [key for key in read if key[2].kind == "heads"]:
        read[key] = heads(0.9 if key[1] else 1.2)
    assert verdicts(read)["heads-finetuned"] == ledger.HOLDS
    before = {key: rows for key, rows in read.items() if key[2].kind != "heads" or not key[1]}
    assert verdicts(before)["heads-finetuned"] == ledger.NOT_ATTEMPTED


def test_other_schemes_and_factors_are_told_at_equal_training():
    read = readings()
    for scheme in ("linear", "default", "ntk"):
        read[Case(scheme, 4, 0, 1000), 400, Reading("passkeys", (16, 10))] = passkeys(L, 4 * L)
    for step in (0, 800):  # FT at factor 2 was not read there
        read[Case("linear", 2, 0, 1000), step, Reading("passkeys", (16, 10))] = passkeys(0, 2 * L)
    told = said(read)["table4-twin"]
    each = f"seed 0 {L} (7168 to 10240)"
    assert f"k_max x4 at step 400: PI {each}, FT {each}, NTK-aware {each}" in told
    assert "k_max x2 at step 1000: PI seed 0 12288" in told
    assert "step 800: PI" not in told


def test_whole_prompts_stand_beside_gaps():
    read = readings()
    assert "whole prompts" not in said(read)["table4-twin"]
    for scheme, lost in (("linear", 0), ("default", 1)):
        both = [
            {"how": how, "recalled": 2 - lost * (how == "whole" and k > L), "k": k, "trials": 2}
            | {"nearest": k, "farthest": k, "written": 0, "nats": 0.1, "standard_error": 0.05}
            for how in ("whole", "gap")
            for k in (L, 2 * L)
        ]
        read[Case(scheme, 2, 0, 1000), 1000, Reading("whole", (2, L, 2 * L))] = both
    told = said(read)["table4-twin"]
    assert told.endswith(
        "as many keys recalled in whole prompts as across gaps, x2 at step 1000: PI yes (2 of 2 "
        f"distances, 2 keys each), FT in part (1 of 2 distances, 2 keys each, but at {2 * L} 1 "
        "against 2)"
    )


def test_the_committed_readings_are_what_the_plan_asks_for():
    found = item.run.at_hand(plan.READINGS, plan.WORK)
    known = {path.name for path in plan.READINGS.glob("*x[24]-seed*.json")}
    asked = {item.run.Readings(plan.READINGS).path(*key).name for key in found}
    other = {  # of tier cpu, read again by another grid in tier full
        item.run.Readings(plan.READINGS).path(case, step, reading).name
        for tier in (plan.TIERS["cpu"],)
        for case in tier.cases
        for step in tier.steps(case)
        for reading in tier.readings(case, step)
    }
    assert asked <= known <= asked | other
    for case, step, reading in found:
        if reading.kind == "passkeys":
            assert reach(found[case, step, reading]).k_max <= case.factor * L


def test_the_source_held_out_gains_most_of_the_candidates():
    with (plan.READINGS / "texts.csv").open(encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["text"].endswith(".py")]
    gain = {row["text"]: float(row["gain"]) for row in rows if float(row["window"]) == L}
    assert len(gain) == 3
    assert max(gain, key=gain.get) == HELD_OUT_SOURCE


def test_bounds_on_trained_heads():
    """What the theorems say of every head holds after fine-tuning, too."""
    record = item.at_hand()["finetune_heads"]
    cases = dict.fromkeys(zip(record.scheme, record.factor.tolist(), record.step, strict=True))
    assert len(cases) >= 4
    for scheme, factor, step in cases:
        at = {"scheme": scheme, "factor": factor, "step": float(step)}
        for form in ("corrected", "sharp", "weighted"):
            assert record.only(**at, quantity=f"{form}_violations")["value"] == 0
            assert 0.3 < record.only(**at, quantity=f"{form}_ratio")["value"] <= 1.0


@pytest.mark.parametrize("key", ["table1-twin", "table3-twin", "table4-twin", "heads-finetuned"])
def test_claims_are_of_this_item(key):
    claim = {claim.key: claim for claim in claims.claims(evidence(readings()))}[key]
    assert (claim.item, claim.certificate) == ("finetune", "measured")
