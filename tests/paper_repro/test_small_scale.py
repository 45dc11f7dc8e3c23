"""The experiment's machinery on a tiny model: training in parts, readings kept, a stopped run."""

import json
from dataclasses import dataclass, replace

import pytest
import tiny
import torch

import pianalysis as pia
from paper_repro.small_scale import budget, plan, protocol, replay, run, tables, twins
from paper_repro.small_scale.plan import HEADS, LOSS, PASSKEYS, WINDOWS, Case, Reading, Tier
from pianalysis.finetune import speed
from pianalysis.finetune.corpus import pack
from pianalysis.finetune.saving import saved_steps

TEXT = "It was a bright cold day in April, and the clocks were striking thirteen.\n" * 60
SOURCE = "def strike(hour):\n    return hour % 12  # the clocks of the other kind\n" * 60
LONG = Tier(
    sequence_length=160,
    batch_tokens=160,
    read_at=(0, 2, 4),
    cases=(
        Case(
            "linear", 2, 0, 4, heads=True, windows=((0, (256,)), (4, (256, 1024))), whole=(1, 700)
        ),
        Case("default", 2, 0, 4),
    ),
    distances=2,
    trials=2,
    last_distances=4,
    last_trials=3,
    scored=256,
    excerpt=2049,
    gap_text=128,
    heads_text=16,
)
CASE = LONG.cases[0].label
SHORT = replace(LONG, read_at=(0, 2), cases=(Case("linear", 2, 0, 2),))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A Llama of two layers that has a window of 1024 bytes."""
    folder = tmp_path_factory.mktemp("model")
    tiny.llama(max_position_embeddings=1024).save_pretrained(folder)
    tiny.letters().save_pretrained(folder)
    return folder


def shrink(patch, model):
    """Make the experiment one of a few steps of a small model."""
    patch.setattr(run, "MODEL", str(model))
    patch.setattr(plan, "preset", lambda _: pia.RopeSpec(16, 10_000.0, 1024))
    patch.setattr(plan, "STEPS", 6)
    patch.setitem(speed._SIZES, "cpu", 64)  # the peak that training is held against
    patch.setattr(run, "mixed_corpus", lambda t: pack(t, [TEXT, SOURCE]))
    patch.setattr(protocol, "texts", lambda: {"play": TEXT, "source": SOURCE})
    patch.setitem(plan.TIERS, "full", LONG)
    patch.setitem(plan.TIERS, "cpu", SHORT)


@pytest.fixture
def small(model, tmp_path, monkeypatch):
    """The small experiment, and a folder for it."""
    shrink(monkeypatch, model)
    return tmp_path / "work"


@dataclass(frozen=True)
class Finished:
    """A run of a tier that nothing disturbed: its rows, its files, what it said."""

    rows: dict
    files: dict
    said: list


def finished(tier, model, folder):
    said = []
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch, model)
        rows = whole_run(tier, folder, say=said.append)
    return Finished(rows, files(folder), said)


@pytest.fixture(scope="module")
def long(model, tmp_path_factory):
    """Tier full, run once for all tests."""
    return finished("full", model, tmp_path_factory.mktemp("long"))


@pytest.fixture(scope="module")
def short(model, tmp_path_factory):
    """Tier cpu, run once for all tests."""
    return finished("cpu", model, tmp_path_factory.mktemp("short"))


def plain(rows):
    return {(case.label, step, reading): value for (case, step, reading), value in rows.items()}


def whole_run(tier, folder, **options):
    """Run a tier with readings and work in a folder, in silence."""
    options = {"say": lambda _: None, **options}
    return run.run_tier(tier, folder / "readings", folder / "work", **options)


def files(folder):
    return {path.name: path.read_bytes() for path in (folder / "readings").iterdir()}


def test_every_case_is_read_at_its_steps(long):
    found, said = plain(long.rows), long.said
    pi, ft = (case.label for case in LONG.cases)
    kinds = {(step, reading.kind) for label, step, reading in found if label == ft}
    assert kinds == {(s, k) for s in (0, 2, 4) for k in ("passkeys", "gaps")} | {
        (2, LOSS),
        (4, LOSS),
    }
    assert [row["at"] for row in found[pi, 4, Reading(LOSS)]] == [3, 4]
    way, last = found[pi, 2, Reading(PASSKEYS, (2, 2))], found[pi, 4, Reading(PASSKEYS, (4, 3))]
    assert [row["k"] for row in way] == [1024, 2048]
    assert [row["k"] for row in last] == [512, 1024, 1536, 2048]
    assert {row["trials"] for row in last} == {3}
    assert all(0 <= row["recalled"] <= 3 and row["nats"] > 0 for row in last)
    assert all(row["k"] - 32 < row["nearest"] for row in last[:3])
    assert last[3]["farthest"] < 2048
    scored = found[pi, 4, Reading(WINDOWS, (256, 1024))]
    assert [(row["text"], row["window"]) for row in scored[::16]] == [
        *(("play", 256), ("play", 1024)),
        *(("source", 256), ("source", 1024)),
    ]
    before = found[pi, 0, Reading(WINDOWS, (256,))]
    assert [row["nats"] for row in before[:16]] != [row["nats"] for row in scored[:16]]
    heads = {row["quantity"]: row["value"] for row in found[pi, 4, Reading(HEADS, (16,))]}
    assert 0 < heads["corrected_ratio"] <= 1
    assert heads["found_ratio"] >= heads["paper_ratio"]
    whole = found[pi, 4, Reading("whole", (1, 700))]
    assert [(row["how"], row["k"]) for row in whole] == [("whole", 700), ("gap", 700)]
    # The original is PI's model before its scheme: gap 0 differs, for the scheme is there.
    before = [found[label, 0, Reading("gaps")][0]["nats"] for label in (pi, ft)]
    assert before[0] != before[1]
    assert len(said) == len(found) + 4  # a line a reading and a line a part of training
    assert said[0].startswith(f"{pi}: trained to step 2 in ")


def test_what_a_short_tier_made_is_the_first_part_of_the_long_one(small, long, monkeypatch):
    monkeypatch.setitem(plan.TIERS, "full", replace(LONG, cases=LONG.cases[:1]))
    whole_run("cpu", small)
    kept = files(small)
    trained, train = [], run.finetune
    monkeypatch.setattr(
        run, "finetune", lambda *a, **o: trained.append(o["until"]) or train(*a, **o)
    )
    resumed = plain(whole_run("full", small))
    assert resumed == {at: rows for at, rows in plain(long.rows).items() if at[0] == CASE}
    same = {name: body for name, body in files(small).items() if name in kept}
    assert same == kept
    # PI: its heads and windows of step 0 are new, and that step's weights were gone.
    assert trained == [2, 4]


def test_a_case_goes_on_from_the_last_step_of_the_short_tier(small, monkeypatch):
    monkeypatch.setitem(plan.TIERS, "full", replace(LONG, cases=(Case("linear", 2, 0, 4),)))
    whole_run("cpu", small)
    work = small / "work" / "linear-x2-seed-0"
    assert saved_steps(work) == [2]  # nothing more than the resume needs
    kept, trained, train = files(small), [], run.finetune
    monkeypatch.setattr(
        run, "finetune", lambda *a, **o: trained.append(o["until"]) or train(*a, **o)
    )
    whole_run("full", small)
    assert trained == [4]
    assert saved_steps(work) == [4]
    # Step 2 is on the way now, and read on the coarser grid: a part of what was read there.
    assert {name for name in files(small) if "0002-passkeys" in name} == {
        "linear-x2-seed-0-0002-passkeys-4-3.json",
        "linear-x2-seed-0-0002-passkeys-2-2.json",
    }
    assert files(small).items() >= kept.items()


def test_a_stopped_run_goes_on_to_the_same_bytes(small, long, monkeypatch):
    monkeypatch.setitem(plan.TIERS, "full", replace(LONG, cases=LONG.cases[1:]))
    calls, reading, stops = [], protocol.Reader.read, [1, 3, 6]

    def stopped(reader, asked):
        calls.append(asked)
        if stops and len(calls) == stops[0]:
            raise KeyboardInterrupt
        return reading(reader, asked)

    monkeypatch.setattr(protocol.Reader, "read", stopped)
    while stops:
        with pytest.raises(KeyboardInterrupt):
            whole_run("full", small)
        del stops[0]
    whole_run("full", small)
    of_the_case = {name: body for name, body in long.files.items() if name.startswith("default")}
    assert files(small) == of_the_case
    done = len(calls)
    assert done == 6 + 3  # gaps and passkeys at three steps, and what was stopped
    whole_run("full", small)
    assert len(calls) == done  # nothing is read twice


def test_cases_run_one_by_one_are_the_same_bytes(small, long):
    for case in reversed(LONG.cases):
        read = whole_run("full", small, case=case.label)
        assert {of.label for of, _, _ in read} == {case.label}
    assert files(small) == long.files
    with pytest.raises(ValueError, match=r"case must be one of .*default x2 seed 0.*got 'yarn'"):
        whole_run("full", small, case="yarn")


def test_two_runs_do_not_take_the_same_case(small, long, monkeypatch):
    """The other's checkpoints would be removed where this one needs an earlier step."""
    first, second = (case.label for case in LONG.cases)
    train = run.train

    def beside(*given, **options):
        monkeypatch.setattr(run, "train", train)
        with pytest.raises(ValueError, match="folder must not be in use by another run"):
            whole_run("full", small, case=first)
        whole_run("full", small, case=second)
        return train(*given, **options)

    monkeypatch.setattr(run, "train", beside)
    whole_run("full", small, case=first)
    assert files(small) == long.files


def test_a_reading_of_something_else_or_cut_short_is_taken_again(small, short):
    whole_run("cpu", small)
    whole = files(small)
    assert whole == short.files
    path = small / "readings" / "linear-x2-seed-0-0002-gaps.json"
    for broken in (path.read_text()[:-30], path.read_text().replace('"seed": 0', '"seed": 1')):
        path.write_text(broken)
        whole_run("cpu", small)
        assert files(small) == whole
    assert json.loads(path.read_text())["about"]["recipe"]["edge_share"] == 0.125


def test_tiers_are_what_was_stated_before_the_run():
    cpu, full = plan.TIERS["cpu"], plan.TIERS["full"]
    for short, case in zip(cpu.cases, full.cases, strict=False):
        assert plan.recipe(cpu, short) == plan.recipe(full, case)
        for step in cpu.steps(short):
            kinds = [reading.kind for reading in cpu.readings(short, step)]
            assert WINDOWS not in kinds
        assert Reading(PASSKEYS, (32, 10)) in cpu.readings(short, 400)
        assert Reading(PASSKEYS, (16, 5)) in full.readings(case, 400)
        assert set(cpu.readings(short, 0)) <= set(full.readings(case, 0))
    cells = [(c.scheme, c.factor, c.seed, c.steps) for c in full.cases]
    assert len(set(cells)) == len(cells) == 8
    assert {(s, f, seed) for s, f, seed, n in cells if n == 1000} == {
        (scheme, *at) for scheme in plan.BOTH for at in ((4, 0), (4, 1), (2, 0))
    }
    originals = [case.scheme for case in full.cases if case.windows]
    assert originals == ["default", "linear"]  # the original is read before what it is held against
    # Tables 1 and 3 are of one factor: the original at every window is read in one case.
    assert {case.factor for case in full.cases if case.windows} == {twins.WINDOWS_FACTOR}
    for case in full.cases:
        asked = plan.recipe(full, case)
        assert (asked.steps, asked.recall_share, asked.edge_share) == (1000, 0.6, 0.125)


def test_the_budget_adds_up(small, monkeypatch):
    tier = replace(LONG, cases=LONG.cases[:1])
    costs = budget.Costs(step=3.0, passes={256: 1.0, 1024: 10.0, 128: 0.5, 16: 0.25, 700: 7.0})
    case = tier.cases[0]
    assert costs.reading(tier, case, Reading(PASSKEYS, (4, 3))) == 12.0
    assert costs.reading(tier, case, Reading(WINDOWS, (256, 1024))) == 2 * (2 * 1.0 + 10.0)
    assert costs.reading(tier, case, Reading("whole", (1, 700))) == 1.0 + 7.0
    minutes = costs.table(tier).splitlines()[2].split()
    assert minutes[5] == f"{4 * 3.0 / 60:.1f}"
    assert float(minutes[-1]) == pytest.approx(sum(map(float, minutes[5:-1])), abs=0.3)
    store = {}
    measured = budget.measure(tier, run.MODEL, store)
    assert measured.passes.keys() == costs.passes.keys()
    assert min(measured.step, *measured.passes.values()) > 0
    # What was timed is kept, and only that.
    monkeypatch.setattr(budget, "_seconds", lambda work: 7.5)
    assert budget.measure(tier, run.MODEL, store) == measured
    lost = next(key for key in store if key.startswith("700 tokens"))
    del store[lost]
    assert budget.measure(tier, run.MODEL, store).passes == {**measured.passes, 700: 7.5}
    more_threads = torch.get_num_threads() + 1
    monkeypatch.setattr(torch, "get_num_threads", lambda: more_threads)
    assert budget.measure(tier, run.MODEL, store).step == 7.5


def test_what_is_left_is_said(small):
    said = []
    costs = budget.Costs(step=60.0, passes=dict.fromkeys((256, 128, 16, 700, 1024), 60.0))
    whole_run("cpu", small, say=said.append, costs=costs)
    assert said[-1].endswith("about 0 minutes left")
    assert all("minutes left" in line for line in said)


def test_a_tier_of_full_length_has_no_gaps(small, monkeypatch):
    case = Case("linear", 2, 0, 2)
    whole = replace(LONG, sequence_length=None, batch_tokens=2048, cases=(case,), read_at=(0, 2))
    monkeypatch.setitem(plan.TIERS, "full", whole)
    found = plain(whole_run("full", small))
    assert {reading.kind for _, _, reading in found} == {LOSS, PASSKEYS}
    asked = plan.recipe(whole, case)
    assert (asked.sequence_length, asked.gap, asked.recall_share) == (2048, False, 0.0)
    read = found[case.label, 2, Reading(PASSKEYS, (4, 3))]
    assert [row["k"] for row in read] == [512, 1024, 1536, 2048]
    assert read[3]["farthest"] < 2048


def test_the_readings_so_far_are_found_and_nothing_is_run(small, monkeypatch):
    monkeypatch.setitem(plan.TIERS, "full", replace(LONG, cases=(Case("linear", 2, 0, 4),)))
    at = small / "readings", small / "work"
    assert run.at_hand(*at) == {}
    short = whole_run("cpu", small)
    assert plain(run.at_hand(*at)) == plain(short)
    assert run.at_hand(*at, seed=1) == {}
    whole = whole_run("full", small)
    # The same readings at every case: of step 2 the coarser passkeys that tier full asks for.
    assert plain(run.at_hand(*at)) == plain(whole)


def test_the_gpu_tier_says_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="tier gpu must have a CUDA device, got none"):
        whole_run("gpu", tmp_path)
    with pytest.raises(ValueError, match="tier must be one of"):
        whole_run("cpus", tmp_path)


@pytest.mark.parametrize("fault", [None, "a loss", "a likelihood", "the gaps", "the text read"])
@pytest.mark.usefixtures("small")
def test_the_first_steps_of_a_tier_are_replayed(short, monkeypatch, fault):
    read = tables.tables(short.rows, SHORT, window=1024)
    made = {kind: dict(table.columns()) for kind, table in read.items()}
    if fault in ("a loss", "a likelihood"):
        kind, column = ("loss", "loss") if fault == "a loss" else ("gaps", "nats")
        made[kind][column] = [made[kind][column][0] * 1.001, *made[kind][column][1:]]
    if fault == "the gaps":
        monkeypatch.setattr(plan, "EDGE_SHARE", 1.0)
    if fault == "the text read":
        other = {"play": TEXT.replace("clocks", "bells"), "source": SOURCE}
        monkeypatch.setattr(protocol, "texts", lambda: other)
    kinds = {None: [], "a loss": ["loss"], "the gaps": ["loss"]}.get(fault, ["gaps"])
    assert [line.split(":")[0] for line in replay.replay("cpu", made)] == kinds
