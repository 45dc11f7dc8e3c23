r"""Extrapolation: how large a score can be at any span (Eq. 8) and what the ~600x compares.

Abel summation (Su et al. 2021, section 3.4.3) with :math:`A_k(s) = \sum_{j<k} e^{i s \theta_j}`,
:math:`B(s) = \sum_{k<d/2} |A_{k+1}(s)|` and the convention :math:`h_{d/2} = 0`:

.. math:: |a(s)| = \Big|\sum_k A_{k+1} (h_k - h_{k+1})\Big| \le \max_j |h_j - h_{j+1}| \, B(s)
                 \le 2 \max_j |h_j| \, B(s).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import ComplexArray, FloatArray
from pianalysis.rope import phases
from pianalysis.rope.phases import Rotary
from pianalysis.scores.threads import cores, spread

FORMS = ("abel", "difference", "triangle")
_FINE, _MIDDLE = 128, 16  # spans of one kernel block: 2048


def partial_sums(model: Rotary, s: Any) -> ComplexArray:
    r"""Return A_{k+1}(s) = sum_{j<=k} e^{i s theta_j} for k = 0..d/2-1 (Eq. 8): s.shape + (d/2,).

    Examples
    --------
    >>> from pianalysis import RopeSpec
    >>> partial_sums(RopeSpec(4, 100.0, 16), 0.0)
    array([1.+0.j, 2.+0.j])
    """
    phases.check_rotary(model)
    return np.cumsum(phases.rotations(model, checks.spans(s)), axis=-1)


def abel_sum(model: Rotary, s: Any) -> FloatArray:
    r"""Return B(s) = sum_k |A_{k+1}(s)| of Eq. 8.

    Parameters
    ----------
    model : RopeSpec or extension
    s : float or array
        Spans in tokens. Uniformly spaced spans are noticed and take a compiled loop on every
        core; the result is the same to 1e-13.

    Returns
    -------
    float64 array of shape s.shape, relative error below 1e-12 for |s| <= 2**53.

    Notes
    -----
    1 = |A_{k+1} - A_k| <= |A_{k+1}| + |A_k| sums to 2 B(s) >= d/2, at every s.

    Examples
    --------
    >>> from pianalysis import RopeSpec
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> abel_sum(spec, [0.0, 3643.0, 4861.0]).round(3)
    array([2080.   ,  142.836,  127.486])
    """
    phases.check_rotary(model)
    spans = checks.spans(s)
    flat = spans.ravel()
    grid = phases.uniform_grid(flat)
    if grid is not None:
        return _abel_on_grid(model, *grid, flat.size).reshape(spans.shape)
    out = np.empty(flat.size)
    for part in phases.chunks(flat.size, model.frequencies.size):
        sums = np.cumsum(phases.rotations(model, flat[part]), axis=-1)
        out[part] = np.abs(sums).sum(axis=-1)
    return out.reshape(spans.shape)


def _abel_on_grid(model: Rotary, start: float, step: float, count: int) -> FloatArray:
    """Evaluate B on start + k step with the compiled loop, blocks shared among threads."""

    from pianalysis.scores.kernels import abel_sums

    middle_count = min(_MIDDLE, -(-count // _FINE))
    block = middle_count * _FINE

    def grid(first: float, stride: float, number: int) -> ComplexArray:
        return phases.rotations(model, first + stride * np.arange(number, dtype=np.float64))

    coarse = grid(start, step * block, -(-count // block))
    middle, fine = grid(0.0, step * _FINE, middle_count), grid(0.0, step, _FINE).T
    tables = [np.ascontiguousarray(x) for z in (middle, fine) for x in (z.real, z.imag)]
    coarse_re, coarse_im = np.ascontiguousarray(coarse.real), np.ascontiguousarray(coarse.imag)
    out = np.empty((coarse.shape[0], middle_count, _FINE))

    def run(part: slice) -> None:
        abel_sums(out[part], coarse_re[part], coarse_im[part], *tables)

    spread(run, len(out), max(1, -(-len(out) // (4 * cores()))))
    return out.ravel()[:count]


def extrapolation_bound(model: Rotary, s: Any, h: Any = 1.0, *, form: str = "abel") -> FloatArray:
    r"""Bound |a(s)| at any span (Eq. 8), inside or outside the window.

    ============ ==================================== ========================================
    form         h a number H = max|h_j|              h an array of coefficients
    ============ ==================================== ========================================
    abel         :math:`2 H B(s)`                     the same, :math:`H = \max_j |h_j|`
    difference   refused: needs the coefficients      :math:`\max_j |h_j - h_{j+1}| \, B(s)`
    triangle     :math:`H d / 2`                      :math:`\sum_j |h_j|`
    ============ ==================================== ========================================

    Parameters
    ----------
    model : RopeSpec or extension
    s : float or array
        Spans in tokens.
    h : float or array (..., d/2)
    form : {"abel", "difference", "triangle"}

    Returns
    -------
    float64 array of shape s.shape, or h.shape[:-1] + s.shape when h is an array.

    Raises
    ------
    ValueError, TypeError
        Unknown form, non-finite input, "difference" with a scalar h.

    Notes
    -----
    *Assumptions*: |h_j| or their differences only. *Tight*: "triangle" is attained at any given s
    by h_j = |h_j| e^{-i s theta_j}. *Vacuous*: "abel" always, beside "triangle": 2 B(s) >= d/2 at
    every s, so 2 H B(s) >= H d/2. "difference" can win for h that vary slowly with j. None of them
    tells positions inside the window from positions outside. An extension's attention factor
    enters squared.

    Examples
    --------
    >>> from pianalysis import RopeSpec, attention_score
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> s, h = np.linspace(2048.0, 4096.0, 1000), np.linspace(1.0, 0.0, 64, endpoint=False)
    >>> score = np.abs(attention_score(spec, h, s))
    >>> all((score <= extrapolation_bound(spec, s, h, form=f)).all() for f in FORMS)
    True
    >>> bool((extrapolation_bound(spec, s, h, form="difference") < h.sum()).all())
    True
    """
    checks.choice("form", form, FORMS)
    spans = checks.spans(s)
    pairs = phases.check_rotary(model).frequencies.size
    size = checks.magnitudes(h, pairs)
    scale = model.attention_factor**2
    if form == "triangle":
        total = size * pairs if isinstance(size, float) else size.sum(axis=-1)
        return _outer(total * scale, np.ones(spans.shape))
    if form == "abel":
        largest = size if isinstance(size, float) else size.max(axis=-1)
        return _outer(2.0 * largest * scale, abel_sum(model, spans))
    if isinstance(size, float):
        raise ValueError(
            f"h must hold the coefficients for form 'difference', got the number {h!r}"
        )
    known = checks.coefficients(h, pairs)
    following = np.concatenate([known[..., 1:], np.zeros_like(known[..., :1])], axis=-1)
    largest = np.abs(known - following).max(axis=-1)
    return _outer(largest * scale, abel_sum(model, spans))


def _outer(per_head: FloatArray | float, per_span: FloatArray) -> FloatArray:
    return np.asarray(np.multiply.outer(per_head, per_span))
