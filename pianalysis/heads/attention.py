r"""After the softmax: how far Position Interpolation moves a trained head's attention.

Two distances, never to be confused, both total variations between softmax distributions over the
causal keys of a query, for vectors q and k as the unextended model makes them:

* *from the chords*: attention by PI's logits a(s/2) against attention by logits interpolated
  linearly between the two neighbouring trained spans. This is what the interpolation bounds speak
  of: at most tanh(delta / 2), delta the largest bound over the keys.
* *from the unextended model*: attention by a(s/2) against attention by a(s). No bound of this
  package holds for it; it is measured and stands for itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pianalysis.arrays import ComplexArray, FloatArray, IntArray
from pianalysis.bounds.interpolation import interpolation_bound
from pianalysis.bounds.softmax import attention_shift
from pianalysis.heads.sampled import capped, ratio
from pianalysis.rope import phases
from pianalysis.rope.spec import RopeSpec

QUERIES = 64  # drawn for each head
FACTOR = 2  # of Position Interpolation: spans are read at halves, every second one at mid-cell
SHIFTS = (
    "logit_move",
    "delta_magnitude",
    "delta_weighted",
    "from_chords",
    "from_chords_bound",
    "from_chords_weighted_bound",
    "from_unextended",
)


def draw_queries(tokens: int, window: int, rng: np.random.Generator) -> IntArray:
    """Draw the query positions of one head, none twice, in order.

    Up to 2 (L - 1): beyond it a key's chord would end at the untrained span L.
    """
    most = min(tokens, FACTOR * (window - 1) + 1)
    return np.sort(rng.choice(most, min(QUERIES, most), replace=False))


def shifts(
    spec: RopeSpec,
    queries: ComplexArray,
    keys: ComplexArray,
    at: IntArray,
    softcap: float | None,
) -> dict[str, FloatArray]:
    r"""Return ``SHIFTS`` for each query position of ``at``, over its causal keys.

    Queries (tokens, d/2), already times the scaling, and keys (tokens, d/2), before rotation. At an
    odd span s = 2n + 1 Position Interpolation by 2 reads the score at n + 1/2, where

    .. math:: \tfrac12 (a(n) + a(n+1)) = \mathrm{Re} \sum_j \cos(\theta_j / 2)\, h_j
              e^{i (n + 1/2) \theta_j} ;

    at an even one it reads a trained span itself. A softcap moves no two logits further apart.
    """
    tokens = len(keys)
    turns = at.astype(np.float64), np.arange(tokens, dtype=np.float64)
    span = at[:, None] - np.arange(tokens)
    causal, odd = span >= 0, span % 2 == 1

    def logits(step: float, weights: FloatArray | float = 1.0) -> FloatArray:
        asked, seen = (phases.rotations(spec, step * turn) for turn in turns)
        product = (queries[at] * weights * asked) @ (keys * seen).conj().T
        return np.asarray(product.real)

    between = logits(1.0 / FACTOR)
    chords = np.where(odd, logits(1.0 / FACTOR, np.cos(spec.frequencies / 2.0)), between)
    size_q, size_k = np.abs(queries[at]), np.abs(keys)
    # Both forms are sums over |h_j| = |q_j| |k_j|: a product of matrices holds every key's.
    each, mid = np.eye(spec.pairs), causal & odd
    magnitude, weighted = (
        np.where(mid, (size_q * interpolation_bound(spec, 0.5, each, form=form)) @ size_k.T, 0.0)
        for form in ("magnitude", "weighted")
    )
    pi, chord = capped(between, softcap), capped(chords, softcap)
    weights = _softmax(pi, causal)
    return {
        "logit_move": np.where(causal, np.abs(pi - chord), 0.0).max(axis=1),
        "delta_magnitude": magnitude.max(axis=1),
        "delta_weighted": weighted.max(axis=1),
        "from_chords": _variation(weights, _softmax(chord, causal)),
        "from_chords_bound": attention_shift(magnitude.max(axis=1)),
        "from_chords_weighted_bound": attention_shift(weighted.max(axis=1)),
        "from_unextended": _variation(weights, _softmax(capped(logits(1.0), softcap), causal)),
    }


def row(values: Mapping[str, FloatArray]) -> dict[str, float]:
    """Return the columns of one head from ``shifts``."""
    out: dict[str, float] = {}
    for name in SHIFTS:
        out[f"{name}_median"] = np.median(values[name])
        out[f"{name}_p95"] = np.quantile(values[name], 0.95)
        out[f"{name}_max"] = values[name].max()
    out["from_chords_ratio"] = ratio(values["from_chords"], values["from_chords_bound"]).max()
    return out


def _softmax(logits: FloatArray, causal: npt.NDArray[np.bool_]) -> FloatArray:
    kept = np.where(causal, logits, -np.inf)
    weights = np.exp(kept - kept.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _variation(one: FloatArray, other: FloatArray) -> FloatArray:
    return np.asarray(0.5 * np.abs(one - other).sum(axis=1))
