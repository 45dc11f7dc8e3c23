"""What prose is made of: numbers of committed records, rounded so that what is printed is true."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from paper_repro import committed

_N = TypeVar("_N", int, float)


def at_most(value: float, digits: int = 4) -> str:
    """Return an upper bound in ``digits`` significant digits, rounded up.

    Examples
    --------
    >>> at_most(1.93501), at_least(1.93599), at_most(42.0)
    ('1.936', '1.935', '42.00')
    """
    return _rounded(value, digits, math.ceil)


def at_least(value: float, digits: int = 4) -> str:
    """Return a lower bound in ``digits`` significant digits, rounded down."""
    return _rounded(value, digits, math.floor)


def _rounded(value: float, digits: int, to: Callable[[float], int]) -> str:
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{to(round(value * 10**places, 6)) / 10**places:.{max(places, 0)}f}"


def rows(stem: str, folder: Path, **where: Any) -> dict[str, Any]:
    """Return the columns of a record, of the rows alone that hold the given values.

    Raises
    ------
    ValueError
        No such row.
    """
    table = committed.columns(stem, folder)
    columns = {name: np.array(values) for name, values in table.items()}
    keep = np.ones(len(next(iter(columns.values()))), dtype=bool)
    for name, value in where.items():
        keep &= columns[name] == value
    if not keep.any():
        raise ValueError(f"{stem} must have a row with {where}, got none")
    return {name: values[keep] for name, values in columns.items()}


def shared(read: Iterable[tuple[str, _N, _N]]) -> dict[_N, list[_N]]:
    """Return seed -> the steps, in order, at which PI and FT were both read.

    ``read`` are (scheme, seed, step) of the fine-tune; only equal training is compared.
    """
    known = set(read)
    steps: dict[_N, list[_N]] = {}
    for scheme, seed, step in sorted(known):
        if scheme == "linear" and ("default", seed, step) in known:
            steps.setdefault(seed, []).append(step)
    return steps


def one(stem: str, folder: Path, column: str, **where: Any) -> float:
    """Return the number of the one row of a record that holds the given values."""
    (value,) = rows(stem, folder, **where)[column]
    return float(value)
