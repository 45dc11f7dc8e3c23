"""The readings of a tier as records: a table a kind, a row a case, step and place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from paper_repro.small_scale.plan import Case, Reading, Tier
from paper_repro.small_scale.rules import reach
from pianalysis.arrays import FloatArray
from pianalysis.records import Record, columns


@dataclass(frozen=True, slots=True)
class Table(Record):
    """Base: each row is of a scheme, L'/L, a seed and a step; ``window`` is L, in tokens."""

    window: int
    scheme: tuple[str, ...]
    factor: FloatArray
    seed: FloatArray
    step: FloatArray


@dataclass(frozen=True, slots=True)
class Losses(Table):
    """The training loss of every step of ``batch_tokens``, nats a token."""

    batch_tokens: int
    loss: FloatArray


@dataclass(frozen=True, slots=True)
class PasskeyTable(Table):
    """Passkeys across a gap at distances k; columns as in ``evaluation.passkeys.Passkeys``."""

    k: FloatArray
    nearest: FloatArray
    farthest: FloatArray
    recalled: FloatArray
    written: FloatArray
    nats: FloatArray
    standard_error: FloatArray
    trials: FloatArray


@dataclass(frozen=True, slots=True)
class WholeTable(PasskeyTable):
    """The check without gaps: ``how`` is "whole" or "gap", for the same k."""

    how: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReachTable(Table):
    """k_max of each reading of passkeys by keys recalled, its 95% interval; the same by written."""

    distances: FloatArray
    trials: FloatArray
    k_max: FloatArray
    low: FloatArray
    high: FloatArray
    written: FloatArray
    written_low: FloatArray
    written_high: FloatArray


@dataclass(frozen=True, slots=True)
class GapTable(Table):
    """Held-out text behind a gap: nats a token; its last token stands at ``reach`` - 1."""

    text: tuple[str, ...]
    gap: FloatArray
    reach: FloatArray
    nats: FloatArray
    standard_error: FloatArray


@dataclass(frozen=True, slots=True)
class WindowTable(Table):
    """The same ``scored`` tokens at every window, nats a token in each of 16 blocks of them."""

    scored: int
    text: tuple[str, ...]
    tokens: FloatArray
    block: FloatArray
    nats: FloatArray


@dataclass(frozen=True, slots=True)
class HeadTable(Table):
    """The trained heads: FORM_violations among ``checked``, FORM_ratio sampled, found_ratio."""

    quantity: tuple[str, ...]
    value: FloatArray


KINDS: dict[str, Callable[..., Table]] = {
    "loss": Losses,
    "passkeys": PasskeyTable,
    "gaps": GapTable,
    "windows": WindowTable,
    "heads": HeadTable,
    "whole": WholeTable,
}


def tables(
    read: Mapping[tuple[Case, int, Reading], list[dict[str, Any]]], tier: Tier, *, window: int
) -> dict[str, Table]:
    """Return kind -> record of all that was read, and "reach", which follows from "passkeys".

    Kinds that nothing was read of are left out.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    for (case, step, reading), of in read.items():
        at = {"scheme": case.scheme, "factor": case.factor, "seed": case.seed, "step": step}
        rows.setdefault(reading.kind, []).extend({**at, **_named(row)} for row in of)
        if reading.kind == "passkeys":
            rows.setdefault("reach", []).append({**at, **_reach(of)})
    made: dict[str, Callable[..., Table]] = {
        **KINDS,
        "reach": ReachTable,
        "loss": partial(Losses, batch_tokens=tier.batch_tokens),
        "windows": partial(WindowTable, scored=tier.scored),
    }
    return {kind: made[kind](window=window, **columns(of)) for kind, of in rows.items() if of}


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a reading's row by the columns of its table: "window" is L in every table."""
    names = {"at": "step", "window": "tokens"}
    return {names.get(name, name): value for name, value in row.items()}


def _reach(rows: list[dict[str, Any]]) -> dict[str, Any]:
    recalled, written = reach(rows), reach(rows, "written")
    return {
        "distances": len(rows),
        "trials": rows[0]["trials"],
        "k_max": recalled.k_max,
        "low": recalled.low,
        "high": recalled.high,
        "written": written.k_max,
        "written_low": written.low,
        "written_high": written.high,
    }
