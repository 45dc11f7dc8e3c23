"""What `pianalysis report --heads` says of trained heads that `pianalysis heads` has measured."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.bounds.softmax import attention_shift
from pianalysis.bounds.worst_case.case import holds
from pianalysis.bounds.worst_case.head_limits import ceiling, permitted_score
from pianalysis.commands.answers import rounded_up
from pianalysis.extension import PositionInterpolation
from pianalysis.rope.spec import RopeSpec

STEM = "heads_map"
_NEEDED = (
    "layer",
    "head",
    "base",
    "coefficient_max",
    "dip_1_min",
    "peak_1_max",
    "delta_magnitude_max",
    "rms_predicted",
    "rms_deviation_predicted",
)
_LEVELS = {"median": 0.5, "p95": 0.95, "largest": 1.0}
_LARGEST_FILE = 2**28  # bytes


@dataclass(frozen=True, slots=True)
class MeasuredHeads:
    """The heads of one rotation: ``table`` has a value a head, in logits."""

    folder: str
    spec: RopeSpec
    tokens: int
    table: dict[str, FloatArray]

    @property
    def limits(self) -> FloatArray:
        """The largest trained |a(n)| of each head."""
        return np.maximum(-self.table["dip_1_min"], self.table["peak_1_max"])

    def answers(self, target: int) -> dict[str, Any]:
        """Return the answers at the median head, the 95% head and the largest, by quantity.

        The exact worst cases are those of the heads that rank so by the closed form.
        """
        last, table = float(target - 1), self.table
        ceilings = np.array(
            [
                ceiling(self.spec, last, most, limit)
                for most, limit in zip(table["coefficient_max"], self.limits, strict=True)
            ]
        )
        order = np.argsort(ceilings, kind="stable")
        chosen = {
            name: int(order[math.ceil(level * (order.size - 1))]) for name, level in _LEVELS.items()
        }
        delta = table["delta_magnitude_max"]
        out: dict[str, Any] = {
            "folder": self.folder,
            "heads": int(order.size),
            "tokens": self.tokens,
            "chosen": {
                name: {"layer": int(table["layer"][row]), "head": int(table["head"][row])}
                for name, row in chosen.items()
            },
            "ceiling": _levels(ceilings),
            "delta": _levels(delta),
            "attention_shift": _levels(attention_shift(delta)),
            "average_score": _levels(table["rms_predicted"]),
            "average_deviation": _levels(table["rms_deviation_predicted"]),
            "worst_upper": None,
            "interpolated_upper": None,
        }
        if holds(self.spec):
            interpolation = PositionInterpolation(self.spec, target)
            for name, extension in (("worst", None), ("interpolated", interpolation)):
                out[f"{name}_upper"] = {
                    level: self._worst(row, last, extension) for level, row in chosen.items()
                }
        return out

    def _worst(self, row: int, span: float, extension: Any) -> float:
        """Return the proved largest score at a span under one head's own limits, -l and u."""
        head = {name: float(column[row]) for name, column in self.table.items()}
        most, low, high = head["coefficient_max"], head["dip_1_min"], head["peak_1_max"]
        if most <= 0.0:
            return 0.0
        return permitted_score(self.spec, span, most, low, high, extension).upper


def read(folder: str, spec: RopeSpec) -> MeasuredHeads:
    """Read what ``pianalysis heads`` wrote into a folder, for the model with this rotation.

    Raises
    ------
    ValueError
        Naming ``heads``, the rule and the value: no folder, a file that is missing or is no record
        of the statistics, another rotary dimension, window or base, a table that is not the one
        the record was written with.
    """
    place = Path(folder)
    if not place.is_dir():
        _refuse("heads must be a folder that `pianalysis heads` wrote", folder)
    summary = _summary(place / f"{STEM}.json")
    text = _text(place / f"{STEM}.csv")
    for name, own, theirs in (
        ("rotary dimension", spec.rotary_dim, summary["rotary_dim"]),
        ("context window", spec.context_window, summary["context_window"]),
    ):
        if own != theirs:
            _refuse(f"heads must be of this model, of {name} {own}", theirs)
    if hashlib.sha256(text.encode()).hexdigest() != summary.get("table_sha256"):
        _refuse(f"heads must hold {STEM}.csv as {STEM}.json was written with it", "another table")
    table = _table(text)
    rows = table["base"] == spec.base
    if not rows.any():
        _refuse(f"heads must be of this model, of base {spec.base:g}", f"{table['base'][0]:g}")
    kept = {name: column[rows] for name, column in table.items()}
    return MeasuredHeads(folder, spec, int(summary["tokens"]), kept)


def _summary(path: Path) -> dict[str, Any]:
    text = _text(path)
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        _refuse(f"heads must hold {path.name} as JSON", str(error).splitlines()[0])
    if not isinstance(body, dict) or body.get("record") != "HeadStatistics":
        kind = body.get("record") if isinstance(body, dict) else type(body).__name__
        _refuse(f"heads must hold {path.name} with a record HeadStatistics", kind)
    for name in ("rotary_dim", "context_window", "tokens"):
        if type(body.get(name)) is not int or body[name] < 1:
            _refuse(f"heads must hold {path.name} with a whole number {name}", body.get(name))
    return body


def _table(text: str) -> dict[str, FloatArray]:
    """Return the columns that are needed, by name; the text is as the record wrote it."""
    header, *lines = csv.reader(text.splitlines())
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        _refuse(f"heads must hold {STEM}.csv with a column {missing[0]}: measure anew", "none")
    places = {name: header.index(name) for name in _NEEDED}
    return {name: np.array([float(line[i]) for line in lines]) for name, i in places.items()}


def _text(path: Path) -> str:
    if not path.is_file():
        _refuse(f"heads must hold {path.name}, written by `pianalysis heads`", "no such file")
    size = path.stat().st_size
    if size > _LARGEST_FILE:
        _refuse(f"heads must hold {path.name} of at most {_LARGEST_FILE} bytes", size)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        _refuse(f"heads must hold {path.name} as UTF-8 text", str(error))


def _refuse(rule: str, value: object) -> NoReturn:
    raise ValueError(f"{rule}, got {value}")


def _levels(values: FloatArray) -> dict[str, float]:
    """Return order statistics: the value of a head, never between two of them."""
    return {
        name: float(np.quantile(values, level, method="higher")) for name, level in _LEVELS.items()
    }


def _percent(share: float) -> str:
    return f"{rounded_up(100.0 * share)}%"


def rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the answers as lines of a report."""

    def three(name: str, shown: Any = lambda value: f"{value:.6g}") -> str:
        values = found[name]
        if values is None:
            return "window or dimension too large"
        return " / ".join(shown(values[level]) for level in _LEVELS)

    which = ", ".join(f"{place['layer']}.{place['head']}" for place in found["chosen"].values())
    return [
        (
            f"TRAINED HEADS: {found['heads']} measured on {found['tokens']} tokens",
            "logits: median head / 95% head / largest",
        ),
        ("  WORST CASE at L' - 1, own limits -l, u, H", f"at most, proved; layer.head {which}"),
        ("    the model as it is", three("worst_upper", rounded_up)),
        ("    under PI", three("interpolated_upper", rounded_up)),
        ("    closed-form ceiling of the first", three("ceiling", rounded_up)),
        ("  ON AVERAGE over independent phases", "root mean square, each head's own E|h_j|^2"),
        ("    |a(s)|, in the window and beyond", three("average_score")),
        ("    |a - chord| at mid-cell", three("average_deviation")),
        ("  AFTER THE SOFTMAX", "PI's logits against those on the chords, own |h_j|"),
        ("    a logit lies within", three("delta", rounded_up)),
        ("    attention lies within", three("attention_shift", _percent)),
    ]
