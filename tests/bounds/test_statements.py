"""The derivation states what the paper prints, and what is put in its place: at random numbers.

A false statement stays false with another wrong constant, and a weaker one true: proofs do not
notice. Here each side is compared with the formula, written down a second time.
"""

import math

import pytest
import sympy as sp

from pianalysis.bounds.symbolic import steps as derived
from pianalysis.bounds.symbolic.algebra import ball

POINTS = [
    {"d": 6, "c": 3.5, "s1": -1.25, "s2": 4.0, "s": 0.5, "H": 1.75, "M": 2.5, "x": -0.4, "y": 0.3},
    {"d": 128, "c": 1e4, "s1": 7.0, "s2": 8.0, "s": 7.75, "H": 0.25, "M": 0.1, "x": 0.9, "y": -2.0},
]


def geometric(p):
    return sum(p["c"] ** (-4 * j / p["d"]) for j in range(p["d"] // 2))


def arch(p):
    return (p["s"] - p["s1"]) * (p["s2"] - p["s"])


# (title, status) -> the two sides as printed, left and right; None: not a number.
SIDES = {
    ("mass of the kernel", "identity"): (None, lambda p: (p["s1"] - p["s"]) ** 2 / 2),
    ("geometric sum", "identity"): (geometric, geometric),
    ("c^x against its tangent", "false"): (
        lambda p: p["c"] ** p["x"],
        lambda p: 1 + p["x"] * math.log(p["c"]),
    ),
    ("exponential above its tangent", "corrected"): (
        lambda p: math.exp(p["y"]),
        lambda p: 1 + p["y"],
    ),
    ("logarithm of the base", "holds"): (lambda p: math.log(p["c"]), lambda p: 0.0),
    ("infinite geometric sum", "holds"): (
        geometric,
        lambda p: 1 / (1 - p["c"] ** (-4 / p["d"])),
    ),
    ("geometric sum against d/(4 ln c)", "false"): (
        lambda p: 1 / (1 - p["c"] ** (-4 / p["d"])),
        lambda p: p["d"] / (4 * math.log(p["c"])),
    ),
    ("the reversed inequality", "corrected"): (
        lambda p: 1 / (1 - p["c"] ** (-4 / p["d"])),
        lambda p: p["d"] / (4 * math.log(p["c"])),
    ),
    ("bound of a''", "false"): (None, lambda p: p["H"] * p["d"] / (4 * math.log(p["c"]))),
    ("bound of a''", "corrected"): (None, lambda p: p["H"] * geometric(p)),
    ("largest coefficient", "holds"): (None, lambda p: p["H"] * geometric(p)),
    ("bound of the remainder", "holds"): (None, lambda p: p["M"] * arch(p) / 2),
    ("Theorem 2.1 as printed", "false"): (
        None,
        lambda p: p["d"] * p["H"] * arch(p) / (8 * math.log(p["c"])),
    ),
    ("Theorem 2.1 corrected", "corrected"): (None, lambda p: p["H"] * geometric(p) * arch(p) / 2),
    ("2 B(s) >= d/2", "holds"): (None, lambda p: p["d"] / 2),
}


@pytest.mark.parametrize("point", POINTS, ids=["d = 6", "d = 128"])
@pytest.mark.parametrize(("name", "status"), SIDES, ids=str)
def test_both_sides_are_those_printed(name, status, point):
    found = [
        step
        for step in derived.derivation()
        if (step.title, step.status) == (name, status) and step.label != "Eq. 8"
    ] or [step for step in derived.derivation() if (step.title, step.status) == (name, status)]
    (step,) = found
    numbers = {getattr(derived, symbol): sp.Rational(value) for symbol, value in point.items()}
    for side, formula in zip(step.statement.args, SIDES[name, status], strict=True):
        if formula is not None:
            value = complex(ball(side, numbers)).real
            assert value == pytest.approx(formula(point), rel=1e-13, abs=1e-300)
