r"""After the softmax: what a bound on scores says of attention weights and outputs.

Logits are scores times the model's own scale, 1/sqrt(head_dim) or what its config says: a bound on
scores becomes ``delta`` by that factor.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray


def attention_shift(delta: Any) -> FloatArray:
    r"""Bound how much attention moves when every logit of a query moves by at most ``delta``.

    .. math:: \tfrac12 \sum_i |p'_i - p_i| \le \tanh(\delta / 2)

    the total variation between the two softmax distributions, the largest change of the weight of
    any group of keys.

    Parameters
    ----------
    delta : float or array
        Largest |change of a logit|, at least 0, no unit; torch tensors are taken too.

    Returns
    -------
    float64 array of the shape of ``delta``, from 0 to 1.

    Raises
    ------
    ValueError, TypeError
        ``delta`` negative or not finite.

    Notes
    -----
    *Proof*. The total variation is the largest P' - P over groups of keys, P and P' their weights
    before and after. With logits changed by at most delta, P' is at most
    :math:`P e^\delta / (P e^\delta + (1 - P) e^{-\delta})`; with :math:`r = e^{2 \delta}` the
    difference is largest at :math:`P = 1 / (1 + \sqrt r)` and is there
    :math:`(\sqrt r - 1) / (\sqrt r + 1) = \tanh(\delta / 2)`. *Tight*: attained by a group of
    weight 1/(1 + e^delta) that gains delta while all others lose it. *Vacuous* from about
    delta = 5: 0.987. The inequality is standard.

    What delta may be: :func:`~pianalysis.interpolation_bound` bounds
    :math:`|a(s L/L') - a_\mathrm{linear}(s L/L')|`, the logits of Position Interpolation against
    logits interpolated linearly between the neighbouring *trained* spans, for s up to (L - 1) L'/L;
    beyond it one end of the chord is the untrained span L. It does not bound
    :math:`|a(s L/L') - a(s)|`, the move against the model as it was: for a = cos, s = pi and factor
    2 that is 1 whatever the bound says.

    Examples
    --------
    >>> attention_shift([0.0, 0.1, 1.0, 5.0]).round(4)
    array([0.    , 0.05  , 0.4621, 0.9866])

    A thousand softmax rows stay below, and the extremal group touches:

    >>> rng = np.random.default_rng(0)
    >>> def weights(logits):
    ...     return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    >>> logits = rng.normal(size=(1000, 12))
    >>> moved = logits + 0.5 * rng.choice([-1.0, 1.0], size=logits.shape)
    >>> shift = 0.5 * np.abs(weights(moved) - weights(logits)).sum(axis=1)
    >>> bool((shift <= attention_shift(0.5)).all()), bool(shift.max() > 0.95 * attention_shift(0.5))
    (True, True)
    """
    return np.tanh(0.5 * _at_least_zero("delta", delta))


def output_shift(delta: Any, value_norm: Any) -> FloatArray:
    r"""Bound how far a head's output moves when every logit moves by at most ``delta``.

    .. math:: \Bigl\| \sum_i (p'_i - p_i) v_i \Bigr\| \le \tanh(\delta / 2) \max_{i,j} \|v_i - v_j\|

    Parameters
    ----------
    delta : float or array
        Largest |change of a logit|, as for :func:`attention_shift`.
    value_norm : float or array broadcasting with delta
        The largest distance between two values, max ||v_i - v_j||, in any norm; twice the largest
        ||v_i|| at most. At least 0, in the values' units.

    Returns
    -------
    float64 array of the broadcast shape, in the units of ``value_norm``.

    Raises
    ------
    ValueError, TypeError
        An argument negative or not finite; shapes that do not broadcast.

    Notes
    -----
    *Proof*. The positive and the negative part of p' - p both have the mass t, the total variation:
    the change is t times a difference of two weighted means of the values, which is no longer than
    the largest distance between two of them. *Tight*: attained with two keys, and by two groups of
    equal values. The values are taken as unchanged.

    Examples
    --------
    >>> float(output_shift(0.1, 2.0).round(4))
    0.0999
    """
    shift = attention_shift(delta)
    norm = _at_least_zero("value_norm", value_norm)
    _broadcast("delta", shift, "value_norm", norm)
    return shift * norm


def required_margin(keys: Any, weight: Any) -> FloatArray:
    r"""Return the margin by which one logit must exceed all others to keep an attention weight.

    .. math:: \ln \frac{(n - 1)\, p}{1 - p}

    Dilution: among n keys whose other n - 1 logits are at most b, a key with logit b plus this
    margin has at least the weight p, whatever the others are.

    Parameters
    ----------
    keys : int or array
        n, at least 2.
    weight : float or array broadcasting with keys
        p, above 0 and below 1.

    Returns
    -------
    float64 array of the broadcast shape; negative where p is below 1/n.

    Raises
    ------
    ValueError, TypeError
        Naming the argument: ``keys`` not whole numbers from 2 to 2**53, a weight not between 0 and
        1, shapes that do not broadcast.

    Notes
    -----
    *Proof*. The weight is least where all others equal b: :math:`1 / (1 + (n-1) e^{-m})`, which is
    p at the margin m above. *Tight*: necessary too in that case. Extending the window from n to
    k n keys costs a head ln((k n - 1) / (n - 1)) of its margin, about ln k, whatever the scheme.

    Examples
    --------
    >>> required_margin([2048, 8192], 0.5).round(3)
    array([7.624, 9.011])
    """
    count = checks.array("keys", keys)
    wrong = (count < 2) | (count > checks.LARGEST_SPAN) | (count != np.floor(count))
    if wrong.any():
        raise ValueError(
            f"keys must be whole numbers from 2 to 2**53, got {count[wrong].flat[0]:g}"
        )
    share = checks.array("weight", weight)
    wrong = (share <= 0.0) | (share >= 1.0)
    if wrong.any():
        raise ValueError(f"weight must lie above 0 and below 1, got {share[wrong].flat[0]:g}")
    _broadcast("keys", count, "weight", share)
    out: FloatArray = np.log(count - 1.0) + np.log(share) - np.log1p(-share)
    return out


def _at_least_zero(name: str, value: Any) -> FloatArray:
    out = checks.array(name, value)
    if (out < 0.0).any():
        raise ValueError(f"{name} must be at least 0, got {out[out < 0.0].flat[0]:g}")
    return out


def _broadcast(one: str, first: FloatArray, other: str, second: FloatArray) -> None:
    try:
        np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        raise ValueError(
            f"{one} and {other} must broadcast, got shapes {first.shape} and {second.shape}"
        ) from None
