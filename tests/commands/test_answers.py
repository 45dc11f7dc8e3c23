"""The report's answers beyond the window: each the number of its own function."""

import math

import pytest

import pianalysis as pia
from pianalysis.commands import answers, main

SMALL = pia.RopeSpec(16, 100.0, 64)


def test_each_answer_is_its_function():
    found = answers.answers(SMALL, 256, 0.25)
    worst = pia.worst_case_score(SMALL, 255.0, max_coefficient=1.0)
    assert (found["worst_lower"], found["worst_upper"]) == (worst.lower, worst.upper)
    scheme = pia.PositionInterpolation(SMALL, 256)
    scaled = pia.worst_case_score(SMALL, 255.0, max_coefficient=1.0, extension=scheme)
    assert found["interpolated_upper"] == scaled.upper < worst.lower
    assert worst.lower <= found["ceiling"] <= 8.0
    delta = 0.25 * float(pia.interpolation_bound(SMALL, 0.5, form="sharp"))
    assert found["delta"] == pytest.approx(delta)
    assert found["attention_shift"] == pytest.approx(math.tanh(delta / 2))
    assert found["average_score"] == pytest.approx(2.0)
    assert found["margin_target"] == pytest.approx(math.log(255))


def test_windows_too_long_are_said_to_be():
    spec = pia.RopeSpec(16, 1e6, 2**20)
    found = answers.answers(spec, 2**21, 0.25)
    assert found["worst_upper"] is None
    assert 1.0 < found["ceiling"] <= 8.0
    lines = dict(answers.rows(found))
    assert lines["  the model as it is"] == "window or dimension too large"


def test_the_report_prints_them(capsys):
    assert main.main(["report", "llama-7b", "--target", "4096"]) == 0
    out = capsys.readouterr().out
    for words in ("WORST CASE", "closed-form ceiling", "ON AVERAGE", "AFTER THE SOFTMAX", "34.5"):
        assert words in out


def test_bounds_are_printed_rounded_up():
    found = answers.answers(pia.preset("llama-7b"), 8192, 1.0)
    lines = dict(answers.rows(found))
    for name, label in (
        ("worst_upper", "  the model as it is"),
        ("interpolated_upper", "  under PI"),
    ):
        assert found[name] <= float(lines[label]) <= found[name] * (1.0 + 1.1e-5)
