"""Finished readings, one small file each: what a lost machine would cost is one of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paper_repro.small_scale.plan import Case, Reading
from pianalysis.records import plain, write_atomic

PROTOCOL = 1  # raised by hand where a reading of the same name comes to mean something else


@dataclass(frozen=True, slots=True)
class Readings:
    """The readings of a tier in a folder: ``linear-x4-seed-0-0400-passkeys.json`` and so on.

    A file counts where it holds all that the reading depends on: the model, how it was trained, how
    it was read.
    """

    folder: Path

    def path(self, case: Case, step: int, reading: Reading) -> Path:
        """Return where a reading lies."""
        numbers = "".join(f"-{n}" for n in reading.numbers[:2])
        name = f"{case.label.replace(' ', '-')}-{step:04d}-{reading.kind}{numbers}.json"
        return self.folder / name

    def get(
        self, case: Case, step: int, reading: Reading, about: Mapping[str, Any]
    ) -> list[dict[str, Any]] | None:
        """Return a reading's rows, or None where it is absent, cut short or of something else."""
        try:
            body = json.loads(self.path(case, step, reading).read_text(encoding="utf-8"))
            known = body["about"] == _about(reading, about)
            rows: list[dict[str, Any]] = body["rows"]
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return rows if known else None

    def put(
        self,
        case: Case,
        step: int,
        reading: Reading,
        about: Mapping[str, Any],
        rows: Sequence[Mapping[str, Any]],
        made: Mapping[str, Any],
    ) -> list[dict[str, Any]]:
        """Write a reading, whole or not at all, and return its rows as ``get`` does.

        ``made`` is what it was made by: versions, device, threads.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(json.dumps(plain(row)) for row in rows)
        parts = {"about": _about(reading, about), "made": plain(made)}
        head = ",\n".join(f'"{name}": {json.dumps(value)}' for name, value in parts.items())
        body = f'{{{head},\n"rows": [\n{lines}\n]}}\n'
        write_atomic(self.path(case, step, reading), body)
        kept: list[dict[str, Any]] = json.loads(body)["rows"]
        return kept


def _about(reading: Reading, about: Mapping[str, Any]) -> Any:
    whole = {"protocol": PROTOCOL, "kind": reading.kind, "numbers": reading.numbers, **about}
    return json.loads(json.dumps(plain(whole)))
