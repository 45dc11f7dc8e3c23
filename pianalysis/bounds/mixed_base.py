"""Keys left in a cache under other frequencies than those the queries are read with."""

from __future__ import annotations

from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.rope import phases
from pianalysis.rope.phases import Rotary


def mixed_base_bound(written: Rotary, read: Rotary, position: Any, h: Any = 1.0) -> FloatArray:
    r"""Bound how much a score changes because its key was rotated under older frequencies.

    .. math:: \sum_j |h_j|\, f'\, \bigl|f' - f e^{i n (\theta'_j - \theta_j)}\bigr|
              \;=\; \sum_j |h_j|\, 2 \bigl|\sin \tfrac{n (\theta_j - \theta'_j)}2\bigr|
              \quad\text{for } f = f' = 1

    for a key at position n that was written with theta (``written``) and is read by a query rotated
    with theta' (``read``), against the score of one rotated with theta' too. f and f' are the
    attention factors.

    Parameters
    ----------
    written, read : RopeSpec or extension
        Of one rotary dimension.
    position : float or array
        The key's position n in tokens; where the query stands does not matter.
    h : float or array (..., d/2)
        A number is max|h_j|; an array holds the coefficients, pair axis last.

    Returns
    -------
    float64 array of shape position.shape, or h.shape[:-1] + position.shape when h is an array.

    Raises
    ------
    ValueError, TypeError
        Naming the argument: different rotary dimensions, non-finite input.

    Notes
    -----
    *Proof*. The mixed score is :math:`f f' \mathrm{Re} \sum_j h_j e^{i (m \theta'_j - n \theta_j)}`
    for a query at m, the consistent one has :math:`f'^2` and :math:`\theta'` throughout; term by
    term the difference has the modulus above. *Tight*: attained for every n by phases of h that
    turn all terms to one direction. *Vacuous* near 2 sum|h_j|, the most that any
    two scores differ. Dynamic NTK
    changes its base with the length, so a cache that keeps rotated keys mixes bases; YaRN's paper
    (Peng et al. 2023, arXiv:2309.00071) names the problem. A cache of unrotated keys has none.

    Examples
    --------
    >>> from pianalysis import DynamicNTK, RopeSpec
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> mixed_base_bound(spec, DynamicNTK(spec, 4096), [0.0, 10.0, 2000.0]).round(2)
    array([ 0.  ,  7.46, 70.82])
    >>> mixed_base_bound(spec, spec, 2000.0)
    array(0.)
    """
    for name, model in (("written", written), ("read", read)):
        if not hasattr(model, "frequencies"):
            raise TypeError(f"{name} must be a RopeSpec or an extension, got {model!r}")
    pairs = written.frequencies.size
    if read.frequencies.size != pairs:
        raise ValueError(
            f"read must have the {pairs} frequencies of written, got {read.frequencies.size}"
        )
    positions = checks.spans(position, "position")
    size = checks.magnitudes(h, pairs)
    weights = np.full((1, pairs), size) if isinstance(size, float) else size.reshape(-1, pairs)
    old, new = float(written.attention_factor), float(read.attention_factor)
    flat = positions.ravel()
    out = np.empty((weights.shape[0], flat.size))
    for part in phases.chunks(flat.size, pairs):
        lag = phases.phases(written, flat[part]) - phases.phases(read, flat[part])
        # |f' - f e^{ix}|^2 = (f' - f)^2 + 4 f f' sin^2(x/2), which keeps small angles accurate.
        gap = np.hypot(new - old, 2.0 * np.sqrt(old * new) * np.sin(lag / 2.0))
        out[:, part] = weights @ (new * gap).T
    shape = () if isinstance(size, float) else size.shape[:-1]
    return out.reshape(shape + positions.shape)
