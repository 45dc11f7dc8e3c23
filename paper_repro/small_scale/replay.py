"""The first steps and one reading of a tier that was run, done again and held against its tables.

A run of hours is not repeated by ``check``. What can be had in a minute is: a change of the model's
loading, the tokens, the gaps, the optimizer or the reading moves the first losses or likelihoods.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from paper_repro.small_scale.plan import TIERS, Reading, recipe, window
from paper_repro.small_scale.protocol import Reader
from paper_repro.small_scale.run import train
from pianalysis.checkpoints.checkpoint import open_checkpoint
from pianalysis.finetune.saving import checkpoint_folder

STEPS = 2
TOLERANCE = 1e-4  # relative: other processors and numbers of threads sum in another order


def replay(name: str, tables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Train and read the first case of a tier again; return a line a difference.

    Parameters
    ----------
    name : str
        Of ``plan.TIERS``.
    tables : mapping
        "loss" and "gaps" -> their columns, as ``tables.tables`` makes them.

    Returns
    -------
    Nothing where ``STEPS`` losses and the likelihoods before training agree to ``TOLERANCE``.
    """
    tier = TIERS[name]
    case = tier.cases[0]
    asked = recipe(tier, case)
    with tempfile.TemporaryDirectory() as at:
        folder = Path(at)
        trained = train(asked, folder, [0], STEPS)
        checkpoint = open_checkpoint(checkpoint_folder(folder, 0), original_length=window())
        read = Reader(checkpoint, tier, asked.target, asked.gap, {}).read(Reading("gaps"))
    lines = []
    for kind, column, again in (
        ("loss", "loss", trained.loss.tolist()),
        ("gaps", "nats", [row["nats"] for row in read]),
    ):
        table = tables[kind]
        rows = (np.array(table["scheme"]) == case.scheme) & (np.array(table["seed"]) == case.seed)
        rows &= np.array(table["factor"]) == case.factor
        kept = np.asarray(table[column])[rows][: len(again)].tolist()
        if len(kept) < len(again) or not np.allclose(kept, again, rtol=TOLERANCE, atol=0.0):
            lines.append(f"{kind}: {case.label} has {column} {kept}, the replay gives {again}")
    return lines
