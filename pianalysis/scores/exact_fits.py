"""Fig. 2's least squares in exact arithmetic: the spread of the fit, its design's condition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.records import Record
from pianalysis.rope.balls import exact_frequencies
from pianalysis.rope.spec import RopeSpec
from pianalysis.scores.fits import _MOST_BITS, _check_design


@dataclass(frozen=True, slots=True)
class ExactFitSpread(Record):
    """log10 of the standard deviation of the exact fit at each span, with a certified radius."""

    spec: RopeSpec
    bits: int
    span: FloatArray
    log10: FloatArray
    log10_radius: FloatArray


def exact_fit_spread(spec: RopeSpec, s: Any, *, relative_radius: float = 1e-12) -> ExactFitSpread:
    r"""Return log10 sd a(s) of the exact least-squares fit to unit noise on 0..L-1.

    .. math:: \mathrm{sd}\, a(s) = \sqrt{\phi(s)^T (\Phi^T \Phi)^{-1} \phi(s)}

    Computed in ball arithmetic (Arb, through python-flint), at any span: ``10**log10`` is the
    factor by which the fit of Fig. 2 amplifies the noise it was fitted to.

    Parameters
    ----------
    spec : RopeSpec
        With context_window >= rotary dimension; base and spans enter as the exact float64 numbers.
    s : float or array
        Spans in tokens.
    relative_radius : float
        The precision is doubled until every standard deviation is known to this relative radius.

    Returns
    -------
    ExactFitSpread with ``log10`` and ``log10_radius`` of shape (n,) and the ``bits`` used. The
    true value lies within the radius: rounding of the printed float64 is included.

    Raises
    ------
    ValueError, TypeError
        Window shorter than the rotary dimension; non-finite spans.

    Notes
    -----
    The fit does not change when the grid is shifted to its centre, where cosines and sines are
    orthogonal by parity; the normal matrix then falls into two blocks whose entries are Dirichlet
    kernels :math:`D(x) = \sin(Lx/2)/\sin(x/2)` in closed form.

    Examples
    --------
    >>> spread = exact_fit_spread(RopeSpec(16, 100.0, 64), [0.5, 128.0])
    >>> spread.log10.round(6), bool((spread.log10_radius < 1e-9).all())
    (array([-0.19007,  5.00449]), True)
    """
    _check_design(spec)
    spans = np.atleast_1d(checks.spans(s)).ravel()
    relative_radius = checks.real("relative_radius", relative_radius, at_least=1e-15, at_most=0.1)
    bits = 256
    while bits <= _MOST_BITS:
        spread = _spread_at(spec, spans, bits, relative_radius)
        if spread is not None:
            return ExactFitSpread(spec, bits, spans, *spread)
        bits *= 2
    raise ValueError(
        f"spec must need at most {_MOST_BITS} bits for an enclosure, got {spec}: "
        "its frequencies are too close for the window"
    )


def _spread_at(
    spec: RopeSpec, spans: FloatArray, bits: int, relative_radius: float
) -> tuple[FloatArray, FloatArray] | None:
    """Return (log10, radius) when ``bits`` suffice, else None."""
    import flint

    with flint.ctx.workprec(bits):
        theta = exact_frequencies(spec)
        center = flint.arb(spec.context_window - 1) / 2
        shifted = [flint.arb(float(x)) - center for x in spans]
        blocks = normal_blocks(theta, spec.context_window)
        variance = [flint.arb(0)] * len(shifted)
        for block, wave in zip(blocks, (flint.arb.cos, flint.arb.sin), strict=True):
            right = flint.arb_mat([[wave(x * t) for x in shifted] for t in theta])
            try:
                solved = block.solve(right)
            except ZeroDivisionError:
                return None
            for column in range(len(shifted)):
                for row in range(len(theta)):
                    variance[column] += right[row, column] * solved[row, column]
        logs, radii = [], []
        for value in variance:
            # A span where every basis function vanishes cannot occur: cos^2 + sin^2 = 1.
            if not value > 0 or value.rad() > 2 * relative_radius * value.mid():
                return None
            log = value.log() / (2 * flint.arb(10).log())
            nearest = float(log.mid())
            logs.append(nearest)
            radii.append(np.nextafter(float(abs(log - nearest).upper()), np.inf))
    return np.array(logs), np.array(radii)


def normal_blocks(theta: list[Any], window: int) -> tuple[Any, Any]:
    """Return the cosine and the sine block of Phi^T Phi on the centred grid, as Arb matrices."""
    import flint

    def dirichlet(x: Any) -> Any:
        return (window * x / 2).sin() / (x / 2).sin()

    n = len(theta)
    minus, plus = flint.arb_mat(n, n), flint.arb_mat(n, n)
    for i in range(n):
        for j in range(i + 1):
            difference = flint.arb(window) if i == j else dirichlet(theta[i] - theta[j])
            total = dirichlet(theta[i] + theta[j])
            plus[i, j] = plus[j, i] = (difference + total) / 2
            minus[i, j] = minus[j, i] = (difference - total) / 2
    return plus, minus


@dataclass(frozen=True, slots=True)
class DesignCondition(Record):
    """log10 of the condition number of the design matrix, between certified limits."""

    spec: RopeSpec
    bits: int
    log10_lower: float
    log10_upper: float


def design_condition(spec: RopeSpec) -> DesignCondition:
    r"""Enclose log10 of cond(Phi) = sigma_max / sigma_min of the design matrix of Fig. 2.

    With G = Phi^T Phi: :math:`\mathrm{tr} G^2 / \mathrm{tr} G \le \sigma_{max}^2 \le
    \sqrt{\mathrm{tr} G^2}`, and the same for the inverse. Ball arithmetic; float64 sees nothing
    beyond 1e16.

    Examples
    --------
    >>> condition = design_condition(RopeSpec(16, 100.0, 64))
    >>> bool(condition.log10_lower < condition.log10_upper < condition.log10_lower + 1)
    True
    """
    import flint

    _check_design(spec)
    bits = 256
    while bits <= _MOST_BITS:
        with flint.ctx.workprec(bits):
            blocks = normal_blocks(exact_frequencies(spec), spec.context_window)
            try:
                inverses = [block.inv() for block in blocks]
            except ZeroDivisionError:
                inverses = []
            if inverses:
                largest, smallest = _top_eigenvalue(blocks), _top_eigenvalue(inverses)
                low, high = largest[0] * smallest[0], largest[1] * smallest[1]
                if low.rel_accuracy_bits() > 30 and high.rel_accuracy_bits() > 30:
                    scale = 2 * flint.arb(10).log()
                    lower, upper = (low.log() / scale).lower(), (high.log() / scale).upper()
                    return DesignCondition(
                        spec,
                        bits,
                        float(np.nextafter(float(lower), -np.inf)),
                        float(np.nextafter(float(upper), np.inf)),
                    )
        bits *= 2
    raise ValueError(f"spec must need at most {_MOST_BITS} bits for an enclosure, got {spec}")


def _top_eigenvalue(blocks: Any) -> tuple[Any, Any]:
    """Enclose the largest eigenvalue of a positive definite block-diagonal Arb matrix."""
    import flint

    trace, square = flint.arb(0), flint.arb(0)
    for block in blocks:
        size = block.nrows()
        for i in range(size):
            trace += block[i, i]
            for j in range(size):
                square += block[i, j] ** 2
    return square / trace, square.sqrt()
