"""The certified worst case, and its closed form, against a plain clarabel formulation of every row.

The peer states all 2 L + d/2 limits in the raw basis of cosines and sines, as a user of the solver
would, and certifies nothing. Outputs are compared first, then both sides run in turn in one
process. What ours sets up once a specification, and keeps, is left out of both tables; the first
solve stands below them. The closed form lies above the same number; it has no peer, so its time a
span over many spans stands there, and how far above the certified one it lies at those compared.
"""

from __future__ import annotations

import clarabel
import common
import numpy as np
from scipy import sparse

import pianalysis as pia

# The docstring of worst_case_bound has 2.1 at s = 2100 for d = 128, L = 2048, H = 1, and less
# further out, where all spans compared lie.
LOOSEST = 2.1
SIZES = {
    "full": {
        "spec": pia.preset("llama-7b"),
        "limits": (1.0, 10.0),
        "shares": (1.2207, 2.0),
        "curve": 10_000,
        "windows": (1024, 2048, 4096, 8192),
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


def looseness(spec: pia.RopeSpec, s: float, limit: float, lower: float) -> float:
    """Return closed form / certified lower side; what is no ceiling, or a useless one, raises."""
    ceiling = float(pia.worst_case_bound(spec, s, max_coefficient=limit))
    if not lower <= ceiling <= LOOSEST * lower:
        raise ValueError(
            f"s = {s:g}, H = {limit:g}: the closed form must lie above the exact worst case, at "
            f"most {LOOSEST:g} times, got {ceiling:g} above {lower:g}"
        )
    return ceiling / lower


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
        difference, above = 0.0, []
        for s, limit in cases:
            case, peer = ours(spec, s, limit), plain(spec, s, limit)
            found = common.agree(f"s = {s:g}, H = {limit:g}", case.value, peer, 1e-6)
            difference = max(difference, found)
            above.append(looseness(spec, s, limit, case.lower))
            print(f"s = {s:g}, H = {limit:g}: {case.value:.6f}, peer {peer:.6f}", flush=True)
        row = common.alternate(
            f"{len(cases)} pairs of span and limit H, with proof; the solver clarabel, without",
            lambda: [ours(spec, *case) for case in cases],
            lambda: [plain(spec, *case) for case in cases],
            size["rounds"],
        )
        closed = common.least(lambda: pia.worst_case_bound(spec, curve, max_coefficient=1.0))
        grows = [
            common.growth(
                "the window (certified, without set-up)",
                1.0,
                size["windows"],
                lambda n: ours(pia.RopeSpec(spec.head_dim, spec.base, n), 2.0 * n, 1.0),
            ),
            common.growth(
                "the number of spans (closed form)",
                1.0,
                [len(curve) * k for k in (4, 8, 16)],
                lambda n: pia.worst_case_bound(
                    spec, np.linspace(0.0, 4.0 * window, n), max_coefficient=1.0
                ),
            ),
        ]
    return {
        "question": f"the worst case of a score, d = {spec.head_dim}, L = {window}",
        "threads": cores,
        "rows": [{**row, "headline": True}],
        "growth": grows,
        "numbers": {
            "first solve of a specification, with its set-up, s": first,
            "largest relative difference": difference,
            f"closed form, µs a span ({len(curve):,} spans)": 1e6 * closed / len(curve),
            "closed form / certified lower side, least": min(above),
            "the same, largest": max(above),
        },
    }


if __name__ == "__main__":
    common.main(measure, SIZES)
