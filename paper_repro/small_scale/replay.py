"""The first steps and one reading of a committed fine-tune, done again.

A run of hours is not repeated by ``check``. What can be had in a minute is: a change of the model's
loading, the tokens, the optimizer or the reading moves the first losses or the first likelihood.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from paper_repro import committed
from paper_repro.small_scale import experiment
from paper_repro.small_scale.experiment import Case, Tier
from paper_repro.small_scale.readings import Reader
from pianalysis.checkpoints.checkpoint import open_checkpoint
from pianalysis.evaluation.store import FolderStore
from pianalysis.finetune.saving import checkpoint_folder

STEPS = 2
TOLERANCE = 1e-4  # relative: other processors and numbers of threads sum in another order


def replay(tier: str) -> list[str]:
    """Train and read the first case of a committed tier again; return a line a difference.

    Returns
    -------
    Nothing where ``STEPS`` losses and the likelihoods before training agree to ``TOLERANCE``.

    Raises
    ------
    ValueError
        No such record is committed.
    """
    setting = committed.summary(f"finetune_{tier}_loss")["setting"]
    cases = [Case(**case) for case in setting["cases"]]
    case, about = cases[0], Tier(**{**setting, "cases": tuple(cases)})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = experiment.recipe(about, case, steps=STEPS)
        trained = experiment.train(recipe, folder, [0])
        checkpoint = open_checkpoint(
            checkpoint_folder(folder, 0), original_length=experiment.window()
        )
        store = FolderStore(folder / "parts")
        read = Reader(checkpoint, recipe.target, store, gap=recipe.gap).likelihood()
    lines = []
    for kind, column, again in (
        ("loss", "loss", trained.loss.tolist()),
        ("likelihood", "nats", [row["nats"] for row in read]),
    ):
        stem = f"finetune_{tier}_{kind}"
        table = committed.columns(stem)
        rows = np.array(table["case"]) == case.label
        kept = table[column][rows][: len(again)].tolist()
        if not np.allclose(kept, again, rtol=TOLERANCE, atol=0.0):
            lines.append(f"{stem}: {case.label} has {column} {kept}, the replay gives {again}")
    return lines
