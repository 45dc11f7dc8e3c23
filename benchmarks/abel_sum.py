"""B(s) at 4,000,000 integer spans: ours against the paper's appendix code in torch, float64.

Outputs are compared first. The peer forms the phase matrix, sines, cosines, cumulative sums, moduli
and row sums, in chunks; how fast it is depends on whether a chunk fits in cache, so several chunk
sizes are timed. Also printed: our share of the machine's square-root rate, which bounds the loop.
"""

from __future__ import annotations

import os

import common
import mpmath as mp
import numpy as np
import torch
from numba import njit

import pianalysis as pia

COUNT, DIM, BASE, THREADS = 4_000_000, 128, 10_000.0, 2
CHUNKS = (4096, 16384, 65536, 262144)


def appendix(count: int, chunk: int) -> np.ndarray:
    frequencies = 1.0 / BASE ** (torch.arange(0, DIM, 2, dtype=torch.float64) / DIM)
    out = torch.empty(count, dtype=torch.float64)
    for start in range(0, count, chunk):
        spans = torch.arange(start, min(start + chunk, count), dtype=torch.float64)
        angle = torch.outer(spans, frequencies)
        real, imag = angle.cos().cumsum(1), angle.sin().cumsum(1)
        out[start : start + chunk] = (real.square() + imag.square()).sqrt().sum(1)
    return out.numpy()


@njit(nogil=True, cache=True)
def square_roots(values: np.ndarray, repeats: int) -> None:
    for _ in range(repeats):
        for i in range(values.size):
            values[i] = np.sqrt(values[i])


def main() -> None:
    torch.set_num_threads(THREADS)
    spec = pia.RopeSpec(DIM, BASE, 2048)
    spans = np.arange(COUNT, dtype=float)
    ours = pia.abel_sum(spec, spans)
    with mp.workdps(50):
        theta = [mp.mpf(BASE) ** (mp.mpf(-2 * j) / DIM) for j in range(DIM // 2)]
        worst = worst_peer = 0.0
        peer = appendix(1_000_001, CHUNKS[1])
        for s in (0, 1, 3643, 10_000, 123_456, 999_999, 1_000_000):
            terms = [mp.expj(s * t) for t in theta]
            exact = sum(abs(mp.fsum(terms[: k + 1])) for k in range(len(terms)))
            worst = max(worst, abs(float(ours[s] / exact - 1)))
            worst_peer = max(worst_peer, abs(float(peer[s] / exact - 1)))
    print(f"largest relative error up to 10^6: ours {worst:.1e}, peer {worst_peer:.1e}")
    roots = np.random.default_rng(0).uniform(1, 2, 1024)
    square_roots(roots, 10)
    per_root = common.seconds(lambda: square_roots(roots, 20_000))[0] / (1024 * 20_000)
    rows = []
    for chunk in CHUNKS:
        row = common.alternate(
            lambda: pia.abel_sum(spec, spans), lambda c=chunk: appendix(COUNT, c), rounds=3
        )
        rows.append({"chunk": chunk, **row})
        print(
            f"chunk {chunk:>7}: ours {row['ours_s']:.3f} s, peer {row['peer_s']:.2f} s, "
            f"{row['ratio']:.1f} times"
        )
    share = COUNT * DIM / 2 * per_root / (min(r["ours_s"] for r in rows) * (os.cpu_count() or 1))
    print(f"ours reaches {100 * share:.0f}% of the square-root rate ({1e9 * per_root:.2f} ns each)")
    common.save(
        "abel_sum",
        {
            "question": "B(s) at 4,000,000 integer spans, float64",
            "threads": THREADS,
            "rows": rows,
            "relative_error": worst,
            "peer_relative_error": worst_peer,
            "share_of_sqrt_rate": share,
        },
    )


if __name__ == "__main__":
    main()
