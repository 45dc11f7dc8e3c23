r"""A basis of the scores on the grid, in which the worst case is well-conditioned.

On the grid n = 0..L-1 the d functions cos(theta_j n), sin(theta_j n) are dependent to 10^-125 for
d = 128, L = 2048, so no float64 solver can work with them. Centred on the grid they fall into two
blocks by parity; the eigenvectors V of the blocks of the Gram matrix, computed to hundreds of
bits, are orthogonal both as coefficients and as functions on the grid, of norm sigma_k there. With
coefficients V D t and

.. math:: D_k^{-2} = \sigma_k^2 / L + 1 / (H^2 d / 2)

each coordinate t_k is limited to about one by the grid or by |h_j| <= H, whichever binds it, and
every entry of the programme is of order one at most, for every H.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.rope.balls import exact_frequencies
from pianalysis.rope.spec import RopeSpec
from pianalysis.scores.exact_fits import normal_blocks

_MOST_BITS = 1 << 14
_GUARD_BITS = 96
_LEAST_BITS = 384
_ROWS = 512  # grid points whose basis functions are held in high precision at a time


@dataclass(frozen=True, slots=True, eq=False)
class GridBasis:
    """Functions orthonormal on the grid, even ones first, by falling norm within each parity.

    ``functions`` (L, d); ``norms`` their grid norms before normalisation, ``exact_norms`` the same
    as Arb numbers; ``mixing`` the two blocks of V as Arb matrices, ``mixing_float`` rounded.
    """

    spec: RopeSpec
    bits: int
    functions: FloatArray
    norms: FloatArray
    exact_norms: tuple[Any, ...]
    mixing: tuple[Any, Any]
    mixing_float: tuple[FloatArray, FloatArray]

    def project(self, target: list[Any]) -> list[Any]:
        """Return V^T c as Arb numbers; ``target`` holds the c_j turned to the grid's centre."""
        import flint

        even = flint.arb_mat([[z.real for z in target]]) * self.mixing[0]
        odd = flint.arb_mat([[z.imag for z in target]]) * self.mixing[1]
        return [*even.entries(), *odd.entries()]


@lru_cache(maxsize=4)
def grid_basis(spec: RopeSpec) -> GridBasis:
    """Return the basis for one specification; seconds of work, kept for the next call."""
    import flint

    window, pairs = spec.context_window, spec.pairs
    bits = _bits_needed(spec)
    half = -(-window // 2)
    functions = np.empty((window, 2 * pairs))
    norms: list[Any] = []
    mixing = []
    for parity, wave in enumerate((flint.arb.cos, flint.arb.sin)):
        with flint.ctx.workprec(bits):
            theta = exact_frequencies(spec)
            vectors, values = _eigenvectors(normal_blocks(theta, window)[parity])
            floor = flint.arb(2) ** -(bits // 2 - 32)  # below it: the null space of a short window
            sizes = [max(max(value, flint.arb(0)).sqrt(), floor).mid() for value in values]
        columns = slice(parity * pairs, (parity + 1) * pairs)
        with flint.ctx.workprec(bits // 2 + 64):  # the square root of the Gram matrix's range
            center = flint.arb(window - 1) / 2
            for start in range(0, half, _ROWS):
                rows = range(start, min(half, start + _ROWS))
                table = flint.arb_mat([[wave((n - center) * t) for t in theta] for n in rows])
                functions[rows.start : rows.stop, columns] = [
                    [float((x / y).mid()) for x, y in zip(row, sizes, strict=True)]
                    for row in (table * vectors).tolist()
                ]
        mirrored = functions[: window // 2, columns][::-1]
        functions[half:, columns] = -mirrored if parity else mirrored
        norms += sizes
        mixing.append(vectors)
    functions.flags.writeable = False
    floats = tuple(np.array([[float(x) for x in row] for row in m.tolist()]) for m in mixing)
    return GridBasis(
        spec,
        bits,
        functions,
        np.array([float(x) for x in norms]),
        tuple(norms),
        (mixing[0], mixing[1]),
        (floats[0], floats[1]),
    )


def _bits_needed(spec: RopeSpec) -> int:
    """Return bits that resolve the smallest eigenvalue of the Gram matrix with room to spare."""
    import flint

    if spec.context_window < spec.rotary_dim:
        return _LEAST_BITS  # singular: its null space is held by |h_j| <= H alone
    bits = 256
    while bits <= _MOST_BITS:
        with flint.ctx.workprec(bits):
            try:
                inverses = [
                    block.inv()
                    for block in normal_blocks(exact_frequencies(spec), spec.context_window)
                ]
            except ZeroDivisionError:
                inverses = []
            if inverses:
                largest = max(
                    abs(inverse[i, i]).upper() for inverse in inverses for i in range(spec.pairs)
                )
                condition = float((largest * spec.context_window * spec.pairs).log()) / math.log(2)
                return max(_LEAST_BITS, int(condition) + _GUARD_BITS)
        bits *= 2
    raise ValueError(
        f"spec must need at most {_MOST_BITS} bits for a basis on its grid, got {spec}: "
        "its frequencies are too close for the window"
    )


def _eigenvectors(block: Any) -> tuple[Any, list[Any]]:
    """Return orthonormal eigenvectors (columns) and eigenvalues, largest first, approximately."""
    import flint

    size = block.nrows()
    values, right = flint.acb_mat(block.mid()).eig(right=True, algorithm="approx")
    order = sorted(range(size), key=lambda k: values[k].real.mid(), reverse=True)
    columns = []
    for k in order:
        column = [right[i, k].real.mid() for i in range(size)]
        length = sum((x * x for x in column), flint.arb(0)).sqrt()
        columns.append([(x / length).mid() for x in column])
    vectors = flint.arb_mat(columns).transpose()
    return vectors, [values[k].real.mid() for k in order]
