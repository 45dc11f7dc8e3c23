"""The trials of the passkey task: which prompt each reads, at which distance, in which batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pianalysis.evaluation import forward
from pianalysis.evaluation.passkey_prompt import Prompt, draw_trial

if TYPE_CHECKING:
    from pianalysis.checkpoints.checkpoint import Checkpoint

DIGITS = 5
TOGETHER = 5  # trials of one distance that may share a forward pass
MOST_TOKENS = 4096  # of one such pass, so that long prompts are read one by one


@dataclass(frozen=True, slots=True)
class Trial:
    """One prompt, and the positions ``gap`` that are left out behind its key."""

    prompt: Prompt
    gap: int

    @property
    def distance(self) -> int:
        """Positions from the key's first digit to the last token of the question."""
        return self.prompt.distance + self.gap


@dataclass(frozen=True, slots=True)
class Trials:
    """How trials are made: see ``passkeys.passkeys`` and, with a gap, ``passkeys.gap_passkey``."""

    tokenizer: Any
    seed: int
    jitter: int
    fillers: int
    limit: int
    gap: bool

    def plan(self, k: int, trial: int) -> Trial:
        """Return a trial at its exact distance d: k - jitter < d <= k, positions below the limit.

        Raises
        ------
        ValueError
            A k at which not even the prompt without filler fits.
        """
        drawn = draw_trial(self.seed, k, trial)
        before = int(drawn.before * max(self.fillers, 1))
        for count in range(before, -1, -1):
            bare = Prompt.build(self.tokenizer, drawn.key, 0, before=count)
            answer = len(bare.tokens) - bare.answer_at
            farthest = min(k, self.limit - 1 - bare.key_at - answer)
            if bare.distance <= farthest:
                break
        else:
            least = bare.distance if bare.distance > k else len(bare.tokens)
            name = "distances" if self.gap else "target / distances"
            raise ValueError(
                f"{name} must be at least {least}, the prompt's own without filler, got {k}"
            )
        room = min(self.jitter, farthest - bare.distance + 1)
        distance = farthest - int(drawn.short * room)
        if not self.gap:
            return Trial(self._filled(drawn.key, count, distance), 0)
        for after in range(self.fillers - count, -1, -1):
            prompt = Prompt.build(self.tokenizer, drawn.key, after, before=count)
            if prompt.distance <= distance:
                break
        return Trial(prompt, distance - prompt.distance)

    def _filled(self, key: int, before: int, distance: int) -> Prompt:
        """Return the prompt with the most fillers behind the key that fit the distance."""

        def build(after: int) -> Prompt:
            return Prompt.build(self.tokenizer, key, after, before=before)

        # Fillers repeat, so their tokens do, but for what the tokenizer joins at the ends.
        one, two = build(1).distance, build(2).distance
        after = max(0, 1 + (distance - one) // (two - one))
        prompt = build(after)
        while prompt.distance > distance:
            after -= 1
            prompt = build(after)
        while (longer := build(after + 1)).distance <= distance:
            prompt, after = longer, after + 1
        return prompt

    def groups(self, asked: Sequence[int], trials: int) -> list[list[tuple[int, int]]]:
        """Return (k, trial) of all trials, in groups that are measured together."""
        return [
            [(k, trial) for trial in range(first, min(first + TOGETHER, trials))]
            for k in asked
            for first in range(0, trials, TOGETHER)
        ]

    def inputs(self, k: int, trial: int) -> dict[str, Any]:
        """Return all that a trial's result depends on besides checkpoint and scheme."""
        return {
            "kind": "passkey",
            "gap": self.gap,
            "limit": self.limit,
            "seed": self.seed,
            "jitter": self.jitter,
            "fillers": self.fillers,
            "k": k,
            "trial": trial,
        }

    def measure(
        self, checkpoint: Checkpoint
    ) -> Callable[[list[tuple[int, int]]], list[dict[str, Any]]]:
        """Return the function from (k, trial) of a group to what each one read."""
        beginning = forward.Beginning(self._common() if self.gap else [])

        def measure(group: list[tuple[int, int]]) -> list[dict[str, Any]]:
            planned = {case: self.plan(*case) for case in group}
            read = {}
            for cases in _alike(planned):
                prompts = [planned[case].prompt for case in cases]
                given = [prompt.tokens[:-1] for prompt in prompts]
                positions = np.stack(
                    [
                        forward.positions(len(tokens), prompt.rest_at, planned[case].gap)
                        for case, prompt, tokens in zip(cases, prompts, given, strict=True)
                    ]
                )
                keep = len(prompts[0].tokens) - prompts[0].answer_at
                logits = beginning.logits(checkpoint, given, positions, keep)
                for case, row in zip(cases, logits, strict=True):
                    read[case] = _scored(planned[case], row)
            return [read[case] for case in group]

        return measure

    def _common(self) -> list[int]:
        """Return the tokens that all prompts begin with, whatever stands before the key."""
        ends = [Prompt.build(self.tokenizer, key, 0, before=key) for key in (0, 1)]
        shared = 0
        for a, b in zip(*(prompt.tokens[: prompt.key_at] for prompt in ends), strict=False):
            if a != b:
                break
            shared += 1
        return ends[0].tokens[:shared]


def _alike(planned: dict[tuple[int, int], Trial]) -> Iterator[list[tuple[int, int]]]:
    """Yield trials of one shape, as many as one pass takes."""
    shapes: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for case, trial in planned.items():
        shape = (len(trial.prompt.tokens), trial.prompt.answer_at)
        shapes.setdefault(shape, []).append(case)
    for (length, _), cases in shapes.items():
        size = max(1, MOST_TOKENS // length)
        yield from (cases[first : first + size] for first in range(0, len(cases), size))


def _scored(trial: Trial, logits: torch.Tensor) -> dict[str, Any]:
    """Return what one pass tells: ``logits`` (answer, vocabulary) before each of its tokens."""
    prompt = trial.prompt
    answer = torch.tensor(prompt.tokens[prompt.answer_at :], device=logits.device)
    right = (logits.argmax(-1) == answer).tolist()
    losses = torch.nn.functional.cross_entropy(logits.double(), answer, reduction="none")
    digits = prompt.digits_at - prompt.answer_at
    return {
        "recalled": all(right[digits:]),
        "written": all(right),
        "nats": float(losses[digits:].sum()) / DIGITS,
        "distance": trial.distance,
        "length": len(prompt.tokens),
    }
