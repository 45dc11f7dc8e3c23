"""The programme of the worst case solved, and what both sides of its certificate rest on.

The objective is any linear form Re sum_j h_j c_j of the coefficients, given by terms c_j that can
be evaluated again at a higher precision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.bounds.worst_case import certificate, cone
from pianalysis.bounds.worst_case.basis import grid_basis
from pianalysis.bounds.worst_case.certificate import Coefficients
from pianalysis.rope.phases import Rotary
from pianalysis.rope.spec import RopeSpec

BITS = 192
_LARGEST_FLOAT64 = 1e7  # up to here float64 coefficients hold a(n) to 1e-7


@dataclass(frozen=True, slots=True)
class Objective:
    """The score a'(s) of ``model``, or its step a'(s + 1) - a'(s) when ``contrast`` is set."""

    model: Rotary
    span: float
    contrast: bool

    def terms(self) -> list[Any]:
        """Return the c_j as acb balls at the working precision."""
        return certificate.objective_terms(self.model, self.span, contrast=self.contrast)


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


def solve(spec: RopeSpec, objective: Objective, max_coefficient: float) -> BothSides:
    """Maximise over |a(n)| <= 1 on the grid and |h_j| <= H, and certify both sides."""
    known = _closed_form(spec, objective, max_coefficient)
    if known is not None:
        return known
    return (_vertex if math.isinf(max_coefficient) else _cones)(spec, objective, max_coefficient)


def _closed_form(spec: RopeSpec, objective: Objective, max_coefficient: float) -> BothSides | None:
    """Return the optimum where it needs no programme: every term in phase, or s a grid point."""
    import flint

    pairs = spec.pairs
    node = _grid_point(spec, objective)
    small = max_coefficient * pairs <= 1.0
    with flint.ctx.workprec(BITS):
        terms = objective.terms()
        size = flint.arb(min(max_coefficient, math.inf if node is None else 1.0 / pairs))
        # A pair that does not turn adds nothing to a contrast: its coefficient stays 0.
        phases = [flint.acb(0) if z.contains(0) else z.conjugate() / abs(z) for z in terms]
        if not small and node is None:
            if math.isinf(max_coefficient):
                return None
            rough = [(size * z.real, size * z.imag) for z in phases]
            if certificate.excess(spec, rough, max_coefficient, BITS) > 1.0 + 1e-14:
                return None
        weights = np.zeros(spec.context_window)
        if node is not None and not small:
            # |a(s)| is f^2 times a grid score: the one weight f^2 at that node has residual 0.
            weights[node] = float(objective.model.attention_factor) ** 2
            bound = flint.arb(float(objective.model.attention_factor)) ** 2
        else:
            bound = flint.arb(max_coefficient) * sum((z.abs_upper() for z in terms), flint.arb(0))
        h, _ = certificate.feasible(
            spec, [(size * z.real, size * z.imag) for z in phases], max_coefficient, BITS, 0
        )
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


def _cones(spec: RopeSpec, objective: Objective, max_coefficient: float) -> BothSides:
    import flint

    basis = grid_basis(spec)
    with flint.ctx.workprec(basis.bits):
        terms = objective.terms()
        target = certificate.turned_to_center(spec, terms)
        optimum = cone.solve(basis, target, max_coefficient)
        centered = cone.coefficients(basis, optimum)
        h = certificate.turned_from_center(spec, centered)
    digits = 0 if max_coefficient <= _LARGEST_FLOAT64 else 40
    h, text = certificate.feasible(spec, h, max_coefficient, BITS, digits)
    with flint.ctx.workprec(BITS):
        attained = certificate.objective(h, terms)
    bounds = [
        certificate.dual_bound(spec, terms, w, max_coefficient, BITS) for w in optimum.weights
    ]
    best = int(bounds[1].upper() < bounds[0].upper())
    bound, weights = bounds[best], optimum.weights[best]
    return BothSides("", "dual weights", BITS, optimum.rounds, h, text, attained, bound, weights)


def _vertex(spec: RopeSpec, objective: Objective, max_coefficient: float) -> BothSides:
    """Solve H = inf: d grid points fix both sides, h by a(n) = +-1 there and w exactly."""
    import flint

    basis = grid_basis(spec)
    with flint.ctx.workprec(basis.bits):
        optimum = cone.solve(
            basis, certificate.turned_to_center(spec, objective.terms()), max_coefficient
        )
    nodes = optimum.nodes.tolist()
    for bits in (basis.bits, 2 * basis.bits, 4 * basis.bits):
        with flint.ctx.workprec(bits):
            terms = objective.terms()
            solved = certificate.vertex(spec, terms, nodes)
            if solved is None:
                continue
            h, exact, bound = solved
            h, text = certificate.feasible(spec, h, math.inf, bits, int(0.302 * bits))
            attained = certificate.objective(h, terms)
        weights = np.zeros(spec.context_window)
        largest = float(np.finfo(float).max)
        weights[nodes] = np.clip([float(w.mid()) for w in exact], -largest, largest)
        return BothSides(
            "", "active system", bits, optimum.rounds, h, text, attained, bound, weights
        )
    raise ValueError(f"spec must have an active system regular at {bits} bits, got {spec}")
