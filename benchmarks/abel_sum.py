"""B(s), the sum of Fig. 5, against the paper's appendix code in torch.

The peer forms the phase matrix, sines, cosines, cumulative sums, moduli and row sums, in chunks;
how fast it is depends on whether a chunk fits in cache, so its chunk is first halved and doubled
until a smaller and a larger one are both slower. A second peer does the same in plain numpy, which
computes on one core. Outputs are compared first and held against 50 digits, then both sides run in
turn in one process. The loop is bound by the machine's square-root rate, measured on as many cores
at once as ours uses: our share of it stands beside the times (both the least of several), and what
a root by Newton steps for 1/sqrt(x) (a seed from the exponent's bits, four steps to float64) takes
of the machine's own.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import common
import mpmath as mp
import numpy as np
import torch
from numba import njit

import pianalysis as pia

DIM, BASE = 128, 10_000.0
SPANS = (0, 1, 3643, 10_000, 123_456, 999_999, 1_000_000)  # held against 50 digits
SIZES = {
    "full": {
        "count": 2_000_000,
        "trial": 200_000,
        "chunk": 1024,
        "grow": (500_000, 1_000_000, 2_000_000, 4_000_000),
        "roots": 10_000,
        "rounds": 3,
        "cores": None,
    },
    "small": {
        "count": 4000,
        "trial": 4000,
        "chunk": 256,
        "grow": (1000, 2000, 4000),
        "roots": 10,
        "rounds": 1,
        "cores": 1,
    },
}


def plain(count: int, chunk: int) -> np.ndarray:
    frequencies = 1.0 / BASE ** (torch.arange(0, DIM, 2, dtype=torch.float64) / DIM)
    out = torch.empty(count, dtype=torch.float64)
    for start in range(0, count, chunk):
        spans = torch.arange(start, min(start + chunk, count), dtype=torch.float64)
        angle = torch.outer(spans, frequencies)
        real, imag = angle.cos().cumsum(1), angle.sin().cumsum(1)
        out[start : start + chunk] = (real.square() + imag.square()).sqrt().sum(1)
    return out.numpy()


def plain_numpy(count: int, chunk: int) -> np.ndarray:
    frequencies = 1.0 / BASE ** (np.arange(0, DIM, 2) / DIM)
    out = np.empty(count)
    for start in range(0, count, chunk):
        angle = np.outer(np.arange(start, min(start + chunk, count)), frequencies)
        real, imag = np.cos(angle).cumsum(axis=1), np.sin(angle).cumsum(axis=1)
        out[start : start + chunk] = np.hypot(real, imag).sum(axis=1)
    return out


@njit(nogil=True, cache=True)
def square_roots(values: np.ndarray, repeats: int) -> None:
    for _ in range(repeats):
        for i in range(values.size):
            values[i] = np.sqrt(values[i])


@njit(nogil=True, cache=True, fastmath={"contract"})
def newton_roots(values: np.ndarray, seeds: np.ndarray, repeats: int) -> None:
    bits, guess = values.view(np.int64), seeds.view(np.float64)
    for _ in range(repeats):
        for i in range(values.size):
            seeds[i] = 0x5FE6EB50C7B537A9 - (bits[i] >> 1)
        for i in range(values.size):
            half, y = 0.5 * values[i], guess[i]
            for _ in range(4):
                y = y * (1.5 - half * y * y)
            values[i] = values[i] * y


def least_a_root(run: Callable[..., None], work: list[tuple[np.ndarray, ...]], size: int) -> float:
    """Return the least seconds a root of a loop that runs on every core at once."""
    with ThreadPoolExecutor(len(work)) as pool:
        each = common.least(lambda: list(pool.map(lambda parts: run(*parts, size), work)))
    return each / (size * len(work) * work[0][0].size)


def errors(ours: np.ndarray, peer: np.ndarray) -> tuple[float, float]:
    """Return the largest relative errors of both against 50 digits."""
    worst = worst_peer = 0.0
    with mp.workdps(50):
        theta = [mp.mpf(BASE) ** (mp.mpf(-2 * j) / DIM) for j in range(DIM // 2)]
        for s in (s for s in SPANS if s < ours.size):
            terms = [mp.expj(s * t) for t in theta]
            exact = sum(abs(mp.fsum(terms[: k + 1])) for k in range(len(terms)))
            worst = max(worst, abs(float(ours[s] / exact - 1)))
            worst_peer = max(worst_peer, abs(float(peer[s] / exact - 1)))
    return worst, worst_peer


def measure(size: common.Size) -> common.Record:
    spec, count = pia.RopeSpec(DIM, BASE, 2048), size["count"]
    spans = np.arange(float(max(size["grow"])))
    with common.cores(size["cores"]) as cores:
        ours = pia.abel_sum(spec, spans[:count])
        peer = plain(count, size["chunk"])
        common.agree("B(s), torch", ours, peer, 1e-9)
        common.agree("B(s), numpy", ours, plain_numpy(count, size["chunk"]), 1e-9)
        error, peer_error = errors(ours, peer)
        roots = np.random.default_rng(0).uniform(1, 2, 1024)
        square_roots(roots, 10)
        by_newton, seeds = roots.copy(), np.empty(roots.size, dtype=np.int64)
        newton_roots(by_newton, seeds, 1)
        common.agree("roots by Newton steps", by_newton, np.sqrt(roots), 1e-15)
        each = [(roots.copy(), seeds.copy()) for _ in range(cores)]
        a_root = least_a_root(square_roots, [part[:1] for part in each], size["roots"])
        newton = least_a_root(newton_roots, each, size["roots"])
        rows = []
        for name, run, threads in (
            ("the paper's code", plain, cores),
            ("numpy", plain_numpy, 1),
        ):
            chunk = common.best_setting(
                f"{name}, spans in a chunk",
                lambda n, run=run: common.least(lambda: run(size["trial"], n), 3),
                size["chunk"],
            )
            row = common.alternate(
                f"{name} in chunks of {chunk}",
                lambda: pia.abel_sum(spec, spans[:count]),
                lambda run=run, chunk=chunk: run(count, chunk),
                size["rounds"],
                (cores, threads),
            )
            rows.append(row)
        grows = common.growth(
            "the number of spans", 1.0, size["grow"], lambda n: pia.abel_sum(spec, spans[:n])
        )
    fastest = min(row["ours_range_s"][0] for row in rows)
    return {
        "question": f"B(s), the sum of Fig. 5, at {count:,} integer spans, float64",
        "threads": cores,
        "rows": common.fastest_peer(rows),
        "growth": [grows],
        "numbers": {
            "largest relative error up to a million, ours": error,
            "the same of the paper's code": peer_error,
            "share of the machine's square-root rate": count * DIM / 2 * a_root / fastest,
            "a root by Newton steps, over the machine's": newton / a_root,
        },
    }


if __name__ == "__main__":
    common.main(measure, SIZES)
