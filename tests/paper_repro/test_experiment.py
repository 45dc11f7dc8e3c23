"""The experiment's machinery on a tiny model: cases, readings, a stopped run, the quick tier."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

import pianalysis as pia
from paper_repro import committed, runner
from paper_repro.items import finetune as item
from paper_repro.small_scale import experiment, readings, replay
from paper_repro.small_scale.experiment import Case, Tier
from paper_repro.small_scale.readings import Reader
from pianalysis.evaluation import forward
from pianalysis.finetune.corpus import pack

TEXT = "It was a bright cold day in April, and the clocks were striking thirteen.\n" * 60
CASES = (
    Case("linear", 0, 3, 0.0, thorough=True, long=True),
    Case("default", 0, 3, 0.0),
)
TINY = Tier(
    sequence_length=64,
    batch_tokens=64,
    cases=CASES,
    read_at=(0, 3),
    distances=2,
    trials=1,
    window=256,
    window_text=600,
    heads_text=16,
)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The experiment on a Llama of two layers that has a window of 1024 bytes."""
    folder = tmp_path / "model"
    tiny.llama(max_position_embeddings=1024).save_pretrained(folder)
    tiny.letters().save_pretrained(folder)
    monkeypatch.setattr(experiment, "MODEL", str(folder))
    monkeypatch.setattr(experiment, "preset", lambda _: pia.RopeSpec(16, 10_000.0, 1024))
    monkeypatch.setattr(experiment, "default_corpus", lambda t: pack(t, [TEXT], [TEXT]))
    monkeypatch.setattr(readings, "default_text", lambda: TEXT)
    monkeypatch.setitem(experiment.TIERS, "quick", TINY)
    monkeypatch.setattr(readings, "TEXT", 128)
    monkeypatch.setattr(experiment, "PAPER_DISTANCES", 3)
    monkeypatch.setattr(experiment, "PAPER_TRIALS", 2)
    return tmp_path / "work"


def test_every_case_is_read_at_its_steps(small):
    found = experiment.run_tier("quick", small)
    assert list(found) == ["loss", *readings.READINGS]
    training, passkeys, likelihoods = (found[kind] for kind in ("loss", "passkeys", "likelihood"))
    assert training.case == tuple(case.label for case in CASES for _ in range(3))
    np.testing.assert_array_equal(training.step, [1, 2, 3, 1, 2, 3])
    assert (training.loss > 0).all()
    for case in CASES:
        rows = np.array(passkeys.case) == case.label
        assert set(passkeys.step[rows]) == {0, 3}
        assert (rows & (passkeys.step == 0)).sum() == 2
        last = rows & (passkeys.step == 3)
        assert last.sum() == (3 if case.thorough else 2)
        assert set(passkeys.trials[last]) == {2 if case.thorough else 1}
    assert set(passkeys.target) == {2048}
    assert passkeys.k.max() == 2048
    # direct fine-tuning starts from the model itself, Position Interpolation does not
    start = likelihoods.step == 0
    cases = np.array(likelihoods.case)
    assert not np.allclose(
        likelihoods.nats[start & (cases == CASES[0].label)],
        likelihoods.nats[start & (cases == CASES[1].label)],
    )
    assert not list(small.glob("*/step-*"))  # weights of finished cases are removed


def test_no_position_of_a_passkey_leaves_the_target(small, monkeypatch):
    seen = []
    positions = forward.positions
    monkeypatch.setattr(forward, "positions", lambda *a: seen.append(positions(*a)) or seen[-1])
    experiment.run_tier("quick", small)
    prompts = [at for at in seen if at.size != readings.TEXT]
    assert max(at.max() for at in prompts) == 2048 - 2  # the answer's last digit is only predicted


def test_readings_without_gaps_and_of_heads(small):
    found = experiment.run_tier("quick", small)
    windows, long, heads = (found[kind] for kind in ("windows", "long", "heads"))
    assert windows.case == tuple(case.label for case in CASES for _ in range(2))
    assert set(windows.count) == {599}
    assert set(long.case) == set(heads.case) == {CASES[0].label}
    np.testing.assert_array_equal(long.tokens, [512, 1024, 2048] * 2)
    assert set(long.count) == {2048}
    value = dict(zip(zip(heads.step, heads.quantity, strict=True), heads.value, strict=True))
    for step in (0, 3):
        assert value[step, "weighted_violations"] == value[step, "corrected_violations"] == 0
        assert 0 < value[step, "corrected_ratio"] <= value[step, "weighted_ratio"] <= 1
        assert value[step, "found_ratio"] >= value[step, "paper_ratio"] > 0
    assert value[0, "coefficient_extreme"] != value[3, "coefficient_extreme"]


def test_a_tier_of_full_length_reads_whole_prompts(small, monkeypatch):
    case = Case("linear", 0, 1, 0.0)
    whole = replace(TINY, sequence_length=None, batch_tokens=2048, cases=(case,), read_at=(0,))
    monkeypatch.setitem(experiment.TIERS, "quick", whole)
    found = experiment.run_tier("quick", small)["passkeys"]
    np.testing.assert_array_equal(found.k, [1024, 2048])


def test_a_stopped_run_goes_on_to_the_same_records(small, tmp_path, monkeypatch):
    whole = experiment.run_tier("quick", tmp_path / "whole")
    reading = Reader.likelihood
    calls = []

    def stopped(reader):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return reading(reader)

    monkeypatch.setattr(Reader, "likelihood", stopped)
    with pytest.raises(KeyboardInterrupt):
        experiment.run_tier("quick", small)
    again = experiment.run_tier("quick", small)
    assert whole.keys() == again.keys()
    for kind, record in whole.items():
        assert record.csv() == again[kind].csv()
    trained = len(calls)
    experiment.run_tier("quick", small)
    assert len(calls) == trained  # nothing is read twice


@pytest.mark.parametrize(
    "fault", [None, "a loss", "a likelihood", "the learning rate", "the text read"]
)
def test_the_first_steps_of_a_committed_run_are_replayed(small, tmp_path, monkeypatch, fault):
    figures = tmp_path / "figures"
    figures.mkdir()
    monkeypatch.setattr(committed, "FOLDER", figures)
    for kind, record in experiment.run_tier("quick", small).items():
        record.save(figures / f"finetune_quick_{kind}", {})
    if fault in ("a loss", "a likelihood"):
        path = figures / f"finetune_quick_{'loss' if fault == 'a loss' else 'likelihood'}.csv"
        table = path.read_text().splitlines()
        cells = table[1].split(",")
        place = table[0].split(",").index("loss" if fault == "a loss" else "nats")
        cells[place] = str(float(cells[place]) * 1.001)
        path.write_text("\n".join([table[0], ",".join(cells), *table[2:]]) + "\n")
    if fault == "the learning rate":
        made = experiment.recipe
        monkeypatch.setattr(
            experiment, "recipe", lambda *a, **k: replace(made(*a, **k), learning_rate=0.01)
        )
    if fault == "the text read":
        monkeypatch.setattr(readings, "default_text", lambda: TEXT.replace("clocks", "bells"))
    lines = replay.replay("quick")
    kind = {None: [], "a loss": ["loss"], "the learning rate": ["loss"]}.get(fault, ["likelihood"])
    assert [line.split(":")[0] for line in lines] == [f"finetune_quick_{k}" for k in kind]


def test_tiers_are_named():
    with pytest.raises(ValueError, match="tier must be one of"):
        runner.compute("finetune", tier="cpus")
    with pytest.raises(ValueError, match="tier must go with an item that has tiers"):
        runner.compute("fig1", tier="cpu")
    assert set(experiment.TIERS) == set(item.TIERS)
    assert runner._default_tier("finetune", named=True) == "cpu"
    assert runner._default_tier("finetune", named=False) == "quick"
    assert runner._default_tier("fig1", named=True) is None
    assert runner.provenance("finetune", 0, "cpu")["command"].endswith("finetune --tier cpu")


def test_the_gpu_tier_says_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="tier gpu must have a CUDA device, got none"):
        experiment.run_tier("gpu", tmp_path)
