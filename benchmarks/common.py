"""Shared by the benchmarks: outputs compared, two functions in turn, growth, memory, the record.

A script has ``SIZES`` (full and small) and ``measure(size)``, which returns its record; Linux only.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

FOLDER = Path(__file__).parent
LIBRARIES = (
    *("pianalysis", "numpy", "scipy", "numba", "torch", "transformers"),
    *("clarabel", "python-flint", "mpmath", "rope-profiler"),
)
Size = Mapping[str, Any]
Record = dict[str, Any]


def agree(what: str, ours: Any, peer: Any, tolerance: float) -> float:
    """Return the largest difference, as a share of the peer's largest number.

    Mappings are compared name by name. A difference above ``tolerance``, or NaN, is a ValueError.
    """
    if isinstance(peer, Mapping):
        return max(agree(f"{what}, {name}", ours[name], peer[name], tolerance) for name in peer)
    a, b = np.asarray(ours, dtype=float), np.asarray(peer, dtype=float)
    scale = np.abs(b).max()
    difference = float(np.abs(a - b).max() / (scale if scale > 0.0 else 1.0))
    if a.shape != b.shape or not difference <= tolerance:
        raise ValueError(
            f"{what}: ours and the peer's must agree to {tolerance:g}, got shapes {a.shape} and "
            f"{b.shape}, difference {difference:.3g}"
        )
    return difference


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def alternate(
    case: str, ours: Callable[[], Any], peer: Callable[[], Any], rounds: int
) -> dict[str, Any]:
    """Run both in turn; return and print medians of times and of the ratio peer / ours."""
    times = [(seconds(ours)[0], seconds(peer)[0]) for _ in range(rounds)]
    row = {
        "case": case,
        "ours_s": statistics.median(a for a, _ in times),
        "peer_s": statistics.median(b for _, b in times),
        "ratio": statistics.median(b / a for a, b in times),
        "rounds": rounds,
    }
    print(
        f"{case}: ours {row['ours_s']:.3g} s, peer {row['peer_s']:.3g} s, {row['ratio']:.3g} times"
    )
    sys.stdout.flush()
    return row


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Return p of the best fit time = c size^p: a line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def growth(
    over: str, expected: float, sizes: Sequence[int], run: Callable[[int], Any], rounds: int = 3
) -> dict[str, Any]:
    """Time ours at several sizes (the least of ``rounds``); return the exponent beside theory's."""
    times = [min(seconds(lambda n=n: run(n))[0] for _ in range(rounds)) for n in sizes]
    return grown(over, expected, sizes, times)


def grown(
    over: str, expected: float, sizes: Sequence[int], times: Sequence[float]
) -> dict[str, Any]:
    """Return and print how times that are known grow."""
    found = exponent(sizes, times)
    print(f"grows with {over} as the power {found:.2f}, expected {expected:g}", flush=True)
    row = {"over": over, "sizes": list(sizes), "seconds": list(times)}
    return {**row, "exponent": found, "expected": expected}


def fastest_peer(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mark the row of the peer's best setting: README shows that one."""
    best = min(rows, key=lambda row: row["peer_s"])
    return [{**row, "headline": row is best} for row in rows]


@contextmanager
def cores(count: int | None) -> Iterator[int]:
    """Let this thread, and all that it starts, use ``count`` cores (None: all it may use)."""
    torch = sys.modules.get("torch")
    before, threads = os.sched_getaffinity(0), torch.get_num_threads() if torch else 0
    chosen = sorted(before)[:count]
    os.sched_setaffinity(0, chosen)
    try:
        with threadpool_limits(len(chosen)):
            if torch:
                torch.set_num_threads(len(chosen))
            yield len(chosen)
    finally:
        os.sched_setaffinity(0, before)
        if torch:
            torch.set_num_threads(threads)


def peak_bytes(function: Callable[[], Any]) -> int:
    """Return by how much the process grows at most while the function runs; warm it up before."""

    def kilobytes(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(x.split()[1]) for x in lines if x.startswith(f"{name}:"))

    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = kilobytes("VmRSS")
    function()
    return 1024 * (kilobytes("VmHWM") - before)


def child(*arguments: str) -> str:
    """Return what a fresh interpreter prints."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def machine() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version()}


def versions() -> dict[str, str]:
    """Return the versions of what is installed of the libraries that are compared."""
    out = {}
    for name in LIBRARIES:
        try:
            out[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return out


def save(name: str, record: Record) -> None:
    path = FOLDER / f"{name}.json"
    whole = {**record, "machine": machine(), "versions": versions()}
    path.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    print(f"written {path.name}")


def main(
    measure: Callable[[Size], Record],
    sizes: Mapping[str, Size],
    alone: Mapping[str, Callable[[Size], Any]] | None = None,
) -> None:
    """Run a script: measure and save, or print one of ``alone``, measured in a process of its own.

    A small run tries the script and saves nothing.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=tuple(sizes), default="full")
    parser.add_argument("--alone", choices=tuple(alone or {}))
    options = parser.parse_args()
    if options.alone:
        print(json.dumps((alone or {})[options.alone](sizes[options.size])))
        return
    record = measure(sizes[options.size])
    if options.size == "full":
        save(Path(sys.argv[0]).stem, record)
