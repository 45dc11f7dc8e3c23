r"""The worst case in closed form: two ellipsoids around the cone programme, at any span at once.

Trained scores |a(n)| <= 1 have a mean square of at most 1, and so have the coefficients in units of
their limits. The largest score over the intersection of these two ellipsoids is one sum of d terms
for each way of sharing weight between them: an upper bound of the exact worst case
(:func:`~pianalysis.worst_case_score`) at every span and under every scheme, in microseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.bounds.worst_case import certificate, weights
from pianalysis.bounds.worst_case.case import LARGEST_COEFFICIENT, LARGEST_DIM, check_extension
from pianalysis.bounds.worst_case.coordinates import (
    GridCoordinates,
    System,
    centered_terms,
    float_system,
    grid_coordinates,
)
from pianalysis.rope.phases import Rotary
from pianalysis.rope.spec import RopeSpec, check_spec

LARGEST_GRID = 2**27  # L d without updates, where the grid enters through its d singular values
LARGEST_UPDATED_GRID = 2**24  # with updates or certified: the grid's rows are held
MOST_UPDATES = 1000
_BITS = 192
_SMALLEST_COEFFICIENT = 1e-100  # its square stays inside float64
_AT_ONCE = 512  # spans whose squares stay in the processor's cache


def worst_case_bound(
    spec: RopeSpec,
    s: Any,
    *,
    max_coefficient: Any,
    extension: Rotary | None = None,
    updates: int = 0,
    certified: bool = False,
) -> FloatArray:
    r"""Bound |a'(s)| when |a(n)| <= 1 at n = 0..L-1 and |h_j| <= H_j, in closed form.

    .. math::
        |a'(s)| \le \min_{0 \le \lambda \le 1}
        \sqrt{c^T \bigl(\lambda A + (1 - \lambda) B\bigr)^{-1} c}, \qquad
        c_j = f^2 e^{i \theta'_j s}

    with the extension's frequencies theta' and factor f in c, A the form
    :math:`\tfrac1L \sum_n a(n)^2` of the spec's own grid and B that of
    :math:`\tfrac2d \sum_j |h_j|^2 / H_j^2`.

    Parameters
    ----------
    spec : RopeSpec
        Its window L is the grid; d at most 256, L d at most 2**27 (2**24 with ``updates`` or
        ``certified``).
    s : float or array
        Spans in tokens, inside the window or outside it; torch tensors are taken too.
    max_coefficient : float or array (d/2,)
        H, one limit for all or each coefficient's own: above 0, at most 1e9.
    extension : extension, optional
        Scheme the score is read with; by default the spec itself.
    updates : int
        Reweightings of the single limits for each span, see Notes; 2 ms and more each at d = 128.
    certified : bool
        Evaluate in ball arithmetic; 10 ms a span at d = 128.

    Returns
    -------
    float64 array of the shape of s.

    Raises
    ------
    ValueError, TypeError
        Naming the argument: non-finite spans, a limit not above 0, a window too long.

    Notes
    -----
    *Proof*. Give every limit Q_i <= 1, the :math:`a(n)^2` and the :math:`|h_j|^2 / H_j^2`, a weight
    y_i >= 0 of sum 1. For any dual weights w_n, with :math:`r_j = c_j - \sum_n w_n e^{i \theta_j
    n}`,

    .. math:: \mathrm{Re} \sum_j h_j c_j = \sum_n w_n a(n) + \mathrm{Re} \sum_j h_j r_j
              \le \sum_n |w_n| + \sum_j H_j |r_j|
              \le \Bigl(\sum_n w_n^2 / y_n + \sum_j H_j^2 |r_j|^2 / y_j\Bigr)^{1/2}

    by Cauchy and Schwarz. The last is least at w_n = y_n a(n), a the maximiser x = M^-1 c of the
    form :math:`M = \sum_i y_i Q_i`, where it is :math:`(c^T M^{-1} c)^{1/2}`. Equal weights in two
    groups give the formula; the singular vectors of the grid make both forms diagonal, hence one
    sum of d terms for each lambda. It is the power function of kernel interpolation; best weights
    y make it the exact worst case (c-optimal design: Elfving 1952; for extrapolation Hoel and
    Levine 1964). An update takes
    :math:`y_i \leftarrow y_i \sqrt{Q_i(x)}`, normalised, from lambda = 1/2; the least bound met is
    returned, so more updates never give more.

    *Rigorous*. Float64 evaluates the formula to about 1e-14 H d relative to the limit 1 on the
    grid. ``certified`` takes the float64 weights y and w as exact numbers and encloses in balls,
    grid and residuals included, the last expression, or after updates the one before it, in which
    no y stands; no eigenvalue and no inverse enters, and what is returned is rounded up. *Tight*
    within some per cent after five updates far outside the window, within some 20% at its edge.
    Without: a factor 1.5 on the plateau far outside, 2.1 at s = 2100 and 6 at s = 2048 (d = 128,
    L = 2048, H = 1). *Vacuous* inside the window, where it is about :math:`\sqrt{d/2}` and the
    exact value near 1.

    With H_j^2 a head's second moments E|h_j|^2, the value without updates bounds the root
    mean square of a'(s) over its (query, key) pairs, for the lambda taken, if the mean square of
    a(n), over those pairs and uniformly over n = 0..L-1, is at most 1; single pairs may exceed it.

    Examples
    --------
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> worst_case_bound(spec, [2100.0, 4096.0], max_coefficient=1.0).round(2)
    array([28.38, 51.5 ])

    A head within the limits stays below; updates approach the exact worst case:

    >>> from pianalysis import attention_score, worst_case_score
    >>> spec = RopeSpec(16, 100.0, 64)
    >>> exact = worst_case_score(spec, 96.0, max_coefficient=1.0)
    >>> s = np.linspace(-50.0, 200.0, 1001)
    >>> bound = worst_case_bound(spec, s, max_coefficient=1.0)
    >>> bool((np.abs(attention_score(spec, exact.coefficients, s)) <= bound).all())
    True
    >>> bounds = [worst_case_bound(spec, 96.0, max_coefficient=1.0, updates=n) for n in (0, 5, 50)]
    >>> round(exact.value, 2), [round(float(bound), 2) for bound in bounds]
    (5.02, [7.36, 5.25, 5.02])
    """
    check_spec(spec)
    spans = checks.spans(s)
    problem = checked_problem(spec, max_coefficient, extension)
    updates = checks.whole("updates", updates, at_least=0, at_most=MOST_UPDATES)
    if not isinstance(certified, (bool, np.bool_)):
        raise TypeError(f"certified must be True or False, got {certified!r}")
    if updates or certified:
        check_grid(spec, LARGEST_UPDATED_GRID, "updates or certified")
    flat = spans.ravel()
    shares, values = problem.closed_form(flat)
    if not (updates or certified):
        return np.sqrt(values).reshape(spans.shape)
    out = [
        problem.at(float(span), float(share), math.sqrt(value), updates, certified=bool(certified))
        for span, share, value in zip(flat, shares, values, strict=True)
    ]
    return np.array(out).reshape(spans.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """The worst case of one model under limits H_j, in coordinates that suit both."""

    spec: RopeSpec
    model: Rotary
    limits: FloatArray
    coordinates: GridCoordinates

    @property
    def largest(self) -> float:
        """The largest H_j."""
        return float(self.limits.max())

    def projected(self, spans: FloatArray) -> FloatArray:
        """Return the objectives of the spans (n,) in the coordinates, (n, 2, d/2)."""
        return self.coordinates.project(centered_terms(self.spec, self.model, spans))

    def system(self) -> System:
        """Return every limit as a row, of order one."""
        return float_system(self.coordinates, self.largest)

    def closed_form(self, spans: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the best lambda and the square of the bound at each span (n,)."""
        grid = (self.coordinates.norms**2 / self.spec.context_window).ravel()
        limits = 1.0 / (self.largest**2 * self.spec.pairs)
        shares, values = np.empty(spans.size), np.empty(spans.size)
        for first in range(0, spans.size, _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            squares = self.projected(spans[part]).reshape(-1, grid.size) ** 2
            shares[part], values[part] = weights.best_shares(squares, grid, limits)
        return shares, values

    def at(
        self, span: float, share: float, bound: float, updates: int, *, certified: bool
    ) -> float:
        """Return the bound at one span after ``updates``, in balls if ``certified``."""
        system = self.system()
        gain = self.projected(np.array([span]))[0] * system.scale
        best = None
        if updates:
            start = weights.spread_evenly(system, 0.5)
            best = weights.updated(system, gain, *start, updates)
        if not certified:
            return bound if best is None else min(bound, best.bound)
        if share == 0.0:
            plain = self._limits_alone(system, bound)
        else:
            plain = weights.updated(system, gain, *weights.spread_evenly(system, share), 0)
        enclosed = self.enclosed(span, system, plain)
        return enclosed if best is None else min(enclosed, self.dual(span, system, best))

    def _limits_alone(self, system: System, bound: float) -> weights.Weighted:
        grid, coefficients = weights.spread_evenly(system, 0.0)
        nothing = np.zeros((2, self.spec.pairs))
        return weights.Weighted(grid, coefficients, bound, nothing, grid, nothing)

    def dual(self, span: float, system: System, weighted: weights.Weighted) -> float:
        """Return a float64 above the bound that the dual weights alone give at a span.

        Updated weights y fall towards zero, and nothing is divided by them here.
        """
        import flint

        with flint.ctx.workprec(_BITS):
            terms = certificate.objective_terms(self.model, span)
            multipliers = system.on_grid(weighted.multipliers)
            bound = certificate.dual_bound(self.spec, terms, multipliers, self.limits, _BITS)
            return certificate.upward(bound)

    def enclosed(self, span: float, system: System, weighted: weights.Weighted) -> float:
        """Return a float64 above the bound that some weights give at a span."""
        import flint

        with flint.ctx.workprec(_BITS):
            squares, total = flint.arb(0), flint.arb(0)
            grid = system.on_grid(weighted.grid)
            multipliers = system.on_grid(weighted.multipliers)
            for y, w in zip(grid.tolist(), multipliers.tolist(), strict=True):
                if y > 0.0:
                    total += y
                    squares += flint.arb(w) ** 2 / y
            multipliers[grid <= 0.0] = 0.0
            terms = certificate.objective_terms(self.model, span)
            rests = certificate.residuals(self.spec, terms, multipliers, _BITS)
            for y, limit, rest in zip(
                weighted.coefficients.tolist(), self.limits.tolist(), rests, strict=True
            ):
                total += y
                squares += (flint.arb(limit) * rest.abs_upper()) ** 2 / y
            return certificate.upward((squares * total).sqrt())


def checked_problem(spec: RopeSpec, max_coefficient: Any, extension: Any) -> Problem:
    """Return the problem; refuse a window, a limit or an extension that does not fit, by name."""
    if spec.rotary_dim > LARGEST_DIM:
        raise ValueError(
            f"spec must have a rotary dimension of at most {LARGEST_DIM}, got {spec.rotary_dim}"
        )
    check_grid(spec, LARGEST_GRID, "the closed form")
    model = check_extension(spec, extension)
    limits = checks.array("max_coefficient", max_coefficient)
    if limits.ndim and limits.shape != (spec.pairs,):
        raise ValueError(
            f"max_coefficient must be a number or hold {spec.pairs}, half the rotary dimension, "
            f"got shape {limits.shape}"
        )
    for value in np.unique(limits).tolist():
        checks.real(
            "max_coefficient",
            value,
            above=0.0,
            at_least=_SMALLEST_COEFFICIENT,
            at_most=LARGEST_COEFFICIENT,
        )
    limits = np.broadcast_to(limits, (spec.pairs,))
    shape = tuple((limits / limits.max()).tolist())
    coordinates = grid_coordinates(spec, None if set(shape) == {1.0} else shape)
    return Problem(spec, model, limits, coordinates)


def check_grid(spec: RopeSpec, most: int, what: str) -> None:
    """Refuse a window whose grid is too large for ``what``."""
    if spec.context_window * spec.rotary_dim > most:
        raise ValueError(
            f"context_window times rotary dimension must be at most {most} for {what}, "
            f"got {spec.context_window} * {spec.rotary_dim}"
        )
