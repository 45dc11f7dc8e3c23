"""Items beside each other: a process each where cores and memory allow, one thread a process.

One thread sums in one order, so an item gives the same bytes alone and beside others.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from tqdm import tqdm

from pianalysis.scores.threads import cores

MEMORY = 4 * 2**30  # bytes for one item: the largest holds a model of half a gigabyte and its text
# Started first, so that none of them is left alone at the end.
LONGEST = ("gaps", "real_heads", "finetune", "schemes", "scratch", "fig2", "worst_case", "grid")

Made = TypeVar("Made")


def workers(count: int) -> int:
    """Return how many of ``count`` items run at a time on this machine."""
    most = cores()
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        most = min(most, memory // MEMORY)
    return max(1, min(most, count))


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold linear algebra, OpenMP and torch to one thread, and give them theirs back."""
    # Seconds, which `list` need not wait for. scipy has a BLAS of its own, and a limit holds for
    # none that is loaded later.
    import scipy.linalg.blas  # noqa: F401
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def run(work: Callable[[str], Made], names: Sequence[str]) -> Mapping[str, Made]:
    """Return name -> ``work(name)``; the work and its result must be picklable.

    With a terminal a bar counts the items; without one each has its line: name and seconds.

    Raises
    ------
    Whatever the work raises; ``BrokenProcessPool`` where a process was killed.
    """
    made: dict[str, Made] = {}
    timed = partial(_timed, work)
    with tqdm(total=len(names), unit="item", disable=None) as bar:
        for name, result, seconds in _finished(timed, names):
            made[name] = result
            bar.set_description(name)
            bar.update()
            if bar.disable:
                print(f"{name:<12} {seconds:7.1f} s", file=sys.stderr, flush=True)
    return {name: made[name] for name in names}


def _timed(work: Callable[[str], Made], name: str) -> tuple[str, Made, float]:
    start = time.monotonic()
    return name, work(name), time.monotonic() - start


def _finished(work: Callable[[str], Any], names: Sequence[str]) -> Iterator[Any]:
    """Yield results as they come: in this process where there is one worker."""
    count = workers(len(names))
    if count == 1:
        yield from map(work, names)
        return
    order = [name for name in LONGEST if name in names]
    order += [name for name in names if name not in order]
    # A fork of a process that has run threads may wait for locks forever: of a server that has run
    # none, or, where there is no such server, a fresh interpreter.
    kinds = multiprocessing.get_all_start_methods()
    fresh = multiprocessing.get_context("forkserver" if "forkserver" in kinds else "spawn")
    with ProcessPoolExecutor(count, fresh, initializer=_end_with_parent) as pool:
        futures = [pool.submit(work, name) for name in order]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _end_with_parent() -> None:
    """Let a worker end when what started it is killed, which would leave it waiting for work."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
