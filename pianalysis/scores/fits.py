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

from pianalysis import checks
from pianalysis.arrays import ComplexArray, FloatArray
from pianalysis.records import Record
from pianalysis.rope import phases
from pianalysis.rope.spec import RopeSpec, check_spec

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
        spans = checks.spans(s)
        weights = np.concatenate([-self.coefficients.imag, self.coefficients.real])
        single = self.method == "normal_float32"
        out = np.empty(spans.size)
        flat = spans.ravel()
        for part in phases.chunks(flat.size, self.spec.rotary_dim):
            rows = (
                _design_float32(self.spec, flat[part]) if single else _design(self.spec, flat[part])
            )
            out[part] = rows @ weights.astype(rows.dtype)
        return out.reshape(spans.shape)


def _design(spec: RopeSpec, spans: FloatArray) -> FloatArray:
    turns = phases.rotations(spec, spans)
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
        negative ridge, a normal matrix that the chosen precision finds singular, or values that
        overflow it.

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
    checks.choice("method", method, METHODS)
    ridge = checks.real("ridge", ridge, at_least=0.0)
    if spec.context_window * spec.rotary_dim > LARGEST_DESIGN:
        raise ValueError(
            f"context_window times rotary dimension must be at most {LARGEST_DESIGN} for a fit, "
            f"got {spec.context_window} * {spec.rotary_dim}"
        )
    y = checks.array("values", values)
    if y.shape != (spec.context_window,):
        raise ValueError(
            f"values must have shape ({spec.context_window},), one a token of the window, "
            f"got {y.shape}"
        )
    grid = np.arange(spec.context_window, dtype=float)
    rank = None
    x: npt.NDArray[np.floating[Any]]
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # said below
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
    if not np.isfinite(x).all():
        raise ValueError(
            f"values must be small enough for {method} to fit them without overflow, "
            f"got one of size {np.abs(y).max():g}"
        )
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
