"""The programme of the worst case in float64: coordinates chosen, solved, read back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pianalysis.arrays import ComplexArray, FloatArray, IntArray
from pianalysis.bounds.worst_case.basis import GridBasis
from pianalysis.bounds.worst_case.coordinates import (
    System,
    exact_system,
    float_system,
    grid_coordinates,
)
from pianalysis.bounds.worst_case.interior import Interior, maximise
from pianalysis.rope.spec import RopeSpec

_ENOUGH = 1e-7  # for H = inf: from here the exchange of grid points finishes
_LARGEST_IN_PHASE = 1.0 + 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Optimum:
    """Coefficients turned to the grid's centre, dual weights (L,), the nodes if H = inf.

    ``centered`` is complex128, or a list of (Re, Im) as Arb numbers from the exact basis.
    """

    centered: Any
    weights: FloatArray
    nodes: IntArray
    steps: int


def solve(
    spec: RopeSpec,
    terms: ComplexArray,
    max_coefficient: float,
    trained: tuple[float, float],
    *,
    plain: bool = False,
) -> Optimum:
    """Maximise Re sum_j h_j c_j over -l <= a(n) <= u and |h_j| <= H in float64 coordinates.

    ``terms`` are the c_j turned to the grid's centre. The programme is solved in units of u.
    """
    coordinates = grid_coordinates(spec)
    low, high = trained
    system = float_system(coordinates, max_coefficient / high)
    found = _scaled(system, coordinates.project(terms) * system.scale, -low / high, plain=plain)
    x = high * found.coordinates * system.scale
    even, odd = coordinates.mixing[0] @ x[0], coordinates.mixing[1] @ x[1]
    nodes = np.zeros(0, dtype=np.intp)
    return Optimum(even - 1j * odd, system.on_grid(found.weights), nodes, found.steps)


def in_phase_breaks(
    spec: RopeSpec, terms: ComplexArray, size: float, trained: tuple[float, float]
) -> bool:
    """Whether coefficients of one size, each term in phase, clearly leave the trained limits."""
    coordinates = grid_coordinates(spec)
    system = float_system(coordinates, size)
    moduli = np.abs(terms)
    h = size * np.conj(terms) / np.where(moduli > 0, moduli, 1.0)
    t = coordinates.project(np.conj(h)) / system.scale
    scores = system.scores(t)
    return bool(max(scores.max() / trained[1], scores.min() / trained[0]) > _LARGEST_IN_PHASE)


def solve_exactly(
    basis: GridBasis, target: list[Any], max_coefficient: float, trained: tuple[float, float]
) -> Optimum:
    """Solve the same in the basis of high precision; ``target`` as Arb numbers."""
    import flint

    low, high = trained
    system = exact_system(basis, max_coefficient / high)
    projected = basis.project(target)
    if math.isinf(max_coefficient):
        # D = sqrt(L) / sigma; what the objective loses by a common factor, its certificate regains.
        exact = [x / y for x, y in zip(projected, basis.exact_norms, strict=True)]
        largest = max(abs(x.mid()) for x in exact)
        gain = np.array([float((x / largest).mid()) for x in exact]).reshape(system.scale.shape)
        found = _scaled(system, gain, -low / high, accurate=_ENOUGH)
        weights = system.on_grid(found.weights)
        nodes = _vertex(system, gain.ravel(), weights, -low / high)
        return Optimum([], weights, nodes, found.steps)
    gain = np.array([float(x.mid()) for x in projected]).reshape(system.scale.shape)
    found = _scaled(system, gain * system.scale, -low / high)
    amplitude = [flint.arb(float(x)) for x in (high * found.coordinates * system.scale).ravel()]
    pairs = basis.spec.pairs
    even = basis.mixing[0] * flint.arb_mat([[x] for x in amplitude[:pairs]])
    odd = basis.mixing[1] * flint.arb_mat([[x] for x in amplitude[pairs:]])
    centered = [(x, -y) for x, y in zip(even.entries(), odd.entries(), strict=True)]
    nodes = np.zeros(0, dtype=np.intp)
    return Optimum(centered, system.on_grid(found.weights), nodes, found.steps)


def _scaled(system: System, gain: FloatArray, low: float, **options: Any) -> Interior:
    """Solve with the objective brought to size one; only the weights have its units."""
    size = float(np.abs(gain).max())
    found = maximise(system, gain / size, low, **options)
    return Interior(
        found.coordinates,
        found.weights * size,
        found.value * size,
        found.bound * size,
        found.steps,
    )


def _vertex(system: System, gain: FloatArray, weights: FloatArray, low: float) -> IntArray:
    """Return d grid points at their limits that fix the optimum of H = inf, by Remez exchange.

    Any d independent rows give a dual point; while the score they fix breaks a limit somewhere, the
    worst grid point enters and the first weight to vanish leaves, which lowers the dual value.
    """
    from scipy.linalg import qr

    grid = _rows(system)
    size = grid.shape[1]
    order = np.abs(weights) + 1e-9 * np.abs(weights).max()
    nodes = qr((grid * order[:, None]).T, mode="r", pivoting=True)[1][:size].astype(np.intp)
    for _ in range(20 * size):
        inverse = np.linalg.inv(grid[nodes])
        dual = gain @ inverse
        score = grid @ (inverse @ np.where(dual < 0, -low, 1.0))
        excess = np.maximum(score - 1.0, -low - score)
        entering = int(excess.argmax())
        if excess[entering] <= 1e-10 * max(1.0, low):
            break
        change = (grid[entering] @ inverse) * (1.0 if score[entering] > 1.0 else -1.0)
        falls = dual * change > 0
        steps = np.full(size, np.inf)
        steps[falls] = dual[falls] / change[falls]
        leaving = int(steps.argmin())
        if not math.isfinite(steps[leaving]) or entering in nodes:
            break
        nodes[leaving] = entering
    return np.sort(nodes)


def _rows(system: System) -> FloatArray:
    """Return the grid's rows in its own order, (L, d)."""
    half = system.even.shape[0]
    first = np.concatenate([system.even, system.odd], axis=1)
    mirrored = np.concatenate([system.even, -system.odd], axis=1)[: system.window - half]
    return np.concatenate([first, mirrored[::-1]])
