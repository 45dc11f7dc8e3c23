"""Both sides of the worst case in ball arithmetic (Arb): nothing here trusts a solver.

A primal h that passes every check on every grid point is a lower bound; any dual weights w give an
upper bound. Rotations of the whole grid are products of two short tables, offsets from the middle
of a block being turned both ways at once, so that 2048 points of 64 pairs cost two matrix products
of half the grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.rope.balls import exact_frequencies, unit
from pianalysis.rope.phases import Rotary
from pianalysis.rope.spec import RopeSpec

Coefficients = list[tuple[Any, Any]]  # (Re h_j, Im h_j) as Arb numbers
Trained = tuple[float, float]  # (-l, u), the limits of the scores on the grid
BOTH: Trained = (-1.0, 1.0)
SHRINK = 1.0 - 2.0**-50
_WIDER = 4  # few blocks: their rotations are turned one by one, the rest is a matrix product


def objective_terms(model: Rotary, span: float, *, contrast: bool = False) -> list[Any]:
    """Return attention_factor^2 e^{i theta'_j s} as acb balls, times e^{i theta'_j} - 1 if asked.

    The factor makes a step to the next span out of a score, without rounding s + 1.
    """
    gain = _number(float(model.attention_factor)) ** 2
    theta = exact_frequencies(model)
    terms = [gain * unit(t * _number(span)) for t in theta]
    if contrast:
        terms = [c * (unit(t) - 1) for c, t in zip(terms, theta, strict=True)]
    return terms


def turned_to_center(spec: RopeSpec, terms: list[Any]) -> list[Any]:
    """Return c_j e^{-i theta_j (L-1)/2}: the same objective for coefficients at the centre."""
    center = _number(0.5) * (spec.context_window - 1)
    theta = exact_frequencies(spec)
    return [c * unit(-t * center) for c, t in zip(terms, theta, strict=True)]


def turned_from_center(spec: RopeSpec, centered: Coefficients) -> Coefficients:
    """Return the coefficients h_j of spans counted from 0, from those counted from the centre."""
    import flint

    pairs = turned_to_center(spec, [flint.acb(re, im) for re, im in centered])
    return [(z.real, z.imag) for z in pairs]


@dataclass(frozen=True, slots=True, eq=False)
class GridTables:
    """e^{i theta_j P} as lists of acb, one a block, and e^{i theta_j w}, w = 1/2, 3/2, ..., W/2.

    A block has W points, an even number: P - w and P + w.
    """

    half: int
    anchors: list[list[Any]]
    cosines: Any
    sines: Any

    def laid_out(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return weights (L,) as a row a block: those at P - w and those at P + w."""
        padded = np.zeros(len(self.anchors) * 2 * self.half)
        padded[: weights.size] = weights
        rows = padded.reshape(-1, 2 * self.half)
        return rows[:, : self.half][:, ::-1], rows[:, self.half :]


@lru_cache(maxsize=4)
def grid_tables(spec: RopeSpec, bits: int) -> GridTables:
    """Return the two factors of every rotation of the grid, at ``bits`` bits."""
    import flint

    with flint.ctx.workprec(bits):
        theta = exact_frequencies(spec)
        half = _WIDER * (math.isqrt(spec.context_window - 1) + 1) // 2
        blocks = -(-spec.context_window // (2 * half))
        middles = [flint.arb(2 * half * (2 * p + 1) - 1) / 2 for p in range(blocks)]
        anchors = [[unit(t * middle) for t in theta] for middle in middles]
        offsets = [[(t * (2 * w + 1) / 2).sin_cos() for w in range(half)] for t in theta]
        cosines = flint.arb_mat([[cosine for _, cosine in row] for row in offsets])
        sines = flint.arb_mat([[sine for sine, _ in row] for row in offsets])
    return GridTables(half, anchors, cosines, sines)


def grid_scores(spec: RopeSpec, h: Coefficients, bits: int) -> list[Any]:
    """Return a(n) for n = 0..L-1 as Arb balls."""
    import flint

    with flint.ctx.workprec(bits):
        before, after = (part.tolist() for part in _score_tables(grid_tables(spec, bits), h))
    scores = [a for left, right in zip(before, after, strict=True) for a in (*left[::-1], *right)]
    return scores[: spec.context_window]


def _score_tables(tables: GridTables, h: Coefficients) -> tuple[Any, Any]:
    """Return a(P - w) and a(P + w), a row a block, some beyond the grid, at working precision."""
    import flint

    plain = [flint.acb(re, im) for re, im in h]
    turned = [[z * turn for z, turn in zip(plain, row, strict=True)] for row in tables.anchors]
    real = flint.arb_mat([[z.real for z in row] for row in turned])
    imaginary = flint.arb_mat([[z.imag for z in row] for row in turned])
    even, odd = real * tables.cosines, imaginary * tables.sines
    return even + odd, even - odd


def objective(h: Coefficients, terms: list[Any]) -> Any:
    """Return Re sum_j h_j c_j as an Arb ball."""
    import flint

    parts = (re * c.real - im * c.imag for (re, im), c in zip(h, terms, strict=True))
    return sum(parts, flint.arb(0))


def excess(
    spec: RopeSpec, h: Coefficients, max_coefficient: float, bits: int, trained: Trained = BOTH
) -> float:
    """Return a float64 no smaller than the largest limit's share used: 1 or less is feasible.

    The shares are a(n) / u, -a(n) / l and |h_j| / H, for trained scores in [-l, u].
    """
    import flint

    with flint.ctx.workprec(bits):
        low, high = _number(trained[0]), _number(trained[1])
        scores = grid_scores(spec, h, bits)
        excesses = [upward((a / high).max(a / low)) for a in scores]
        if math.isfinite(max_coefficient):
            bound = _number(max_coefficient)
            excesses += [upward(flint.acb(re, im).abs_upper() / bound) for re, im in h]
    return max(excesses)


def within(
    spec: RopeSpec, h: Coefficients, max_coefficient: float, bits: int, trained: Trained = BOTH
) -> bool:
    """Whether every limit is proved to hold; False where it is broken or not proved."""
    import flint

    with flint.ctx.workprec(bits):
        if math.isfinite(max_coefficient):
            bound = _number(max_coefficient)
            if not all(flint.acb(re, im).abs_upper() <= bound for re, im in h):
                return False
        low, high = _number(trained[0]), _number(trained[1])
        # Comparisons, not a ball [-1, 1]: its radius would be rounded up, by 2e-9.
        return all(low <= a <= high for a in grid_scores(spec, h, bits))


def feasible(
    spec: RopeSpec,
    h: Coefficients,
    max_coefficient: float,
    bits: int,
    digits: int,
    trained: Trained = BOTH,
) -> tuple[Coefficients, tuple[str, ...]]:
    """Round h to float64 (``digits`` 0) or to decimals, and shrink it until every check passes.

    Returns the rounded coefficients, now known to be feasible, and their decimals if any.
    """
    import flint

    for attempt in range(8):
        with flint.ctx.workprec(bits):
            text: tuple[str, ...] = ()
            if digits:
                both = [[x.mid().str(digits, radius=False) for x in pair] for pair in h]
                h = [(flint.arb(re), flint.arb(im)) for re, im in both]
                text = tuple(" ".join(pair) for pair in both)
            else:
                h = [(_number(float(re.mid())), _number(float(im.mid()))) for re, im in h]
        if within(spec, h, max_coefficient, bits, trained):
            return h, text
        worst = max(excess(spec, h, max_coefficient, bits, trained), 1.0)
        with flint.ctx.workprec(bits):
            # Rounding may break a limit again by as much: each time shrink by twice the share.
            factor = _number(SHRINK) / _number(worst) ** (1 << attempt)
            h = [(re * factor, im * factor) for re, im in h]
    raise ArithmeticError(f"no feasible rounding of h at {bits} bits for {spec}")


def residuals(spec: RopeSpec, terms: list[Any], weights: FloatArray, bits: int) -> list[Any]:
    """Return c_j - sum_n w_n e^{i theta_j n} as acb balls, for any weights w (L,)."""
    import flint

    tables = grid_tables(spec, bits)
    with flint.ctx.workprec(bits):
        before, after = (flint.arb_mat(part.tolist()) for part in tables.laid_out(weights))
        real = ((after + before) * tables.cosines.transpose()).tolist()
        imaginary = ((after - before) * tables.sines.transpose()).tolist()
        rests = list(terms)
        for anchors, cosines, sines in zip(tables.anchors, real, imaginary, strict=True):
            for j, anchor in enumerate(anchors):
                rests[j] -= anchor * flint.acb(cosines[j], sines[j])
    return rests


def dual_bound(
    spec: RopeSpec,
    terms: list[Any],
    weights: FloatArray,
    max_coefficient: float | FloatArray,
    bits: int,
    trained: Trained = BOTH,
) -> Any:
    """Return u sum w+ + l sum w- + sum_j H_j |c_j - sum_n w_n e^{i theta_j n}|, a ball, for any w.

    H is one limit, or each coefficient's own.
    """
    import flint

    rests = residuals(spec, terms, weights, bits)
    with flint.ctx.workprec(bits):
        # fsum rounds the exact sum once.
        sides = [math.fsum(np.maximum(sign * weights, 0.0).tolist()) for sign in (-1.0, 1.0)]
        total = sum(
            (
                abs(_number(limit)) * flint.arb(side, math.ulp(side))
                for limit, side in zip(trained, sides, strict=True)
            ),
            flint.arb(0),
        )
        limits = np.broadcast_to(max_coefficient, spec.pairs).tolist()
        for limit, rest in zip(limits, rests, strict=True):
            total += _number(limit) * rest.abs_upper()
    return total


def vertex(
    spec: RopeSpec, terms: list[Any], nodes: list[int], trained: Trained = BOTH
) -> tuple[Coefficients, list[Any], Any] | None:
    """Solve the d x d system of the active grid points in balls, at the working precision.

    Returns (h, w, u sum w+ + l sum w-): w reproduces the objective exactly, so the sum is an upper
    bound, and a(n) is u or -l at the nodes, as w_n has it. None where the precision does not prove
    the system regular.
    """
    import flint

    theta = exact_frequencies(spec)
    center = _number(0.5) * (spec.context_window - 1)
    rows = []
    for n in nodes:
        both = [((n - center) * t).sin_cos() for t in theta]
        rows.append([cosine for _, cosine in both] + [-sine for sine, _ in both])
    system = flint.arb_mat(rows)
    goal = turned_to_center(spec, terms)
    right = flint.arb_mat([[c.real] for c in goal] + [[-c.imag] for c in goal])
    try:
        weights = system.transpose().solve(right).entries()
        active = flint.arb_mat([[_number(trained[int(w.mid() >= 0)])] for w in weights])
        solved = system.solve(active).entries()
    except ZeroDivisionError:
        return None
    low, high = _number(trained[0]), _number(trained[1])
    total = sum(((low * w).max(high * w) for w in weights), flint.arb(0))
    loosest = max(x.rad() for x in solved)  # an error in h moves every a(n) by up to d times it
    if total.rel_accuracy_bits() < 60 or loosest * len(solved) > flint.arb(2) ** -60:
        return None
    pairs = len(theta)
    centered = list(zip(solved[:pairs], solved[pairs:], strict=True))
    return turned_from_center(spec, centered), weights, total


def upward(ball: Any) -> float:
    """Return a float64 above the ball."""
    return float(np.nextafter(float(ball.upper()), np.inf))


def downward(ball: Any) -> float:
    """Return a float64 below the ball."""
    return float(np.nextafter(float(ball.lower()), -np.inf))


def _number(value: float) -> Any:
    import flint

    return flint.arb(value)
