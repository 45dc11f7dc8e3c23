"""What the experiment trains and reads: its tiers, stated before any run.

Every recipe is one of 1000 steps, whatever a tier's last step is: a case of tier ``cpu`` is the
first part of the same case of tier ``full``, and what was read of it is not read again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pianalysis import checks
from pianalysis.finetune.recipe import Recipe
from pianalysis.rope.presets import preset

READINGS = Path(__file__).parent / "readings"  # committed: a small file each, and texts.csv
WORK = Path("build") / "small_scale"  # what a resume needs; never committed
MODEL, PRESET = "smollm2", "smollm2-135m"
TEXTS = ("play", "source")  # kinds of held-out text, as PG-19 and proof-pile in the paper
STEPS = 1000  # the paper's, for Position Interpolation
RECALL_SHARE = 0.6
EDGE_SHARE = 0.125  # of the sequences reach L' - 1
LOSS, PASSKEYS, GAPS, WINDOWS, HEADS, WHOLE = (
    *("loss", "passkeys", "gaps", "windows", "heads", "whole"),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of a checkpoint: its kind, and the numbers it takes.

    passkeys: distances and trials; windows: tokens read at once, each; heads: tokens; whole: trials
    and the distances k; loss and gaps take none.
    """

    kind: str
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One fine-tune: a scheme to factor * L, from a seed, read up to the step ``steps``.

    ``heads``: the trained heads are read at the first step and the last. ``windows``: step -> the
    windows at which the same tokens are scored. ``whole``: at the last step these distances in
    whole prompts, the trials first.
    """

    scheme: str
    factor: int
    seed: int
    steps: int
    heads: bool = False
    windows: tuple[tuple[int, tuple[int, ...]], ...] = ()
    whole: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """A name for rows and files."""
        return f"{self.scheme} x{self.factor} seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Tier:
    """What one tier trains and how it reads.

    ``sequence_length`` is that of sequences with a position gap; without it they are as long as the
    target, and passkeys are read from whole prompts. Passkeys are read at ``distances`` of
    ``trials``, and at ``last_distances`` of ``last_trials`` at the last step of the schemes in
    ``BOTH``. Windows score the last ``scored`` of ``excerpt`` tokens; ``gap_text`` tokens are read
    across a gap; ``heads_text`` are those that the heads are measured on.
    """

    sequence_length: int | None
    batch_tokens: int
    read_at: tuple[int, ...]
    cases: tuple[Case, ...]
    distances: int = 16
    trials: int = 5
    last_distances: int = 32
    last_trials: int = 10
    scored: int = 2048
    excerpt: int = 32769
    gap_text: int = 1024
    heads_text: int = 1024

    def steps(self, case: Case) -> tuple[int, ...]:
        """Return the steps at which a case is read."""
        return tuple(step for step in self.read_at if step <= case.steps)

    def readings(self, case: Case, step: int) -> tuple[Reading, ...]:
        """Return what is read of a case at a step, the quickest first."""
        last = step == case.steps
        grid = (self.distances, self.trials)
        if last and case.scheme in BOTH:
            grid = (self.last_distances, self.last_trials)
        asked = [Reading(LOSS)] if step else []
        asked += [Reading(GAPS)] if self.sequence_length else []
        asked += [Reading(PASSKEYS, grid)]
        if case.heads and (last or not step):
            asked += [Reading(HEADS, (self.heads_text,))]
        asked += [Reading(WINDOWS, at) for known, at in case.windows if known == step]
        asked += [Reading(WHOLE, case.whole)] if last and case.whole else []
        return tuple(asked)


BOTH = ("linear", "default")  # Position Interpolation and direct fine-tuning
_TABLE = (2048, 4096, 8192, 16384)
_CHECKED = (2, 7168, 8192, 9216, 12288, 16384)  # two trials around L, between, and at 2L
TIERS = {
    "quick": Tier(
        sequence_length=256,
        batch_tokens=256,
        read_at=(0, 6),
        cases=(Case("linear", 4, 0, 6, windows=((6, (512,)),)),),
        distances=3,
        trials=1,
        last_distances=3,
        last_trials=1,
        scored=512,
        excerpt=1025,
        gap_text=256,
    ),
    "cpu": Tier(
        sequence_length=256,
        batch_tokens=256,
        read_at=(0, 200, 400),
        cases=tuple(Case(scheme, 4, 0, 400, heads=True) for scheme in BOTH),
    ),
    "full": Tier(
        sequence_length=256,
        batch_tokens=256,
        read_at=(0, 200, 400, 600, 800, 1000),
        cases=(
            *(Case(scheme, 4, 0, 1000, heads=True) for scheme in BOTH),
            *(
                Case(scheme, 2, 0, 1000, True, ((0, at), (400, at[-1:]), (1000, _TABLE)), _CHECKED)
                # FT before training is the original, which all are held against: it comes first.
                # Position Interpolation before training only at L'.
                for scheme, at in zip(reversed(BOTH), (_TABLE, _TABLE[-1:]), strict=True)
            ),
            *(Case(scheme, 4, 1, 1000) for scheme in BOTH),
            *(Case(scheme, 4, 0, 400) for scheme in ("yarn", "ntk")),
        ),
    ),
    "gpu": Tier(
        sequence_length=None,
        batch_tokens=64 * 8192,  # the paper's at 8192, for 7B to 33B
        read_at=(0, 200, 400, 600, 800, 1000),
        cases=tuple(
            Case(scheme, 4, seed, 1000, True, tuple((s, (*_TABLE, 32768)) for s in (0, 400, 1000)))
            for seed in (0, 1)
            for scheme in BOTH
        ),
    ),
}


def only(tier: Tier, label: str) -> Tier:
    """Return a tier of one of its cases.

    Raises
    ------
    ValueError
        A label that no case has.
    """
    labels = [case.label for case in tier.cases]
    checks.choice("case", label, labels)
    return replace(tier, cases=(tier.cases[labels.index(label)],))


def window() -> int:
    """Return the model's pretrained window L, in tokens."""
    return preset(PRESET).context_window


def recipe(tier: Tier, case: Case) -> Recipe:
    """Return how a case is trained; its first steps are the same in every tier of one length."""
    target = case.factor * window()
    length = tier.sequence_length or target
    gaps = length < target
    return Recipe(
        scheme=case.scheme,
        target=target,
        steps=STEPS,
        sequence_length=length,
        batch=tier.batch_tokens // length,
        gap=gaps,
        edge_share=EDGE_SHARE if gaps else None,
        recall_share=RECALL_SHARE if gaps else 0.0,
        seed=case.seed,
    )
