"""The committed records of figures/: read back, for items too long to recompute on the way."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from pianalysis import checks

FOLDER = Path(__file__).resolve().parents[1] / "figures"


def columns(stem: str, folder: Path | None = None) -> dict[str, Any]:
    """Return the table of one record: float64 arrays, or tuples of strings where text stands.

    ``folder`` is another than figures/ of this project.

    Raises
    ------
    ValueError
        The record is not there: it is generated, see the message. Or it is no table.
    """
    path = _path(stem, "csv", folder)
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            header, *rows = csv.reader(handle)
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path} must be a table, got {error}") from None
    if len(set(header)) < len(header) or any(len(row) != len(header) for row in rows):
        raise ValueError(f"{path} must have distinct columns and as many cells in every row")
    return {name: _numbers(tuple(row[index] for row in rows)) for index, name in enumerate(header)}


def summary(stem: str, folder: Path | None = None) -> dict[str, Any]:
    """Return what stands beside the table: inputs, summary values and provenance."""
    path = _path(stem, "json", folder)
    try:
        body = json.loads(
            path.read_text(encoding="utf-8"), parse_float=_finite, parse_constant=_finite
        )
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be JSON, got {error}") from None
    if not isinstance(body, dict):
        raise ValueError(f"{path} must hold a JSON object, got a {type(body).__name__}")
    return body


def _finite(text: str) -> float:
    return checks.real("every number", float(text))


def _path(stem: str, kind: str, folder: Path | None) -> Path:
    path = (folder or FOLDER) / f"{stem}.{kind}"
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
