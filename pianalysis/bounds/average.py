r"""On average over independent phases: interpolation and extrapolation without a conspiracy.

Write :math:`h_j = |h_j| e^{i \varphi_j}`. With phases independent and uniform, whatever the
moduli, the terms of a score are uncorrelated, and mean squares are sums over the pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.bounds.interpolation import cell_ends, weighted_gaps
from pianalysis.rope import phases
from pianalysis.rope.phases import Rotary
from pianalysis.rope.spec import RopeSpec, check_spec


def expected_deviation(
    spec: RopeSpec, s: Any, h: Any, *, left: Any = None, right: Any = None
) -> FloatArray:
    r"""Return the root mean square of a(s) - a_linear(s) over independent uniform phases of h_j.

    .. math:: \Bigl(\tfrac12 \sum_j \mathrm{E}|h_j|^2
              \bigl|e^{i s \theta_j} - \text{its chord}\bigr|^2\Bigr)^{1/2}

    Parameters
    ----------
    spec : RopeSpec
    s : float or array
        Spans in tokens.
    h : float or array (..., d/2)
        Root mean square moduli :math:`(\mathrm{E}|h_j|^2)^{1/2}`, or coefficients, whose moduli
        are taken; pair axis last. A number stands for every pair.
    left, right : float or array broadcasting with s, optional
        The cell [s1, s2]; by default [floor(s), floor(s) + 1].

    Returns
    -------
    float64 array of shape s.shape, or h.shape[:-1] + s.shape when h is an array.

    Raises
    ------
    ValueError, TypeError
        As :func:`~pianalysis.interpolation_bound`.

    Notes
    -----
    *Proof*. With :math:`g_j = e^{i s \theta_j}` minus its chord, the deviation is
    :math:`\mathrm{Re} \sum_j h_j g_j`; its terms have mean 0, are uncorrelated, and the square of
    each has the mean :math:`\tfrac12 |h_j|^2 |g_j|^2`. *Exact* under the assumption and no bound
    otherwise: phases that training has tied together can give up to the form "magnitude" of
    ``interpolation_bound``, larger by a factor of at most :math:`\sqrt{d}`.

    Examples
    --------
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> float(expected_deviation(spec, 0.5, 1.0).round(6))
    0.131517

    Against a thousand heads with random phases:

    >>> from pianalysis import attention_score
    >>> h = np.exp(2j * np.pi * np.random.default_rng(0).uniform(size=(1000, 64)))
    >>> a = attention_score(spec, h, [7.0, 7.5, 8.0])
    >>> seen = np.sqrt(np.mean((a[:, 1] - (a[:, 0] + a[:, 2]) / 2) ** 2))
    >>> bool(abs(seen / expected_deviation(spec, 7.5, 1.0) - 1) < 0.1)
    True
    """
    check_spec(spec)
    spans = checks.spans(s)
    before, after = cell_ends(spans, left, right)
    squares = _squares(h, spec.pairs)
    mean = 0.5 * weighted_gaps(spec, before, after, squares.reshape(-1, spec.pairs), power=2)
    return np.sqrt(mean).reshape(squares.shape[:-1] + spans.shape)


def expected_square(extension: Rotary, s: Any, h: Any) -> FloatArray:
    r"""Return the mean square of a'(s) over independent uniform phases of h_j: the same at every s.

    .. math:: \mathrm{E}\, a'(s)^2 = \tfrac12 f^4 \sum_j \mathrm{E}|h_j|^2

    Parameters
    ----------
    extension : RopeSpec or extension
        Its attention factor f enters to the fourth power; its frequencies do not.
    s : float or array
        Spans in tokens; they give the shape alone.
    h : float or array (..., d/2)
        As for :func:`expected_deviation`.

    Returns
    -------
    float64 array of shape s.shape, or h.shape[:-1] + s.shape when h is an array.

    Raises
    ------
    TypeError, ValueError
        Naming the argument.

    Notes
    -----
    On average nothing happens outside the window: catastrophe there
    (:func:`~pianalysis.worst_case_score`) takes phases that cancel on every trained span and not
    beyond, which only training can tie together. A head's second moments make this a prediction of
    the root mean square of its scores; where the measured one differs, its phases are not
    independent.

    Examples
    --------
    >>> from pianalysis import YaRN
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> expected_square(spec, [0.0, 100_000.0], 1.0)
    array([32., 32.])
    >>> yarn = YaRN(spec, 8192)
    >>> bool(expected_square(yarn, 5000.0, 1.0) == 32.0 * yarn.attention_factor**4)
    True
    """
    if not hasattr(extension, "frequencies"):
        raise TypeError(f"extension must be a RopeSpec or an extension, got {extension!r}")
    spans = checks.spans(s)
    squares = _squares(h, phases.check_rotary(extension).frequencies.size)
    mean = 0.5 * float(extension.attention_factor) ** 4 * squares.sum(axis=-1)
    out: FloatArray = np.multiply.outer(mean, np.ones(spans.shape))
    return out


def _squares(h: Any, pairs: int) -> FloatArray:
    """Return E|h_j|^2 with the pair axis last."""
    size = checks.magnitudes(h, pairs)
    if isinstance(size, float):
        return np.full(pairs, size**2)
    return np.square(size)
