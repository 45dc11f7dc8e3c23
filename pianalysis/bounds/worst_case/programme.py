"""The programme of the worst case solved, and what both sides of its certificate rest on.

The objective is any linear form Re sum_j h_j c_j of the coefficients, given by terms c_j that can
be evaluated again at a higher precision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from pianalysis.arrays import ComplexArray, FloatArray
from pianalysis.bounds.worst_case import certificate, cone
from pianalysis.bounds.worst_case.basis import grid_basis
from pianalysis.bounds.worst_case.certificate import Coefficients, Trained
from pianalysis.bounds.worst_case.coordinates import LARGEST_FLOAT64, centered_terms
from pianalysis.rope import phases
from pianalysis.rope.phases import Rotary
from pianalysis.rope.spec import RopeSpec

BITS = 128
_MORE_BITS = 192  # for coefficients that float64 cannot hold
_BROKEN = 1.0 + 1e-14
_ENOUGH, _LOOSE = 1e-6, 1e-3  # gaps above which it is solved again, in float64 and exactly
_LARGEST_WRITTEN = 1e7  # up to here float64 coefficients hold a(n) to 1e-7


@dataclass(frozen=True, slots=True)
class Objective:
    """The score a'(s) of ``model``, or its step a'(s + 1) - a'(s) when ``contrast`` is set."""

    model: Rotary
    span: float
    contrast: bool

    def terms(self) -> list[Any]:
        """Return the c_j as acb balls at the working precision."""
        return certificate.objective_terms(self.model, self.span, contrast=self.contrast)

    def centered(self, spec: RopeSpec) -> ComplexArray:
        """Return the c_j turned to the centre of the grid of ``spec``, in float64."""
        out = centered_terms(spec, self.model, np.array(self.span))
        if self.contrast:
            # e^{i theta} - 1 = 2i sin(theta/2) e^{i theta/2}, which keeps slow pairs accurate.
            half = phases.rotations(self.model, np.array(0.5))
            out = out * 2j * np.sin(self.model.frequencies / 2.0) * half
        return out


@dataclass(frozen=True, slots=True, eq=False)
class BothSides:
    """Both sides as Arb balls, with what they rest on."""

    status: str
    certificate: str
    bits: int
    rounds: int
    h: Coefficients
    digits: tuple[str, ...]
    attained: Any
    bound: Any
    weights: FloatArray


def solve(
    spec: RopeSpec, objective: Objective, max_coefficient: float, trained: Trained
) -> BothSides:
    """Maximise over -l <= a(n) <= u on the grid and |h_j| <= H, and certify both sides."""
    known = _closed_form(spec, objective, max_coefficient, trained)
    if known is not None:
        return known
    path = _vertex if math.isinf(max_coefficient) else _cones
    return path(spec, objective, max_coefficient, trained)


def _closed_form(
    spec: RopeSpec, objective: Objective, max_coefficient: float, trained: Trained
) -> BothSides | None:
    """Return the optimum where it needs no programme: every term in phase, or s a grid point."""
    import flint

    pairs, low, high = spec.pairs, -trained[0], trained[1]
    # At a grid point all terms in phase reach u, and elsewhere at most u in size: -l must allow it.
    node = _grid_point(spec, objective) if low >= high else None
    small = max_coefficient * pairs <= min(low, high)
    if not small and node is None:
        if math.isinf(max_coefficient):
            return None
        if max_coefficient <= LARGEST_FLOAT64 and cone.in_phase_breaks(
            spec, objective.centered(spec), max_coefficient, trained
        ):
            return None
    with flint.ctx.workprec(BITS):
        terms = objective.terms()
        size = flint.arb(max_coefficient)
        if node is not None and not small:
            size = size.min(flint.arb(high) / pairs)
        # A pair that does not turn adds nothing to a contrast: its coefficient stays 0.
        phase = [flint.acb(0) if z.contains(0) else z.conjugate() / abs(z) for z in terms]
        rough = [(size * z.real, size * z.imag) for z in phase]
        tried = not small and node is None
        if tried and certificate.excess(spec, rough, max_coefficient, BITS, trained) > _BROKEN:
            return None
        weights = np.zeros(spec.context_window)
        if node is not None and not small:
            # |a(s)| is f^2 times a grid score: the one weight f^2 at that node has residual 0.
            weights[node] = float(objective.model.attention_factor) ** 2
            bound = flint.arb(high) * flint.arb(float(objective.model.attention_factor)) ** 2
        else:
            bound = flint.arb(max_coefficient) * sum((z.abs_upper() for z in terms), flint.arb(0))
        h, _ = certificate.feasible(spec, rough, max_coefficient, BITS, 0, trained)
        attained = certificate.objective(h, terms)
    status = "coefficients" if small or node is None else "grid point"
    return BothSides(status, "closed form", BITS, 0, h, (), attained, bound, weights)


def _grid_point(spec: RopeSpec, objective: Objective) -> int | None:
    """Return n where the score's model at its span turns exactly as the spec at grid point n."""
    source = objective.model.geometric
    if objective.contrast or source is None or source[0] != spec.base:
        return None
    position = source[1] * Fraction(objective.span)
    if position.denominator == 1 and 0 <= position < spec.context_window:
        return int(position)
    return None


def _cones(
    spec: RopeSpec, objective: Objective, max_coefficient: float, trained: Trained
) -> BothSides:
    """Solve and certify; where a gap is left, again by slower ways, the best of each side."""
    float64 = max_coefficient <= LARGEST_FLOAT64 * trained[1]
    best = None
    for attempt in (_fast, _plain, _exact) if float64 else (_exact,):
        steps, h, weights = attempt(spec, objective, max_coefficient, trained)
        found = _certified(spec, objective, max_coefficient, trained, steps, h, weights)
        best = found if best is None else _best_sides(best, found)
        if best.bound.upper() <= best.attained.lower() * (
            1.0 + (_ENOUGH if attempt is _fast else _LOOSE)
        ):
            break
    assert best is not None
    return best


_Solved = tuple[int, Coefficients, FloatArray]


def _fast(
    spec: RopeSpec, objective: Objective, limit: float, trained: Trained, *, plain: bool = False
) -> _Solved:
    import flint

    optimum = cone.solve(spec, objective.centered(spec), limit, trained, plain=plain)
    back = phases.rotations(spec, np.array((spec.context_window - 1) / 2.0))
    turned = optimum.centered * np.conj(back)
    h = [(flint.arb(z.real), flint.arb(z.imag)) for z in turned.tolist()]
    return optimum.steps, h, optimum.weights


def _plain(spec: RopeSpec, objective: Objective, limit: float, trained: Trained) -> _Solved:
    return _fast(spec, objective, limit, trained, plain=True)


def _exact(spec: RopeSpec, objective: Objective, limit: float, trained: Trained) -> _Solved:
    import flint

    basis = grid_basis(spec)
    with flint.ctx.workprec(basis.bits):
        target = certificate.turned_to_center(spec, objective.terms())
        optimum = cone.solve_exactly(basis, target, limit, trained)
        h = certificate.turned_from_center(spec, optimum.centered)
    return optimum.steps, h, optimum.weights


def _certified(
    spec: RopeSpec,
    objective: Objective,
    max_coefficient: float,
    trained: Trained,
    steps: int,
    h: Coefficients,
    weights: FloatArray,
) -> BothSides:
    import flint

    digits, bits = (0, BITS) if max_coefficient <= _LARGEST_WRITTEN else (40, _MORE_BITS)
    h, text = certificate.feasible(spec, h, max_coefficient, bits, digits, trained)
    with flint.ctx.workprec(bits):
        terms = objective.terms()
        attained = certificate.objective(h, terms)
    bound = certificate.dual_bound(spec, terms, weights, max_coefficient, bits, trained)
    return BothSides("", "dual weights", bits, steps, h, text, attained, bound, weights)


def _best_sides(one: BothSides, other: BothSides) -> BothSides:
    """Return the larger value and the lower bound: each side is proved by itself."""
    steps = one.rounds + other.rounds
    if other.attained > one.attained:
        one = replace(one, h=other.h, digits=other.digits, attained=other.attained)
    if other.bound < one.bound:
        one = replace(one, bound=other.bound, weights=other.weights)
    return replace(one, rounds=steps)


def _vertex(
    spec: RopeSpec, objective: Objective, max_coefficient: float, trained: Trained
) -> BothSides:
    """Solve H = inf: d grid points fix both sides, h by a(n) = u or -l there and w exactly."""
    import flint

    basis = grid_basis(spec)
    with flint.ctx.workprec(basis.bits):
        target = certificate.turned_to_center(spec, objective.terms())
        optimum = cone.solve_exactly(basis, target, max_coefficient, trained)
    nodes = optimum.nodes.tolist()
    for bits in (basis.bits, 2 * basis.bits, 4 * basis.bits):
        with flint.ctx.workprec(bits):
            terms = objective.terms()
            solved = certificate.vertex(spec, terms, nodes, trained)
            if solved is None:
                continue
            h, exact, bound = solved
            # Nodes lie at their limits exactly: a little inside, no rounding breaks them.
            h = [(re * certificate.SHRINK, im * certificate.SHRINK) for re, im in h]
            h, text = certificate.feasible(spec, h, math.inf, bits, int(0.302 * bits), trained)
            attained = certificate.objective(h, terms)
        weights = np.zeros(spec.context_window)
        largest = float(np.finfo(float).max)
        weights[nodes] = np.clip([float(w.mid()) for w in exact], -largest, largest)
        return BothSides(
            "", "active system", bits, optimum.steps, h, text, attained, bound, weights
        )
    raise ValueError(f"spec must have an active system regular at {bits} bits, got {spec}")
