r"""The exact worst case: how large a score can be where training never looked.

Training has shown a model the spans 0..L-1. Suppose only that every score there is moderate,
|a(n)| <= 1, and that no coefficient exceeds H. The largest score at another span, or under another
scheme's frequencies, is the value of a convex programme, and convex duality certifies it. So is
the largest step from one span to the next: what resolution the scheme leaves the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import ComplexArray, FloatArray
from pianalysis.bounds.worst_case.certificate import Trained, downward, upward
from pianalysis.bounds.worst_case.programme import BITS, BothSides, Objective, solve
from pianalysis.records import Record
from pianalysis.rope.phases import Rotary
from pianalysis.rope.spec import RopeSpec, check_spec

LARGEST_GRID = 2**22  # L d: the solver's matrix holds that many float64, in three copies
LARGEST_DIM = 256
LARGEST_COEFFICIENT = 1e9
_GAP = 1e-3
_WIDEST = 1e6  # the largest trained limit


@dataclass(frozen=True, slots=True)
class DualWeights(Record):
    """Dual weights w_n at the grid points n where they do not vanish, float64.

    For H = inf they are rounded from the exact solution on the same d nodes.
    """

    node: FloatArray
    weight: FloatArray


@dataclass(frozen=True, slots=True)
class WorstCase(Record):
    """The worst score or contrast at one span: ``lower`` <= maximum <= ``upper``, both proved.

    ``quantity`` is "score" or "contrast", the step from ``span`` to the next; ``trained`` is
    (-l, u), the limits of the scores on the grid. ``rounds`` counts steps of the solver.
    ``coefficients`` are
    feasible and attain ``value``. Where float64 cannot hold them (H above 1e7), ``digits`` has the
    decimals, "Re Im" a pair, and ``coefficients`` their rounding.
    ``status`` names what fixed the maximum: "coefficients" (only |h_j| <= H binds), "grid point"
    (s is one), "optimal", or "loose" when the two sides differ by more than 1e-3 of the value.
    """

    spec: RopeSpec
    extension: Any
    quantity: str
    span: float
    max_coefficient: float
    trained: tuple[float, float]
    status: str
    certificate: str
    bits: int
    rounds: int
    value: float
    lower: float
    upper: float
    log10_value: float
    log10_lower: float
    log10_upper: float
    coefficients: ComplexArray
    digits: tuple[str, ...]
    dual: DualWeights

    @property
    def gap(self) -> float:
        """(upper - lower) / lower, from the logarithms where float64 overflows."""
        if math.isfinite(self.upper):
            return (self.upper - self.lower) / self.lower
        return math.expm1((self.log10_upper - self.log10_lower) * math.log(10.0))

    def summary(self) -> dict[str, Any]:
        """Return every field that is not a column; infinity as the word, which JSON can hold."""
        return {
            name: str(value) if isinstance(value, float) and math.isinf(value) else value
            for name, value in Record.summary(self).items()
        }


def worst_case_score(
    spec: RopeSpec,
    s: float,
    *,
    max_coefficient: float,
    extension: Rotary | None = None,
    trained: tuple[float, float] = (-1.0, 1.0),
) -> WorstCase:
    r"""Return the largest a'(s) when -l <= a(n) <= u at n = 0..L-1 and |h_j| <= H, certified.

    .. math::
        \max_h \; f^2\, \mathrm{Re} \sum_j h_j e^{i \theta'_j s} \quad\text{subject to}\quad
        -l \le \mathrm{Re} \sum_j h_j e^{i \theta_j n} \le u,\; |h_j| \le H

    with the extension's frequencies theta' and attention factor f in the objective, the spec's own
    on the grid. With l = u = 1, as by default, the feasible set is symmetric and this is also the
    largest |a'|. Trained scores far away are often large and negative, and a large positive one
    does the harm: l above u then asks what such a head can do. It bounds a', no longer |a'|.

    Parameters
    ----------
    spec : RopeSpec
        Its window L is the grid; L d at most 2**22, d at most 256.
    s : float
        Span in tokens, inside the window or outside it.
    max_coefficient : float
        H, above 0: at most 1e9, or ``math.inf`` for no limit (then L >= d is needed).
    extension : extension, optional
        Scheme the score is read with; by default the spec itself.
    trained : pair of float
        (-l, u), the limits of the trained scores: below 0 and above 0, from 1e-6 to 1e6 in size.

    Returns
    -------
    WorstCase. ``lower``: the returned h, every grid point and every |h_j| checked in ball
    arithmetic. ``upper``: from dual weights w, for which weak duality gives

    .. math:: u \sum_n w_n^+ + l \sum_n w_n^- + H \sum_j
              \Bigl|f^2 e^{i \theta'_j s} - \sum_n w_n e^{i \theta_j n}\Bigr|,

    evaluated in balls. Both hold whatever the solver did.

    Raises
    ------
    ValueError, TypeError
        Before any work, naming the argument: H not above 0, NaN, a window too long for memory, or
        shorter than d when H is infinite (the score is then unbounded); trained limits that do not
        lie on both sides of 0.

    Notes
    -----
    *Assumes* nothing about the head but the two limits. *Tight*: the maximum is attained; the two
    sides agree to about 1e-8 up to H = 10^4 and 1e-6 at 10^6. *Vacuous* outside the window for
    large H: the value tends to that of H = inf, 10^63 at twice the window for d = 128. With H d/2
    <= min(l, u) only |h_j| <= H binds and the value is f^2 H d/2. The value grows with l and with
    u; at l = u it is u times that of (-1, 1) at H / u. Above H = 10^6 the first call for a spec
    sets up a basis in high precision (seconds at d = 128) and keeps it. Frequencies enter exactly;
    those of a scheme without a closed form here, as the 106-bit numbers the scheme itself holds.

    Examples
    --------
    >>> spec = RopeSpec(16, 100.0, 64)
    >>> inside = worst_case_score(spec, 20.5, max_coefficient=1.0)
    >>> outside = worst_case_score(spec, 96.0, max_coefficient=1.0)
    >>> round(inside.value, 6), round(outside.value, 6), outside.gap < 1e-6
    (1.124638, 5.01841, True)
    >>> worst_case_score(spec, 96.0, max_coefficient=1 / 16).status
    'coefficients'

    With trained scores down to -4 instead of -1:

    >>> round(worst_case_score(spec, 96.0, max_coefficient=1.0, trained=(-4.0, 1.0)).value, 2)
    7.77

    A thousand heads within the limits stay below, and the returned one touches:

    >>> from pianalysis import attention_score
    >>> rng = np.random.default_rng(0)
    >>> h = rng.uniform(size=(1000, 8)) * np.exp(2j * np.pi * rng.uniform(size=(1000, 8)))
    >>> top = np.abs(attention_score(spec, h, np.arange(64.0))).max(axis=1, keepdims=True)
    >>> h /= np.maximum(top, 1.0)
    >>> bool(np.abs(attention_score(spec, h, 96.0)).max() <= outside.upper)
    True
    >>> bool(abs(attention_score(spec, outside.coefficients, 96.0) - outside.value) < 1e-12)
    True
    """
    span, max_coefficient, model, limits = _checked(spec, s, max_coefficient, extension, trained)
    both = solve(spec, Objective(model, span, contrast=False), max_coefficient, limits)
    return _record(spec, extension, "score", span, max_coefficient, limits, both)


def worst_case_contrast(
    spec: RopeSpec,
    s: float,
    *,
    max_coefficient: float,
    extension: Rotary | None = None,
    trained: tuple[float, float] = (-1.0, 1.0),
) -> WorstCase:
    r"""Return the largest a'(s+1) - a'(s) when -l <= a(n) <= u at n = 0..L-1 and |h_j| <= H.

    .. math::
        \max_h \; f^2\, \mathrm{Re} \sum_j h_j \bigl(e^{i \theta'_j} - 1\bigr) e^{i \theta'_j s}
        \quad\text{subject to}\quad
        -l \le \mathrm{Re} \sum_j h_j e^{i \theta_j n} \le u,\; |h_j| \le H

    The resolution a scheme leaves: how far the scores of neighbouring positions can lie apart for a
    head whose trained scores are moderate. Certified on both sides as :func:`worst_case_score`.

    Parameters
    ----------
    spec, s, max_coefficient, extension, trained
        As in :func:`worst_case_score`; the step is from span s to s + 1.

    Returns
    -------
    WorstCase, of quantity "contrast".

    Raises
    ------
    ValueError, TypeError
        As :func:`worst_case_score`; an extension under which no pair turns.

    Notes
    -----
    *Tight*: attained by the returned coefficients. Two grid points may differ by at most 2, but a
    score turns no faster than theta_0 = 1: Bernstein's inequality bounds the step by
    :math:`2 \sin(\theta'_0 / 2) \sup |a'|`, and far from both ends of the window
    :math:`\sup |a|` is at most 1/cos(1/2) = 1.14 (:func:`~.interpolation.grid_constant`): steps of
    0.96 to 1.09, and of 0.25 to 0.28 under PI at factor 4. At the ends the grid holds a score
    less. *Vacuous* outside the window for large H, as the score itself. At an integer span of the
    window and H = inf the two sides may stay "loose": two grid points alone then fix the dual.

    Examples
    --------
    >>> from pianalysis import PositionInterpolation
    >>> spec = RopeSpec(16, 100.0, 64)
    >>> pi = PositionInterpolation(spec, 256)
    >>> own = worst_case_contrast(spec, 20.0, max_coefficient=1.0)
    >>> scaled = worst_case_contrast(spec, 80.0, max_coefficient=1.0, extension=pi)
    >>> round(own.value, 6), round(scaled.value, 6), own.gap < 1e-6
    (0.961661, 0.260174, True)
    """
    span, max_coefficient, model, limits = _checked(spec, s, max_coefficient, extension, trained)
    if not np.any(model.frequencies):
        raise ValueError(f"extension must turn at least one pair, got {extension}")
    both = solve(spec, Objective(model, span, contrast=True), max_coefficient, limits)
    return _record(spec, extension, "contrast", span, max_coefficient, limits, both)


def _checked(
    spec: Any, s: Any, max_coefficient: Any, extension: Any, trained: Any
) -> tuple[float, float, Rotary, Trained]:
    check_spec(spec)
    reach = checks.LARGEST_SPAN
    span = checks.real("s", s, at_least=-reach, at_most=reach)
    if isinstance(max_coefficient, (float, np.floating)) and max_coefficient == math.inf:
        max_coefficient = math.inf
    else:
        try:
            max_coefficient = checks.real(
                "max_coefficient", max_coefficient, above=0.0, at_most=LARGEST_COEFFICIENT
            )
        except ValueError as error:
            raise ValueError(f"{error} (math.inf stands for no limit)") from None
    dim, window = spec.rotary_dim, spec.context_window
    if dim > LARGEST_DIM:
        raise ValueError(f"spec must have a rotary dimension of at most {LARGEST_DIM}, got {dim}")
    if window * dim > LARGEST_GRID:
        raise ValueError(
            f"context_window times rotary dimension must be at most {LARGEST_GRID} for the worst "
            f"case to fit in memory, got {window} * {dim}"
        )
    if math.isinf(max_coefficient) and window < dim:
        raise ValueError(
            f"context_window must be at least the rotary dimension {dim} when max_coefficient is "
            f"infinite, or the score is unbounded, got {window}"
        )
    return span, max_coefficient, check_extension(spec, extension), _checked_limits(trained)


def _checked_limits(trained: Any) -> Trained:
    rule = "trained must be a pair (-l, u) of trained scores' limits, below 0 and above 0"
    if not isinstance(trained, (tuple, list)) or len(trained) != 2:
        raise TypeError(f"{rule}, got {trained!r}")
    low = -checks.real("trained[0]", trained[0], at_least=-_WIDEST, at_most=-1.0 / _WIDEST)
    return -low, checks.real("trained[1]", trained[1], at_least=1.0 / _WIDEST, at_most=_WIDEST)


def holds(spec: RopeSpec) -> bool:
    """Whether the cone programme of a spec fits in memory."""
    dim = spec.rotary_dim
    return dim <= LARGEST_DIM and spec.context_window * dim <= LARGEST_GRID


def check_extension(spec: RopeSpec, extension: Any) -> Rotary:
    """Return the model a score is read with: ``extension``, one of ``spec``, or the spec itself."""
    model: Rotary = spec if extension is None else extension
    if not all(hasattr(model, n) for n in ("frequencies", "frequencies_tail", "attention_factor")):
        raise TypeError(f"extension must be an extension or a RopeSpec, got {extension!r}")
    if getattr(model, "spec", spec) != spec:
        raise ValueError(f"extension must be one of spec {spec}, got {extension}")
    if np.shape(model.frequencies) != (spec.pairs,):
        raise ValueError(f"extension must have {spec.pairs} frequencies, got {extension}")
    return model


def _record(
    spec: RopeSpec,
    extension: Any,
    quantity: str,
    span: float,
    max_coefficient: float,
    trained: Trained,
    both: BothSides,
) -> WorstCase:
    import flint

    with flint.ctx.workprec(max(both.bits, BITS)):
        ten = flint.arb(10).log()
        low, high = both.attained.log() / ten, both.bound.log() / ten
        gap = both.bound.upper() / both.attained.lower() - 1
    nodes = np.flatnonzero(both.weights)
    return WorstCase(
        spec=spec,
        extension=extension,
        quantity=quantity,
        span=span,
        max_coefficient=max_coefficient,
        trained=trained,
        status=both.status or ("optimal" if gap < _GAP else "loose"),
        certificate=both.certificate,
        bits=both.bits,
        rounds=both.rounds,
        value=float(both.attained.mid()),
        lower=min(downward(both.attained), float(np.finfo(float).max)),
        upper=upward(both.bound),
        log10_value=float(low.mid()),
        log10_lower=downward(low),
        log10_upper=upward(high),
        coefficients=np.array([complex(float(re.mid()), float(im.mid())) for re, im in both.h]),
        digits=both.digits,
        dual=DualWeights(nodes.astype(float), both.weights[nodes]),
    )
