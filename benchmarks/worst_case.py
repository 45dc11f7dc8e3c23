"""The certified worst case, and its closed form, against a plain clarabel formulation of every row.

The peer states all 2 L + d/2 limits in the raw basis of cosines and sines, as a user of the solver
would, and certifies nothing. The closed form is a ceiling of the same number at 10,000 spans; its
row is time a span, against the peer's time a solve.
"""

from __future__ import annotations

import clarabel
import common
import numpy as np
from scipy import sparse

import pianalysis as pia

SIZES = {
    "full": {
        "spec": pia.preset("llama-7b"),
        "limits": (0.3, 1.0, 10.0),
        "shares": (1.2207, 2.0),
        "curve": 10_000,
        "windows": (512, 1024, 2048, 4096),
        "rounds": 3,
    },
    "small": {
        "spec": pia.RopeSpec(8, 50.0, 24),
        "limits": (1.0,),
        "shares": (1.22,),
        "curve": 50,
        "windows": (24, 48, 96),
        "rounds": 1,
    },
}


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


def ours(spec: pia.RopeSpec, s: float, limit: float) -> pia.WorstCase:
    return pia.worst_case_score(spec, s, max_coefficient=limit)


def measure(size: common.Size) -> common.Record:
    spec = size["spec"]
    window = spec.context_window
    cases = [
        (float(round(share * window)), limit)
        for share in size["shares"]
        for limit in size["limits"]
    ]
    curve = np.linspace(0.0, 4.0 * window - 1.0, size["curve"])
    with common.cores(1) as cores:
        first, _ = common.seconds(lambda: ours(spec, window + 0.5, 1.0))
        difference = 0.0
        for s, limit in cases:
            case, peer = ours(spec, s, limit), plain(spec, s, limit)
            found = common.agree(f"s = {s:g}, H = {limit:g}", case.value, peer, 1e-6)
            difference = max(difference, found)
            ceiling = float(pia.worst_case_bound(spec, s, max_coefficient=limit))
            if case.lower > ceiling:
                raise ValueError(f"the closed form must lie above, got {ceiling} < {case.lower}")
            print(f"s = {s:g}, H = {limit:g}: {case.value:.6f}, peer {peer:.6f}", flush=True)
        row = common.alternate(
            f"{len(cases)} spans and limits H, with proof; peer: the solver clarabel, without",
            lambda: [ours(spec, *case) for case in cases],
            lambda: [plain(spec, *case) for case in cases],
            size["rounds"],
        )
        each = min(
            common.seconds(lambda: pia.worst_case_bound(spec, curve, max_coefficient=1.0))[0]
            for _ in range(5)
        ) / len(curve)
        a_solve = row["peer_s"] / len(cases)
        closed = {
            "case": f"closed form, per span ({len(curve):,}); peer: one solve by clarabel",
            "ours_s": each,
            "peer_s": a_solve,
            "ratio": a_solve / each,
        }
        grows = [
            common.growth(
                "the window (certified)",
                1.0,
                size["windows"],
                lambda n: ours(pia.RopeSpec(spec.head_dim, spec.base, n), 2.0 * n, 1.0),
            ),
            common.growth(
                "the number of spans (closed form)",
                1.0,
                [len(curve) * k for k in (1, 2, 4)],
                lambda n: pia.worst_case_bound(
                    spec, np.linspace(0.0, 4.0 * window, n), max_coefficient=1.0
                ),
            ),
        ]
    return {
        "question": f"the worst case of a score, d = {spec.head_dim}, L = {window}, one core",
        "threads": cores,
        "rows": [{**row, "headline": True}, closed],
        "growth": grows,
        "numbers": {
            "first solve of a specification, with its set-up, s": first,
            "largest relative difference": difference,
        },
    }


if __name__ == "__main__":
    common.main(measure, SIZES)
