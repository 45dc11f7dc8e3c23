r"""The closed-form bound over all spans of a target window: its largest value, enclosed.

For weights fixed on the limits the bound :math:`b(s) = |c(s)|_{M^{-1}}` is a norm of the objective.
Between two spans a distance delta apart c(s) leaves its chord by at most
:math:`\tfrac18 \delta^2 \max |c''|`, so

.. math:: b(s) \le \max\{b(s_1), b(s_2)\} + \tfrac18 \delta^2 D, \qquad
          D = f^2 \sum_j \theta_j'^2 \, \max_\varphi |e^{i \varphi} e_j|_{M^{-1}}

by the triangle inequality over the pairs of c''. Cells between spans are bounded by the best of
several weights, split where they are highest, and new weights are made for what stays highest.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.bounds.worst_case import weights
from pianalysis.bounds.worst_case.closed_form import (
    LARGEST_UPDATED_GRID,
    Problem,
    check_grid,
    checked_problem,
)
from pianalysis.bounds.worst_case.coordinates import System
from pianalysis.extension import Extension
from pianalysis.records import Record

LONGEST = 2**18  # spans of the target
_SHARES = (0.1, 0.5)
_BATCH, _BATCH_UPDATES, _OWN_UPDATES = 48, 10, 20
_STEP = 2.0  # spans of a cell before it is split
_SHARED_ROUNDS, _OWN_ROUNDS, _SPLITS = 2, 4, 6
_HIGH = 0.8  # share of the largest value from which a span counts as high
_CLOSE = 1.05  # upper over lower that is close enough
_SPLIT_ABOVE = 1.005
_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class LargestWorstCase(Record):
    """The largest bound left by a search's weights over 0 <= s <= L' - 1: [``lower``, ``upper``].

    No score of a head within the limits exceeds ``upper`` at any of these spans. ``lower`` is the
    bound at ``span``, the least of all weights tried there: other weights may give less, and the
    worst case itself may be smaller. ``inside`` bounds the spans that the scheme reads
    inside the pretrained window, None where it changes frequencies one by one. ``limit`` holds H_j.
    """

    spec: Any
    extension: Any
    target: int
    lower: float
    upper: float
    span: float
    inside: float | None
    cells: int
    weightings: int
    limit: FloatArray


def largest_worst_case(extension: Extension, *, max_coefficient: Any) -> LargestWorstCase:
    r"""Enclose the largest bound on |a'(s)| over a whole target, 0 <= s <= L' - 1.

    Parameters
    ----------
    extension : extension
        Scheme, with its pretrained spec and target L' of at most 2**18; L d at most 2**24.
    max_coefficient : float or array (d/2,)
        H, or each coefficient's own limit: above 0, at most 1e6.

    Returns
    -------
    LargestWorstCase

    Raises
    ------
    ValueError, TypeError
        Naming the argument, rule and value.

    Notes
    -----
    *Method*: the bound of :func:`~pianalysis.worst_case_bound` for weights that are fixed over many
    spans, enclosed between them (see the module), by branch and bound: weights spread evenly,
    weights updated for the mean of many high spans together, and weights updated for the highest
    span alone. Schemes that keep the ratios of the frequencies (PI, the unscaled model) read spans
    up to :math:`(L-1) \theta_0 / \theta'_0` inside the window; all weights on half the grid can be
    shifted along it, or mirrored, without changing the bound, so that one cell of the half window
    bounds them all. What rounding may do to the forms is bounded a priori and added; the entries of
    the grid and of c(s), right to 1e-16 each, are taken as exact (to about 1e-7 at H = 10^6).

    *Tight*: PI's is within 1.1 of the exact worst case of its last span, extrapolation's and
    NTK-aware scaling's within 1.3 of the largest exact one (d = 128, L = 2048, factor 4, H from 0.3
    to 10). An upper bound of every score, never the worst case itself.

    Examples
    --------
    >>> from pianalysis import PositionInterpolation, RopeSpec, worst_case_score
    >>> spec = RopeSpec(16, 100.0, 64)
    >>> pi = PositionInterpolation(spec, 256)
    >>> largest = largest_worst_case(pi, max_coefficient=1.0)
    >>> edge = worst_case_score(spec, 255.0, max_coefficient=1.0, extension=pi)
    >>> bool(edge.lower <= largest.upper <= 1.2 * edge.upper)
    True
    """
    if not isinstance(extension, Extension):
        raise TypeError(f"extension must be an extension of a RopeSpec, got {extension!r}")
    checks.whole("target", extension.target, at_most=LONGEST)
    spec = extension.spec
    problem = checked_problem(spec, max_coefficient, extension)
    check_grid(spec, LARGEST_UPDATED_GRID, "the supremum")
    checks.real("max_coefficient", problem.largest, at_most=1e6)
    last = float(extension.target - 1)
    first, inside = 0.0, None
    source = extension.geometric
    if source is not None and source[0] == spec.base and spec.context_window >= 8:
        first = min(last, (spec.context_window - 1) / float(source[1]))
        inside = extension.attention_factor**2 * _inside(problem)
    search = _Search(problem, first, last, _STEP)
    search.run()
    (lower, span), upper = search.reached, search.upper
    if inside is not None:
        upper = max(upper, inside)
    # Every term in phase: what small limits allow at any span.
    triangle = extension.attention_factor**2 * float(problem.limits.sum()) * (1.0 + 1e-12)
    lower, upper = min(lower, triangle), min(upper, triangle)
    return LargestWorstCase(
        spec=spec,
        extension=extension,
        target=extension.target,
        lower=lower,
        upper=upper,
        span=span,
        inside=inside,
        cells=search.ends.size - 1,
        weightings=len(search.family),
        limit=problem.limits.copy(),
    )


def _inside(problem: Problem) -> float:
    """Bound the spec's own scores between any two neighbours of its grid."""
    half = dataclasses.replace(problem.spec, context_window=problem.spec.context_window // 2)
    search = _Search(checked_problem(half, problem.limits, None), 0.0, 1.0, 0.25)
    search.run()
    return search.upper


@dataclass(frozen=True, slots=True, eq=False)
class _Weighting:
    """Fixed weights: the bound is |half^T g| for a projected objective g; D; what rounding adds."""

    half: FloatArray
    curvature: float
    excess: float


class _Search:
    """Branch and bound over spans [first, last], cells of ``step`` at first."""

    def __init__(self, problem: Problem, first: float, last: float, step: float) -> None:
        self.problem, self.system = problem, problem.system()
        count = max(1, math.ceil((last - first) / step))
        self.ends = np.linspace(first, last, count + 1)
        self.family: list[_Weighting] = []
        self.values = np.empty((0, count + 1))
        self.objectives = self._objectives(self.ends)
        self.tried: list[float] = []  # spans with weights of their own

    def run(self) -> None:
        """Add weights and split cells until the enclosure is close or the rounds are used up."""
        for share in _SHARES:
            self._add(*weights.spread_evenly(self.system, share))
        # Weights are found in float32; what they bound is evaluated in float64.
        rough = self.system.rough()
        for _ in range(_SHARED_ROUNDS):
            best = self.values.min(axis=0)
            high = np.flatnonzero(best >= _HIGH * best.max())
            batch = high[np.unique(np.linspace(0, high.size - 1, _BATCH).round().astype(int))]
            self._add(*_shared(rough, self.objectives[batch]))
        for _ in range(_OWN_ROUNDS):
            self._split()
            at, before = int(self.values.min(axis=0).argmax()), self.upper
            found = weights.updated(
                rough,
                self.objectives[at].reshape(self.system.scale.shape),
                *weights.spread_evenly(self.system, 0.5),
                _OWN_UPDATES,
            )
            self._add(found.grid, found.coefficients)
            self.tried.append(float(self.ends[at]))
            # Close enough, or its neighbours are as high: no use in weights for each.
            if before <= _CLOSE * self.reached[0] or self.upper > 0.98 * before:
                return

    @property
    def reached(self) -> tuple[float, float]:
        """The largest bound at a span tried, by the best of all weights there, and the span."""
        at = np.searchsorted(self.ends, self.tried)
        least = self.values.min(axis=0)[at]
        best = int(least.argmax())
        return float(least[best]), float(self.ends[at[best]])

    @property
    def upper(self) -> float:
        """The largest bound of a cell."""
        return float(self._cells().max())

    def _cells(self) -> FloatArray:
        slopes = np.array([w.curvature for w in self.family])[:, None]
        width = np.diff(self.ends)
        higher = np.maximum(self.values[:, :-1], self.values[:, 1:])
        out: FloatArray = (higher + 0.125 * width**2 * slopes).min(axis=0)
        return out

    def _split(self) -> None:
        """Halve the cells that stand above the largest value at a span."""
        for _ in range(_SPLITS):
            cells = self._cells()
            above = np.flatnonzero(cells > _SPLIT_ABOVE * self.values.min(axis=0).max())
            if not above.size or self.ends.size > 8 * LONGEST:
                return
            middle = 0.5 * (self.ends[above] + self.ends[above + 1])
            objectives = self._objectives(middle)
            values = np.stack([self._at(w, objectives) for w in self.family])
            self.ends = np.insert(self.ends, above + 1, middle)
            self.values = np.insert(self.values, above + 1, values, axis=1)
            self.objectives = np.insert(self.objectives, above + 1, objectives, axis=0)

    def _objectives(self, spans: FloatArray) -> FloatArray:
        parts = [
            self.problem.projected(spans[first : first + _AT_ONCE]) * self.system.scale
            for first in range(0, spans.size, _AT_ONCE)
        ]
        return np.concatenate(parts).reshape(spans.size, -1)

    def _add(self, grid: FloatArray, coefficients: FloatArray) -> None:
        weighting = _weighting(self.problem, self.system, grid, coefficients)
        if weighting is not None:
            self.family.append(weighting)
            row = self._at(weighting, self.objectives)
            self.values = np.concatenate([self.values, row[None]])

    @staticmethod
    def _at(weighting: _Weighting, objectives: FloatArray) -> FloatArray:
        out: FloatArray = np.linalg.norm(objectives @ weighting.half, axis=1)
        return out * weighting.excess


def _weighting(
    problem: Problem, system: System, grid: FloatArray, coefficients: FloatArray
) -> _Weighting | None:
    """Return weights ready to be evaluated; None where rounding could hide their form's inverse."""
    metric = np.array([coefficients, coefficients, np.zeros_like(coefficients)])
    form = system.gram(grid, metric)
    values, vectors = np.linalg.eigh(form, UPLO="L")
    # Sums of L and d/2 products: each entry is off by at most that many roundings of its size.
    rounding = (system.window + 4 * form.shape[0]) * 2.0**-52 * float(np.trace(form))
    if values[0] <= 100.0 * rounding:
        return None
    total = float(grid.sum() + coefficients.sum())
    excess = math.sqrt(total / (1.0 - rounding / values[0])) * (1.0 + 1e-12)
    half = vectors / np.sqrt(values)
    # The norm of c'' is at most the sum over its pairs: of each, the larger of two singular values.
    unit = np.eye(problem.spec.pairs, dtype=np.complex128)
    real, imaginary = (
        (problem.coordinates.project(turned) * system.scale).reshape(unit.shape[0], -1) @ half
        for turned in (unit, 1j * unit)
    )
    one, two = np.square(real).sum(axis=1), np.square(imaginary).sum(axis=1)
    both = (real * imaginary).sum(axis=1)
    largest = np.sqrt(0.5 * (one + two + np.hypot(one - two, 2.0 * both)))
    gain = float(problem.model.attention_factor) ** 2
    curvature = gain * excess * float(problem.model.frequencies**2 @ largest)
    return _Weighting(half, curvature, excess)


def _shared(system: System, objectives: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Update weights for the mean of many objectives (n, d), the highest most."""
    from scipy.linalg import lapack

    pairs = system.scale.shape[1]
    grid, coefficients = weights.spread_evenly(system, 0.5)
    assert system.discs is not None
    for _ in range(_BATCH_UPDATES):
        metric = np.array([coefficients, coefficients, np.zeros_like(coefficients)])
        factor, failed = lapack.dpotrf(system.gram(grid, metric), lower=1, clean=0)
        if failed:
            break
        points = lapack.dpotrs(factor, objectives.T, lower=1)[0]
        values = np.sqrt(np.einsum("nd,dn->n", objectives, points))
        share = (values / values.max()) ** 4
        points *= share / values
        even, odd = system.even @ points[:pairs], system.odd @ points[pairs:]
        discs = system.discs[0] @ points[:pairs], system.discs[1] @ points[pairs:]
        grid = grid * np.sqrt(
            [np.square(even + odd).sum(axis=1), np.square(even - odd).sum(axis=1)]
        )
        coefficients = coefficients * np.sqrt(
            np.square(discs[0]).sum(axis=1) + np.square(discs[1]).sum(axis=1)
        )
        total = grid.sum() + coefficients.sum()
        grid, coefficients = grid / total, coefficients / total
    return grid, coefficients
