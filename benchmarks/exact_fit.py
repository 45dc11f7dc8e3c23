"""The exact spread of Fig. 2's fit against plain formulations in python-flint and in mpmath.

The peers write the design matrix out, all its L rows, form the normal equations and solve them;
ours has them in closed form, in two blocks. Outputs are compared first, then both sides run in turn
in one process. Each peer begins with the precision that ours needed; the one in Arb doubles it as
long as that does not suffice, once, in the comparison, and is timed at what sufficed. mpmath, which
encloses nothing, gets a smaller model.
"""

from __future__ import annotations

from typing import Any

import common
import flint
import mpmath as mp
import numpy as np

import pianalysis as pia

SIZES = {
    "full": {
        "spec": pia.RopeSpec(64, 10_000.0, 2048),
        "little": pia.RopeSpec(32, 10_000.0, 256),
        "spans": 64,
        "grow": (512, 1024, 2048),
        "rounds": 2,
    },
    "small": {
        "spec": pia.RopeSpec(8, 50.0, 24),
        "little": pia.RopeSpec(4, 50.0, 12),
        "spans": 3,
        "grow": (4, 8, 16),
        "rounds": 1,
    },
}


def plain(spec: pia.RopeSpec, spans: np.ndarray, bits: int) -> tuple[np.ndarray, int]:
    """Return log10 of the spread from the whole design matrix in balls, and the bits it took."""
    with flint.ctx.workprec(bits):
        step = -flint.arb(spec.base).log() / spec.pairs
        theta = [(j * step).exp() for j in range(spec.pairs)]

        def rows(values: Any) -> Any:
            waves = ([(flint.arb(float(s)) * t).sin_cos() for t in theta] for s in values)
            return flint.arb_mat([[wave[i] for i in (0, 1) for wave in row] for row in waves])

        grid, right = rows(range(spec.context_window)), rows(spans).transpose()
        try:
            solved = (grid.transpose() * grid).solve(right)
        except ZeroDivisionError:
            return plain(spec, spans, 2 * bits)
        out = []
        for column in range(len(spans)):
            total = sum(
                (right[i, column] * solved[i, column] for i in range(2 * spec.pairs)), flint.arb(0)
            )
            if not total > 0 or total.rad() > 1e-12 * total.mid():
                return plain(spec, spans, 2 * bits)
            out.append(float(total.log().mid()) / 2.0 / np.log(10.0))
    return np.array(out), bits


def plain_mpmath(spec: pia.RopeSpec, spans: np.ndarray, bits: int) -> tuple[np.ndarray, int]:
    """Return the same in mpmath, at the bits given."""
    with mp.workprec(bits):
        theta = [mp.mpf(spec.base) ** (mp.mpf(-j) / spec.pairs) for j in range(spec.pairs)]

        def rows(values: Any) -> Any:
            return mp.matrix(
                [[f(t * mp.mpf(float(s))) for f in (mp.sin, mp.cos) for t in theta] for s in values]
            )

        grid = rows(range(spec.context_window))
        inverse = mp.inverse(grid.T * grid)
        each = (rows([s]) for s in spans)
        out = [float(mp.log10((row * inverse * row.T)[0]) / 2) for row in each]
    return np.array(out), bits


def measure(size: common.Size) -> common.Record:
    rows, numbers = [], {}
    with common.cores(1) as cores:
        for name, spec, peer in (
            ("python-flint", size["spec"], plain),
            ("mpmath", size["little"], plain_mpmath),
        ):
            spans = np.linspace(0.5, 4.0 * spec.context_window, size["spans"])
            exact = pia.exact_fit_spread(spec, spans)
            print(f"{name}: one solution first", flush=True)
            found, bits = peer(spec, spans, exact.bits)
            common.agree(f"log10 of the spread, {name}", exact.log10, found, 1e-9)
            numbers |= {f"bits, ours against {name}": exact.bits, f"bits, {name}": bits}
            row = common.alternate(
                f"{size['spans']} spans, d = {spec.head_dim}, L = {spec.context_window}, {name}",
                lambda spec=spec, spans=spans: pia.exact_fit_spread(spec, spans),
                lambda spec=spec, spans=spans, bits=bits, peer=peer: peer(spec, spans, bits),
                size["rounds"],
            )
            rows.append(row)
        spec = size["spec"]
        grows = common.growth(
            "the number of spans",
            1.0,
            size["grow"],
            lambda n: pia.exact_fit_spread(spec, np.linspace(0.5, 4.0 * spec.context_window, n)),
            size["rounds"],
        )
    return {
        "question": "the exact spread of Fig. 2's fit, with an error radius",
        "threads": cores,
        "rows": [{**row, "headline": "flint" in row["case"]} for row in rows],
        "growth": [grows],
        "numbers": numbers,
    }


if __name__ == "__main__":
    common.main(measure, SIZES)
