"""The positional score of rope-profiler 0.1.0, computed with ours from the same queries and keys.

That score is the mean of |a(s+1) - a(s)| over the window, over the norm of h: `attention_score` on
the integers of the window and a difference. rope-profiler 0.1.0 is given the same sampled queries
and keys and asked for every distance; its default is 256 drawn ones, which is quicker and another
number. Its second score, a Gaussian estimate of how often two keys change places, has no
counterpart in ours. Scores are compared first, then both sides run in turn in one process.
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np
import torch
from models import opened

import pianalysis as pia
from pianalysis.heads import visit_layers

SIZES = {
    "full": {
        "model": "smollm2",
        "tokens": 256,
        "queries": 4,
        "keys": 16,
        "grow": (2048, 4096, 8192, 16384),
        "rounds": 3,
        "cores": None,
    },
    "small": {
        "model": "tiny",
        "tokens": 20,
        "queries": 2,
        "keys": 3,
        "grow": (32, 64, 128),
        "rounds": 1,
        "cores": 1,
    },
}


def sampled(heads: Any, size: common.Size) -> tuple[Any, Any]:
    """Return the last queries and the first keys of a layer, complex pairs."""
    return heads.queries[:, -size["queries"] :], heads.keys[:, : size["keys"]]


def ours(heads: Any, q: np.ndarray, k: np.ndarray, window: int) -> np.ndarray:
    """Return the score of each head: the mean over all pairs of a query and a key."""
    each = np.repeat(k, len(q) // len(k), axis=0)
    h = heads.scaling * q[:, :, None] * each[:, None].conj()
    scores = pia.attention_score(heads.spec, h, np.arange(float(window)))
    # One query at a time, so that its steps stay in cache.
    steps = np.array([[np.abs(np.diff(one)).mean(axis=-1) for one in head] for head in scores])
    return (steps / np.linalg.norm(h, axis=-1)).mean(axis=(1, 2))


def plain(heads: Any, q: np.ndarray, k: np.ndarray, window: int) -> np.ndarray:
    from rope_profiler import ScoreCache, score_activations

    halves = [torch.from_numpy(np.concatenate([x.real, x.imag], axis=-1)) for x in (q, k)]
    found = score_activations(
        *halves,
        [head // (len(q) // len(k)) for head in range(len(q))],
        [(i, j) for i in range(q.shape[1]) for j in range(k.shape[1])],
        torch.empty(0, 3, dtype=torch.long),
        torch.tensor(heads.spec.frequencies),
        window,
        attention_scale=heads.scaling,
        distance_samples=None,
        cache=ScoreCache(),
    )
    return found.positional_by_head.numpy()


def measure(size: common.Size) -> common.Record:
    checkpoint, tokens = opened(size["model"], size["tokens"])
    layers: list[Any] = []
    visit_layers(checkpoint, tokens, layers.append)
    window = checkpoint.spec.context_window

    def every(score: Any) -> np.ndarray:
        return np.array([score(x, *sampled(x, size), window) for x in layers])

    with common.cores(size["cores"]) as cores:
        difference = common.agree("positional score", every(ours), every(plain), 1e-9)
        row = common.alternate(
            f"{size['queries']} queries and {size['keys']} keys of every head, rope-profiler",
            lambda: every(ours),
            lambda: every(plain),
            size["rounds"],
            (cores, cores),
        )
        heads = layers[0]
        grows = common.growth(
            "the window", 1.0, size["grow"], lambda n: ours(heads, *sampled(heads, size), n)
        )
    return {
        "question": "the mean step of scores over a window",
        "threads": cores,
        "rows": [{**row, "headline": True}],
        "growth": [grows],
        "numbers": {"largest relative difference": difference},
    }


if __name__ == "__main__":
    common.main(measure, SIZES)
