"""a(s) on a uniform grid: one matrix product against the direct evaluation in numpy.

Outputs are compared first, against each other and against 50 digits.
"""

from __future__ import annotations

import common
import mpmath as mp
import numpy as np

import pianalysis as pia

COUNT, DIM, BASE = 1_000_000, 128, 10_000.0


def direct(h: np.ndarray, frequencies: np.ndarray, spans: np.ndarray) -> np.ndarray:
    out = np.empty(spans.size)
    for start in range(0, spans.size, 16384):
        part = slice(start, start + 16384)
        angle = np.outer(spans[part], frequencies)
        out[part] = np.cos(angle) @ h.real - np.sin(angle) @ h.imag
    return out


def main() -> None:
    spec = pia.RopeSpec(DIM, BASE, 2048)
    rng = np.random.default_rng(0)
    h = rng.standard_normal(DIM // 2) + 1j * rng.standard_normal(DIM // 2)
    spans = np.arange(COUNT, dtype=float)
    ours, peer = pia.attention_score(spec, h, spans), direct(h, spec.frequencies, spans)
    scale = np.abs(h).sum()
    print(f"largest difference {np.abs(ours - peer).max() / scale:.1e} of sum|h|")
    with mp.workdps(50):
        theta = [mp.mpf(BASE) ** (mp.mpf(-2 * j) / DIM) for j in range(DIM // 2)]
        error = error_peer = 0.0
        for s in (1, 10_000, 123_456, 999_999):
            exact = mp.fsum(
                (mp.mpc(complex(c)) * mp.expj(s * t)).real for c, t in zip(h, theta, strict=True)
            )
            error = max(error, abs(float(ours[s] - exact)) / scale)
            error_peer = max(error_peer, abs(float(peer[s] - exact)) / scale)
    print(f"error against 50 digits, of sum|h|: ours {error:.1e}, direct {error_peer:.1e}")
    row = common.alternate(
        lambda: pia.attention_score(spec, h, spans), lambda: direct(h, spec.frequencies, spans)
    )
    print(f"ours {row['ours_s']:.4f} s, direct {row['peer_s']:.3f} s, {row['ratio']:.1f} times")
    rate = 2 * COUNT * DIM / row["ours_s"]
    size = 1024
    a = rng.standard_normal((size, size))
    a @ a
    peak = 2 * size**3 / min(common.seconds(lambda: a @ a)[0] for _ in range(5))
    print(f"{rate / 1e9:.1f} GFLOP/s, {100 * rate / peak:.0f}% of this machine's matrix product")
    common.save(
        "uniform_grid",
        {
            "question": "a(s) at 1,000,000 integer spans, float64",
            **row,
            "error": error,
            "peer_error": error_peer,
            "share_of_matrix_product": rate / peak,
        },
    )


if __name__ == "__main__":
    main()
