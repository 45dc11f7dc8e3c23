r"""What a fine-tuning run is: the scheme, the tokens and the optimiser of section 3.1.

AdamW with betas 0.9 and 0.95 and no weight decay; the rate rises linearly over 20 steps from 10%
of its peak and stays (arXiv:2306.15595, section 3.1). Direct fine-tuning is the scheme ``default``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pianalysis import checks
from pianalysis.extension import Extension
from pianalysis.extension.named import COMPARABLE, comparable_extensions
from pianalysis.finetune.reach import edge_count
from pianalysis.planning.published import WARMUP_START, WARMUP_STEPS, schedule
from pianalysis.rope.spec import LARGEST_WINDOW, RopeSpec

DTYPES = ("auto", "bfloat16", "float32")
# The paper trains no model below 7B. At this rate SmolLM2-135M learns in some hundred steps.
SMALL, SMALL_RATE = 1e9, 2e-4


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides the outcome of a fine-tune besides the checkpoint and the corpus.

    Parameters
    ----------
    scheme : str
        One of ``pianalysis.extension.named.COMPARABLE``: ``linear`` is Position Interpolation,
        ``default`` direct fine-tuning.
    target : int
        L', in tokens.
    steps : int
        Optimiser steps.
    sequence_length : int
        Tokens of one sequence. Without gaps it must equal ``target``, with gaps be below it.
    batch : int
        Sequences of one step, over all processes: the paper's global batch, 64 or 128.
    micro_batch : int
        Sequences that one process takes through the model at a time; the rest is accumulated.
    learning_rate : float, optional
        The peak; unless given, the paper's for the model's size, and 2e-4 below 1B parameters.
    gap : bool
        Leave out positions in the middle of each sequence (PoSE, arXiv:2309.10400), so that short
        sequences hold the distances of long ones.
    edge_share : float, optional
        With gaps: the share of the sequences whose gap reaches the target, the others stratified
        (``finetune.reach``), a multiple of 1/32. Unless given, each gap is uniform by itself.
    recall_share : float
        Share of the sequences that state a code early and ask for it late, 0 to 1.
    seed : int
    dtype : {"auto", "float32", "bfloat16"}
        Of the products; weights and optimiser stay float32. ``auto`` is float32 on a CPU and
        bfloat16 on CUDA.
    gradient_checkpointing : bool
        Compute activations twice instead of keeping them.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the rule and the value.

    Examples
    --------
    >>> recipe = Recipe(scheme="linear", target=16384, steps=200, sequence_length=256, gap=True)
    >>> Recipe.from_json(recipe.json()) == recipe
    True
    >>> [float(f"{recipe.rate(step):.3g}") for step in (0, 10, 20, 199)]  # of the peak
    [0.1, 0.55, 1.0, 1.0]
    """

    scheme: str
    target: int
    steps: int
    sequence_length: int
    batch: int = 1
    micro_batch: int = 1
    learning_rate: float | None = None
    gap: bool = False
    edge_share: float | None = None
    recall_share: float = 0.0
    seed: int = 0
    dtype: str = "auto"
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        checks.choice("scheme", self.scheme, COMPARABLE)
        checks.choice("dtype", self.dtype, DTYPES)
        for name, least in (("target", 4), ("steps", 1), ("batch", 1), ("micro_batch", 1)):
            most = LARGEST_WINDOW if name == "target" else None
            value = checks.whole(name, getattr(self, name), at_least=least, at_most=most)
            object.__setattr__(self, name, value)
        length = checks.whole(
            "sequence_length", self.sequence_length, at_least=4, at_most=self.target
        )
        object.__setattr__(self, "sequence_length", length)
        seed = checks.whole("seed", self.seed, at_least=0, at_most=2**31)
        object.__setattr__(self, "seed", seed)
        share = checks.real("recall_share", self.recall_share, at_least=0.0, at_most=1.0)
        object.__setattr__(self, "recall_share", share)
        if self.learning_rate is not None:
            rate = checks.real("learning_rate", self.learning_rate, above=0.0)
            object.__setattr__(self, "learning_rate", rate)
        for name in ("gap", "gradient_checkpointing"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be true or false, got {getattr(self, name)!r}")
        if self.edge_share is not None:
            edge_count(self.edge_share)
            if not self.gap:
                raise ValueError(f"edge_share must go with gaps, got {self.edge_share} without")
        if self.gap and length == self.target:
            raise ValueError(
                f"sequence_length must be below target {self.target} with gaps, got {length}"
            )
        if not self.gap and length != self.target:
            raise ValueError(
                f"sequence_length must equal target {self.target} without gaps, got {length}"
            )
        if self.batch % self.micro_batch:
            raise ValueError(f"micro_batch must divide batch {self.batch}, got {self.micro_batch}")

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one optimiser step, over all processes."""
        return self.sequence_length * self.batch

    def accumulation(self, processes: int) -> int:
        """Return how many passes a process makes in a step."""
        passes, rest = divmod(self.batch, self.micro_batch * processes)
        if rest or not passes:
            raise ValueError(
                f"batch must be a multiple of micro_batch times processes, "
                f"{self.micro_batch} x {processes}, got {self.batch}"
            )
        return passes

    def extension(self, spec: RopeSpec) -> Extension:
        """Return the scheme for a pretrained specification; refuses a target below its window."""
        return comparable_extensions(spec, self.target, [self.scheme])[self.scheme]

    def peak_rate(self, parameters: int) -> float:
        """Return the peak learning rate for a model of so many parameters."""
        if self.learning_rate is not None:
            return self.learning_rate
        return SMALL_RATE if parameters < SMALL else schedule(parameters, self.target).learning_rate

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0, as a share of the peak."""
        return WARMUP_START + (1.0 - WARMUP_START) * min(step / WARMUP_STEPS, 1.0)

    def json(self) -> str:
        """Return the recipe as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Return the recipe that ``json`` wrote; an unknown or missing key is refused by name."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"recipe must be JSON, got {error}") from None
        if not isinstance(values, Mapping):
            raise TypeError(f"recipe must be a JSON object, got {values!r}")
        return cls(**_known(values))


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    fields = {field.name: field for field in dataclasses.fields(Recipe)}
    for key in values:
        checks.choice("a recipe's key", key, fields)
    needed = [n for n, field in fields.items() if field.default is dataclasses.MISSING]
    missing = [name for name in needed if name not in values]
    if missing:
        raise ValueError(f"recipe must hold {', '.join(needed)}, got none of {', '.join(missing)}")
    return dict(values)
