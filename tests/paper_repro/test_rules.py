"""Each rule of the experiment's verdicts gives every outcome it can, on rows made up for it."""

import numpy as np
import pytest

from paper_repro.small_scale import rules
from paper_repro.small_scale.rules import IN_PART, NO, OPEN, YES

L, TARGET = 8192, 32768
GRID = [TARGET * i // 16 for i in range(1, 17)]


def rows(recalled, trials=10, nats=None, written=None):
    """One row a distance; ``recalled`` is a list, or a function of k."""
    counts = [recalled(k) for k in GRID] if callable(recalled) else recalled
    cost = [5.0 * (1 - n / trials) for n in counts] if nats is None else nats
    said = counts if written is None else written
    return [
        {"k": k, "recalled": n, "written": w, "trials": trials, "nats": c, "standard_error": 0.01}
        for k, n, w, c in zip(GRID, counts, said, cost, strict=True)
    ]


def upto(edge, trials=10):
    return rows(lambda k: trials if k <= edge else 0, trials)


def test_reaches_the_target():
    assert rules.reaches(upto(TARGET), TARGET).verdict == YES
    assert rules.reaches(upto(14336), TARGET).verdict == NO
    # One key of ten at the last distance: seen as lost, but that is not sure.
    last = rules.reaches(rows([10] * 15 + [1]), TARGET)
    assert (last.verdict, last.numbers) == (OPEN, "k_max 30720 (30720 to 32768)")
    # Two of ten: the rule counts it, and its rate is not sure either.
    assert rules.reaches(rows([10] * 15 + [2]), TARGET).verdict == OPEN
    # A hole on the way ends k_max whatever comes after it, once it is sure.
    assert rules.reaches(rows([10] * 8 + [0, 0] + [10] * 6), TARGET).verdict == OPEN
    assert rules.reaches(rows([10] * 8 + [0] * 4 + [10] * 4), TARGET).verdict == NO
    # Half of the keys everywhere is above the rule's 20%: a few distances that miss are no end.
    assert rules.reaches(rows([3, 2, 4, 1] * 4, trials=5), TARGET).verdict == OPEN


def test_it_is_the_key_that_counts_and_not_the_separator():
    read = rows([10] * 16, written=[0] * 16)
    assert rules.reaches(read, TARGET).verdict == YES
    assert (rules.reach(read).k_max, rules.reach(read, "written").k_max) == (TARGET, 0)


def test_stays_near_the_old_window():
    assert rules.stays_near(upto(L, 40), L).verdict == YES
    assert rules.stays_near(upto(L), L).verdict == OPEN
    assert rules.stays_near(upto(12288), L).verdict == NO
    assert rules.stays_near(upto(14336), L).verdict == NO
    edge = rules.stays_near(upto(10240), L)  # 0 of 10 at two distances leaves more than 1.25%
    assert (edge.verdict, edge.numbers) == (OPEN, "k_max 10240 (10240 to 14336)")


def test_falls():
    found = rules.falls(upto(14336), L, TARGET)
    assert found.verdict == YES
    assert "100% (94% to 100%) up to 8192, 0% (0% to 6%) beyond 24576" in found.numbers
    assert "+5.00 ± 0.00 nats a digit" in found.numbers
    assert rules.falls(upto(TARGET), L, TARGET).verdict == NO
    same = [0.1, 0.2] * 8
    rarer = rules.falls(rows(lambda k: 10 if k <= L else 2, nats=same), L, TARGET)
    assert rarer.verdict == IN_PART
    assert rarer.numbers.startswith("recalled less often: yes, digits cost more: no; ")
    # 38 of 40 beyond and 80 of 80 inside: rarer, but the intervals meet.
    few = rules.falls(rows(lambda k: 9 if k > 28672 else 10, nats=same), L, TARGET)
    assert few.verdict == NO
    dearer = rules.falls(rows([10] * 16, nats=[0.01 * i**2 for i in range(16)]), L, TARGET)
    assert dearer.verdict == IN_PART
    assert dearer.numbers.startswith("recalled less often: no, digits cost more: yes; ")
    with pytest.raises(ValueError, match="rows must hold distances up to L, got none"):
        rules.falls(rows([10] * 16)[8:], L, TARGET)


def blocks(nats):
    return [{"block": i, "nats": value} for i, value in enumerate(nats)]


def test_better_than_the_original():
    rng = np.random.default_rng(0)
    original = 3.0 + rng.normal(size=16)  # blocks differ by far more than the models do
    for shift, verdict in ((-0.05, YES), (0.05, NO), (0.0, OPEN)):
        after = original + shift + 0.02 * rng.normal(size=16)
        found = rules.better(blocks(after), blocks(original))
        assert found.verdict == verdict, found
        expected = np.mean(after - original)
        assert f"{expected:+.4f} ± " in found.numbers
        assert f"perplexity {np.exp(original.mean()):.2f} to " in found.numbers
    # A gain of one and a half standard errors is none that the numbers decide on.
    noise = rng.normal(size=16)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    for share, verdict in ((1.5, OPEN), (2.5, YES), (-1.5, OPEN), (-2.5, NO)):
        after = original - 0.1 * (share / 4.0 + noise)
        assert rules.better(blocks(after), blocks(original)).verdict == verdict
    with pytest.raises(ValueError, match="rows must be of the same blocks"):
        rules.better(blocks(original), blocks(original[:-1]))


def test_parts_are_named_where_they_differ():
    yes, no = rules.Finding(YES, "a"), rules.Finding(NO, "b")
    assert rules.together({"seed 0": yes, "seed 1": yes}).verdict == YES
    mixed = rules.together({"seed 0": yes, "seed 1": no})
    assert (mixed.verdict, mixed.numbers) == (IN_PART, "seed 0: yes, a; seed 1: no, b")
    with pytest.raises(ValueError, match="parts must hold at least one finding"):
        rules.together({})


def test_gaps_are_alike_where_as_many_keys_are_recalled():
    def at(*counts):
        return rows([*counts, *[2] * (16 - len(counts))], trials=2)[: len(counts)]

    same = rules.alike(at(2, 1), at(2, 1))
    assert (same.verdict, same.numbers) == (YES, "2 of 2 distances, 2 keys each")
    # By distance, not by place; where both fail, that is said.
    found = rules.alike(at(2, 1, 0, 0), list(reversed(at(2, 2, 1, 0))))
    assert found.verdict == IN_PART
    assert found.numbers == (
        f"2 of 4 distances, 2 keys each, but at {GRID[1]} 1 against 2, at {GRID[2]} 0 against 1, "
        f"none either way at {GRID[3]}"
    )
    assert rules.alike(at(1), at(2)).verdict == NO


def test_table_4_is_judged_at_the_last_two_readings_of_every_seed():
    read = {}
    for seed in (0, 1):
        for step, edge in ((600, 4096), (800, TARGET), (1000, TARGET)):
            read["linear", seed, step] = upto(edge)
            read["default", seed, step] = upto(L, 40)
    read["linear", 0, 0] = read["default", 0, 0] = upto(0)  # before training: of no account
    found = rules.table4(read, L, TARGET)
    assert [finding.verdict for finding in found.values()] == [YES, NO, YES, YES, NO]
    read["linear", 1, 800] = upto(24576)
    first = rules.table4(read, L, TARGET)[f"PI reaches {TARGET}"]
    assert first.verdict == IN_PART
    assert "seed 1 step 800: no, k_max 24576" in first.numbers
    assert "step 600" not in first.numbers


def test_only_steps_and_seeds_that_both_were_read_at_count():
    only = {("linear", 0, step): upto(TARGET) for step in (0, 200)} | {("default", 0, 0): upto(L)}
    assert set(rules.table4(only, L, TARGET).values()) == {None}
    both = only | {("default", 0, 200): upto(L, 40), ("linear", 0, 400): upto(0)}
    found = rules.table4(both, L, TARGET)
    assert found[f"PI reaches {TARGET}"].numbers == f"seed 0 step 200: yes, k_max {TARGET} " + (
        f"({TARGET} to {TARGET})"
    )
    # A seed on its way is no evidence: it would be judged after less training.
    later = both | {("default", 0, 400): upto(L), ("linear", 0, 400): upto(TARGET)}
    later |= {(scheme, 1, 200): upto(L) for scheme in ("linear", "default")}
    told = rules.table4(later, L, TARGET)[f"PI reaches {TARGET}"]
    assert (told.verdict, "seed 1" in told.numbers) == (YES, False)


def test_two_protocols_are_not_mixed():
    with pytest.raises(ValueError, match="rows must be of one number of trials, got"):
        rules.reach(rows([5] * 16)[:8] + rows([5] * 16, trials=5)[8:])
    with pytest.raises(ValueError, match="rows must be of one number of trials, got"):
        rules.reach([])
