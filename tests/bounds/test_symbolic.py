"""The derivation: every step checks, the false ones are refuted, injected faults are noticed."""

import functools
import math
import subprocess
import sys

import numpy as np
import pytest
import sympy as sp
from matplotlib.mathtext import MathTextParser

import pianalysis as pia
from pianalysis.bounds.symbolic import proofs
from pianalysis.bounds.symbolic import steps as derived
from pianalysis.bounds.symbolic.algebra import ball, is_zero, substitute
from pianalysis.bounds.symbolic.proofs import restate

STEPS = derived.derivation()  # for the names of the tests
steps = functools.cache(derived.derivation)
FALSE = ["Eq. 14, premise", "Eq. 14", "Eq. 15", "Eq. 17 = Eq. 5"]


def name(step):
    return f"{step.label}: {step.title}"


@pytest.fixture
def step(request):
    """The step as derived while the tests run."""
    return steps()[STEPS.index(request.param)]


def step_named(title, label=None, status=None):
    (found,) = (
        step
        for step in steps()
        if step.title == title and label in (None, step.label) and status in (None, step.status)
    )
    return found


@pytest.mark.parametrize("step", STEPS, ids=name, indirect=True)
def test_every_step_checks(step):
    assert step.check()
    assert step.reason
    assert step.verdict() == ("refuted" if step.status == "false" else "proved")


def test_all_steps_check_together():
    assert derived.check(derived.derivation())


def test_exactly_four_steps_are_false_and_three_have_a_correction():
    assert [step.label for step in STEPS if step.status == "false"] == FALSE
    assert [step.label for step in STEPS if step.status == "corrected"] == FALSE


@pytest.mark.parametrize("step", STEPS, ids=name, indirect=True)
def test_a_wrong_status_is_noticed(step):
    for status in {"identity", "holds", "false"} - {step.status}:
        if {step.status, status} != {"holds", "corrected"}:
            assert not restate(step, status=status).check()
    assert not restate(step, status="plausible").check()
    assert not restate(step, proofs=()).check()


@pytest.mark.parametrize("step", STEPS, ids=name, indirect=True)
def test_a_reversed_or_negated_statement_is_noticed(step):
    left, right = step.statement.args
    if step.status == "identity":
        wrong = [sp.Eq(left, -right, evaluate=False)]
    else:
        wrong = [step.statement.func(right, left, evaluate=False)]
        if isinstance(step.statement, sp.Le) and step.status != "false":
            wrong.append(sp.Le(left, right / 2, evaluate=False))
    assert not any(restate(step, statement=statement).check() for statement in wrong)


def test_a_counterexample_does_not_refute_the_correction():
    printed, true = (step_named(t, "Eq. 14") for t in (
        "geometric sum against d/(4 ln c)", "the reversed inequality"))  # fmt: skip
    assert not restate(printed, statement=true.statement).check()
    assert not restate(true, statement=printed.statement).check()
    theorem = step_named("Theorem 2.1 as printed")
    corrected = step_named("Theorem 2.1 corrected")
    assert not restate(theorem, statement=corrected.statement).check()
    assert not restate(corrected, statement=theorem.statement).check()


def test_a_dropped_factor_two_in_taylors_remainder_is_noticed():
    mass, chord = step_named("mass of the kernel"), step_named("distance from the chord")
    left, right = mass.statement.args
    assert not restate(mass, statement=sp.Eq(left, 2 * right)).check()
    doubled = tuple(
        sp.Eq(x.lhs, x.rhs.replace(derived.curvature, lambda t: 2 * derived.curvature(t)))
        for x in chord.hypotheses
    )
    assert not restate(chord, hypotheses=doubled).check()
    for title in ("Theorem 2.1 corrected", "Theorem 2.1 for one known h"):
        theorem = step_named(title)
        others = tuple(x for x in theorem.hypotheses if x not in chord.hypotheses)
        assert not restate(theorem, hypotheses=others + doubled).check()


def test_the_convention_at_the_end_is_needed():
    step = step_named("Abel summation")
    without = tuple(x for x in step.hypotheses if x.lhs != derived.h[derived.d / 2])
    assert len(without) == len(step.hypotheses) - 1
    broken = restate(step, hypotheses=without)
    assert [proof.decide(broken) for proof in step.proofs] == [False, False]


def test_other_frequencies_are_noticed(monkeypatch):
    monkeypatch.setattr(derived, "frequency", lambda j: derived.c ** (-j / derived.d))
    broken = {name(step) for step in derived.derivation() if not step.check()}
    assert broken == {
        "Eq. 13: geometric sum",
        "Eq. 13: infinite geometric sum",
        "Eq. 15: bound of a''",
        "Eq. 17 = Eq. 5: Theorem 2.1 corrected",
    }


@pytest.mark.parametrize(
    ("step", "position"),
    # c > 1 in the geometric sum only keeps its denominator from vanishing.
    [
        (x, i)
        for x in STEPS
        if x.status != "false" and x.title != "geometric sum"
        for i in range(len(x.hypotheses))
    ],
    ids=lambda x: name(x) if isinstance(x, derived.Step) else str(x),
    indirect=["step"],
)
def test_no_hypothesis_is_idle(step, position):
    kept = step.hypotheses[:position] + step.hypotheses[position + 1 :]
    assert not restate(step, hypotheses=kept).check()


def test_a_broken_premise_breaks_what_rests_on_it(monkeypatch):
    never = derived.Proof("never", lambda step: False)
    monkeypatch.setattr(proofs, "by_convexity", lambda *_: never)
    steps = {step.title: step for step in derived.derivation()}
    for title in ("exponential above its tangent", "logarithm of the base",
                  "denominator of Eq. 14", "the reversed inequality"):  # fmt: skip
        assert not steps[title].check()


def value(expression, **numbers):
    return complex(ball(expression, {getattr(derived, k): v for k, v in numbers.items()})).real


@pytest.mark.parametrize(("dim", "base"), [(128, 10_000), (64, 500_000), (2, 7)])
def test_statements_agree_with_the_library(dim, base):
    spec = pia.RopeSpec(dim, base, 16)
    closed = step_named("geometric sum").statement
    at = {"d": dim, "c": base}
    assert math.isclose(value(closed.rhs, **at), pia.theta_square_sum(spec), rel_tol=1e-13)
    assert math.isclose(value(closed.lhs, **at), pia.theta_square_sum(spec), rel_tol=1e-13)
    cell = at | {"s1": 3, "s2": 4, "s": sp.Rational(13, 4), "H": 2}
    for title, form in (("as printed", "paper"), ("corrected", "corrected")):
        bound = step_named(f"Theorem 2.1 {title}").statement.rhs
        expected = pia.interpolation_bound(spec, 3.25, 2.0, form=form)
        assert math.isclose(value(bound, **cell), float(expected), rel_tol=1e-13)


def test_the_size_of_the_violation():
    theorem = step_named("Theorem 2.1 as printed")
    score = theorem.hypotheses[0]
    point = {derived.d: 128, derived.c: 10_000, derived.s1: 0, derived.s2: 1,
             derived.s: sp.S.Half, derived.H: 1,
             derived.h[derived.j]: derived._turn(span=-sp.S.Half)}  # fmt: skip
    left, right = (
        complex(ball(substitute(x, {score.lhs: score.rhs}), point)).real
        for x in theorem.statement.args
    )
    theta = pia.RopeSpec(128, 10_000, 16).frequencies
    assert math.isclose(left, float(np.sum(1 - np.cos(theta / 2))), rel_tol=1e-12)
    assert round(left, 6) == 0.493876
    assert round(right, 6) == 0.434294


def test_zero_is_not_taken_for_granted():
    x = sp.Symbol("x", real=True)
    i = sp.Symbol("i", integer=True)
    wave = sp.exp(sp.I * x)
    assert is_zero(sp.Abs(wave + 1) ** 2 - 2 - 2 * sp.cos(x))
    assert not is_zero(sp.Abs(wave + 1) ** 2 - 2 - sp.cos(x))
    assert not is_zero(sp.Sum(x**i, (i, 0, 5)) - sp.Sum(x**i, (i, 0, 4)))
    assert not is_zero(sp.Sum(x**i, (i, 0, 5)) ** 2)
    assert not is_zero(sp.Matrix([0, x]))


@pytest.mark.parametrize("step", STEPS, ids=name, indirect=True)
def test_latex_renders(step):
    text = step.latex
    assert text.count("{") == text.count("}")
    assert text.count(r"\left") == text.count(r"\right") + text.count(r"\leftarrow")
    if "matrix" not in text:  # mathtext has no matrices
        MathTextParser("agg").parse(f"${text}$")


def test_the_whole_derivation_as_latex_and_as_a_table():
    text = derived.latex(STEPS)
    assert text.startswith(r"\begin{align}")
    assert text.count(r"\tag{") == len(STEPS)
    assert text.count(r"\\" + "\n") >= len(STEPS) - 1
    rows = derived.table(STEPS[12:16]).splitlines()
    assert len(rows) == 2 + 4
    assert all(row.count("|") == 7 for row in rows)
    broken = restate(STEPS[8], status="false")
    assert "| NO |" in derived.table([broken])


def test_steps_are_frozen_and_slotted():
    with pytest.raises(AttributeError):
        STEPS[0].status = "holds"
    assert not hasattr(STEPS[0], "__dict__")


def test_importing_the_package_does_not_load_sympy():
    code = "import sys, pianalysis; sys.exit('sympy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
