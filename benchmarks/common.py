"""Shared by the benchmarks: outputs compared, two functions in turn, growth, rates, the record.

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

from pianalysis.records import write_atomic

FOLDER = Path(__file__).parent
LIBRARIES = (
    *("pianalysis", "numpy", "scipy", "numba", "torch", "transformers"),
    *("clarabel", "python-flint", "mpmath", "rope-profiler"),
)
REPEATS = 7  # of a rate, and rounds of a row of which one side takes less than a second
PRODUCTS = (2048, 3072)  # sizes of the matrix product: large enough for two cores
SETTINGS = 12  # tried at most on the way to the peer's best one
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


def least(function: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Return the least seconds: how a rate of the machine and our share of it are both measured."""
    return min(seconds(function)[0] for _ in range(repeats))


def alternate(
    case: str,
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    rounds: int,
    threads: tuple[int, int] = (1, 1),
) -> Record:
    """Run both in turn; return and print medians of times and of the ratio peer / ours.

    ``threads`` are those that ours and the peer may use. One round is a trial; of more than one,
    quick rows get ``REPEATS``.
    """
    times: list[tuple[float, float]] = []
    while len(times) < rounds or (rounds > 1 and len(times) < REPEATS and min(times[0]) < 1.0):
        times.append((seconds(ours)[0], seconds(peer)[0]))
    return compared(case, times, threads)


def compared(case: str, times: list[tuple[float, float]], threads: tuple[int, int]) -> Record:
    """Return and print a row: medians of the seconds (ours, peer) of the rounds and of ratios."""
    row: Record = {"case": case}
    for name, side in zip(("ours", "peer"), zip(*times, strict=True), strict=True):
        row[f"{name}_s"] = statistics.median(side)
        row[f"{name}_range_s"] = [min(side), max(side)]
    row["ratio"] = statistics.median(b / a for a, b in times)
    row |= {"rounds": len(times), "threads": list(threads)}
    print(
        f"{case}: ours {row['ours_s']:.3g} s, peer {row['peer_s']:.3g} s, {row['ratio']:.3g} times"
    )
    sys.stdout.flush()
    return row


def best_setting(what: str, cost: Callable[[int], float], start: int) -> int:
    """Return the setting of least cost of those got by halving and doubling from ``start``.

    It lies between two that cost more: a best one at either end is a ValueError.
    """
    costs = {start: cost(start)}
    for _ in range(SETTINGS):
        best = min(costs, key=costs.__getitem__)
        left = [n for n in (best // 2, 2 * best) if n and n not in costs]
        if not left:
            break
        costs[left[0]] = cost(left[0])
    best = min(costs, key=costs.__getitem__)
    print(f"{what}: " + ", ".join(f"{n} {costs[n]:.3g} s" for n in sorted(costs)), flush=True)
    if best in (min(costs), max(costs)):
        raise ValueError(f"{what}: the best must not be at an end, got {best} of {sorted(costs)}")
    return best


def matrix_rate(library: Any, dtype: Any, sizes: Sequence[int]) -> float:
    """Return the operations a second of numpy's or torch's square matrix product, at its best."""
    found = []
    for n in sizes:
        a, out = library.ones((n, n), dtype=dtype), library.empty((n, n), dtype=dtype)
        found.append(2.0 * n**3 / least(lambda a=a, out=out: library.matmul(a, a, out=out)))
    return max(found)


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Return p of the best fit time = c size^p: a line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def growth(
    over: str, expected: float, sizes: Sequence[int], run: Callable[[int], Any], rounds: int = 3
) -> dict[str, Any]:
    """Time ours at several sizes (the least of ``rounds``); return the exponent beside theory's."""
    times = [least(lambda n=n: run(n), rounds) for n in sizes]
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


def refuse_other_systems() -> None:
    """End with one sentence where there is no /proc and no affinity to cores."""
    if sys.platform != "linux":
        raise SystemExit(f"error: the benchmarks run on Linux only, this is {platform.system()}")


def save(name: str, record: Record) -> None:
    path = FOLDER / f"{name}.json"
    whole = {**record, "machine": machine(), "versions": versions()}
    write_atomic(path, json.dumps(whole, indent=2) + "\n")
    print(f"written {path.name}")


def main(
    measure: Callable[[Size], Record],
    sizes: Mapping[str, Size],
    alone: Mapping[str, Callable[[Size], Any]] | None = None,
) -> None:
    """Run a script: measure and save, or print one of ``alone``, measured in a process of its own.

    A small run tries the script and saves nothing. A record keeps how long the script took, and
    the load average of a minute before and after: others' work makes it more than our own.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=tuple(sizes), default="full")
    parser.add_argument("--alone", choices=tuple(alone or {}))
    options = parser.parse_args()
    refuse_other_systems()
    if options.alone:
        print(json.dumps((alone or {})[options.alone](sizes[options.size])))
        return
    before = os.getloadavg()[0]
    took, record = seconds(lambda: measure(sizes[options.size]))
    if options.size == "full":
        record = {**record, "seconds": took, "load": [before, os.getloadavg()[0]]}
        save(Path(sys.argv[0]).stem, record)
