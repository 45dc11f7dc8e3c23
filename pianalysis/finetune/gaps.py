"""Position gaps (PoSE, arXiv:2309.10400): a short sequence with the distances of a long one.

The tail of a sequence is shifted in *position*, not in the text. Attention knows positions through
their differences alone, so a query in the tail sees keys in the head as far away as in a document
of the target's length, at the cost of the short sequence.
"""

from __future__ import annotations

import numpy as np

from pianalysis import _validate
from pianalysis.heads._gap import IntArray, positions


def gap_positions(
    length: int,
    target: int,
    rng: np.random.Generator,
    *,
    head: tuple[int, int] | None = None,
) -> IntArray:
    """Return positions 0, 1, ... of a sequence with one gap drawn at random.

    Parameters
    ----------
    length : int
        n, tokens of the sequence, at least 2.
    target : int
        L' >= n: positions stay below it.
    rng : numpy Generator
    head : (int, int), optional
        Smallest and largest number of tokens before the gap; 1 and n - 1 unless given.

    Returns
    -------
    int64 (n,). The gap is uniform in 0 .. L' - n, the length of the head uniform in its range.

    Notes
    -----
    Every distance from 1 to L' - 1 occurs: between the first and the last token it is n - 1 plus
    the gap, hence anything up to L' - 1. The model needs an attention mask of ones beside these
    positions: transformers takes a jump for the border of two packed texts and would hide one
    from the other.

    Examples
    --------
    >>> gap_positions(6, 100, np.random.default_rng(0))
    array([ 0,  1,  2,  3,  4, 65])
    """
    length = _validate.whole("length", length, at_least=2)
    target = _validate.whole("target", target, at_least=length)
    low, high = (1, length - 1) if head is None else head
    low = _validate.whole("head", low, at_most=length - 1)
    high = _validate.whole("head", high, at_least=low, at_most=length - 1)
    before = int(rng.integers(low, high + 1))
    return positions(length, before, int(rng.integers(target - length + 1)))
