r"""Sweeps: the extremes of many scores over every integer span, and softmax sums of a text."""

from __future__ import annotations

from typing import Any

import numpy as np

from pianalysis.arrays import ComplexArray, FloatArray, IntArray
from pianalysis.rope import phases
from pianalysis.rope.spec import RopeSpec
from pianalysis.scores.threads import spread

# Spans are told apart by where they lie in multiples of the window L: [0, L), [L, 2L), and so on.
RANGES = ((0, 1), (1, 2), (2, 4), (4, 8))
_BLOCK = 512  # spans of one block: the two tables of half as many offsets stay in a core's cache
_KEYS = 512  # keys of one block
_TASK = 64  # rows one thread takes at a time


def score_extremes(spec: RopeSpec, h: ComplexArray) -> tuple[FloatArray, FloatArray]:
    r"""Return max and min of a(s) over the integers of each range, (rows, ranges) each.

    h is (rows, d/2). float64 throughout: within about d eps sum|h_j| of the true extremes. Each
    row is computed alone and in one order, whatever the number of threads.
    """
    from pianalysis.scores import kernels

    window = spec.context_window
    width = min(_BLOCK, window // 2 * 2)
    centres: list[float] = []
    group: list[int] = []
    for index, (first, last) in enumerate(RANGES):
        starts = list(range(first * window, last * window - width, width))
        starts.append(last * window - width)  # may overlap: the extremes do not mind
        centres += [start + (width - 1) / 2 for start in starts]
        group += [index] * len(starts)
    turn = _fours(phases.rotations(spec, np.array(centres, dtype=np.float64)), axis=1)
    offsets = _fours(phases.rotations(spec, np.arange(0.5, width // 2)).T, axis=0)
    padded = _fours(_fours(h, axis=0), axis=1)
    high = np.full((len(padded), len(RANGES)), -np.inf)
    low = np.full_like(high, np.inf)
    fixed = (*_split(turn), np.array(group), *_split(offsets))
    re, im = _split(padded)
    spread(
        lambda part: kernels.score_extremes(high[part], low[part], re[part], im[part], *fixed),
        len(padded),
        _TASK,
    )
    return high[: len(h)], low[: len(h)]


def scores(spec: RopeSpec, h: ComplexArray, spans: FloatArray) -> FloatArray:
    """Return a(s), (rows, spans): as ``attention_score``, on every core and by the same kernel."""
    from pianalysis.scores import kernels

    # Re(h e^{i phase}) is the real product of h and the conjugate turn.
    basis = np.ascontiguousarray(_fours(_real(phases.rotations(spec, -spans)), axis=1).T)
    rows = _fours(_fours(_real(h), axis=0), axis=1)
    out = np.empty((len(rows), spans.size))
    spread(lambda part: kernels.products(out[part], rows[part], basis), len(rows), _TASK)
    return out[: len(h)]


def causal_log_sums(
    spec: RopeSpec, queries: ComplexArray, keys: ComplexArray, softcap: float | None
) -> FloatArray:
    """Return log sum_{n <= m} exp(logit(m, n)) for each query position m, (tokens,).

    Queries (tokens, d/2), already times the scaling, and keys (tokens, d/2), before rotation.
    """
    from pianalysis.scores import kernels

    tokens = len(queries)
    turn = phases.rotations(spec, np.arange(float(tokens)))
    rows = _fours(_fours(_real(queries * turn), axis=0), axis=1)
    columns = _fours(_real(keys * turn), axis=1)
    blocks = -(-len(rows) // _KEYS)
    columns = np.pad(columns, [(0, blocks * _KEYS - tokens), (0, 0)])
    columns = np.ascontiguousarray(columns.reshape(blocks, _KEYS, -1).transpose(0, 2, 1))
    out = np.empty(len(rows))
    cap = 0.0 if softcap is None else softcap
    spread(
        lambda part: kernels.causal_log_sums(out[part], rows[part], part.start, columns, cap),
        len(rows),
        _TASK,
    )
    return out[:tokens]


def largest_reaches(
    queries: ComplexArray, keys: ComplexArray, bend: FloatArray, limit: float
) -> tuple[FloatArray, IntArray, IntArray]:
    r"""Return, for each query, the largest sum_j b_j |h_j| / max_j |h_j| over its causal keys.

    With it the key that attains it, and how many keys exceed the limit; (tokens,) each.
    """
    from pianalysis.scores import kernels

    reach = np.zeros(len(queries))
    at, above = np.zeros(len(queries), np.int64), np.zeros(len(queries), np.int64)
    rows, columns = np.abs(queries), np.ascontiguousarray(np.abs(keys).T)

    def run(part: slice) -> None:
        kernels.largest_reaches(
            reach[part], at[part], above[part], rows[part], part.start, columns, bend, limit
        )

    spread(run, len(queries), _TASK)
    return reach, at, above


def _fours(array: Any, axis: int) -> Any:
    """Pad one axis with zeros to a multiple of four, the unit of the kernels."""
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, -array.shape[axis] % 4)
    return np.pad(array, widths)


def _split(array: ComplexArray) -> tuple[FloatArray, FloatArray]:
    return np.ascontiguousarray(array.real), np.ascontiguousarray(array.imag)


def _real(array: ComplexArray) -> FloatArray:
    """Return real and imaginary parts side by side: a real product of two gives Re(x conj(y))."""
    return np.concatenate([array.real, array.imag], axis=-1)
