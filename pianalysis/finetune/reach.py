r"""How far the sequences of a run reach: gaps drawn so that every distance up to L' - 1 is seen.

A whole text of length L' holds the distance L' - 1. A sequence of n tokens with one gap of g
positions holds distances up to n - 1 + g. With g uniform in 0 .. L' - n, few sequences come near
the edge: a distance within x of it is held by about x / (L' - n) of them. Here a stated share of
the sequences has the largest gap, L' - n, and the others are stratified: in each block of ``BLOCK``
sequences, in an order drawn anew, every equal part of the range of gaps occurs once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray, IntArray
from pianalysis.records import Record

BLOCK = 32  # sequences, within which the gaps are even


def edge_count(edge_share: float) -> int:
    """Return how many sequences of a block have the largest gap.

    Examples
    --------
    >>> edge_count(0.125)
    4
    """
    share = checks.real("edge_share", edge_share, at_least=0.0, at_most=1.0)
    count = round(share * BLOCK)
    if count / BLOCK != share:
        raise ValueError(f"edge_share must be a multiple of 1/{BLOCK}, got {edge_share!r}")
    return count


def stratified_gap(index: int, largest: int, *, seed: int, edge_share: float) -> int:
    """Return the gap of sequence number ``index``, in positions, from 0 to the largest.

    Parameters
    ----------
    index : int
        The sequence's number in the run, from 0.
    largest : int
        L' - n.
    seed : int
        The gap follows from seed and index alone.
    edge_share : float
        Share of the sequences with the largest gap, a multiple of 1/32 from 0 to 1.

    Raises
    ------
    ValueError
        A negative number, a share out of range or no multiple of 1/32.

    Examples
    --------
    >>> gaps = [stratified_gap(i, 1000, seed=0, edge_share=0.125) for i in range(32)]
    >>> gaps.count(1000) >= 4, sum(gap < 500 for gap in gaps)
    (True, 14)
    """
    index = checks.whole("index", index, at_least=0)
    largest = checks.whole("largest", largest, at_least=0)
    edge = edge_count(edge_share)
    block, place = divmod(index, BLOCK)
    part = int(_parts(seed, block)[place]) - edge
    if part < 0:
        return largest
    drawn = np.random.default_rng([seed, 4, index]).random()
    return int((part + drawn) / (BLOCK - edge) * (largest + 1))


@lru_cache(maxsize=4)
def _parts(seed: int, block: int) -> IntArray:
    return np.random.default_rng([seed, 3, block]).permutation(BLOCK)


@dataclass(frozen=True, slots=True)
class Coverage(Record):
    """Which share of a run's sequences holds a distance of at least x tokens, a row an x.

    ``uniform`` is for gaps drawn uniformly, each by itself, ``stratified`` for those of this
    module. ``count`` sequences of ``length`` tokens, positions below ``target``.
    """

    count: int
    length: int
    target: int
    seed: int
    edge_share: float
    distance: IntArray
    uniform: FloatArray
    stratified: FloatArray


def coverage(
    count: int, length: int, target: int, *, seed: int = 0, edge_share: float, points: int = 129
) -> Coverage:
    """Return the coverage of distances by the first ``count`` sequences, at evenly spread x.

    Raises
    ------
    ValueError
        A target below the length, a share as for ``stratified_gap``.

    Examples
    --------
    >>> float(coverage(400, 256, 32768, edge_share=0.125).stratified[-1])
    0.125
    """
    count = checks.whole("count", count)
    length = checks.whole("length", length, at_least=2)
    target = checks.whole("target", target, at_least=length)
    largest = target - length
    stratified = np.array(
        [stratified_gap(i, largest, seed=seed, edge_share=edge_share) for i in range(count)]
    )
    uniform = np.random.default_rng([seed, 5]).integers(largest + 1, size=count)
    distance = np.linspace(1, target - 1, checks.whole("points", points, at_least=2)).astype(int)

    def share(gaps: IntArray) -> FloatArray:
        reached = np.sort(length - 1 + gaps)
        return 1.0 - np.searchsorted(reached, distance) / count

    return Coverage(
        count=count,
        length=length,
        target=target,
        seed=seed,
        edge_share=edge_share,
        distance=distance,
        uniform=share(uniform),
        stratified=share(stratified),
    )
