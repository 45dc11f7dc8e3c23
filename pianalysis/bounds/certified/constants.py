r"""Certified constants: what the bounds print, as intervals that contain the true number.

The functions carry the names of their float64 counterparts in
:mod:`~pianalysis.bounds.interpolation` and :mod:`~pianalysis.bounds.extrapolation` and return an
:class:`~pianalysis.rope.balls.Interval`: ball arithmetic (Arb, through python-flint) encloses every
rounding, the two float64 ends are rounded outward. Base, spans and coefficients are taken as the
exact float64 numbers they are; :math:`\theta_j = c^{-2j/d}` is computed from them, never read from
a float64 table.

The readings of the ratio: :mod:`~pianalysis.bounds.certified.ratio`. Minima: :mod:`~.minimum`.
First spans below a level: :mod:`~.first`. The exact fit: :mod:`~pianalysis.scores.exact_fits`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.bounds import interpolation
from pianalysis.bounds.certified.abel import abel_ball
from pianalysis.bounds.interpolation import cell_ends
from pianalysis.rope.balls import Interval, enclose, exact_frequencies, interval
from pianalysis.rope.spec import RopeSpec, check_spec

_LARGEST_LOG_BASE = 710  # above ln of the largest float64
_LEVELS = {"unit": 32, "all": 4}  # Eq. 5 holds where g is at most d over this


def theta_square_sum(spec: RopeSpec) -> Interval:
    r"""Enclose :math:`\sum_j \theta_j^2 = (1 - c^{-2}) / (1 - c^{-4/d})`.

    Raises
    ------
    TypeError
        ``spec`` is not a RopeSpec.

    Examples
    --------
    >>> total = theta_square_sum(RopeSpec(128, 10_000.0, 2048))
    >>> total.decimal
    '[3.998308025299825234194662 +/- ...]'
    >>> total.width < 1e-15
    True
    """
    check_spec(spec)
    return enclose("sum of theta_j^2", spec, lambda: _square_sum(spec))


def _square_sum(spec: RopeSpec) -> Any:
    import flint

    log_base = flint.arb(spec.base).log()
    return (-2 * log_base).expm1() / (-4 * log_base / spec.rotary_dim).expm1()


def interpolation_bound(
    spec: RopeSpec,
    s: float,
    h: Any = 1.0,
    *,
    form: str = "corrected",
    left: float | None = None,
    right: float | None = None,
) -> Interval:
    r"""Enclose one value of :func:`~.interpolation.interpolation_bound`.

    Parameters
    ----------
    spec : RopeSpec
    s : float
        One span in tokens.
    h : float or array (d/2,)
        A number is max|h_j|; an array holds the coefficients themselves.
    form : {"paper", "corrected", "sharp", "weighted", "magnitude"}
    left, right : float, optional
        The cell; by default [floor(s), floor(s) + 1].

    Raises
    ------
    ValueError, TypeError
        As the float64 function, and for more than one span or more than one row of h.

    Notes
    -----
    The interval encloses the formula; whether the formula bounds a score is a separate matter, and
    for "paper" it does not.

    Examples
    --------
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> for form in ("paper", "sharp", "corrected"):
    ...     print(form, interpolation_bound(spec, 0.5, form=form).decimal[:18])
    paper [0.434294481903251
    sharp [0.493875664885505
    corrected [0.499788503162478
    """
    checks.choice("form", form, interpolation.ALL_FORMS)
    check_spec(spec)
    span = checks.spans(s)
    if span.ndim:
        raise ValueError(f"s must be one span, got shape {span.shape}")
    cell_ends(span, left, right)  # refuses a span outside its cell
    start = float(np.floor(span) if left is None else left)
    stop = float(np.floor(span) + 1 if right is None else right)
    if np.ndim(h) == 0:
        size: Any = checks.magnitudes(h, spec.pairs)
        if form == "magnitude":
            raise ValueError(
                f"h must hold the coefficients for form 'magnitude', got the number {h!r}"
            )
    else:
        size = checks.coefficients(h, spec.pairs)
        if size.ndim != 1:
            raise ValueError(f"h must be one row of coefficients, got shape {size.shape}")
    name = f"interpolation bound, {form}, s = {float(span)!r} in [{start!r}, {stop!r}]"
    return enclose(name, spec, lambda: cell_bound_ball(spec, float(span), size, form, start, stop))


def cell_bound_ball(
    spec: RopeSpec, s: float, size: Any, form: str, left: float, right: float
) -> Any:
    """Return one interpolation bound as a ball; ``size`` is max|h| or the coefficients."""
    import flint

    arb = flint.arb
    before, after = arb(s) - arb(left), arb(right) - arb(s)
    scalar = isinstance(size, float)
    modulus = [arb(size)] if scalar else [_modulus(z) for z in size]
    largest = modulus[0]
    for value in modulus[1:]:
        largest = largest.max(value)
    if form == "paper":
        return spec.rotary_dim * largest * before * after / (8 * arb(spec.base).log())
    if form == "corrected" or (form == "weighted" and scalar):
        return largest * before * after / 2 * _square_sum(spec)
    theta = exact_frequencies(spec)
    if form == "weighted":
        terms = (m * t * t for m, t in zip(modulus, theta, strict=True))
        return before * after / 2 * sum(terms, arb(0))
    width = before + after
    share = before / width
    total = arb(0)
    for j, t in enumerate(theta):
        # e^{i s1 theta} has modulus one and is left out: at the ends of the cell nothing remains.
        gap = flint.acb(0, before * t).exp() - 1 - share * (flint.acb(0, width * t).exp() - 1)
        total += (modulus[j] if form == "magnitude" else largest) * abs(gap)
    return total


def _modulus(z: complex) -> Any:
    import flint

    return abs(flint.acb(z.real, z.imag))


def abel_sum(spec: RopeSpec, s: float) -> Interval:
    r"""Enclose :math:`B(s) = \sum_k |A_{k+1}(s)|` of Eq. 8 at one span.

    Raises
    ------
    ValueError, TypeError
        ``s`` not finite, beyond 2**53, or more than one span.

    Examples
    --------
    >>> abel_sum(RopeSpec(128, 10_000.0, 2048), 4861.0).decimal
    '[127.4855093022873483954726 +/- ...]'
    """
    check_spec(spec)
    span = checks.spans(s)
    if span.ndim:
        raise ValueError(f"s must be one span, got shape {span.shape}")

    def evaluate() -> Any:
        import flint

        return abel_ball(exact_frequencies(spec), flint.arb(float(span)))

    return enclose(f"B({float(span)!r})", spec, evaluate)


def grid_constant(spec: RopeSpec) -> Interval:
    """Enclose 1 / cos(theta_0 / 2) = 1 / cos(1/2), :func:`~.interpolation.grid_constant`.

    Examples
    --------
    >>> grid_constant(RopeSpec(128, 10_000.0, 2048)).decimal[:16]
    '[1.1394939273245'
    """
    import flint

    check_spec(spec)
    return enclose("1 / cos(1/2)", spec, lambda: 1 / (flint.arb(1) / 2).cos())


def paper_bound_threshold(head_dim: int, cells: str = "unit") -> Interval:
    r"""Enclose the base up to which Eq. 5 holds: at midpoints of unit cells, or in every cell.

    With x = ln c, Eq. 5 holds iff g(x) is at most d/32 ("unit"), d/4 ("all"), for

    .. math:: g_\mathrm{unit}(x) = x \sum_{j<d/2}
              \Big(1 - \cos\big(\tfrac12 e^{-2jx/d}\big)\Big), \qquad
              g_\mathrm{all}(x) = x \sum_{j<d/2} e^{-4jx/d}
              = x \frac{1 - e^{-2x}}{1 - e^{-4x/d}}.

    "unit": paper >= sharp at u = 1/2. "all": paper >= corrected, Eq. 14 itself; the sharp bound
    tends to the corrected one as a cell narrows, so Eq. 5 then holds in every cell, and for larger
    bases it fails in every cell that is narrow enough.
    Proved here in ball arithmetic: g' > 0 on [0, 710], which holds every float64 base, by
    subdivision, so there is one crossing at most; and the sign of g minus its level on both sides
    of the interval returned, by bisection. Hence Eq. 5 holds at every midpoint of a unit cell (in
    every cell) for c at most the threshold, and fails for some h at each of them (in some cell) for
    every larger c.

    Parameters
    ----------
    head_dim : int
        d.
    cells : {"unit", "all"}

    Raises
    ------
    ValueError, TypeError
        ``head_dim`` not a positive even integer of at most 8192; unknown ``cells``.

    Notes
    -----
    The work grows with the square of the dimension: 0.05 s at 128, minutes at 8192.

    Examples
    --------
    >>> threshold = paper_bound_threshold(128)
    >>> threshold.decimal[:17], threshold.width < 1e-14
    ('[7.16546249735650', True)
    >>> paper_bound_threshold(128, cells="all").decimal[:8]
    '[6.02536'
    """
    import flint

    dim = RopeSpec(head_dim, 2.0, 1).rotary_dim
    checks.choice("cells", cells, _LEVELS)
    with flint.ctx.workprec(64):
        _prove_increasing(dim, cells)
    bits = 192
    with flint.ctx.workprec(bits):
        low, high = flint.arb(0), flint.arb(_LARGEST_LOG_BASE)
        while True:
            middle = ((low + high) / 2).mid()
            excess = _threshold_function(dim, middle, cells) - flint.arb(dim) / _LEVELS[cells]
            if excess > 0:
                high = middle
            elif excess < 0:
                low = middle
            if not (excess > 0 or excess < 0) or high - low < flint.arb(2) ** -100:
                break
        root = low.union(high).exp()
        where = "in every cell" if cells == "all" else "at midpoints of unit cells"
        return interval(f"largest base with Eq. 5 true {where}, d = {dim}", None, root, bits)


def _threshold_function(dim: int, x: Any, cells: str) -> Any:
    total = 0 * x
    for j in range(dim // 2):
        theta = (-2 * j * x / dim).exp()
        total += theta * theta if cells == "all" else 1 - (theta / 2).cos()
    return x * total


def _prove_increasing(dim: int, cells: str) -> None:
    """Prove g' > 0 on [0, 710]: g'(x) = sum_j f(2jx/d).

    f(y) = 1 - cos r - y r sin r with r = e^-y / 2 at midpoints, (1 - 2y) e^-2y for all cells.
    They are cut in two until the sum is positive on each as a ball.
    """
    import flint

    pending = [(flint.arb(0), flint.arb(_LARGEST_LOG_BASE))]
    while pending:
        low, high = pending.pop()
        x = low.union(high)
        slope = flint.arb(0)
        for j in range(dim // 2):
            y = 2 * j * x / dim
            if cells == "all":
                slope += (1 - 2 * y) * (-2 * y).exp()
                continue
            r = (-y).exp() / 2
            sine, cosine = r.sin_cos()
            slope += 1 - cosine - y * r * sine
        if slope > 0:
            continue
        if high - low < 1e-9:
            raise ArithmeticError(f"head_dim must leave g increasing, got {dim} at ln c = {low}")
        middle = ((low + high) / 2).mid()
        pending += [(low, middle), (middle, high)]
