r"""The cone programme behind the worst case, by a primal-dual interior-point method in float64.

.. math:: \max_t \; g \cdot t \quad\text{subject to}\quad
          -l \le a_n(t) \le 1, \quad |h_j(t)| / H_j \le 1

Mehrotra's predictor and corrector with Nesterov-Todd scaling (Vandenberghe, "The CVXOPT linear and
quadratic cone program solvers", 2010; the notation is his). The origin is strictly feasible, so
the method starts there and every iterate is; a step costs one Gram matrix of d columns, about
twenty steps reach nine digits. Nothing here is trusted: both sides are certified from the result.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.bounds.worst_case.coordinates import System
from pianalysis.bounds.worst_case.weights import spread_evenly, updated

_MOST_STEPS = 80
_PATIENCE = 8  # steps near the end without a better bound: float64 has given what it can
_UPDATES, _INSIDE = 3, 0.7  # updates of the weights before the start, share of the way to a limit
_FAR = 1e-2  # relative gap down to which float32 serves for directions
_BACK = 0.99  # share of the way to the boundary
_ACCURATE = 1e-8
_JITTERS = (1e-14, 1e-12, 1e-10)  # on the diagonal, where rounding makes the Gram matrix singular
_ACTIVE, _DETERMINED = 1e-6, 1e-6  # share of the largest weight, of the largest singular value


@dataclass(frozen=True, slots=True, eq=False)
class Interior:
    """A feasible t (2, d/2), dual weights w_n laid out as scores, what both prove in float64."""

    coordinates: FloatArray
    weights: FloatArray
    value: float
    bound: float
    steps: int


def maximise(
    system: System,
    gain: FloatArray,
    low: float,
    *,
    accurate: float = _ACCURATE,
    plain: bool = False,
) -> Interior:
    """Maximise ``gain`` (2, d/2) over the limits of ``system``, scores in [-low, 1].

    ``plain``: from the origin and in float64 throughout, slower and surer.
    """
    rough = system if plain else system.rough()
    state = _start(system, rough, gain, low)
    best_value, best_bound, waited = 0.0, np.inf, 0
    point, multipliers = state.t, state.dual[0] - state.dual[1]
    steps = 0
    while steps < _MOST_STEPS:
        weights = state.dual[0] - state.dual[1]
        value, bound = float(np.sum(gain * state.t)), _bound(system, gain, weights, low, state)
        if not np.isfinite(value) or not np.isfinite(bound):
            break
        waited += best_bound - best_value < 1e-4 * best_bound
        if value > best_value:
            best_value, point = value, state.t
        if bound < best_bound:
            waited = 0
            best_bound, multipliers = bound, weights
        if (
            state.disc is not None
            and state.complementary() <= accurate * best_value < best_bound - best_value
        ):
            # Converged but for stationarity, of which float64 leaves more than H allows.
            waited += 1
            restored = _restored(system, gain, weights)
            bound = _bound(system, gain, restored, low, state)
            if bound < best_bound:
                best_bound, multipliers = bound, restored
        if best_bound - best_value <= accurate * best_bound or waited > _PATIENCE:
            break
        with np.errstate(all="ignore"):  # where float64 gives out, the next pass ends the search
            if best_bound - best_value < _FAR * best_bound or not _advance(
                system, rough, gain, state
            ):
                rough = system  # from here on, and where float32 does not hold the form
                if not _advance(system, system, gain, state):
                    break
        steps += 1
    return Interior(point, multipliers, best_value, float(best_bound), steps)


@dataclass(slots=True, eq=False)
class _State:
    """t; slacks, duals of the grid's two sides (2, 2, half); the coefficients' cones (3, d/2)."""

    t: FloatArray
    slack: FloatArray
    dual: FloatArray
    disc: FloatArray | None
    force: FloatArray | None
    degree: int

    def complementary(self) -> float:
        """Return s . z, the duality gap of a point that is feasible on both sides."""
        total = float(np.sum(self.slack * self.dual))
        if self.disc is not None and self.force is not None:
            total += float(np.sum(self.disc * self.force))
        return total


def _start(system: System, rough: System, gain: FloatArray, low: float) -> _State:
    """Return a strictly feasible start: the closed form after a few updates, or the origin."""
    half, pairs = system.even.shape
    degree = 4 * half + (0 if system.discs is None else pairs)
    near = None
    if system.discs is not None and rough is not system:
        with suppress(ArithmeticError):
            near = updated(rough, gain, *spread_evenly(system, 0.5), _UPDATES)
    t, scores, disc, force = np.zeros_like(gain), np.zeros((2, half)), None, None
    if near is None:
        mu = float(np.linalg.norm(gain)) / degree
        weights = np.zeros((2, half))
        if system.discs is not None:
            disc = np.zeros((3, pairs))
            disc[0] = 1.0
            force = mu * disc
    else:
        assert system.discs is not None
        scores, discs = system.scores(near.point), system.coefficients(near.point)
        weights, pull = near.grid * scores, near.coefficients * discs
        highest = max(float(scores.max()), -float(scores.min()) / low)
        shrink = _INSIDE / max(highest, float(np.hypot(*discs).max()))
        t, scores = shrink * near.point, shrink * scores
        # The dual point of the updates is feasible: what separates it from t is spread evenly.
        value = float(np.sum(gain * t))
        proved = float(np.maximum(weights, low * -weights).sum() + np.hypot(*pull).sum())
        mu = (proved - value) / degree
        disc = np.array([np.ones(pairs), *(shrink * discs)])
        force = np.array([np.hypot(*pull) + mu / np.sqrt(_determinant(disc)), *-pull])
    slack = np.array([1.0 - scores, low + scores])
    dual = np.array([np.maximum(weights, 0.0), np.maximum(-weights, 0.0)])
    dual += mu / slack.max(axis=0)
    return _State(t, slack, dual, disc, force, degree)


def _bound(
    system: System, gain: FloatArray, weights: FloatArray, low: float, state: _State
) -> float:
    """Return the dual value that w alone proves: w+ + l w- + sum_j |what w leaves of c_j| H_j."""
    total = float(np.maximum(weights, 0.0).sum() + low * np.maximum(-weights, 0.0).sum())
    if system.discs is None:
        assert state.slack is not None
        return float(np.sum(state.dual * _limits(state, low)))
    rest = gain - system.combined(weights)
    sizes = np.square(system.discs).sum(axis=1)  # the discs are V diag(scale / H)
    real, imaginary = (d @ (r / n) for d, r, n in zip(system.discs, rest, sizes, strict=True))
    return total + float(np.hypot(real, imaginary).sum())


def _restored(system: System, gain: FloatArray, weights: FloatArray) -> FloatArray:
    """Return weights that take up what they leave of the objective where the grid determines it.

    What is left costs up to H times as much in the dual bound. Least squares over the active rows,
    in the directions that these determine well.
    """
    active = np.abs(weights) > _ACTIVE * np.abs(weights).max()
    rows = np.concatenate(
        [
            np.concatenate([system.even[part], sign * system.odd[part]], axis=1)
            for part, sign in zip(active, (1.0, -1.0), strict=True)
        ]
    )
    rest = (gain - system.combined(weights)).ravel()
    out = weights.copy()
    out[active] += np.linalg.lstsq(rows.T, rest, rcond=_DETERMINED)[0]
    return out


def _limits(state: _State, low: float) -> FloatArray:
    return np.array([1.0, low])[:, None, None] + np.zeros_like(state.slack)


def _advance(system: System, source: System, gain: FloatArray, state: _State) -> bool:
    """Take one step of the predictor and corrector; False where the Gram matrix fails.

    The Gram matrix comes from ``source``, the same system or its rough copy.
    """
    from scipy.linalg import lapack

    slack, dual = state.slack, state.dual
    tension = dual / slack
    complementary = state.complementary()
    metric = np.zeros((3, gain.shape[1]))
    scaling = None
    if state.disc is not None:
        scaling = _Scaling.of(state.disc, state.force)
        metric = scaling.metric()
    mu = complementary / state.degree
    form = source.gram(tension[0] + tension[1], metric)
    factor, failed = lapack.dpotrf(form, lower=1, clean=0)
    for jitter in _JITTERS if source is system else ():
        if not failed:
            break
        form[np.diag_indices(form.shape[0])] *= 1.0 + jitter
        factor, failed = lapack.dpotrf(form, lower=1, clean=0)
    if failed:
        return False

    def direction(right: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        t = lapack.dpotrs(factor, right.ravel(), lower=1)[0].reshape(right.shape)
        scores = system.scores(t)
        disc = np.zeros((3, right.shape[1]))
        if state.disc is not None:
            disc[1:] = system.coefficients(t)
        return t, np.array([-scores, scores]), disc

    # The predictor: straight at the optimum.
    t, fall, disc = direction(gain)
    rise = -dual - tension * fall
    force, scaled, pushed = disc, disc, disc
    if scaling is not None:
        scaled = scaling.inverse(disc)
        pushed = -scaling.point - scaled
        force = scaling.inverse(pushed)
    primal = min(1.0, _reach(slack, fall), _reach_cone(state.disc, disc))
    other = min(1.0, _reach(dual, rise), _reach_cone(state.force, force))
    left = float(np.sum((slack + primal * fall) * (dual + other * rise)))
    if state.disc is not None and state.force is not None:
        left += float(np.sum((state.disc + primal * disc) * (state.force + other * force)))
    center = mu * min(1.0, max(left / complementary, 0.0)) ** 3
    # The corrector: towards the central path, with the products the predictor left out.
    push = (center - fall * rise) / slack
    right = gain - system.combined(push[0] - push[1])
    twist = np.zeros_like(disc)
    if scaling is not None:
        product = _product(scaled, pushed)
        product[0] -= center
        twist = scaling.divided(-product)
        right += system.gathered(scaling.inverse(twist)[1:])
    t, fall, disc = direction(right)
    rise = push - dual - tension * fall
    if scaling is not None:
        force = scaling.inverse(twist - scaling.point - scaling.inverse(disc))
    primal = min(1.0, _BACK * min(_reach(slack, fall), _reach_cone(state.disc, disc)))
    other = min(1.0, _BACK * min(_reach(dual, rise), _reach_cone(state.force, force)))
    state.t = state.t + primal * t
    state.slack, state.dual = slack + primal * fall, dual + other * rise
    if state.disc is not None and state.force is not None:
        state.disc, state.force = state.disc + primal * disc, state.force + other * force
    return True


def _reach(value: FloatArray, change: FloatArray) -> float:
    """Return the largest step that leaves value + step change positive."""
    worst = float(np.max(-change / value))
    return 1.0 / worst if worst > 0 else np.inf


def _reach_cone(value: FloatArray | None, change: FloatArray) -> float:
    """Return the largest step inside the second-order cones u_0 >= |(u_1, u_2)|, columns (3, n)."""
    if value is None:
        return np.inf
    size = np.sqrt(_determinant(value))
    unit = value / size
    along = unit[0] * change[0] - unit[1] * change[1] - unit[2] * change[2]
    share = (along + change[0]) / (unit[0] + 1.0)
    across = np.hypot(change[1] - share * unit[1], change[2] - share * unit[2])
    worst = float(np.max((across - along) / size))
    return 1.0 / worst if worst > 0 else np.inf


def _determinant(u: FloatArray) -> FloatArray:
    out: FloatArray = (u[0] - np.hypot(u[1], u[2])) * (u[0] + np.hypot(u[1], u[2]))
    return out


def _product(u: FloatArray, v: FloatArray) -> FloatArray:
    """Return u o v, the Jordan product."""
    return np.array(
        [
            u[0] * v[0] + u[1] * v[1] + u[2] * v[2],
            u[0] * v[1] + v[0] * u[1],
            u[0] * v[2] + v[0] * u[2],
        ]
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Scaling:
    """Nesterov-Todd scaling W of each cone: W z = W^-1 s = ``point``; W = eta (w)."""

    w: FloatArray
    eta: FloatArray
    point: FloatArray

    @classmethod
    def of(cls, s: FloatArray, z: Any) -> _Scaling:
        size_s, size_z = np.sqrt(_determinant(s)), np.sqrt(_determinant(z))
        unit_s, unit_z = s / size_s, z / size_z
        half = np.sqrt((1.0 + (unit_s * unit_z).sum(axis=0)) / 2.0)
        mirrored = np.array([unit_z[0], -unit_z[1], -unit_z[2]])
        scaling = cls((unit_s + mirrored) / (2.0 * half), np.sqrt(size_s / size_z), s)
        return cls(scaling.w, scaling.eta, scaling.inverse(s))

    def inverse(self, u: FloatArray) -> FloatArray:
        """Return W^-1 u."""
        w = self.w
        along = w[1] * u[1] + w[2] * u[2]
        share = along / (1.0 + w[0]) - u[0]
        return np.array([w[0] * u[0] - along, u[1] + share * w[1], u[2] + share * w[2]]) / self.eta

    def metric(self) -> FloatArray:
        """Return the lower block of W^-2 as (Re^2, Im^2, Re Im)."""
        w = self.w
        return (
            np.array([1.0 + 2.0 * w[1] ** 2, 1.0 + 2.0 * w[2] ** 2, 2.0 * w[1] * w[2]])
            / self.eta**2
        )

    def divided(self, u: FloatArray) -> FloatArray:
        """Return v with point o v = u."""
        p = self.point
        first = (p[0] * u[0] - p[1] * u[1] - p[2] * u[2]) / _determinant(p)
        return np.array([first, (u[1] - first * p[1]) / p[0], (u[2] - first * p[2]) / p[0]])
