r"""Fig. 2: least-squares fits of a(s) to noise on the grid, in four precisions, and their spread.

The paper fits the basis of Eq. 3 to one standard normal value at each integer of the window and
looks at the fit between and beyond the integers. The design matrix Phi (L rows; columns
:math:`\sin n\theta_j`, then :math:`\cos n\theta_j`) is so ill-conditioned that what one sees beyond
the window depends on the arithmetic. Exact arithmetic has a closed form:

.. math:: \mathrm{sd}\, a(s) = \sqrt{\phi(s)^T (\Phi^T \Phi)^{-1} \phi(s)}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pianalysis import _phases, _validate
from pianalysis._phases import exact_frequencies
from pianalysis._validate import ComplexArray, FloatArray
from pianalysis.records import Record
from pianalysis.rope import RopeSpec, check_spec

METHODS = ("normal_float32", "normal_float64", "svd")
LARGEST_DESIGN = 2**27  # entries: 1 GiB in float64
_MOST_BITS = 1 << 17


@dataclass(frozen=True, slots=True)
class FittedScore(Record):
    """A score fitted to values on the integers 0..L-1, evaluated in the precision it was fitted in.

    ``rank`` is the numerical rank that "svd" used, None for the other methods.
    """

    spec: RopeSpec
    method: str
    ridge: float
    rank: int | None
    coefficients: ComplexArray

    def score(self, s: Any) -> FloatArray:
        """Return the fitted a(s), float64; float32 fits are evaluated with float32 phases."""
        spans = _validate.spans(s)
        weights = np.concatenate([-self.coefficients.imag, self.coefficients.real])
        single = self.method == "normal_float32"
        out = np.empty(spans.size)
        flat = spans.ravel()
        for part in _phases.chunks(flat.size, self.spec.rotary_dim):
            rows = (
                _design_float32(self.spec, flat[part]) if single else _design(self.spec, flat[part])
            )
            out[part] = rows @ weights.astype(rows.dtype)
        return out.reshape(spans.shape)


def _design(spec: RopeSpec, spans: FloatArray) -> FloatArray:
    turns = _phases.rotations(spec, spans)
    return np.concatenate([turns.imag, turns.real], axis=1)


def _design_float32(spec: RopeSpec, spans: FloatArray) -> npt.NDArray[np.float32]:
    """Design matrix as float32 code makes it: frequencies, phases, sines all in float32."""
    import torch

    exponent = 2 * torch.arange(spec.pairs, dtype=torch.float32) / spec.rotary_dim
    frequencies = 1.0 / spec.base**exponent
    angle = torch.outer(torch.as_tensor(spans, dtype=torch.float32), frequencies)
    rows: npt.NDArray[np.float32] = torch.cat([angle.sin(), angle.cos()], dim=1).numpy()
    return rows


def fit_score(
    spec: RopeSpec, values: Any, *, method: str = "normal_float32", ridge: float = 0.0
) -> FittedScore:
    r"""Fit a(n) to ``values`` at the integers n = 0..L-1 by least squares (Fig. 2, App. C.1).

    Minimises :math:`\sum_n (a(n) - y_n)^2 + \lambda \sum_j |h_j|^2`.

    Parameters
    ----------
    spec : RopeSpec
        Its context window L is the number of values.
    values : array (L,)
    method : {"normal_float32", "normal_float64", "svd"}
        Normal equations in torch float32 (the paper's way), in float64, or singular values in
        float64 (LAPACK's default cut at machine precision, the best float64 can do).
    ridge : float
        lambda >= 0, added to the diagonal of the normal matrix.

    Raises
    ------
    ValueError, TypeError
        Wrong number of values, more columns than rows, a window beyond memory, unknown method,
        negative ridge, or a normal matrix that the chosen precision finds singular.

    Notes
    -----
    Without ridge none of the three is the exact minimiser once the design is numerically rank
    deficient; see :func:`exact_fit_spread` for what exact arithmetic gives.

    Examples
    --------
    >>> spec = RopeSpec(16, 100.0, 64)
    >>> noise = np.random.default_rng(0).standard_normal(64)
    >>> fit = fit_score(spec, noise, method="svd")
    >>> bool(np.abs(fit.score(np.arange(64))).max() < 3)
    True
    """
    _check_design(spec)
    _validate.choice("method", method, METHODS)
    ridge = _validate.real("ridge", ridge, at_least=0.0)
    if spec.context_window * spec.rotary_dim > LARGEST_DESIGN:
        raise ValueError(
            f"context_window times rotary dimension must be at most {LARGEST_DESIGN} for a fit, "
            f"got {spec.context_window} * {spec.rotary_dim}"
        )
    y = _validate.array("values", values)
    if y.shape != (spec.context_window,):
        raise ValueError(
            f"values must have shape ({spec.context_window},), one a token of the window, "
            f"got {y.shape}"
        )
    grid = np.arange(spec.context_window, dtype=float)
    rank = None
    x: npt.NDArray[np.floating[Any]]
    try:
        if method == "normal_float32":
            x = _solve_float32(_design_float32(spec, grid), y, ridge)
        elif method == "normal_float64":
            x = _solve_float64(_design(spec, grid), y, ridge)
        else:
            x, rank = _solve_svd(_design(spec, grid), y, ridge)
    except (np.linalg.LinAlgError, RuntimeError) as error:
        raise ValueError(
            f"ridge must be large enough for {method} to solve the normal equations, "
            f"got {ridge:g}: {error}"
        ) from None
    sine, cosine = np.split(x.astype(float), 2)
    return FittedScore(spec, method, ridge, rank, cosine - 1j * sine)


def _check_design(spec: Any) -> None:
    check_spec(spec)
    if spec.context_window < spec.rotary_dim:
        raise ValueError(
            f"context_window must be at least the rotary dimension {spec.rotary_dim} for a unique "
            f"least-squares fit, got {spec.context_window}"
        )


def _solve_float32(
    design: npt.NDArray[np.float32], y: FloatArray, ridge: float
) -> npt.NDArray[np.float32]:
    import torch

    # One thread: the order of float32 sums decides the digits, and they are to be repeatable.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = torch.from_numpy(design)
        normal = rows.T @ rows + ridge * torch.eye(rows.shape[1])
        target = rows.T @ torch.as_tensor(y, dtype=torch.float32)
        solution: npt.NDArray[np.float32] = torch.linalg.solve(normal, target).numpy()
    finally:
        torch.set_num_threads(threads)
    return solution


def _solve_float64(design: FloatArray, y: FloatArray, ridge: float) -> FloatArray:
    normal = design.T @ design + ridge * np.eye(design.shape[1])
    return np.asarray(np.linalg.solve(normal, design.T @ y))


def _solve_svd(design: FloatArray, y: FloatArray, ridge: float) -> tuple[FloatArray, int]:
    left, singular, right = np.linalg.svd(design, full_matrices=False)
    kept = singular > singular[0] * np.finfo(float).eps * max(design.shape)
    filtered = np.where(kept, singular / (singular**2 + ridge), 0.0)
    return right.T @ (filtered * (left.T @ y)), int(kept.sum())


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
    spans = np.atleast_1d(_validate.spans(s)).ravel()
    relative_radius = _validate.real(
        "relative_radius", relative_radius, at_least=1e-15, at_most=0.1
    )
    bits = 256
    while bits <= _MOST_BITS:
        found = _spread_at(spec, spans, bits, relative_radius)
        if found is not None:
            return ExactFitSpread(spec, bits, spans, *found)
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
    >>> found = design_condition(RopeSpec(16, 100.0, 64))
    >>> bool(found.log10_lower < found.log10_upper < found.log10_lower + 1)
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
