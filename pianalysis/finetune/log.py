"""The log of a run: a JSON line for each step, cut back to the checkpoint when a run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pianalysis.records import write_atomic

# What a step found is the same in every run of a recipe; what it took is not, so it lies apart.
LOG = "log.jsonl"
TIMES = "seconds.jsonl"


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line."""
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")


def cut(path: Path, step: int) -> None:
    """Keep the lines up to a step: what came after it is done again."""
    rows = [row for row in read(path) if row["step"] <= step]
    if [row["step"] for row in rows] != list(range(1, step + 1)):
        raise ValueError(f"{path}: must hold a line for each step up to {step}, got {len(rows)}")
    write_atomic(path, "".join(json.dumps(row) + "\n" for row in rows))


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a log; one that was cut short by a kill is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
