"""The certified worst case and its closed form against a plain clarabel formulation of every row.

The peer states all 2 L + d/2 limits of LLaMA 7B in the raw basis of cosines and sines, as a user of
the solver would, and certifies nothing. Outputs are compared first.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # one core for both

import clarabel
import common
import numpy as np
from scipy import sparse

import pianalysis as pia

LIMITS, SPANS = (0.3, 1.0, 10.0), (2500.0, 4096.0)
CURVE = np.linspace(0.0, 8191.0, 10_000)


def plain(spec: pia.RopeSpec, s: float, limit: float) -> float:
    """Solve with every grid point as two inequalities and every coefficient as a cone."""

    def rows(spans: np.ndarray) -> np.ndarray:
        angle = np.outer(spans, spec.frequencies)
        return np.concatenate([np.cos(angle), -np.sin(angle)], axis=1)

    window, pairs = spec.context_window, spec.pairs
    grid, discs = rows(np.arange(window)), np.zeros((3 * pairs, 2 * pairs))
    index = np.arange(pairs)
    discs[3 * index + 1, index] = discs[3 * index + 2, pairs + index] = -1.0
    offsets = np.concatenate([np.ones(2 * window), np.tile([limit, 0.0, 0.0], pairs)])
    kinds = [clarabel.NonnegativeConeT(2 * window)] + [clarabel.SecondOrderConeT(3)] * pairs
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    matrix = sparse.csc_matrix(np.concatenate([grid, -grid, discs]))
    empty = sparse.csc_matrix((2 * pairs, 2 * pairs))
    cost = -rows(np.array([s]))[0]
    found = clarabel.DefaultSolver(empty, cost, matrix, offsets, kinds, settings).solve()
    return -float(found.obj_val)


def main() -> None:
    spec = pia.preset("llama-7b")
    setup, _ = common.seconds(lambda: pia.worst_case_score(spec, 3000.5, max_coefficient=1.0))
    cases = [(s, limit) for s in SPANS for limit in LIMITS]
    difference = 0.0
    for s, limit in cases:
        ours = pia.worst_case_score(spec, s, max_coefficient=limit)
        peer = plain(spec, s, limit)
        difference = max(difference, abs(peer / ours.value - 1.0))
        ceiling = float(pia.worst_case_bound(spec, s, max_coefficient=limit))
        assert ours.lower <= ceiling
        print(f"s = {s:g}, H = {limit:g}: {ours.value:.6f} (gap {ours.gap:.0e}), peer {peer:.6f}")
    print(f"set-up and first solve {setup:.2f} s; largest difference {difference:.1e}")

    def solve() -> None:
        for s, limit in cases:
            pia.worst_case_score(spec, s, max_coefficient=limit)

    row = common.alternate(solve, lambda: [plain(spec, *case) for case in cases], rounds=3)
    each = row["ours_s"] / len(cases)
    print(f"certified {1e3 * each:.0f} ms a case, {row['ratio']:.1f} times as fast as the peer")
    curve = min(
        common.seconds(lambda: pia.worst_case_bound(spec, CURVE, max_coefficient=1.0))[0]
        for _ in range(5)
    )
    per_span = row["peer_s"] / len(cases) / (curve / CURVE.size)
    print(f"closed form at {CURVE.size} spans: {curve:.3f} s, {per_span:.0f} times a span")
    common.save(
        "worst_case",
        {
            "question": "the certified worst case of LLaMA 7B, one core",
            **row,
            "case_s": each,
            "setup_s": setup,
            "largest_difference": difference,
            "curve_s": curve,
            "curve_spans": CURVE.size,
            "curve_ratio_a_span": per_span,
        },
    )


if __name__ == "__main__":
    main()
