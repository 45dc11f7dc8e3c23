r"""From which position on a low-precision RoPE is wrong: phases and scores by number format.

A pipeline turns pair j at position n by a computed (cos, sin) instead of :math:`e^{i n \theta_j}`
(Eq. 1-2, arXiv:2306.15595). Its *phase error* is :math:`|\psi_j - n \theta_j|`, where
:math:`\psi_j` is the phase that this (cos, sin) has, on the branch of the phase the pipeline
computed: it is not reduced, so that an error of two turns is not taken for none. The attention
factor scales cos and sin alike and is no part of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.extension import Extension
from pianalysis.extension.base import pretrained
from pianalysis.precision.emulation import PHASE_SLACK, SCORE_SLACK, emulation
from pianalysis.precision.search import Search
from pianalysis.records import Record
from pianalysis.rope.balls import FIRST_BITS, Interval, enclose, interval
from pianalysis.rope.spec import RopeSpec

LONGEST_SEARCH = 2**27
_CHUNK_ELEMENTS = 1 << 17  # a megabyte an array: several stay in cache


@dataclass(frozen=True, slots=True)
class PhaseError(Record):
    """Errors of one pipeline, a row a position; infinite where the position overflows the format.

    ``phase_error`` is the largest over pairs, in radians, and ``pair`` the pair that has it.
    ``score_error`` is the largest over |h_j| <= 1, as a share of the largest score f^2 d/2.
    ``largest_phase`` and ``largest_score`` enclose the maxima over the positions; None where one
    is infinite.
    """

    model: RopeSpec | Extension
    pipeline: str
    position: FloatArray
    phase_error: FloatArray
    pair: npt.NDArray[np.int64]
    score_error: FloatArray
    largest_phase: Interval | None
    largest_score: Interval | None


@dataclass(frozen=True, slots=True)
class FirstWrong(Record):
    """The first position with a phase error above ``tolerance``, and where no other follows.

    No position below ``first`` is wrong and every one in [``always``, ``stop``) is; None where
    there is no such position below ``stop``. An ``always`` close to ``stop`` is an accident of
    where the search ends. ``error`` encloses the error at ``first``, of the pair ``pair``; None
    where that position overflows. ``settled`` counts phases within float64's own error of the
    tolerance, settled in ball arithmetic.
    """

    model: RopeSpec | Extension
    pipeline: str
    tolerance: float
    stop: int
    first: int | None
    pair: int | None
    error: Interval | None
    always: int | None
    settled: int


def phase_error(model: RopeSpec | Extension, positions: Any, *, pipeline: str) -> PhaseError:
    r"""Return the largest phase and score error of a pipeline at each position.

    .. math:: \max_j |\psi_j - n \theta_j|, \qquad
              \frac{2}{f^2 d} \sum_j |\hat r_j(n) \bar{\hat r}_j(0) - f^2 e^{i n \theta_j}|

    Parameters
    ----------
    model : RopeSpec or extension
        Its frequencies, to all digits, are the truth; f is its attention factor.
    positions : int or array (n,)
        Whole numbers in [0, 2**27], in tokens.
    pipeline : str
        "float32"; "float32-then-bfloat16" and "float32-then-float16" (phases in float32, cos and
        sin cast: transformers today); "bfloat16-frequencies" (the ``inv_freq`` buffer cast, the
        product in float32); "bfloat16" and "float16" (everything).

    Returns
    -------
    PhaseError. Each value is within 1e-13 (and 2**-50 of itself) of the exact one.

    Raises
    ------
    ValueError, TypeError
        Naming the argument: an unknown pipeline, a position that is negative or no whole number.

    Notes
    -----
    The score is that of a query at n and a key at 0, |h_j| <= 1, divided by the largest there is:
    the sum is attained when every h_j turns its error onto the real axis. Products with q and k,
    which a model also rounds, are taken exactly, so that only RoPE's own error is left. cos and sin
    are float64's, rounded to float32 where a library's float32 ones may differ by a unit in the
    last place: below 2e-7 rad, except where that unit decides a cast. The frequencies are those of
    :func:`~pianalysis.precision.formats.frequency_buffer`; a library that rounds them otherwise has
    other errors, under "float32" by as much as they are: theta_j off by a unit in the last place is
    off by n theta_j 2^-24 at position n, half of it and more at large bases.

    Examples
    --------
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> errors = phase_error(spec, [1, 100, 2047], pipeline="bfloat16-frequencies")
    >>> errors.phase_error.round(3).tolist(), errors.pair.tolist()
    ([0.001, 0.122, 2.504], [1, 1, 1])
    """
    n = _positions(positions)
    emulated = emulation(model, pipeline)
    phase, score = np.empty(n.size), np.empty(n.size)
    pair = np.empty(n.size, dtype=np.int64)
    size = max(1, _CHUNK_ELEMENTS // emulated.buffer.size)
    for part in (slice(start, start + size) for start in range(0, n.size, size)):
        phase[part], pair[part], score[part] = emulated.errors(n[part])
    largest_phase = largest_score = None
    if np.isfinite(phase).all():
        worst, worst_score = int(phase.argmax()), int(score.argmax())
        largest_phase = _maximum(
            f"largest phase error, at {n[worst]:.0f}, pair {pair[worst]}",
            model,
            lambda: emulated.phase_ball(int(n[worst]), int(pair[worst])),
            phase[worst] * (1.0 + PHASE_SLACK) + PHASE_SLACK,
        )
        largest_score = _maximum(
            f"largest score error, at {n[worst_score]:.0f}",
            model,
            lambda: emulated.score_ball(int(n[worst_score])),
            score[worst_score] + SCORE_SLACK,
        )
    return PhaseError(model, pipeline, n, phase, pair, score, largest_phase, largest_score)


def first_wrong(
    model: RopeSpec | Extension, *, pipeline: str, tolerance: float = 0.1, stop: int = 2**21
) -> FirstWrong:
    """Find the first position whose phase error exceeds ``tolerance``, and prove it the first.

    Parameters
    ----------
    model : RopeSpec or extension
    pipeline : str
        As for :func:`phase_error`.
    tolerance : float
        Radians, above 0.
    stop : int
        Positions in [0, stop) are searched, every one; at most 2**27.

    Raises
    ------
    ValueError, TypeError
        Naming the argument.

    Notes
    -----
    Exhaustive: each position and pair is decided by its float64 error with a bound on float64's
    own, by a bound on all roundings of the pipeline together, or by balls where neither decides.
    The true frequencies are exact (106 bits where the scheme has no closed form). The emulated
    numbers are those of this package: frequencies that a library rounds otherwise move the answer.

    Examples
    --------
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> first_wrong(spec, pipeline="bfloat16-frequencies", stop=2048).first
    82
    """
    emulated = emulation(model, pipeline)
    tolerance = checks.real("tolerance", tolerance, above=0.0)
    stop = checks.whole("stop", stop, at_most=LONGEST_SEARCH)
    search = Search(emulated, tolerance)
    first = search.first_wrong(stop)
    pair = error = always = None
    if first is not None:
        errors, pairs, _ = emulated.errors(np.array([float(first)]))
        pair = int(pairs[0])
        if math.isfinite(errors[0]):
            error = enclose(
                f"phase error at {first}, pair {pair}",
                pretrained(model),
                lambda: emulated.phase_ball(first, pair),
            )
        after = search.last_right(first, stop) + 1
        always = after if after < stop else None
    return FirstWrong(model, pipeline, tolerance, stop, first, pair, error, always, search.settled)


def _positions(value: Any) -> FloatArray:
    out = np.atleast_1d(checks.spans(value, "positions"))
    if out.ndim != 1 or not out.size:
        raise ValueError(f"positions must be a number or a row of them, got shape {out.shape}")
    wrong = (out < 0) | (out > LONGEST_SEARCH) | (out != np.floor(out))
    if wrong.any():
        raise ValueError(
            f"positions must be whole numbers from 0 to {LONGEST_SEARCH}, got {out[wrong][0]:g}"
        )
    return out


def _maximum(
    name: str, model: RopeSpec | Extension, evaluate: Callable[[], Any], ceiling: float
) -> Interval:
    """Enclose a maximum: at least the ball where float64 finds it, at most float64's plus error."""
    import flint

    with flint.ctx.workprec(FIRST_BITS):
        return interval(
            name, pretrained(model), evaluate().union(flint.arb(float(ceiling))), FIRST_BITS
        )
