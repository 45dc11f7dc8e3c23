r"""How long a context a base can serve: the sum of cosines of Men et al. 2024 (arXiv:2405.14591).

.. math:: B_{m,\theta} = \sum_{j<d/2} \cos(m \theta_j)

Take a key that equals its query, plus noise that is independent of position and has one variance in
every pair. The expected advantage of that key over a random one, m tokens away, is proportional to
:math:`B_{m,\theta}`; where it is negative the similar key loses. They conclude that a base serves a
length when no m below that length makes the sum negative. The argument speaks of heads whose
energy is spread evenly over the pairs, and of no other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.records import Record
from pianalysis.rope import phases
from pianalysis.rope.config_keys import LARGEST_HEAD_DIM
from pianalysis.rope.phases import Rotary
from pianalysis.rope.spec import RopeSpec

LONGEST = 2**22
_CHUNK = 1 << 16
_WITNESSES = 128
_SHORT = 1024  # lengths below are searched from c = 1
_WIDTH = 1e-9  # in ln c: the shortest step; the answer is enclosed to twice that


@dataclass(frozen=True, slots=True)
class MinimalBase(Record):
    """The smallest base that serves ``length``: it lies in (``lower``, ``base``].

    Every base in (1, ``lower``] makes some sum negative and ``base`` makes none; ``binding`` is the
    span whose sum is smallest there.
    """

    rotary_dim: int
    length: int
    base: float
    lower: float
    binding: int
    smallest_sum: float


def cosine_sum(model: Rotary, m: Any) -> FloatArray:
    r"""Return B_{m,theta} = sum_j cos(m theta_j) (Men et al. 2024), shape m.shape.

    Parameters
    ----------
    model : RopeSpec or extension
        The attention factor, one positive number for all spans, is left out.
    m : float or array
        Spans in tokens.

    Examples
    --------
    >>> cosine_sum(RopeSpec(128, 10_000.0, 4096), [0.0, 1000.0, 4000.0]).round(3)
    array([64.   , 10.178,  0.529])
    """
    pairs = phases.check_rotary(model).frequencies.size
    spans = checks.spans(m)
    flat = spans.ravel()
    ones = np.ones(pairs, dtype=complex)
    total = phases.trigonometric_sum(model, ones, flat, phases.uniform_grid(flat))
    return total.reshape(spans.shape)


def cosine_length(model: Rotary, *, stop: int = 131072) -> int | None:
    r"""Return the first integer m in [0, stop) with B_{m,theta} < 0; None where there is none.

    The longest context that the frequencies serve in the sense of Men et al. 2024.

    Raises
    ------
    ValueError, TypeError
        ``stop`` not an integer in [1, 2**22].

    Examples
    --------
    >>> cosine_length(RopeSpec(128, 10_000.0, 4096))
    1707
    """
    phases.check_rotary(model)
    stop = checks.whole("stop", stop, at_most=LONGEST)
    for start in range(0, stop, _CHUNK):
        m = np.arange(start, min(stop, start + _CHUNK), dtype=float)
        negative = np.flatnonzero(cosine_sum(model, m) < -_error(m, model.frequencies.size))
        if negative.size:
            return int(m[negative[0]])
    return None


def minimal_base(length: int, rotary_dim: int) -> MinimalBase:
    r"""Return the smallest base with B_{m,theta} >= 0 at every integer 0 <= m < length.

    .. math:: \inf\{c > 1 : \textstyle\sum_j \cos(m c^{-2j/d}) \ge 0,\; m = 0..\mathrm{length}-1\}

    The lower bound of the base of Men et al. 2024 (arXiv:2405.14591); their Figure 1 summarises it
    as 0.0424 length^1.628 for d = 128. The number of the equation was taken from secondary sources.

    Parameters
    ----------
    length : int
        Context length in tokens, 4 to 2**22.
    rotary_dim : int
        d; even, at least 4: the only pair of d = 2 turns alike under every base.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, rule and value.

    Notes
    -----
    *Method*: the sum at span m changes by at most :math:`m \sum_j (2j/d) \theta_j` per unit of
    ln c, and that rate falls as c grows. So a span with sum -v at c rules out the bases up to
    :math:`c \exp(v / \text{rate})`; we march from c = 1 by such steps, looking for another span
    when they get short, until no sum is negative. The evaluation error of float64 is taken off v.
    What fails half the length fails the whole: the march starts where that of half the length ends.

    *What it does not say*: the bases that serve a length are no interval. Some above the smallest
    fail again, and then serve again; every larger base has to be checked by itself
    (:func:`cosine_length`).

    Examples
    --------
    >>> smallest = minimal_base(1024, 128)
    >>> round(smallest.base, 2), smallest.base / smallest.lower < 1 + 1e-8
    (4293.44, True)
    """
    length = checks.whole("length", length, at_least=4, at_most=LONGEST)
    dim = checks.whole("rotary_dim", rotary_dim, at_least=4, at_most=LARGEST_HEAD_DIM)
    if dim % 2:
        raise ValueError(f"rotary_dim must be even, got {dim}")
    return _smallest(length, dim)


@lru_cache(maxsize=64)
def _smallest(length: int, dim: int) -> MinimalBase:
    from tqdm import tqdm

    exponents = np.arange(dim // 2) * 2.0 / dim
    log_base, lower, witnesses, expected = 0.0, None, np.array([3.0]), math.inf
    if length >= 2 * _SHORT:
        log_base = math.log(_smallest(length // 2, dim).lower) - _WIDTH
    with tqdm(unit="step", disable=None, leave=False, delay=2.0) as bar:
        while True:
            step = _largest_step(log_base, exponents, witnesses)
            if step < 0.5 * expected:
                witnesses = _worst_spans(log_base, exponents, length)
                step = expected = _largest_step(log_base, exponents, witnesses)
            if step <= _WIDTH:
                upper = math.exp(log_base + 2.0 * _WIDTH)
                served = _served(upper, dim, length)
                if served is not None:
                    lower = math.exp(log_base) if lower is None else lower
                    return MinimalBase(dim, length, upper, lower, *served)
            if step <= 0.0 and lower is None:  # a touch, too close to zero for float64 to decide
                lower = math.exp(log_base)
            log_base += step if step > 0.0 else _WIDTH
            bar.update()


def _largest_step(log_base: float, exponents: FloatArray, m: FloatArray) -> float:
    """Return how far ln c can grow while some of the sums at ``m`` certainly stay negative."""
    theta = np.exp(-exponents * log_base)
    sums = np.cos(np.multiply.outer(m, theta)).sum(axis=1)
    rate = m * float(exponents @ theta)
    return float(((-sums - _error(m, theta.size)) / rate).max())


def _worst_spans(log_base: float, exponents: FloatArray, length: int) -> FloatArray:
    """Return the spans that rule out most, by sum over span."""
    if log_base == 0.0:
        return np.array([3.0])
    spec = RopeSpec(2 * exponents.size, math.exp(log_base), 1)
    m = np.arange(1.0, length)
    worth = cosine_sum(spec, m) / m
    count = min(_WITNESSES, m.size)
    return m[np.argpartition(worth, count - 1)[:count]]


def _served(base: float, dim: int, length: int) -> tuple[int, float] | None:
    """Return the span of the smallest sum and that sum if none is negative, else None."""
    m = np.arange(length, dtype=float)
    sums = cosine_sum(RopeSpec(dim, base, 1), m)
    at = int(sums.argmin())
    return (at, float(sums[at])) if (sums > _error(m, dim // 2)).all() else None


def _error(m: FloatArray, pairs: int) -> FloatArray:
    """Bound the float64 error of a sum: frequencies off by 4 ulp, cosines and additions by 4."""
    unit = 2.0**-50
    return pairs * unit * (m + pairs)
