"""The fine-tune in tiers: Position Interpolation against direct fine-tuning, on a real model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
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

    found = run_tier(tier, WORK / tier, seed)
    return {f"finetune_{tier}_{kind}": record for kind, record in found.items()}


def plot(records: Mapping[str, Record]) -> dict[str, Any]:
    """Draw training curves, k_max against steps, text against distance, and what heads became."""
    return {stem: _PICTURES[stem.rpartition("_")[2]](record) for stem, record in records.items()}


def _losses(found: Any) -> Any:
    return _lines(
        *_by_case(found, "step", "loss"),
        xlabel="step",
        ylabel="training loss (nats a token)",
        title=f"tier {found.tier}",
    )


def _reach(found: Any) -> Any:
    return _lines(
        *_by_case(found, "step", "k_max"),
        xlabel="fine-tuning steps",
        ylabel="k_max (tokens, 20% rule)",
        title=f"how far passkeys are read, pretrained window {found.window} tokens",
        marker="o",
    )


def _distance(found: Any) -> Any:
    return _lines(
        *_by_case(_last(found), "reach", "nats"),
        xlabel="position of the last token",
        ylabel="nats a token of held-out text",
        title="text behind a gap in positions, after the last step",
        marker="o",
    )


def _windows(found: Any) -> Any:
    return _lines(
        *_by_case(_last(found), "tokens", "perplexity"),
        xlabel="window (tokens)",
        ylabel="perplexity of held-out text",
        title="text without gaps, after the last step",
        marker="o",
    )


def _heads(found: Any) -> Any:
    return _lines(*_by_case(found, "step", "value"), xlabel="", ylabel="", title="")


_PICTURES = {
    "loss": _losses,
    "passkeys": _reach,
    "likelihood": _distance,
    "windows": _windows,
    "long": _windows,
    "heads": _heads,
}


def _lines(
    x: Any, series: Mapping[str, Any], *, xlabel: str, ylabel: str, title: str, marker: str = ""
) -> Any:
    """Draw a line a case, its legend below."""
    figure, ax = plots.new_figure(width=style.TEXT_WIDTH, height=2.8)
    plots.curves(
        x, series, ax=ax, xlabel=xlabel, ylabel=ylabel, title=title, marker=marker, legend=None
    )
    plots.legend_below(ax, columns=2)
    return figure


def _last(found: Any) -> Any:
    """Return the rows of each case's last step."""
    case = np.array(found.case)
    last = {name: found.step[case == name].max() for name in dict.fromkeys(found.case)}
    keep = found.step == np.array([last[name] for name in found.case])
    columns = {name: np.asarray(column)[keep] for name, column in found.columns().items()}
    return SimpleNamespace(**columns)


def _by_case(found: Any, over: str, column: str) -> tuple[Any, dict[str, Any]]:
    """Return the values of ``over``, and for each case one of ``column`` at each, or NaN."""
    values = np.unique(getattr(found, over))
    out = {}
    for case in dict.fromkeys(np.asarray(found.case).tolist()):
        rows = np.asarray(found.case) == case
        known = dict(zip(getattr(found, over)[rows], getattr(found, column)[rows], strict=True))
        out[case] = np.array([known.get(value, np.nan) for value in values])
    return values, out


def claims(records: Mapping[str, Record]) -> list[Claim]:
    """Judge nothing: the quick tier trains too little to judge a table of the paper."""
    return []
