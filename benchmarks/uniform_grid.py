"""a(s) on a uniform grid, one matrix product, against the direct evaluation in torch and in numpy.

Outputs are compared first and held against 50 digits, then both sides run in turn in one process;
numpy takes sines and cosines on one core, torch on as many as ours. Ours is held against the rate
of a large matrix product, too, the least of several times on both sides. What is not in the product
is said as well: the rotations that make its factors, from phases reduced in two floats, and the
pass that finds n spans to be evenly spaced. What is left after them is not measured apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import common
import mpmath as mp
import numpy as np
import torch

import pianalysis as pia
from pianalysis import checks
from pianalysis.rope import phases

DIM, BASE, CHUNK = 128, 10_000.0, 16384
SPANS = (1, 10_000, 123_456, 999_999)  # held against 50 digits
SIZES = {
    "full": {
        "count": 1_000_000,
        "grow": (500_000, 1_000_000, 2_000_000, 4_000_000),
        "products": common.PRODUCTS,
        "rounds": 5,
        "cores": None,
    },
    "small": {
        "count": 20_000,
        "grow": (5000, 10_000, 20_000),
        "products": (64,),
        "rounds": 1,
        "cores": 1,
    },
}


def plain(h: np.ndarray, frequencies: np.ndarray, spans: np.ndarray) -> np.ndarray:
    out = np.empty(spans.size)
    for start in range(0, spans.size, CHUNK):
        part = slice(start, start + CHUNK)
        angle = np.outer(spans[part], frequencies)
        out[part] = np.cos(angle) @ h.real - np.sin(angle) @ h.imag
    return out


def plain_torch(h: np.ndarray, frequencies: np.ndarray, spans: np.ndarray) -> np.ndarray:
    real, imag = torch.tensor(h.real), torch.tensor(h.imag)
    theta, points = torch.tensor(frequencies), torch.from_numpy(spans)
    out = torch.empty_like(points)
    for start in range(0, len(points), CHUNK):
        part = slice(start, start + CHUNK)
        angle = torch.outer(points[part], theta)
        out[part] = angle.cos() @ real - angle.sin() @ imag
    return out.numpy()


def error(h: np.ndarray, found: np.ndarray) -> float:
    """Return the largest error against 50 digits, as a share of sum|h|."""
    with mp.workdps(50):
        theta = [mp.mpf(BASE) ** (mp.mpf(-2 * j) / DIM) for j in range(DIM // 2)]
        worst = 0.0
        for s in (s for s in SPANS if s < found.size):
            terms = (mp.mpc(complex(c)) * mp.expj(s * t) for c, t in zip(h, theta, strict=True))
            worst = max(worst, abs(float(found[s] - mp.fsum(x.real for x in terms))))
    return worst / np.abs(h).sum()


def parts(spec: pia.RopeSpec, spans: np.ndarray) -> dict[str, float]:
    """Return the least seconds of what one evaluation consists of, each done alone."""
    blocks = -(-spans.size // math.isqrt(spans.size))
    width = -(-spans.size // blocks)
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((blocks, DIM)), rng.standard_normal((DIM, width))
    out = np.empty((blocks, width))
    works: dict[str, Callable[[], Any]] = {
        "the matrix product": lambda: np.matmul(left, right, out=out),
        "the rotations": lambda: [
            phases.rotations_on_grid(spec, 0.0, 1.0, n) for n in (blocks, width)
        ],
        "the pass over the spans": lambda: phases.uniform_grid(checks.numbers_of("s", spans)),
    }
    return {name: common.least(work) for name, work in works.items()}


def measure(size: common.Size) -> common.Record:
    spec, count = pia.RopeSpec(DIM, BASE, 2048), size["count"]
    rng = np.random.default_rng(0)
    h = rng.standard_normal(DIM // 2) + 1j * rng.standard_normal(DIM // 2)
    longest = np.arange(float(max(size["grow"])))
    spans = longest[:count]
    with common.cores(size["cores"]) as cores:
        ours = pia.attention_score(spec, h, spans)
        rows, errors = [], {"ours": error(h, ours)}
        for name, run, threads in (("torch", plain_torch, cores), ("numpy", plain, 1)):
            peer = run(h, spec.frequencies, spans)
            common.agree(f"a(s), {name}", ours, peer, 1e-9)
            errors[name] = error(h, peer)
            row = common.alternate(
                name,
                lambda: pia.attention_score(spec, h, spans),
                lambda run=run: run(h, spec.frequencies, spans),
                size["rounds"],
                (cores, threads),
            )
            rows.append(row)
        peak = common.matrix_rate(np, np.float64, size["products"])
        grows = common.growth(
            "the number of spans",
            1.0,
            size["grow"],
            lambda n: pia.attention_score(spec, h, longest[:n]),
            common.REPEATS,
        )
        each = parts(spec, spans)
    fastest = min(row["ours_range_s"][0] for row in rows)
    rate = 2 * count * DIM / fastest
    most = 2 * grows["sizes"][-1] * DIM / grows["seconds"][-1]
    return {
        "question": f"a(s) at {count:,} integer spans, float64",
        "threads": cores,
        "rows": common.fastest_peer(rows),
        "growth": [grows],
        "numbers": {
            **{
                f"largest error as a share of sum |h|, {name}": value
                for name, value in errors.items()
            },
            "GFLOP/s, counting the operations of the sum itself": rate / 1e9,
            "share of the machine's matrix product": rate / peak,
            f"the same at {grows['sizes'][-1]:,} spans": most / peak,
            **{f"share of our time: {name}": t / fastest for name, t in each.items()},
        },
    }


if __name__ == "__main__":
    common.main(measure, SIZES)
