r"""Counts on a fixed grid of values, so that quantiles over any number of layers need no values.

Cell k holds x with asinh(x / 0.01) within 0.02 of k: 2% of |x| wide, or 0.0002 where x is small.
"""

from __future__ import annotations

import numpy as np

from pianalysis.arrays import FloatArray, IntArray

FLOOR, STEP = 0.01, 0.02
_HALF = 1000  # up to 0.005 e^20, 2.4 million; values beyond fall into the outermost cells
CELLS = 2 * _HALF + 1
RESOLUTION = f"{STEP:.0%} of the value, or {FLOOR * STEP:g} where that is larger"


def counts(values: FloatArray) -> IntArray:
    """Return how many of the values lie in each cell: (n, columns) -> (columns, CELLS)."""
    cell = np.rint(np.arcsinh(values / FLOOR) / STEP).clip(-_HALF, _HALF).astype(np.int64) + _HALF
    columns = values.shape[1]
    flat = np.bincount((cell + CELLS * np.arange(columns)).ravel(), minlength=columns * CELLS)
    return flat.reshape(columns, CELLS)


def quantiles(count: IntArray, levels: tuple[float, ...]) -> FloatArray:
    """Return the quantiles of each row of counts, (rows, levels), linear inside a cell."""
    edges = FLOOR * np.sinh((np.arange(CELLS + 1) - _HALF - 0.5) * STEP)
    out = np.empty((len(count), len(levels)))
    for row, number in zip(out, count, strict=True):
        below = np.concatenate([[0.0], np.cumsum(number)])
        wanted = np.array(levels) * below[-1]
        cell = np.searchsorted(below, wanted, side="left").clip(1, CELLS) - 1
        share = (wanted - below[cell]) / np.maximum(number[cell], 1)
        row[:] = edges[cell] + share * (edges[cell + 1] - edges[cell])
    return out
