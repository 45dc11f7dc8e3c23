r"""The grid and the limits on the coefficients in float64 coordinates that suit both.

Centred on the grid n = 0..L-1 the scores fall into two blocks by parity, cosines and sines. The
singular vectors V of each block of the design matrix (columns scaled by H_j / H, H the largest
limit) make the Gram matrix of the grid and the limits |h_j| <= H_j diagonal at once:

.. math:: h_j = H_j / H \, (V x)_j, \qquad
          \sum_n a(n)^2 = \sum_k \sigma_k^2 x_k^2, \qquad
          \sum_j |h_j|^2 / H_j^2 = \sum_k x_k^2 / H^2 .

Singular values come from the design matrix itself, never from its Gram matrix, so that they are
right to 1e-16 of the largest: the rounding is that of a grid whose entries are off by 1e-15, which
moves a score by at most 1e-15 H d. That holds up to H = 1e6; beyond it
:mod:`~pianalysis.bounds.worst_case.basis` has the same coordinates to hundreds of bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from pianalysis.arrays import ComplexArray, FloatArray
from pianalysis.bounds.worst_case.basis import GridBasis
from pianalysis.rope import phases
from pianalysis.rope.spec import RopeSpec

_NEGLIGIBLE = 1e-14  # weights that float64 loses beside the largest
LARGEST_FLOAT64 = 1e6  # the largest H for which these coordinates are used by the solver


@dataclass(frozen=True, slots=True, eq=False)
class GridCoordinates:
    """Singular values (2, d/2) and vectors (2, d/2, d/2) of cosines and sines on the grid."""

    spec: RopeSpec
    shape: FloatArray
    norms: FloatArray
    mixing: FloatArray

    def project(self, terms: ComplexArray) -> FloatArray:
        """Return V^T c, (..., 2, d/2), of objectives c (..., d/2) turned to the grid's centre."""
        scaled = terms * self.shape
        parts = scaled.real @ self.mixing[0], scaled.imag @ self.mixing[1]
        return np.stack(parts, axis=-2)


@lru_cache(maxsize=8)
def grid_coordinates(spec: RopeSpec, shape: tuple[float, ...] | None = None) -> GridCoordinates:
    """Return the coordinates for limits H_j = H shape_j; a fraction of a second, kept."""
    scales = np.ones(spec.pairs) if shape is None else np.array(shape)
    factors: list[FloatArray] = [np.empty((0, spec.pairs))] * 2
    half = _half(spec.context_window)
    for part in phases.chunks(half, spec.pairs):
        rows = np.arange(half, dtype=np.float64)[part]
        # A row of the first half stands for itself and its mirror image; the middle for itself.
        twice = np.where(2 * rows == spec.context_window - 1, 1.0, math.sqrt(2.0))
        waves = phases.rotations(spec, rows - _center(spec)) * scales * twice[:, None]
        for parity, block in enumerate((waves.real, waves.imag)):
            stacked = np.concatenate([factors[parity], block])
            factors[parity] = np.asarray(np.linalg.qr(stacked, mode="r"), dtype=np.float64)
    norms, mixing = np.zeros((2, spec.pairs)), np.empty((2, spec.pairs, spec.pairs))
    for parity, factor in enumerate(factors):
        _, sizes, vectors = np.linalg.svd(factor, full_matrices=True)
        norms[parity, : sizes.size], mixing[parity] = sizes, vectors.T
    return GridCoordinates(spec, scales, norms, mixing)


def centered_terms(spec: RopeSpec, model: phases.Rotary, spans: FloatArray) -> ComplexArray:
    """Return f^2 e^{i theta'_j s} e^{-i theta_j (L-1)/2}, (..., d/2), in float64."""
    turned: ComplexArray = phases.rotations(model, spans) * np.conj(
        phases.rotations(spec, np.array(_center(spec)))
    )
    return turned * float(model.attention_factor) ** 2


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """Every limit as a linear form of coordinates t of order one: grid rows and coefficients.

    ``even`` and ``odd`` (ceil(L/2), d/2): the first half of the grid's rows; a row n and its mirror
    image L - 1 - n are even + odd and even - odd. ``discs`` (2, d/2, d/2): Re and -Im of h_j / H_j,
    None where no limit is set. ``scale`` (2, d/2): x = scale t.
    """

    window: int
    even: Any
    odd: Any
    discs: FloatArray | None
    scale: FloatArray

    def scores(self, t: FloatArray) -> FloatArray:
        """Return a(n), (2, ceil(L/2)): rows 0, 1, ... and rows L-1, L-2, ..."""
        even, odd = self.even @ t[0], self.odd @ t[1]
        return np.array([even + odd, even - odd])

    def combined(self, weights: FloatArray) -> FloatArray:
        """Return sum_n w_n a(n) as a form of t, for weights laid out as the scores."""
        return np.array(
            [(weights[0] + weights[1]) @ self.even, (weights[0] - weights[1]) @ self.odd]
        )

    def coefficients(self, t: FloatArray) -> FloatArray:
        """Return h_j / H_j, (2, d/2): real part and minus the imaginary one."""
        assert self.discs is not None
        return np.array([self.discs[0] @ t[0], self.discs[1] @ t[1]])

    def gathered(self, forces: FloatArray) -> FloatArray:
        """Return the sum of forces (2, d/2) on the coefficients as a form of t."""
        assert self.discs is not None
        return np.array([forces[0] @ self.discs[0], forces[1] @ self.discs[1]])

    def gram(self, weights: FloatArray, metric: FloatArray) -> FloatArray:
        """Return sum_n y_n a(n) a(n)^T + the coefficients' (Re^2, Im^2, Re Im) weights, (d, d).

        The lower triangle alone; ``metric`` (3, d/2).
        """
        pairs = self.scale.shape[1]
        both, skew = weights[0] + weights[1], weights[0] - weights[1]
        even, odd = self.even, self.odd
        seen = both > _NEGLIGIBLE * both.max()
        if 4 * np.count_nonzero(seen) < 3 * both.size:
            even, odd, both, skew = even[seen], odd[seen], both[seen], skew[seen]
        skew = skew.astype(even.dtype)[:, None]
        root = np.sqrt(both).astype(even.dtype)[:, None]
        out = np.empty((2 * pairs, 2 * pairs))
        rooted = even * root
        out[:pairs, :pairs] = rooted.T @ rooted
        rooted = odd * root
        out[pairs:, pairs:] = rooted.T @ rooted
        out[pairs:, :pairs] = (odd * skew).T @ even
        if self.discs is not None:
            real, imaginary = self.discs
            out[:pairs, :pairs] += (real * metric[0][:, None]).T @ real
            out[pairs:, pairs:] += (imaginary * metric[1][:, None]).T @ imaginary
            if np.any(metric[2]):
                out[pairs:, :pairs] += (imaginary * metric[2][:, None]).T @ real
        return out

    def rough(self) -> System:
        """Return the same with rows in float32: their Gram matrix takes half the time."""
        even, odd = self.even.astype(np.float32), self.odd.astype(np.float32)
        return replace(self, even=even, odd=odd)

    def on_grid(self, weights: FloatArray) -> FloatArray:
        """Return weights laid out as the scores in the order of the grid, (L,)."""
        half = weights.shape[1]
        out = np.zeros(self.window)
        out[:half] = weights[0]
        out[::-1][:half] += weights[1]
        return out


def float_system(coordinates: GridCoordinates, largest: float) -> System:
    """Return |a(n)| and |h_j| <= H_j = H shape_j, H = ``largest``, as rows of order one."""
    spec = coordinates.spec
    scale = _scale(coordinates.norms, spec, largest)
    even, odd = _functions(spec, tuple(coordinates.shape.tolist()))
    return System(
        spec.context_window,
        even * scale[0],
        odd * scale[1],
        coordinates.mixing * (scale / largest)[:, None, :],
        scale,
    )


def exact_system(basis: GridBasis, largest: float) -> System:
    """Return the same from the basis in high precision; H = inf leaves the coefficients free."""
    spec = basis.spec
    pairs, half = spec.pairs, _half(spec.context_window)
    norms = basis.norms.reshape(2, pairs)
    functions = basis.functions[:half].reshape(half, 2, pairs)
    if math.isinf(largest):
        size, scale = np.full((2, pairs), math.sqrt(spec.context_window)), np.ones((2, pairs))
    else:
        scale = _scale(norms, spec, largest)
        size = norms * scale
    discs = None
    if math.isfinite(largest):
        discs = np.stack(basis.mixing_float) * (scale / largest)[:, None, :]
    return System(
        spec.context_window,
        np.ascontiguousarray(functions[:, 0] * size[0]),
        np.ascontiguousarray(functions[:, 1] * size[1]),
        discs,
        scale,
    )


def _scale(norms: FloatArray, spec: RopeSpec, largest: float) -> FloatArray:
    """Return D_k: by it each coordinate is held to about one, by the grid or by the limits."""
    out: FloatArray = 1.0 / np.hypot(
        norms / math.sqrt(spec.context_window), 1.0 / (largest * math.sqrt(spec.pairs))
    )
    return out


@lru_cache(maxsize=4)
def _functions(spec: RopeSpec, shape: tuple[float, ...]) -> tuple[FloatArray, FloatArray]:
    coordinates = grid_coordinates(spec, None if set(shape) == {1.0} else shape)
    half = _half(spec.context_window)
    even, odd = np.empty((half, spec.pairs)), np.empty((half, spec.pairs))
    for part in phases.chunks(half, spec.pairs):
        waves = phases.rotations(spec, np.arange(half, dtype=np.float64)[part] - _center(spec))
        waves = waves * coordinates.shape
        even[part] = waves.real @ coordinates.mixing[0]
        odd[part] = waves.imag @ coordinates.mixing[1]
    return even, odd


def _half(window: int) -> int:
    return -(-window // 2)


def _center(spec: RopeSpec) -> float:
    return (spec.context_window - 1) / 2.0
