"""Pictures of a tier's tables: one claim each, equal training only, seeds and errors drawn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from paper_repro.small_scale.tables import (
    GapTable,
    HeadTable,
    PasskeyTable,
    ReachTable,
    WindowTable,
)
from pianalysis.bounds.interpolation import FORMS
from pianalysis.finetune.reach import Coverage
from pianalysis.pictures import frame, marks, style

NAMES = {"linear": "PI", "default": "FT", "yarn": "YaRN", "ntk": "NTK-aware"}
_LOOKS = {scheme: index for index, scheme in enumerate(NAMES)}
_SEEDS = ("-", "--")


def reached(record: ReachTable, factor: int) -> Any:
    """Draw k_max by keys recalled against steps at one factor, with its 95% interval."""
    _, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.2)
    last: dict[str, list[str]] = {}
    for scheme, seed in _series(record, factor):
        rows = record.where(scheme=scheme, factor=factor, seed=seed)
        below, above = rows.k_max - rows.low, rows.high - rows.k_max
        error = np.maximum(np.stack([below, above]), 0.0)  # the seen value may lie outside
        _line(ax, rows.step, rows.k_max, scheme, seed, error)
        last.setdefault(NAMES[scheme], []).append(f"{rows.k_max[-1]:.0f}")
    said = "; ".join(f"{name} {' and '.join(values)}" for name, values in last.items())
    frame.finish(
        ax,
        xlabel="fine-tuning steps",
        ylabel="k_max, keys recalled (tokens;\nbars: 95% interval)",
        title=f"k_max after {record.where(factor=factor).step.max():.0f} steps: {said}",
    )
    _levels(ax, record.window, factor)
    return frame.legend_below(ax, columns=3).figure


def digits(record: PasskeyTable, factor: int, step: int) -> Any:
    """Draw what a digit of the key costs against its distance, at one step and factor."""
    _, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.2)
    far: dict[str, list[str]] = {}
    for scheme, seed in _series(record, factor, step):
        rows = record.where(scheme=scheme, factor=factor, seed=seed, step=step)
        _line(ax, rows.k, rows.nats, scheme, seed, rows.standard_error)
        far.setdefault(NAMES[scheme], []).append(f"{rows.nats[-1]:.2f}")
    said = "; ".join(f"{name} {' and '.join(values)}" for name, values in far.items())
    frame.finish(
        ax,
        xlabel="k: distance from the key to the question (tokens)",
        ylabel="nats a digit of the key\n(bars: 1 standard error)",
        title=f"a digit at L' costs after {step} steps: {said} nats",
    )
    _marks(ax, record.window, factor)
    return frame.legend_below(ax, columns=3).figure


def gaps(record: GapTable, factor: int, step: int) -> Any:
    """Draw held-out text behind a gap against where it ends, a panel a kind of text."""
    kinds = list(dict.fromkeys(record.text))
    figure, axes = frame.new_figure(1, len(kinds), width=style.TEXT_WIDTH, height=3.2)
    for ax, kind in zip(np.atleast_1d(axes), kinds, strict=True):
        far: dict[str, list[str]] = {}
        for scheme, seed in _series(record, factor, step):
            at: dict[str, Any] = {"factor": factor, "step": step, "text": kind}
            rows = record.where(scheme=scheme, seed=seed, **at)
            _line(ax, rows.reach, rows.nats, scheme, seed, rows.standard_error)
            far.setdefault(NAMES[scheme], []).append(f"{rows.nats[-1]:.2f}")
        said = "; ".join(f"{name} {' and '.join(values)}" for name, values in far.items())
        frame.finish(
            ax,
            xlabel="last token behind the gap (position)",
            ylabel="held-out text (nats a token;\nbars: 1 standard error)",
            title=f"{kind}, {step} steps, at L': {said}",
        )
        _marks(ax, record.window, factor)
    return frame.shared_legend(figure, rows=2)


def windows(record: WindowTable, factor: int, step: int) -> Any:
    """Draw what a window changes on the same tokens, against the original at L; paired errors."""
    kinds = list(dict.fromkeys(record.text))
    figure, axes = frame.new_figure(1, len(kinds), width=style.TEXT_WIDTH, height=3.2)
    for ax, kind in zip(np.atleast_1d(axes), kinds, strict=True):
        before = record.where(scheme="default", step=0.0, text=kind)
        same: dict[str, Any] = {"factor": before.factor[0], "seed": before.seed[0]}
        before = before.where(**same)
        base = before.where(tokens=float(record.window)).nats
        lines = {"no fine-tuning": (len(_LOOKS), before)}
        for scheme, seed in _series(record, factor, step):
            at: dict[str, Any] = {"factor": factor, "seed": seed, "step": step, "text": kind}
            lines[f"{NAMES[scheme]}, seed {seed}"] = (
                _LOOKS[scheme],
                record.where(scheme=scheme, **at),
            )
        ends = []
        for label, (index, rows) in lines.items():
            asked = np.unique(rows.tokens)
            change = np.array([rows.where(tokens=w).nats - base for w in asked.tolist()])
            mean, error = change.mean(-1), change.std(-1, ddof=1) / np.sqrt(base.size)
            with style.applied():
                ax.errorbar(asked, mean, yerr=error, label=label, **marks.look(index))
            ends.append(f"{label.split(',')[0]} {mean[-1]:+.2f}")
        frame.finish(
            ax,
            xlabel="tokens read at once",
            ylabel="change of the loss against the original\nat L (nats a token; bars: 1 s. e.)",
            title=f"{kind}, longest window: {', '.join(ends)}",
        )
        _marks(ax, record.window, factor)
    return frame.shared_legend(figure, rows=2)


def ratios(record: HeadTable, step: int) -> Any:
    """Draw the largest deviation over each bound, sampled, and over the printed one, searched."""
    _, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.0)
    names = [*FORMS, "paper,\nsearched"]
    found = []
    for scheme, factor in dict.fromkeys(zip(record.scheme, record.factor.tolist(), strict=True)):
        for at, fill in ((0, "none"), (step, None)):
            rows = record.where(scheme=scheme, factor=factor, step=at)
            if not rows.value.size:
                continue
            value = dict(zip(rows.quantity, rows.value.tolist(), strict=True))
            shown = [*(value[f"{form}_ratio"] for form in FORMS), value["found_ratio"]]
            found.append(shown[-1])
            look: dict[str, Any] = marks.look(_LOOKS[scheme])
            look |= {"linestyle": "none", "alpha": 1.0 if factor == 4 else 0.6}
            look |= {} if fill is None else {"markerfacecolor": fill}
            with style.applied():
                label = f"{NAMES[scheme]} x{factor:.0f}, step {at}"
                ax.plot(range(len(names)), shown, label=label, **look)
    with style.applied():
        ax.axhline(1.0, color=style.BLACK, linewidth=0.8)
        ax.set_xticks(range(len(names)), names)
    frame.finish(
        ax,
        xlabel="form of the bound (Eq. 5)",
        ylabel="largest deviation / bound",
        title=f"searched pairs reach {min(found):.2f} to {max(found):.2f} of the printed bound",
    )
    return frame.legend_below(ax, columns=3).figure


def coverage(record: Coverage) -> Any:
    """Draw the share of sequences that hold a distance, uniform beside stratified gaps."""
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.0)
    marks.curves(
        record.distance.tolist(),
        {"uniform gaps": record.uniform, "stratified, and some at L'": record.stratified},
        ax=ax,
        xlabel="distance (tokens)",
        ylabel=f"share of {record.count} sequences\nthat hold it",
        title=f"at L' - 1: {record.uniform[-1]:.1%} of the sequences with uniform gaps, "
        f"{record.stratified[-1]:.1%} with these",
        legend="best",
    )
    with style.applied():
        ax.set_ylim(0.0, 1.02)
    return figure


def _series(record: Any, factor: int, step: int | None = None) -> Iterable[tuple[str, int]]:
    """Return (scheme, seed) of a factor, of those read at a step: equal training only."""
    rows = record.where(factor=float(factor))
    if step is not None:
        rows = rows.where(step=float(step))
    return dict.fromkeys(zip(rows.scheme, rows.seed.astype(int).tolist(), strict=True))


def _line(ax: Any, x: Any, y: Any, scheme: str, seed: int, error: Any) -> None:
    look: dict[str, Any] = marks.look(_LOOKS[scheme])
    label = f"{NAMES[scheme]}, seed {seed}"
    with style.applied():
        ax.errorbar(x, y, yerr=error, label=label, linestyle=_SEEDS[seed % 2], **look)


def _marks(ax: Any, window: int, factor: int) -> None:
    """Mark L and L' on the x axis, both inside the picture."""
    with style.applied():
        for text, place in {"L": window, "L'": factor * window}.items():
            ax.axvline(place, color=style.GREY, linestyle="--", linewidth=0.8)
            where: dict[str, Any] = {"xycoords": ("data", "axes fraction")}
            where |= {"xytext": (-3, -2), "textcoords": "offset points"}
            ax.annotate(text, (place, 1.0), ha="right", va="top", fontsize=7, **where)
        ax.set_xlim(0.0, 1.03 * factor * window)


def _levels(ax: Any, window: int, factor: int) -> None:
    """Mark L and L' on the y axis, both inside the picture."""
    marks.level(window, f"L = {window}", ax=ax)
    marks.level(factor * window, f"L' = {factor * window}", ax=ax)
    with style.applied():
        ax.set_ylim(0.0, 1.08 * factor * window)
