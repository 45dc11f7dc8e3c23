"""Shared by the benchmarks: alternate two functions in one process, print the median ratio."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def alternate(
    ours: Callable[[], Any], peer: Callable[[], Any], rounds: int = 5
) -> dict[str, float]:
    """Run both in turn; medians of times and of the ratio peer / ours."""
    times = [(seconds(ours)[0], seconds(peer)[0]) for _ in range(rounds)]
    return {
        "ours_s": statistics.median(a for a, _ in times),
        "peer_s": statistics.median(b for _, b in times),
        "ratio": statistics.median(b / a for a, b in times),
    }


def machine() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version()}


def save(name: str, record: dict[str, Any]) -> None:
    path = Path(__file__).parent / f"{name}.json"
    path.write_text(json.dumps({**record, "machine": machine()}, indent=2) + "\n")
    print(f"written {path.name}")
