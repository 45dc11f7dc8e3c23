"""Published limits on the base: each against its own formula at 50 digits, met or not."""

import mpmath as mp
import numpy as np
import pytest

import pianalysis as pia
from pianalysis.extension.minimal_base import minimal_base

SPEC = pia.RopeSpec(16, 5000.0, 256)


def limit(record, condition):
    return record.only(condition=condition)


def test_each_limit_is_its_formula():
    found = pia.base_limits(SPEC, 1024, epsilon=0.3, layers=12, pipeline="float32")
    with mp.workdps(50):
        expected = {
            "cosine sum": minimal_base(1024, 16).base,
            "critical base": mp.mpf(5000)
            ** (mp.log(1024 / (2 * mp.pi)) / mp.log(256 / (2 * mp.pi))),
            "aliasing": 1024 / (2 * mp.pi),
            "DC stability": 1024 / mp.acos(mp.mpf(0.3)),
            "N layers": 1024 / mp.acos(mp.mpf(0.3) ** (mp.mpf(1) / 12)),
            "precision": mp.mpf(2) ** 23,
            "unseen phases": (256 / (2 * mp.pi)) ** (mp.mpf(16) / 14),
        }
        assert found.condition == tuple(expected)
        for name, value in expected.items():
            assert limit(found, name)["limit"] == pytest.approx(float(value), rel=1e-12), name


def test_met_is_decided_by_side_and_limit():
    found = pia.base_limits(SPEC, 1024, layers=12, pipeline="bfloat16")
    for row in range(len(found.condition)):
        side, value = found.side[row], found.limit[row]
        met = {
            "at least": value <= 5000,
            "above": value < 5000,
            "at most": value >= 5000,
            "below": value > 5000,
        }[side]
        if found.condition[row] != "cosine sum":
            assert found.met[row] == ("yes" if met else "no")
    assert limit(found, "precision")["met"] == "no"
    assert limit(found, "aliasing")["met"] == "yes"


def test_the_findings_speak_of_the_slowest_pair():
    """The published limit taken for the true slowest frequency turns the verdict."""
    dim, base = 16, 500.0
    slowest = base ** (-14 / 16)
    length = int(2 * np.pi / slowest) + 1  # the slowest pair completes a turn
    assert length < 2 * np.pi * base
    found = pia.base_limits(pia.RopeSpec(dim, base, 256), length)
    row = limit(found, "aliasing")
    assert row["met"] == "yes"
    assert "makes 1 turns" in row["finding"]


def test_rows_without_their_parameter_are_left_out_and_monotone():
    short, long = (pia.base_limits(SPEC, target) for target in (300, 3000))
    assert short.condition == long.condition
    assert not {"N layers", "precision"} & set(short.condition)
    for name in ("cosine sum", "critical base", "aliasing", "DC stability"):
        assert limit(short, name)["limit"] < limit(long, name)["limit"]
    deep = pia.base_limits(SPEC, 300, layers=64)
    assert limit(deep, "N layers")["limit"] > limit(deep, "DC stability")["limit"]
    same = pia.base_limits(SPEC, 256)
    assert limit(same, "critical base")["met"] == "yes"
    slow = (SPEC.wavelengths > SPEC.context_window).sum()
    assert limit(same, "unseen phases")["finding"].startswith(f"{slow} of 8 pairs complete no turn")


def test_an_epsilon_that_has_no_root_below_one_is_refused():
    with pytest.raises(ValueError, match="epsilon must be told from 1 after its 10000th root"):
        pia.base_limits(SPEC, 512, epsilon=1.0 - 2.0**-53, layers=10_000)


def test_the_record_writes_itself(tmp_path):
    pia.base_limits(SPEC, 1024, layers=2).save(tmp_path / "limits")
    assert len((tmp_path / "limits.csv").read_text().splitlines()) == 7


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"spec": "x"}, TypeError, "spec must be a RopeSpec"),
        ({"spec": pia.RopeSpec(2, 100.0, 64)}, ValueError, "rotary dimension of at least 4"),
        ({"spec": pia.RopeSpec(16, 100.0, 6), "target": 64}, ValueError, "context_window must"),
        ({"target": 100}, ValueError, "target must be an integer from 256"),
        ({"epsilon": 0.0}, ValueError, "epsilon must be"),
        ({"epsilon": 1.0}, ValueError, "epsilon must be"),
        ({"layers": 0}, ValueError, "layers must be"),
        ({"pipeline": "float64"}, ValueError, "pipeline must be one of"),
    ],
)
def test_refusals(change, error, words):
    asked = {"spec": SPEC, "target": 1024} | change
    with pytest.raises(error, match=words):
        pia.base_limits(asked.pop("spec"), asked.pop("target"), **asked)
