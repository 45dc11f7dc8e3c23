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

import numpy as np
from tqdm import tqdm

import pianalysis
from pianalysis import _validate, preset
from pianalysis._validate import FloatArray
from pianalysis.finetune.corpus import default_corpus
from pianalysis.finetune.recipe import Recipe
from pianalysis.finetune.saving import checkpoint_folder
from pianalysis.finetune.train import finetune
from pianalysis.heads.checkpoint import Checkpoint, open_checkpoint
from pianalysis.heads.distance import gap_likelihood, gap_passkey, shortest_distance
from pianalysis.heads.store import FolderStore
from pianalysis.records import Record

MODEL, PRESET = "smollm2", "smollm2-135m"
_TEXT = 1024  # held-out tokens read across a gap, half of them behind it


@dataclass(frozen=True, slots=True)
class Case:
    """One fine-tune: a scheme, a seed, and the share of recall documents among its sequences."""

    scheme: str
    seed: int
    steps: int
    recall_share: float

    @property
    def label(self) -> str:
        """A name for folders and legends."""
        text = "" if self.recall_share else " text only"
        return f"{self.scheme}{text} seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Tier:
    """What one tier trains and how it reads: ``factor`` is L'/L, ``read_at`` the steps."""

    factor: int
    sequence_length: int
    gap: bool
    batch: int
    cases: tuple[Case, ...]
    read_at: tuple[int, ...]
    distances: int
    trials: int
    last_distances: int
    last_trials: int


_RECALL = 0.6
TIERS = {
    "quick": Tier(2, 256, True, 1, (Case("linear", 0, 6, _RECALL),), (0, 6), 3, 1, 3, 1),
    "cpu": Tier(
        *(2, 256, True, 1),
        (
            *(
                Case(scheme, seed, 200, _RECALL)
                for seed in (0, 1)
                for scheme in ("linear", "default")
            ),
            *(Case(scheme, 0, 200, _RECALL) for scheme in ("yarn", "ntk")),
            *(Case(scheme, 0, 100, 0.0) for scheme in ("linear", "default")),
        ),
        (0, 50, 100, 200),
        *(8, 3, 32, 10),
    ),
    "gpu": Tier(
        *(2, 16384, False, 64),
        tuple(Case(scheme, 0, 1000, _RECALL) for scheme in ("linear", "default", "yarn", "ntk")),
        (0, 200, 400, 600, 800, 1000),
        *(8, 3, 32, 10),
    ),
}


@dataclass(frozen=True, slots=True)
class Passkeys(Record):
    """Passkeys read out: a row a case, step and distance from key to question, across a gap.

    ``k_max`` is that of the row's case and step.
    """

    tier: str
    setting: dict[str, Any]
    window: int
    target: int
    case: tuple[str, ...]
    step: FloatArray
    distance: FloatArray
    successes: FloatArray
    trials: FloatArray
    k_max: FloatArray


@dataclass(frozen=True, slots=True)
class Likelihoods(Record):
    """Held-out text behind a gap: a row a case, step and gap; ``nats`` a token of the tail."""

    tier: str
    setting: dict[str, Any]
    window: int
    target: int
    prefix: int
    tail: int
    case: tuple[str, ...]
    step: FloatArray
    gap: FloatArray
    nats: FloatArray
    standard_error: FloatArray


@dataclass(frozen=True, slots=True)
class Training(Record):
    """The loss of every case, a row a step."""

    tier: str
    tokens_per_second: dict[str, float]
    share_of_peak: dict[str, float]
    case: tuple[str, ...]
    step: FloatArray
    loss: FloatArray


def run_tier(name: str, folder: Path, seed: int = 0) -> tuple[Training, Passkeys, Likelihoods]:
    """Train and read every case of a tier; ``folder`` keeps what is finished.

    A case's weights are removed once it is read: only its losses and its readings stay. ``seed`` is
    added to the seeds of the cases.

    Raises
    ------
    ValueError
        An unknown tier.
    """
    tier = TIERS[_validate.choice("tier", name, TIERS)]
    tier = replace(tier, cases=tuple(replace(c, seed=c.seed + seed) for c in tier.cases))
    units = []
    with tqdm(tier.cases, unit="case", disable=None) as bar:
        for case in bar:
            bar.set_description(case.label)
            units.append(_case(tier, case, folder))
    common = (name, json.loads(json.dumps(asdict(tier))), units[0]["window"], units[0]["target"])
    return (
        Training(
            name,
            {unit["case"]: unit["tokens_per_second"] for unit in units},
            {unit["case"]: unit["share_of_peak"] for unit in units},
            **_columns([row for unit in units for row in unit["losses"]]),
        ),
        Passkeys(*common, **_columns([row for unit in units for row in unit["passkeys"]])),
        Likelihoods(
            *(*common, _TEXT // 2, _TEXT - _TEXT // 2),
            **_columns([row for unit in units for row in unit["likelihoods"]]),
        ),
    )


def _columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    return {
        key: tuple(column) if key == "case" else np.array(column, dtype=float)
        for key, column in columns.items()
    }


def _case(tier: Tier, case: Case, folder: Path) -> dict[str, Any]:
    """Return a case's rows, from the store where it was finished before."""
    store = FolderStore(folder / "parts")
    key = json.dumps([_sources(), MODEL, asdict(tier), asdict(case)], sort_keys=True)
    if key in store:
        return store[key]
    spec = preset(PRESET)
    target = tier.factor * spec.context_window
    recipe = Recipe(
        scheme=case.scheme,
        target=target,
        steps=case.steps,
        sequence_length=tier.sequence_length if tier.gap else target,
        batch=tier.batch,
        gap=tier.gap,
        recall_share=case.recall_share,
        seed=case.seed,
    )
    work = folder / hashlib.sha256(key.encode()).hexdigest()[:16]
    steps = [step for step in tier.read_at if step <= case.steps]
    record = finetune(MODEL, recipe, work, corpus=default_corpus, save_at=steps)
    unit: dict[str, Any] = {
        "case": case.label,
        "window": spec.context_window,
        "target": target,
        "tokens_per_second": record.tokens_per_second,
        "share_of_peak": record.share_of_peak,
        "losses": [
            {"case": case.label, "step": step, "loss": loss}
            for step, loss in zip(record.step.tolist(), record.loss.tolist(), strict=True)
        ],
        "passkeys": [],
        "likelihoods": [],
    }
    for step in steps:
        checkpoint = open_checkpoint(
            checkpoint_folder(work, step), original_length=spec.context_window
        )
        at = {"case": case.label, "step": step}
        last = step == case.steps and case.scheme in ("linear", "default")
        unit["passkeys"] += _passkeys(tier, checkpoint, target, store, at, last=last)
        unit["likelihoods"] += _likelihoods(checkpoint, target, store, at)
    store[key] = unit
    shutil.rmtree(work, ignore_errors=True)
    return unit


def _sources() -> str:
    """Hash the code that the numbers of a case rest on: another version trains it again."""
    library = Path(pianalysis.__file__).parent
    paths = [Path(__file__)]
    for package in ("extension", "finetune", "heads"):
        paths += sorted((library / package).glob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


def _passkeys(
    tier: Tier,
    checkpoint: Checkpoint,
    target: int,
    store: FolderStore,
    at: dict[str, Any],
    *,
    last: bool,
) -> list[dict[str, Any]]:
    """Read passkeys across gaps up to the target; at the last step as often as the paper."""
    count, trials = tier.distances, tier.trials
    if last:
        count, trials = tier.last_distances, tier.last_trials
    distances = spread(shortest_distance(checkpoint.tokenizer), target, count)
    found = gap_passkey(checkpoint, distances=distances, trials=trials, store=store)
    (k_max,) = found.k_max.values()
    return [
        {**at, "distance": distance, "successes": successes, "trials": trials, "k_max": k_max}
        for distance, successes in zip(
            found.distance.tolist(), found.successes.tolist(), strict=True
        )
    ]


def _likelihoods(
    checkpoint: Checkpoint, target: int, store: FolderStore, at: dict[str, Any]
) -> list[dict[str, Any]]:
    """Read held-out text across gaps: none, half the window, and on to the target."""
    tokens = default_corpus(checkpoint.tokenizer).held_out[:_TEXT].tolist()
    gaps = [0, *(eighths * target // 8 - _TEXT for eighths in (2, 4, 5, 6, 8))]
    found = gap_likelihood(checkpoint, tokens, prefix=_TEXT // 2, gaps=gaps, store=store)
    return [
        {**at, "gap": gap, "nats": nats, "standard_error": error}
        for gap, nats, error in zip(
            found.gap.tolist(), found.mean.tolist(), found.standard_error.tolist(), strict=True
        )
    ]


def spread(least: int, target: int, count: int) -> list[int]:
    """Return ``count`` distances, uniform up to the target, none below the prompt's own."""
    values: Sequence[int] = [round(target * (i + 1) / count) for i in range(count)]
    return sorted({max(value, least) for value in values})
