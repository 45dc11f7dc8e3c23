"""The cone programme behind the worst case, solved in float64 by constraint generation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pianalysis.arrays import FloatArray, IntArray
from pianalysis.bounds.worst_case.basis import GridBasis

SHORTEST_SUBSET = 512  # windows up to this length enter the programme whole

_NEGLIGIBLE = 1e-13  # entries left out of the solver's matrix; every check uses the full one
_LOOSE, _TIGHT = 1e-2, 1e-9
_ROUNDS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Optimum:
    """Coordinates t, two candidates (2, L) for the dual weights, the vertex's nodes if H = inf."""

    coordinates: FloatArray
    scale: FloatArray
    weights: FloatArray
    nodes: IntArray
    rounds: int


def coefficients(basis: GridBasis, optimum: Optimum) -> list[tuple[Any, Any]]:
    """Return (Re h_j, Im h_j) turned to the grid's centre, exact products of V and D t."""
    import flint

    pairs = basis.spec.pairs
    amplitude = [flint.arb(float(x)) for x in optimum.coordinates * optimum.scale]
    even = basis.mixing[0] * flint.arb_mat([[x] for x in amplitude[:pairs]])
    odd = basis.mixing[1] * flint.arb_mat([[x] for x in amplitude[pairs:]])
    return [(x, -y) for x, y in zip(even.entries(), odd.entries(), strict=True)]


def solve(basis: GridBasis, target: list[Any], max_coefficient: float) -> Optimum:
    """Maximise Re sum_j h_j c_j over |a(n)| <= 1 and |h_j| <= H by constraint generation.

    Only some grid points enter the programme: every third at first (the scores are band-limited
    to theta_0 = 1 radian a token), then those near the limit and every local maximum of |a| that
    breaks it, loosely until few do and then to the solver's full accuracy.
    """
    spec = basis.spec
    window, pairs = spec.context_window, spec.pairs
    projected = basis.project(target)
    if math.isinf(max_coefficient):
        # D = sqrt(L) / sigma; what the objective loses by a common factor, its certificate regains.
        exact = [x / y for x, y in zip(projected, basis.exact_norms, strict=True)]
        largest = max(abs(x.mid()) for x in exact)
        gain = np.array([float((x / largest).mid()) for x in exact])
        grid, scale, cones = basis.functions * math.sqrt(window), np.ones(2 * pairs), None
    else:
        scale = 1.0 / np.hypot(
            basis.norms / math.sqrt(window), 1.0 / (max_coefficient * math.sqrt(pairs))
        )
        gain = np.array([float(x.mid()) for x in projected]) * scale
        grid = basis.functions * (basis.norms * scale)
        shares = scale / max_coefficient
        cones = (basis.mixing_float[0] * shares[:pairs], basis.mixing_float[1] * shares[pairs:])
    size = float(np.abs(gain).max())
    t, weights, rounds = _generate(grid, cones, gain / size)
    nodes = np.zeros(0, dtype=np.intp)
    if cones is None:
        nodes = _vertex(grid, gain / size, weights[0])
    return Optimum(t, scale, weights * size, nodes, rounds)


def _generate(
    grid: FloatArray, cones: tuple[FloatArray, FloatArray] | None, gain: FloatArray
) -> tuple[FloatArray, FloatArray, int]:
    window = grid.shape[0]
    sparse = np.where(np.abs(grid) < _NEGLIGIBLE, 0.0, grid)
    always = np.unique(np.append(np.arange(0, window, 24), window - 1))
    nodes = np.arange(window)
    if window > SHORTEST_SUBSET:
        edges = np.concatenate([np.arange(12), np.arange(window - 24, window)])
        nodes = np.union1d(np.arange(0, window, 3), np.union1d(always, edges))
    tight = window <= SHORTEST_SUBSET
    for rounds in range(1, _ROUNDS + 1):
        t, multipliers, rest = _clarabel(sparse[nodes], cones, gain, _TIGHT if tight else _LOOSE)
        if not (np.isfinite(t).all() and np.isfinite(multipliers).all()):
            raise ArithmeticError(f"the cone solver failed on {nodes.size} grid points")
        weights = np.zeros((2, window))
        weights[0, nodes] = multipliers
        last = nodes
        height = np.abs(grid @ t)
        over = height > 1.0 + (1e-8 if tight else 1e-4)
        over[1:] &= height[1:] >= height[:-1]
        over[:-1] &= height[:-1] >= height[1:]
        broken = np.setdiff1d(np.flatnonzero(over), nodes)
        if tight and not broken.size:
            break
        if rounds == 1:
            nodes = np.union1d(always, nodes[height[nodes] > 0.8])
        tight = tight or not broken.size or bool(height[broken].max() < 1.03)
        if tight and cones is None:
            break  # the exchange finishes faster from here than the solver
        nodes = np.union1d(nodes, broken)
    # What the solver left of stationarity costs up to H times as much in the dual bound: a second
    # candidate takes it into the weights, in the directions that the grid determines well.
    weights[1] = weights[0]
    weights[1, last] += np.linalg.lstsq(grid[last].T, rest, rcond=1e-2)[0]
    return t, weights, rounds


def _clarabel(
    rows: FloatArray,
    cones: tuple[FloatArray, FloatArray] | None,
    gain: FloatArray,
    tolerance: float,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Maximise gain.t over |rows t| <= 1 and |(C t)_j + i (S t)_j| <= 1.

    Returns t, the rows' dual weights and what is left of the stationarity condition.
    """
    import clarabel
    from scipy import sparse

    count, size = rows.shape
    # (1, r.t) in a cone of two dimensions is |r.t| <= 1 at half the entries of two inequalities.
    place = 2 * np.arange(count) + 1
    offset = np.tile([1.0, 0.0], count)
    kinds = [clarabel.SecondOrderConeT(2)] * count
    if cones is not None:
        pairs = size // 2
        discs = np.zeros((2 * pairs, size))
        discs[::2, :pairs], discs[1::2, pairs:] = cones
        rows = np.concatenate([rows, discs])
        first = 2 * count + 3 * np.arange(pairs) + 1
        place = np.concatenate([place, np.stack([first, first + 1], axis=1).ravel()])
        offset = np.concatenate([offset, np.tile([1.0, 0.0, 0.0], pairs)])
        kinds += [clarabel.SecondOrderConeT(3)] * pairs
    filled = sparse.csc_matrix(rows)
    shape = (offset.size, size)
    constraint = sparse.csc_matrix((filled.data, place[filled.indices], filled.indptr), shape)
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    settings.direct_solve_method = "qdldl"
    settings.tol_gap_abs = settings.tol_gap_rel = tolerance
    settings.tol_feas = min(tolerance, 1e-5)
    quadratic = sparse.csc_matrix((size, size))
    solution = clarabel.DefaultSolver(quadratic, -gain, constraint, offset, kinds, settings).solve()
    dual = np.array(solution.z)
    return np.array(solution.x), dual[1 : 2 * count : 2], gain - dual @ constraint


def _vertex(grid: FloatArray, gain: FloatArray, weights: FloatArray) -> IntArray:
    """Return d grid points whose scores +-1 fix the optimum of H = inf, by Remez exchange.

    Any d independent rows give a dual point; while the score they fix exceeds 1 somewhere, the
    worst grid point enters and the first weight to vanish leaves, which lowers the dual value.
    """
    from scipy.linalg import qr

    size = grid.shape[1]
    order = np.abs(weights) + 1e-9 * np.abs(weights).max()
    nodes = qr((grid * order[:, None]).T, mode="r", pivoting=True)[1][:size].astype(np.intp)
    for _ in range(20 * size):
        inverse = np.linalg.inv(grid[nodes])
        dual = gain @ inverse
        score = grid @ (inverse @ np.where(dual < 0, -1.0, 1.0))
        entering = int(np.abs(score).argmax())
        if abs(score[entering]) <= 1.0 + 1e-10:
            break
        change = (grid[entering] @ inverse) * np.sign(score[entering])
        falls = dual * change > 0
        steps = np.full(size, np.inf)
        steps[falls] = dual[falls] / change[falls]
        leaving = int(steps.argmin())
        if not math.isfinite(steps[leaving]) or entering in nodes:
            break
        nodes[leaving] = entering
    return np.sort(nodes)
