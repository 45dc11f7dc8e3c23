"""The fine-tune in tiers: Position Interpolation against direct fine-tuning, on a real model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paper_repro.ledger import Claim
from paper_repro.small_scale import claims as judged
from paper_repro.small_scale import pictures, plan, replay, run, twins
from paper_repro.small_scale.tables import Table, tables
from pianalysis.records import Record

DATA = ("paper_repro/small_scale/readings/*.json",)  # what was read so far, a file a reading
TIERS = tuple(plan.TIERS)
DEFAULT_TIER = "cpu"  # of a run that names the item; `make repro` takes the first


def compute(seed: int = 0, tier: str = "quick") -> Mapping[str, Record]:
    """Finish a tier, and make the tables of all that was read: those of ``at_hand``.

    The quick tier trains anew, for two minutes, and its readings are records of their own; what a
    longer one has read is found in ``plan.READINGS``, and the rest is trained and read.
    """
    if tier != "quick":
        run.run_tier(tier, plan.READINGS, plan.WORK, seed=seed)
        return at_hand(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        read = run.run_tier(tier, folder / "readings", folder / "work", seed=seed)
    return {f"finetune_quick_{k}": t for k, t in _tables(read, "quick").items()} | at_hand(seed)


def at_hand(seed: int = 0) -> dict[str, Record]:
    """Return the tables of all readings so far, by factor, and the twins of the paper's tables.

    Every record but the twins' is the data of one picture.
    """
    made: dict[str, Record] = {"finetune_coverage": pictures.planned_coverage()}
    for kind, table in _tables(run.at_hand(plan.READINGS, plan.WORK, seed), "full").items():
        if kind == "heads":
            made["finetune_heads"] = table
            continue
        for factor in dict.fromkeys(table.factor.tolist()):
            made[f"finetune_x{factor:.0f}_{kind}"] = table.where(factor=factor)
    seen = _evidence(made)
    found = {name: table(seen) for name, table in twins.TABLES.items()}
    return made | {f"finetune_{name}": twin for name, twin in found.items() if twin is not None}


def replayed() -> list[str]:
    """Do the first steps of the run of hours again; return a line a difference."""
    read = _tables(run.at_hand(plan.READINGS, plan.WORK), "full")
    return replay.replay("cpu", {kind: table.columns() for kind, table in read.items()})


def plot(records: Mapping[str, Record]) -> dict[str, Any]:
    """Draw the readings, and the tables as text; the quick tier, a smoke test, draws none."""
    drawn = {
        stem: pictures.PICTURES[stem.rpartition("_")[2]](record)
        for stem, record in records.items()
        if not stem.startswith("finetune_quick_")
    }
    return {stem: figure for stem, figure in drawn.items() if figure is not None}


def claims(records: Mapping[str, Record]) -> list[Claim]:
    """Judge what was read so far; what was not is said not to be."""
    return judged.claims(_evidence(records))


def _tables(read: run.Rows, tier: str) -> dict[str, Table]:
    return tables(read, plan.TIERS[tier], window=plan.window())


def _evidence(records: Mapping[str, Record]) -> twins.Evidence:
    """Return what the records of all factors say together; the quick tier's are no evidence."""
    kinds: dict[str, list[Table]] = {}
    for stem, record in records.items():
        if isinstance(record, Table) and not stem.startswith("finetune_quick_"):
            kinds.setdefault(stem.rpartition("_")[2], []).append(record)
    return twins.Evidence(kinds, plan.window())
