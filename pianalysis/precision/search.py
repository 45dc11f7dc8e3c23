"""Which positions are wrong: every position decided, and no more pairs looked at than it takes.

One pair decides that a position is wrong, so positions found wrong are dropped before the next
pair; a pair whose roundings together cannot reach the tolerance is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pianalysis.arrays import FloatArray
from pianalysis.precision.emulation import PHASE_SLACK, Emulation
from pianalysis.rope.balls import FIRST_BITS, MOST_BITS

_SHORTEST, _LONGEST = 1 << 10, 1 << 17  # positions decided at a time


class Search:
    """Decides positions of one emulation; counts in ``settled`` what took balls."""

    def __init__(self, emulated: Emulation, tolerance: float) -> None:
        self.emulated, self.tolerance, self.settled = emulated, tolerance, 0

    def first_wrong(self, stop: int) -> int | None:
        """Return the first position below ``stop`` with an error above the tolerance."""
        for start, end in _pieces(stop):
            wrong = np.flatnonzero(self.wrong(np.arange(start, end, dtype=float)))
            if wrong.size:
                return start + int(wrong[0])
        return None

    def last_right(self, first: int, stop: int) -> int:
        """Return the last position below ``stop`` within it; first - 1 where none follows."""
        for start, end in _pieces(stop - first):
            right = np.flatnonzero(~self.wrong(np.arange(stop - end, stop - start, dtype=float)))
            if right.size:
                return stop - end + int(right[-1])
        return first - 1

    def wrong(self, n: FloatArray) -> npt.NDArray[np.bool_]:
        """Return whether any pair's phase error exceeds the tolerance, for ascending positions."""
        out = np.zeros(n.size, dtype=bool)
        for pair in np.flatnonzero(self.emulated.caps(float(n[-1])) >= self.tolerance):
            left = np.flatnonzero(~out)
            if not left.size:
                break
            out[left] = self._exceeds(n[left], int(pair))
        return out

    def _exceeds(self, n: FloatArray, pair: int) -> npt.NDArray[np.bool_]:
        phases, lags = self.emulated.lags(n, pair)
        sizes, slack = np.abs(lags), self.emulated.cast + PHASE_SLACK
        overflowed = ~np.isfinite(sizes)
        out = overflowed | (sizes * (1.0 - PHASE_SLACK) > self.tolerance + slack)
        open_ = np.flatnonzero(~out & (sizes >= self.tolerance - slack))
        sizes[open_] = np.abs(lags[open_] + self.emulated.turned(phases[open_]))
        out[open_] = sizes[open_] > self.tolerance
        near = np.abs(sizes[open_] - self.tolerance) <= PHASE_SLACK * (1.0 + self.tolerance)
        for index in open_[near]:
            out[index] = self._exceeds_in_balls(int(n[index]), pair)
        return out

    def _exceeds_in_balls(self, n: int, pair: int) -> bool:
        import flint

        self.settled += 1
        bits = FIRST_BITS
        while bits <= MOST_BITS:
            with flint.ctx.workprec(bits):
                error, limit = self.emulated.phase_ball(n, pair), flint.arb(self.tolerance)
                if error > limit or error <= limit:
                    return bool(error > limit)
            bits *= 4
        raise ValueError(
            f"tolerance must be one that no phase error equals, got {self.tolerance!r}: "
            f"the error at {n} of pair {pair}"
        )


def _pieces(count: int) -> Iterator[tuple[int, int]]:
    """Cut [0, count) into pieces that grow, so that an early answer costs little."""
    start, size = 0, _SHORTEST
    while start < count:
        end = min(count, start + size)
        yield start, end
        start, size = end, min(2 * size, _LONGEST)
