"""The fine-tune that tests the theory: Position Interpolation against direct fine-tuning, in tiers.

Every case trains on the same tokens, is read at the same steps, and keeps what it finished: a run
that was stopped anywhere goes on when the same tier is run again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from paper_repro import sources
from paper_repro.small_scale.readings import READINGS, Reader
from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.checkpoints.checkpoint import open_checkpoint
from pianalysis.evaluation.passkeys import DISTANCES as PAPER_DISTANCES
from pianalysis.evaluation.passkeys import TRIALS as PAPER_TRIALS
from pianalysis.evaluation.store import FolderStore
from pianalysis.finetune.corpus import default_corpus
from pianalysis.finetune.recipe import Recipe
from pianalysis.finetune.record import FineTuning
from pianalysis.finetune.saving import checkpoint_folder
from pianalysis.finetune.train import finetune
from pianalysis.records import Record, columns, plain
from pianalysis.rope.presets import preset

MODEL, PRESET = "smollm2", "smollm2-135m"


@dataclass(frozen=True, slots=True)
class Case:
    """One fine-tune: a scheme, a seed, and the share of recall documents among its sequences.

    ``factor`` is L'/L. ``thorough``: at the last step passkeys at the paper's 32 distances of 10
    trials, and the trained heads at the first step and the last. ``long``: whole texts as long as
    the target.
    """

    scheme: str
    seed: int
    steps: int
    recall_share: float = 0.6
    thorough: bool = False
    long: bool = False
    factor: int = 2

    @property
    def label(self) -> str:
        """A name for legends."""
        text = "" if self.recall_share else " text only"
        return f"{self.scheme} x{self.factor}{text} seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Tier:
    """What one tier trains and how it reads.

    ``sequence_length`` is that of sequences with a position gap; without it they are as long as the
    target, and passkeys are read from whole prompts. ``read_at`` are steps. ``window`` and
    ``window_text`` are the tokens read at once and in all by the sliding window, ``heads_text``
    those that the heads are measured on.
    """

    sequence_length: int | None
    batch_tokens: int
    cases: tuple[Case, ...]
    read_at: tuple[int, ...]
    distances: int
    trials: int
    window: int
    window_text: int
    heads_text: int


_BOTH = ("linear", "default")  # Position Interpolation and direct fine-tuning
TIERS = {
    "quick": Tier(
        sequence_length=256,
        batch_tokens=256,
        cases=(Case("linear", 0, 6),),
        read_at=(0, 6),
        distances=3,
        trials=1,
        window=512,
        window_text=1024,
        heads_text=0,
    ),
    "cpu": Tier(
        sequence_length=256,
        batch_tokens=256,
        cases=(
            *(Case(scheme, 0, 200, thorough=True, long=True) for scheme in _BOTH),
            *(Case(scheme, 0, 200) for scheme in ("yarn", "ntk")),
            *(Case(scheme, 0, 100, recall_share=0.0) for scheme in _BOTH),
            *(Case(scheme, 1, 200, thorough=True) for scheme in _BOTH),
        ),
        read_at=(0, 50, 100, 200),
        distances=8,
        trials=3,
        window=2048,
        window_text=3072,
        heads_text=1024,
    ),
    "gpu": Tier(
        sequence_length=None,
        batch_tokens=64 * 8192,  # the paper's at 8192, for 7B to 33B
        cases=(
            *(Case(scheme, 0, 1000, thorough=True, long=True) for scheme in _BOTH),
            *(Case(scheme, 0, 1000, long=True) for scheme in ("yarn", "ntk")),
            *(Case(scheme, 0, 1000, thorough=True, long=True, factor=4) for scheme in _BOTH),
        ),
        read_at=(0, 200, 400, 600, 800, 1000),
        distances=8,
        trials=3,
        window=2048,
        window_text=65536,
        heads_text=1024,
    ),
}


@dataclass(frozen=True, slots=True)
class Training(Record):
    """The loss of every case, a row a step."""

    tier: str
    setting: dict[str, Any]
    case: tuple[str, ...]
    step: FloatArray
    loss: FloatArray


def run_tier(name: str, folder: Path, seed: int = 0) -> dict[str, Record]:
    """Train and read every case of a tier; ``folder`` keeps what is finished.

    A case's weights are removed once it is read: only its losses and its readings stay. ``seed`` is
    added to the seeds of the cases.

    Returns
    -------
    "loss" and the kinds of ``readings`` -> record; a reading that no case of the tier asks for is
    left out.

    Raises
    ------
    ValueError
        An unknown tier; tier gpu where there is none.
    """
    if name == "gpu" and not torch.cuda.is_available():
        raise ValueError("tier gpu must have a CUDA device, got none: tier cpu needs two cores")
    tier = TIERS[checks.choice("tier", name, TIERS)]
    tier = replace(tier, cases=tuple(replace(c, seed=c.seed + seed) for c in tier.cases))
    units = []
    with tqdm(tier.cases, unit="case", disable=None) as bar:
        for case in bar:
            bar.set_description(case.label)
            unit = _case(tier, case, folder)
            tqdm.write(
                f"{case.label}: {unit['tokens_per_second']:.0f} tokens/s, "
                f"{unit['share_of_peak']:.0%} of the measured matrix-product peak"
            )
            units.append(unit)
    setting = plain(tier)
    records: dict[str, Record] = {
        "loss": Training(
            tier=name,
            setting=setting,
            **columns([row for unit in units for row in unit["losses"]]),
        )
    }
    for kind, made in READINGS.items():
        rows = [row for unit in units for row in unit["rows"][kind]]
        if rows:
            about = {"tier": name, "setting": setting, "window": units[0]["window"]}
            records[kind] = made(**about, **columns(rows))
    return records


def window() -> int:
    """Return the model's pretrained window, in tokens."""
    return preset(PRESET).context_window


def train(asked_for: Recipe, folder: Path, save_at: Sequence[int]) -> FineTuning:
    """Train the model of the experiment on its corpus."""
    return finetune(MODEL, asked_for, folder, corpus=default_corpus, save_at=save_at)


def recipe(tier: Tier, case: Case, *, steps: int) -> Recipe:
    """Return how a case is trained for so many steps: its first ones do not depend on them."""
    target = case.factor * window()
    length = tier.sequence_length or target
    return Recipe(
        scheme=case.scheme,
        target=target,
        steps=steps,
        sequence_length=length,
        batch=tier.batch_tokens // length,
        gap=length < target,
        recall_share=case.recall_share,
        seed=case.seed,
    )


def _case(tier: Tier, case: Case, folder: Path) -> dict[str, Any]:
    """Return a case's rows, from the store where it was finished before."""
    store = FolderStore(folder / "parts")
    # What the other cases are does not matter to this one.
    about = {**asdict(tier), "cases": asdict(case)}
    key = json.dumps([sources.digest(__name__), MODEL, about], sort_keys=True)
    if key in store:
        return store[key]
    asked_for = recipe(tier, case, steps=case.steps)
    work = folder / hashlib.sha256(key.encode()).hexdigest()[:16]
    steps = [step for step in tier.read_at if step <= case.steps]
    record = train(asked_for, work, steps)
    unit: dict[str, Any] = {
        "case": case.label,
        "window": window(),
        "tokens_per_second": record.tokens_per_second,
        "share_of_peak": record.share_of_peak,
        "losses": [
            {"case": case.label, "step": step, "loss": loss}
            for step, loss in zip(record.step.tolist(), record.loss.tolist(), strict=True)
        ],
        "rows": {kind: [] for kind in READINGS},
    }
    for step in steps:
        checkpoint = open_checkpoint(checkpoint_folder(work, step), original_length=window())
        reader = Reader(checkpoint, asked_for.target, store, gap=asked_for.gap)
        last = step == case.steps
        ends = last or step == 0
        asked = {
            "passkeys": (
                (PAPER_DISTANCES, PAPER_TRIALS)
                if last and case.thorough
                else (tier.distances, tier.trials)
            ),
            "likelihood": (),
            "windows": (tier.window, tier.window_text) if ends else None,
            "long": () if ends and case.long else None,
            "heads": (tier.heads_text,) if ends and case.thorough and tier.heads_text else None,
        }
        for kind, arguments in asked.items():
            if arguments is not None:
                rows = getattr(reader, kind)(*arguments)
                at = {"case": case.label, "target": asked_for.target, "step": step}
                unit["rows"][kind] += [{**at, **row} for row in rows]
    store[key] = unit
    shutil.rmtree(work, ignore_errors=True)
    return unit
