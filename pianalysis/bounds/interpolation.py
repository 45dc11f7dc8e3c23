r"""Interpolation: how far a score can leave the chord between two grid points.

Theorem 2.1 of arXiv:2306.15595 as printed (Eq. 5), and what is true instead. With
:math:`a_\mathrm{linear}` the chord of a between s1 and s2 (Eq. 6) and s1 <= s <= s2:

* Taylor's remainder gives :math:`|a - a_\mathrm{linear}| \le \tfrac12 (s-s_1)(s_2-s) \max|a''|`,
  and :math:`|a''| \le \sum_j |h_j| \theta_j^2` (Eq. 9-13);
* the sum is geometric: :math:`\sum_j \theta_j^2 = (1 - c^{-2}) / (1 - c^{-4/d})`;
* Eq. 14 then bounds :math:`1/(1 - c^{-4/d})` by :math:`d/(4 \ln c)`, from
  :math:`c^x \le 1 + x \ln c` for x < 0. The inequality is the other way round
  (:math:`e^y \ge 1 + y` for all y), so Eq. 5 is not a theorem:
  :math:`h_j = e^{-i\theta_j/2}` violates it on [0, 1] for d = 128, c = 10000.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.rope import phases
from pianalysis.rope.phases import Rotary
from pianalysis.rope.spec import RopeSpec, check_spec

FORMS = ("paper", "corrected", "sharp", "weighted")  # those that measurements compare
ALL_FORMS = (*FORMS, "magnitude")


def interpolation_bound(
    spec: RopeSpec,
    s: Any,
    h: Any = 1.0,
    *,
    form: str = "corrected",
    left: Any = None,
    right: Any = None,
) -> FloatArray:
    r"""Bound |a(s) - a_linear(s)|, the distance of a score from the chord of its cell (Eq. 5-6).

    With u = s - s1, v = s2 - s, H = max|h_j|:

    ========== ==========================================================================
    form       bound
    ========== ==========================================================================
    paper      :math:`d H u v / (8 \ln c)` (Eq. 5; **not a theorem**, see Notes)
    corrected  :math:`\tfrac12 H u v (1 - c^{-2}) / (1 - c^{-4/d})`
    sharp      :math:`H \sum_j |e^{i s \theta_j} - \text{its chord}|`
    weighted   :math:`\tfrac12 u v \sum_j |h_j| \theta_j^2`
    magnitude  :math:`\sum_j |h_j| \, |e^{i s \theta_j} - \text{its chord}|`
    ========== ==========================================================================

    Parameters
    ----------
    spec : RopeSpec
    s : float or array
        Spans in tokens.
    h : float or array (..., d/2)
        A number is max|h_j|; an array holds the coefficients themselves, pair axis last.
        "magnitude" needs an array.
    form : {"paper", "corrected", "sharp", "weighted", "magnitude"}
    left, right : float or array broadcasting with s, optional
        The cell [s1, s2]; by default [floor(s), floor(s) + 1].

    Returns
    -------
    float64 array of shape s.shape, or h.shape[:-1] + s.shape when h is an array.

    Raises
    ------
    ValueError, TypeError
        Unknown form, non-finite input, negative max|h|, s outside its cell, "magnitude" for a
        number.

    Notes
    -----
    *Assumptions*: only the frequencies of ``spec`` and |h_j| (or max|h_j|); nothing about where the
    scores were trained. *Tight*: "sharp" is the supremum over all h with |h_j| <= H, attained;
    "magnitude" that over all h with the same moduli, attained by their phases; "weighted" is
    approached by h whose terms curve together as the cell narrows, to relative order (theta_0 w)^2
    for a cell of width w, wherever in it s lies. *Vacuous*: the max|h| forms exceed what a trained
    head does by orders of magnitude when |h| sits on slow pairs; every form is vacuous once it
    exceeds 2 sum|h_j|, which happens for cells wider than a few tokens. Order, always: observed <=
    magnitude <= weighted <= corrected and magnitude <= sharp <= corrected.
    The paper form lies below the sharp one, hence fails for some h, at midpoints of unit cells
    once the base exceeds :func:`~pianalysis.paper_bound_threshold`.

    Examples
    --------
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> for form in ("paper", "sharp", "corrected"):
    ...     print(form, interpolation_bound(spec, 0.5, form=form).round(6))
    paper 0.434294
    sharp 0.493876
    corrected 0.499789

    The bound holds on a thousand spans and is nearly touched:

    >>> from pianalysis import attention_score
    >>> h = np.exp(-0.5j * spec.frequencies)
    >>> s = np.linspace(0.0, 1.0, 1001)
    >>> ends = attention_score(spec, h, [0.0, 1.0])
    >>> gap = np.abs(attention_score(spec, h, s) - (1 - s) * ends[0] - s * ends[1])
    >>> bound = interpolation_bound(spec, s, h, left=0.0, right=1.0)
    >>> bool((gap <= bound + 1e-15).all()), bool(gap.max() > 0.98 * bound.max())
    (True, True)
    """
    checks.choice("form", form, ALL_FORMS)
    check_spec(spec)
    spans = checks.spans(s)
    before, after = cell_ends(spans, left, right)
    size = checks.magnitudes(h, spec.pairs)
    largest = size if isinstance(size, float) else size.max(axis=-1)
    if form == "weighted":
        curvature = (
            size * theta_square_sum(spec) if isinstance(size, float) else size @ spec.frequencies**2
        )
        return np.multiply.outer(curvature, 0.5 * before * after)
    if form == "magnitude":
        if isinstance(size, float):
            raise ValueError(
                f"h must hold the coefficients for form 'magnitude', got the number {h!r}"
            )
        rows = size.reshape(-1, spec.pairs)
        return weighted_gaps(spec, before, after, rows).reshape(size.shape[:-1] + spans.shape)
    if form == "paper":
        per_unit = spec.rotary_dim / (8.0 * math.log(spec.base)) * before * after
    elif form == "corrected":
        per_unit = 0.5 * theta_square_sum(spec) * before * after
    else:
        per_unit = _sharp(spec, before, after)
    return np.multiply.outer(largest, per_unit)


def cell_ends(spans: FloatArray, left: Any, right: Any) -> tuple[FloatArray, FloatArray]:
    """Return the distances of s from both ends of its cell."""
    start = np.floor(spans) if left is None else checks.spans(left, "left")
    stop = np.floor(spans) + 1.0 if right is None else checks.spans(right, "right")
    try:
        start, stop = np.broadcast_arrays(np.broadcast_to(start, spans.shape), stop)
        stop = np.broadcast_to(stop, spans.shape)
    except ValueError:
        raise ValueError(
            "left and right must broadcast to the shape of s, "
            f"got {np.shape(left)} and {np.shape(right)} against {spans.shape}"
        ) from None
    bad = ~((start <= spans) & (spans <= stop) & (start < stop))
    if bad.any():
        at = tuple(np.argwhere(bad)[0])
        raise ValueError(
            "s must lie in its cell left <= s <= right with left < right, "
            f"got s = {spans[at]} in [{start[at]}, {stop[at]}]"
        )
    return spans - start, stop - spans


def _sharp(spec: RopeSpec, before: FloatArray, after: FloatArray) -> FloatArray:
    """Return sum_j |e^{i s theta_j} - its chord|."""
    before, after = np.broadcast_arrays(before, after)
    out = np.empty(before.size)
    for part in phases.chunks(before.size, spec.pairs):
        out[part] = _gaps(spec, before.ravel()[part], after.ravel()[part]).sum(axis=1)
    return out.reshape(before.shape)


def weighted_gaps(
    spec: RopeSpec, before: FloatArray, after: FloatArray, weights: FloatArray, *, power: int = 1
) -> FloatArray:
    """Return sum_j w_j |e^{i s theta_j} - its chord|^power, (m, n), for rows w (m, d/2)."""
    before, after = (x.ravel() for x in np.broadcast_arrays(before, after))
    out = np.empty((weights.shape[0], before.size))
    for part in phases.chunks(before.size, spec.pairs):
        out[:, part] = weights @ (_gaps(spec, before[part], after[part]) ** power).T
    return out


def _gaps(spec: RopeSpec, before: FloatArray, after: FloatArray) -> FloatArray:
    """Return |e^{i u theta_j} - 1 - (u/w)(e^{i w theta_j} - 1)|, (n, d/2), u = s - s1, w = s2 - s1.

    The common factor e^{i s1 theta} has modulus one and is left out. e^{ix} - 1 is written as
    2i sin(x/2) e^{ix/2}, so that slow pairs keep their relative accuracy.
    """
    theta = spec.frequencies
    u, w = before[:, None], (before + after)[:, None]
    mix = u / w
    re = -2.0 * np.sin(u * theta / 2) ** 2 + 2.0 * mix * np.sin(w * theta / 2) ** 2
    im = np.sin(u * theta) - mix * np.sin(w * theta)
    out: FloatArray = np.hypot(re, im)
    return out


def theta_square_sum(spec: RopeSpec) -> float:
    r"""Return sum_j theta_j^2 = (1 - c^-2) / (1 - c^(-4/d)), the largest |a''| for max|h| = 1.

    The geometric sum of Eq. 13 kept exact; the paper bounds it by d / (4 ln c). That is
    smaller, hence no bound, for every base above a threshold (6.03 at d = 128), larger below it.

    Examples
    --------
    >>> round(theta_square_sum(RopeSpec(128, 10_000.0, 2048)), 6)
    3.998308
    """
    check_spec(spec)
    log_base = math.log(spec.base)
    return math.expm1(-2.0 * log_base) / math.expm1(-4.0 * log_base / spec.rotary_dim)


def grid_constant(model: Rotary) -> float:
    r"""Return 1 / cos(theta_0 / 2): the grid theorem over all integers.

    If M bounds |a(n)| at every integer n, then |a(s)| <= M / cos(theta_0 / 2) at every real s, for
    every d, base and h with theta_0 < pi.

    Raises
    ------
    ValueError
        theta_0 >= pi (LongRoPE with factors below 1 can have it): integers then miss a turn.

    Notes
    -----
    *Proof*: let sup |a| = 1. Shifts of a (and of its grid, modulo 1) along which |a| tends to 1
    have a limit b, uniformly on bounded sets: real, |b| <= 1, of exponential type theta_0, with
    b(0) = 1 up to sign, and bounded by M on a shifted grid. Such a function stays above a cosine of
    its own rate, b(t) >= cos(theta_0 t) for |t| <= pi / theta_0 (Duffin and Schaeffer 1938,
    Hoermander 1955), and a point of the grid lies within 1/2 of 0. Hence M >= cos(theta_0 / 2).

    *Nearly empty*: every float64 base is rational, so the theta_j are algebraic and no integer
    combination of them is a nonzero multiple of 2 pi, which is transcendental. By Kronecker's
    theorem the phases (s theta_j) then have the same closure over the integers as over the reals:
    both suprema are equal and the true constant is 1. And a model has only ever seen the integers
    of a window, of which this does not speak; :func:`~.grid.local_grid_constant` does.

    Examples
    --------
    >>> round(grid_constant(RopeSpec(128, 10_000.0, 2048)), 4)
    1.1395
    """
    fastest = float(phases.check_rotary(model).frequencies.max())
    if fastest >= math.pi:
        raise ValueError(
            f"model must have frequencies below pi for a grid constant, got {fastest:g}"
        )
    return 1.0 / math.cos(fastest / 2.0)


def adjacent_contrast(model: Rotary, h: Any = 1.0) -> FloatArray:
    r"""Bound |a(s+1) - a(s)|, how far neighbouring positions can differ: resolution.

    .. math:: 2 \sum_j |h_j| \sin(\theta_j / 2)

    Parameters
    ----------
    model : RopeSpec or extension
    h : float or array (..., d/2)
        A number is max|h_j|.

    Returns
    -------
    float64 array of shape h.shape[:-1]; an extension's attention factor enters squared.

    Notes
    -----
    Termwise and attained for a single pair; for many pairs attained at s when every term turns in
    phase, i.e. by h_j = -i e^{-i (s + 1/2) theta_j} |h_j|. PI at factor k shrinks the fastest term
    to sin(1/(2k)) / sin(1/2) of itself: the resolution it pays.

    Examples
    --------
    >>> from pianalysis import PositionInterpolation
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> float(adjacent_contrast(PositionInterpolation(spec, 8192)) / adjacent_contrast(spec)) < 0.26
    True
    """
    theta = phases.check_rotary(model).frequencies
    terms = 2.0 * np.abs(np.sin(theta / 2.0)) * model.attention_factor**2
    size = checks.magnitudes(h, theta.size)
    if isinstance(size, float):
        return np.asarray(size * terms.sum())
    return size @ terms
