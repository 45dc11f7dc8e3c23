"""What a tier costs, before it runs: from one timed step and one timed pass of each window."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from paper_repro.small_scale import plan
from paper_repro.small_scale.plan import Case, Reading, Tier
from paper_repro.small_scale.protocol import EIGHTHS
from pianalysis.checkpoints.checkpoint import open_checkpoint
from pianalysis.evaluation import forward
from pianalysis.evaluation.passkeys import spread
from pianalysis.evaluation.same_tokens import ending_spans
from pianalysis.evaluation.units import Store

PROMPT = 256  # tokens of a passkey prompt across a gap, about
# The heads of 1024 tokens took as long as so many forward passes of them when it was timed.
HEADS_PASSES = 40


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of one training step, and of one forward pass by its tokens."""

    step: float
    passes: Mapping[int, float]

    def training(self, steps: int) -> float:
        """Return the seconds of so many steps."""
        return steps * self.step

    def reading(self, tier: Tier, case: Case, reading: Reading) -> float:
        """Return the seconds of one reading."""
        return sum(count * self.passes[tokens] for tokens, count in _passes(tier, case, reading))

    def table(self, tier: Tier) -> str:
        """Return the budget of a tier as text: a line a case, minutes by kind, and the sum."""
        from tabulate import tabulate

        kinds = [plan.PASSKEYS, plan.GAPS, plan.WINDOWS, plan.HEADS, plan.WHOLE]
        rows, total = [], np.zeros(len(kinds) + 2)
        for case in tier.cases:
            spent = dict.fromkeys(kinds, 0.0)
            for reading in _readings(tier, case):
                if reading.kind in spent:
                    spent[reading.kind] += self.reading(tier, case, reading)
            minutes = np.array([self.training(case.steps), *spent.values()]) / 60.0
            minutes = np.append(minutes, minutes.sum())
            total += minutes
            rows.append([case.label, case.steps, *(f"{value:.1f}" for value in minutes)])
        rows.append(["all", "", *(f"{value:.1f}" for value in total)])
        heads = ["minutes of", "steps", "training", *kinds, "all"]
        body = tabulate(rows, heads, disable_numparse=True, stralign="right")
        seconds = ", ".join(f"{tokens}: {s:.2f}" for tokens, s in sorted(self.passes.items()))
        return f"{body}\none step {self.step:.2f} s; a forward pass by tokens (s): {seconds}"


def measure(tier: Tier, model: str = plan.MODEL, store: Store | None = None) -> Costs:
    """Time one step and one forward pass of each length that a tier reads.

    The step is a second one, the passes are first ones: none of them is short. What ``store`` holds
    of this model, torch and number of threads is not timed again: a pass of 16384 tokens takes
    minutes on two cores, and a run is resumed often.
    """
    store = {} if store is None else store
    setting = f"{model}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    opened = cache(partial(open_checkpoint, model))
    length = plan.recipe(tier, tier.cases[0]).sequence_length
    lengths = sorted({n for case in tier.cases for n in _lengths(tier, case)})

    def ids(tokens: int) -> torch.Tensor:
        vocabulary = opened().model.config.get_text_config().vocab_size
        drawn = np.random.default_rng(0).integers(vocabulary, size=(1, tokens))
        return torch.tensor(drawn, device=opened().model.device)

    def read(tokens: int) -> float:
        given = ids(tokens)[0].tolist()
        return _seconds(lambda: forward.logits(opened(), given, np.arange(tokens), 1))

    def step() -> float:
        network: Any = opened().model
        network.train()  # de-quantized to float32 where it is read
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.0, foreach=False)
        given = ids(length)

        def one() -> None:
            network(input_ids=given, labels=given, use_cache=False).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        one()  # makes the moments
        return _seconds(one)

    works: dict[str, Callable[[], float]] = {
        f"{n} tokens: {setting}": partial(read, n) for n in lengths
    }
    if any(key not in store for key in works):
        read(min(lengths))  # what is loaded at the first pass is loaded
    works[f"a step of {length}: {setting}"] = step
    for key, work in works.items():
        if key not in store:
            store[key] = {"seconds": work()}
    *passes, one_step = (float(store[key]["seconds"]) for key in works)
    sequences = max(1, tier.batch_tokens // length)
    return Costs(step=sequences * one_step, passes=dict(zip(lengths, passes, strict=True)))


def _lengths(tier: Tier, case: Case) -> Iterable[int]:
    return (
        tokens for reading in _readings(tier, case) for tokens, _ in _passes(tier, case, reading)
    )


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _readings(tier: Tier, case: Case) -> Iterable[Reading]:
    return (reading for step in tier.steps(case) for reading in tier.readings(case, step))


def _passes(tier: Tier, case: Case, reading: Reading) -> list[tuple[int, int]]:
    """Return (tokens, how many passes) of a reading."""
    kind, numbers = reading.kind, reading.numbers
    if kind == plan.PASSKEYS:
        count, trials = numbers
        if tier.sequence_length:
            return [(PROMPT, count * trials)]
        return [(k, trials) for k in spread(case.factor * plan.window(), count)]
    if kind == plan.GAPS:
        return [(tier.gap_text, len(plan.TEXTS) * (1 + len(EIGHTHS)))]
    if kind == plan.WINDOWS:
        spans = {w: list(ending_spans(tier.excerpt, w, tier.scored)) for w in numbers}
        return [(window, len(plan.TEXTS) * len(of)) for window, of in spans.items()]
    if kind == plan.HEADS:
        return [(tier.heads_text, HEADS_PASSES)]
    if kind == plan.WHOLE:
        trials, *asked = numbers
        return [(PROMPT, trials * len(asked)), *((k, trials) for k in asked)]
    return []
