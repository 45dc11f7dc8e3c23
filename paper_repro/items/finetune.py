"""The fine-tune in tiers: Position Interpolation against direct fine-tuning, on a real model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
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
READINGS = Path(run.__file__).parent / "readings"
WORK = Path("build") / "small_scale"  # unfinished runs; never committed
_FACTORS = (4, 2)


def compute(seed: int = 0, tier: str = "quick") -> Mapping[str, Record]:
    """Finish a tier, and make the tables of all that was read: those of ``at_hand``.

    The quick tier trains anew, for two minutes, and its readings are records of their own; what a
    longer one has read is found in ``READINGS``, and the rest is trained and read.
    """
    if tier != "quick":
        run.run_tier(tier, READINGS, WORK, seed=seed)
        return at_hand(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        read = run.run_tier(tier, folder / "readings", folder / "work", seed=seed)
    return {f"finetune_quick_{k}": t for k, t in _tables(read, "quick").items()} | at_hand(seed)


def at_hand(seed: int = 0) -> dict[str, Record]:
    """Return the tables of all readings so far, the twins, and what each picture draws."""
    read = _tables(run.at_hand(READINGS, WORK, seed), "full")
    made: dict[str, Record] = {f"finetune_{kind}": table for kind, table in read.items()}
    if read:
        seen = twins.Evidence(read)
        found = {name: table(seen) for name, table in twins.TABLES.items()}
        made |= {f"finetune_{name}": twin for name, twin in found.items() if twin is not None}
    return made | {"finetune_coverage": pictures.planned_coverage()}


def replayed() -> list[str]:
    """Do the first steps of the run of hours again; return a line a difference."""
    return replay.replay("cpu", _tables(run.at_hand(READINGS, WORK), "full"))
