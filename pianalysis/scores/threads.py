"""Rows in slices, on every core that this process may use: the kernels free the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def spread(run: Callable[[slice], Any], rows: int, size: int) -> None:
    """Run over all rows, ``size`` of them at a time."""
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(run, (slice(first, first + size) for first in range(0, rows, size))))
