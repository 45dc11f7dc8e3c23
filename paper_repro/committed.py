"""The committed records of figures/: read back, for items too long to recompute on the way."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parents[1] / "figures"


def columns(stem: str) -> dict[str, Any]:
    """Return the table of one record: float64 arrays, or tuples of strings where text stands.

    Raises
    ------
    ValueError
        The record is not there: it is generated, see the message.
    """
    with _path(stem, "csv").open(encoding="utf-8") as handle:
        header, *rows = csv.reader(handle)
    return {name: _numbers(tuple(row[index] for row in rows)) for index, name in enumerate(header)}


def summary(stem: str) -> dict[str, Any]:
    """Return what stands beside the table: inputs, summary values and provenance."""
    body: dict[str, Any] = json.loads(_path(stem, "json").read_text(encoding="utf-8"))
    return body


def _path(stem: str, kind: str) -> Path:
    path = FOLDER / f"{stem}.{kind}"
    if not path.is_file():
        raise ValueError(
            f"stem must name a committed record, got {stem!r}; python -m paper_repro run makes them"
        )
    return path


def _numbers(cells: tuple[str, ...]) -> Any:
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError:
        return cells
