"""The fine-tune in tiers: Position Interpolation against direct fine-tuning, on a real model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from paper_repro.claims import Claim
from pianalysis import plots, style
from pianalysis.records import Record

PACKAGES = ("heads", "finetune")
TIERS = ("quick", "cpu", "gpu")
WORK = Path("build") / "finetune"  # unfinished runs; never committed


def compute(seed: int = 0, tier: str = "quick") -> Mapping[str, Record]:
    """Train and read every case of a tier; what is finished is kept in build/finetune."""
    from paper_repro.experiment import run_tier

    training, passkeys, likelihoods = run_tier(tier, WORK / tier, seed)
    return {
        f"finetune_{tier}_loss": training,
        f"finetune_{tier}_passkeys": passkeys,
        f"finetune_{tier}_likelihood": likelihoods,
    }


def plot(records: Mapping[str, Record]) -> dict[str, Any]:
    """Draw training curves, k_max against steps, and held-out text against distance."""
    draw = {"loss": _losses, "passkeys": _reach, "likelihood": _distance}
    return {stem: draw[stem.rpartition("_")[2]](record) for stem, record in records.items()}


def _losses(found: Any) -> Any:
    figure, ax = plots.new_figure(width=style.TEXT_WIDTH, height=2.8)
    steps = np.unique(found.step)
    plots.curves(
        steps,
        {case: _along(found, case, "step", steps, "loss") for case in dict.fromkeys(found.case)},
        ax=ax,
        xlabel="step",
        ylabel="training loss (nats a token)",
        title=f"tier {found.tier}",
        legend=None,
    )
    plots.legend_below(ax, columns=2)
    return figure


def _reach(found: Any) -> Any:
    figure, ax = plots.new_figure(width=style.TEXT_WIDTH, height=2.8)
    steps = np.unique(found.step)
    plots.curves(
        steps,
        {case: _along(found, case, "step", steps, "k_max") for case in dict.fromkeys(found.case)},
        ax=ax,
        xlabel="fine-tuning steps",
        ylabel="k_max (tokens, 20% rule)",
        title=f"passkeys across a gap, {found.window} to {found.target} tokens",
        marker="o",
        legend=None,
    )
    plots.legend_below(ax, columns=2)
    return figure


def _distance(found: Any) -> Any:
    figure, ax = plots.new_figure(width=style.TEXT_WIDTH, height=2.8)
    gaps = np.unique(found.gap)
    series = {}
    for case in dict.fromkeys(found.case):
        rows = np.array(found.case) == case
        last = found.step[rows].max()
        at = rows & (found.step == last)
        series[f"{case}, step {last:.0f}"] = found.nats[at][np.argsort(found.gap[at])]
    plots.curves(
        gaps,
        series,
        ax=ax,
        xlabel="gap between prefix and tail (tokens)",
        ylabel="nats a token of held-out text",
        title=f"{found.tail} tokens behind {found.prefix} and a gap",
        marker="o",
        legend=None,
    )
    plots.legend_below(ax, columns=2)
    return figure


def _along(found: Any, case: str, over: str, values: Any, column: str) -> Any:
    """Return one value of a column for each value of ``over``, NaN where the case has none."""
    rows = np.array(found.case) == case
    keys, cells = getattr(found, over)[rows].tolist(), getattr(found, column)[rows].tolist()
    known = dict(zip(keys, cells, strict=True))
    return np.array([known.get(value, np.nan) for value in values.tolist()])


def claims(records: Mapping[str, Record]) -> list[Claim]:
    """Judge nothing: the quick tier trains too little to judge a table of the paper."""
    return []
