"""The time to import the package in a fresh interpreter, against numpy, torch and transformers.

There is no output to compare; what is checked is that the import loads none of torch, transformers,
scipy, matplotlib and numba. Times are those of whole processes, a fresh one each, in turn. The
package itself imports numpy, so against numpy it cannot win.
"""

from __future__ import annotations

import common

SIZES = {
    "full": {"peers": ("numpy", "torch", "transformers"), "rounds": 9, "cores": None},
    "small": {"peers": ("numpy",), "rounds": 1, "cores": 1},
}
HEAVY = ("torch", "transformers", "scipy", "matplotlib", "numba")


def run(code: str) -> str:
    return common.child("-c", code)


def measure(size: common.Size) -> common.Record:
    loaded = run(f"import sys, pianalysis; print([m for m in {HEAVY!r} if m in sys.modules])")
    if loaded.strip() != "[]":
        raise ValueError(f"importing pianalysis must load nothing heavy, got {loaded.strip()}")
    with common.cores(size["cores"]) as cores:
        for name in size["peers"]:
            run(f"import {name}")  # once, so that its files are in memory
        rows = [
            common.alternate(
                f"import {name}",
                lambda: run("import pianalysis"),
                lambda name=name: run(f"import {name}"),
                size["rounds"],
                (cores, cores),
            )
            for name in size["peers"]
        ]
        bare = min(common.seconds(lambda: run("pass"))[0] for _ in range(size["rounds"]))
    return {
        "question": "importing the package in a fresh interpreter",
        "threads": cores,
        "rows": rows,
        "growth": [],
        "numbers": {"an interpreter that imports nothing, s": bare},
    }


if __name__ == "__main__":
    common.main(measure, SIZES)
