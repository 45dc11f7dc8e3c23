"""The experiment's machinery on a tiny model: cases, readings, a stopped run, the quick tier."""

import numpy as np
import pytest
import tiny

import pianalysis as pia
from paper_repro import experiment, runner
from paper_repro.experiment import Case, Tier
from paper_repro.items import finetune as item
from pianalysis.finetune.corpus import pack

TEXT = "It was a bright cold day in April, and the clocks were striking thirteen.\n" * 60
CASES = (Case("linear", 0, 3, 0.0), Case("default", 0, 3, 0.0))
TINY = Tier(2, 64, True, 1, CASES, (0, 3), 2, 1, 3, 2)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The experiment on a Llama of two layers that has a window of 1024 bytes."""
    folder = tmp_path / "model"
    tiny.llama(max_position_embeddings=1024).save_pretrained(folder)
    tiny.letters().save_pretrained(folder)
    monkeypatch.setattr(experiment, "MODEL", str(folder))
    monkeypatch.setattr(experiment, "preset", lambda _: pia.RopeSpec(16, 10_000.0, 1024))
    monkeypatch.setattr(experiment, "default_corpus", lambda t: pack(t, [TEXT], [TEXT]))
    monkeypatch.setitem(experiment.TIERS, "quick", TINY)
    monkeypatch.setattr(experiment, "_TEXT", 128)
    return tmp_path / "work"


def test_every_case_is_read_at_its_steps(small):
    training, passkeys, likelihoods = experiment.run_tier("quick", small)
    assert training.case == tuple(case.label for case in CASES for _ in range(3))
    np.testing.assert_array_equal(training.step, [1, 2, 3, 1, 2, 3])
    assert (training.loss > 0).all()
    for case in CASES:
        rows = np.array(passkeys.case) == case.label
        assert set(passkeys.step[rows]) == {0, 3}
        assert (rows & (passkeys.step == 0)).sum() == 2
        last = rows & (passkeys.step == 3)
        assert last.sum() == 3  # as many distances as the last reading asks for
        assert set(passkeys.trials[last]) == {2}
    assert passkeys.target == 2048
    # direct fine-tuning starts from the model itself, Position Interpolation does not
    start = likelihoods.step == 0
    cases = np.array(likelihoods.case)
    assert not np.allclose(
        likelihoods.nats[start & (cases == CASES[0].label)],
        likelihoods.nats[start & (cases == CASES[1].label)],
    )
    assert not list(small.glob("*/step-*"))  # weights of finished cases are removed


def test_a_stopped_run_goes_on_to_the_same_records(small, tmp_path, monkeypatch):
    whole = experiment.run_tier("quick", tmp_path / "whole")
    reading = experiment._likelihoods
    calls = []

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return reading(*arguments)

    monkeypatch.setattr(experiment, "_likelihoods", stopped)
    with pytest.raises(KeyboardInterrupt):
        experiment.run_tier("quick", small)
    again = experiment.run_tier("quick", small)
    for one, other in zip(whole, again, strict=True):
        assert one.csv() == other.csv()
    trained = len(calls)
    experiment.run_tier("quick", small)
    assert len(calls) == trained  # nothing is read twice


def test_distances_are_uniform_up_to_the_target():
    assert experiment.spread(60, 16384, 8) == [2048 * i for i in range(1, 9)]
    assert experiment.spread(300, 1024, 8)[0] == 300


def test_tiers_are_named():
    with pytest.raises(ValueError, match="tier must be one of"):
        runner.compute("finetune", tier="cpus")
    with pytest.raises(ValueError, match="tier must go with an item that has tiers"):
        runner.compute("fig1", tier="cpu")
    assert set(experiment.TIERS) == set(item.TIERS)
    assert runner.provenance("finetune", 0, "cpu")["command"].endswith("finetune --tier cpu")
