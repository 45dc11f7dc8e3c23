"""Pictures of a tier's tables: one claim each, equal training only, seeds and errors drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from paper_repro import facts
from paper_repro.small_scale.plan import BOTH, EDGE_SHARE, TIERS, recipe
from paper_repro.small_scale.tables import (
    GapTable,
    HeadTable,
    Losses,
    PasskeyTable,
    ReachTable,
    WholeTable,
    WindowTable,
)
from paper_repro.small_scale.twins import NAMES, TITLE, Twin, text
from pianalysis.bounds.interpolation import FORMS
from pianalysis.finetune.reach import Coverage
from pianalysis.finetune.reach import coverage as distances
from pianalysis.pictures import frame, marks, style

_LOOKS = {scheme: index for index, scheme in enumerate(NAMES)}
_SEEDS = ("-", "--")
_HOW = {"whole": "whole prompt", "gap": "the same distance across a gap"}
BLOCK = 100  # steps
_BESIDE = 0.008  # of the axis: intervals at the same place stand beside each other
_APART = 0.06
_LINEAR = 0.1  # nats a token: the scale of changes is logarithmic above


def loss(record: Losses) -> Any:
    """Draw by how much the training loss differs from FT's on the same tokens; paired errors.

    Without FT there is nothing to draw: None.
    """
    series = {of: record.where(scheme=of[0], seed=of[1]) for of in _series(record)}
    end = min(rows.step.max() for (scheme, _), rows in series.items() if scheme in BOTH)
    _, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.0)
    said: dict[str, list[str]] = {}
    for (scheme, seed), rows in series.items():
        direct = series.get(("default", seed))
        if scheme == "default" or direct is None:
            continue
        size = min(rows.loss.size, direct.loss.size)
        apart = rows.loss[:size] - direct.loss[:size]
        parts = apart[: size - size % BLOCK].reshape(-1, BLOCK)
        steps = BLOCK * (1.0 + np.arange(len(parts)))
        moved = _moved([of for of in series if of[0] != "default"], scheme, seed, end)
        error = parts.std(-1, ddof=1) / math.sqrt(BLOCK)
        _line(ax, steps + moved, parts.mean(-1), scheme, seed, error)
        if scheme in BOTH:  # others are trained for less, and drawn only
            late = apart[int(end / 2.0) : int(end)]
            far = f"{late.mean():+.3f} ± {late.std(ddof=1) / math.sqrt(late.size):.3f}"
            said.setdefault(NAMES[scheme], []).append(far.replace("-", "−"))
    if not ax.containers:
        return None
    marks.level(0.0, "direct fine-tuning (FT)", ax=ax)
    beside = "; lines side by side" * (len(ax.containers) > 1)
    frame.finish(
        ax,
        xlabel=f"fine-tuning steps (each point: the {BLOCK} steps up to it{beside})",
        ylabel="training loss minus FT's on the same\ntokens (nats a token; bars: 1 s. e.)",
        title=f"steps {int(end / 2) + 1} to {end:.0f}, minus FT, by seed: {_said(said)} nats "
        "a token",
    )
    return frame.legend_below(ax, columns=2).figure


def reached(record: ReachTable) -> Any:
    """Draw k_max by keys recalled against steps, with its 95% interval."""
    step = _shared(record)
    _, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.2)
    for scheme, seed in _series(record):
        rows = record.where(scheme=scheme, seed=seed)
        below, above = rows.k_max - rows.low, rows.high - rows.k_max
        error = np.maximum(np.stack([below, above]), 0.0)  # the seen value may lie outside
        moved = _moved(_series(record), scheme, seed, record.step.max())
        _line(ax, rows.step + moved, rows.k_max, scheme, seed, error)
    last = _by_method(record, step, _intervals)
    frame.finish(
        ax,
        xlabel=f"fine-tuning steps, points of one step side by side ({_grids(record)})",
        ylabel="k_max across gaps (tokens): at least 20%\nrecalled up to it (bars: 95% interval)",
        title=f"after {step:.0f} steps (95% interval of each seed): {_said(last)}",
    )
    _levels(ax, record)
    return frame.legend_below(ax, columns=2).figure


def _intervals(rows: ReachTable) -> list[str]:
    """Return k_max and its interval of each seed, in words; one where they are alike."""
    seeds = zip(rows.k_max, rows.low, rows.high, strict=True)
    return list(dict.fromkeys(f"{at:.0f} ({low:.0f}–{high:.0f})" for at, low, high in seeds))


def _grids(record: ReachTable) -> str:
    """Return at how many distances and trials the steps were read, in words."""
    at: dict[tuple[float, float], float] = {}  # -> the first step of such a grid
    columns = (record.step.tolist(), record.distances.tolist(), record.trials.tolist())
    for step, *grid in sorted(zip(*columns, strict=True)):
        at.setdefault((grid[0], grid[1]), step)
    first, *others = at
    said = f"{first[0]:.0f} distances of {first[1]:.0f} keys"
    return "; ".join([said, *(f"from {at[d, t]:.0f} on {d:.0f} of {t:.0f}" for d, t in others)])


def digits(record: PasskeyTable) -> Any:
    """Draw what a digit of the key costs against its distance, at the last step of PI and FT."""
    step = _shared(record)
    _, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.2)
    for scheme, seed in _series(record, step):
        rows = record.where(scheme=scheme, seed=seed, step=step)
        _line(ax, rows.k, rows.nats, scheme, seed, rows.standard_error)

    def beyond(of: Any) -> list[str]:
        far = 4 * of.k > 3 * of.factor * of.window
        seeds = np.unique(of.seed[far]).tolist()
        return [f"{of.nats[far & (of.seed == seed)].mean():.2f}" for seed in seeds]

    far = _by_method(record, step, beyond)
    guessed = math.log(10.0)
    with style.applied():
        ax.axhline(guessed, color=style.GREY, linestyle=":", linewidth=0.8)
        ax.annotate("a digit guessed: ln 10", (300.0, guessed), va="bottom", fontsize=7)
        ax.set_ylim(top=max(1.15 * guessed, ax.get_ylim()[1]))
    frame.finish(
        ax,
        xlabel="k: distance from the key to the question (tokens)",
        ylabel="nats a digit of the key\n(bars: 1 standard error)",
        title=f"last quarter up to L', {step:.0f} steps: {_said(far)} nats a digit (means)",
    )
    _marks(ax, record)
    return frame.legend_below(ax, columns=2).figure


def gaps(record: GapTable) -> Any:
    """Draw held-out text behind a gap against where it ends, a panel a kind of text."""
    step = _shared(record)
    kinds = list(dict.fromkeys(record.text))
    figure, axes = frame.new_figure(1, len(kinds), width=style.TEXT_WIDTH, height=3.2)
    for ax, kind in zip(np.atleast_1d(axes), kinds, strict=True):
        far: dict[str, list[float]] = {}  # of all seeds
        for scheme, seed in _series(record, step):
            rows = record.where(scheme=scheme, seed=seed, step=step, text=kind)
            _line(ax, rows.reach, rows.nats, scheme, seed, rows.standard_error)
            far.setdefault(NAMES[scheme], []).extend(rows.nats[rows.reach > record.window])
        frame.finish(
            ax,
            xlabel="last token behind the gap (position)",
            ylabel=f"loss of held-out text, {step:.0f} steps\n(nats a token; bars: 1 s. e.)",
            title=f"{kind}, beyond L: "
            + ", ".join(f"{name} {min(of):.2f}–{max(of):.2f}" for name, of in far.items()),
        )
        _marks(ax, record)
    return frame.shared_legend(figure, rows=2)


def windows(record: WindowTable) -> Any:
    """Draw what a window changes on the same tokens, against the original at L; paired errors.

    Without the original, which is FT before training, there is nothing to draw: None.
    """
    if not record.where(scheme="default", step=0.0).step.size:
        return None
    step = _shared(record)
    kinds = list(dict.fromkeys(record.text))
    figure, axes = frame.new_figure(1, len(kinds), width=style.TEXT_WIDTH, height=3.2)
    for ax, kind in zip(np.atleast_1d(axes), kinds, strict=True):
        before = record.where(scheme="default", step=0.0, text=kind)
        base = before.where(tokens=float(record.window)).nats
        lines = {"original": (len(_LOOKS), before)}
        for scheme, seed in _series(record, step):
            rows = record.where(scheme=scheme, seed=seed, step=step, text=kind)
            if step or scheme != "default":  # FT before training is the original
                lines[f"{NAMES[scheme]}, {step:.0f} steps"] = (_LOOKS[scheme], rows)
        ends = []
        for label, (index, rows) in lines.items():
            asked = np.unique(rows.tokens)
            change = np.array([rows.where(tokens=w).nats - base for w in asked.tolist()])
            mean, error = change.mean(-1), change.std(-1, ddof=1) / np.sqrt(base.size)
            with style.applied():
                ax.errorbar(asked, mean, yerr=error, label=label, **marks.look(index))
            ends.append(f"{label.split(',')[0]} {mean[-1]:+.2f}".replace("-", "−"))
        frame.finish(
            ax,
            xlabel="tokens read at once",
            ylabel="change of the loss from the original's at\n"
            f"L (nats a token, log above {_LINEAR:g}; 1 s. e.)",
            title=f"{kind}, at L': {', '.join(ends)}",
        )
        _marks(ax, record)
        with style.applied():
            ax.set_yscale("symlog", linthresh=_LINEAR)
            ax.set_yticks([0.0, _LINEAR, 10 * _LINEAR], ["0", f"{_LINEAR:g}", f"{10 * _LINEAR:g}"])
            ax.set_yticks([], minor=True)
            ax.set_xticks(np.unique(record.tokens))
            low, high = ax.dataLim.intervaly
            ax.set_ylim(min(low, 0.0) - 0.2 * _LINEAR, 2.0 * high)  # L' stands clear of the marks
    return frame.shared_legend(figure, rows=2)


def ratios(record: HeadTable) -> Any:
    """Draw the largest deviation over each bound, sampled, and over the printed one, searched."""
    _, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.4)
    names = [*FORMS, "paper, searched"]
    cases = sorted(set(zip(record.factor.tolist(), record.scheme, strict=True)), reverse=True)
    found, after = [], {}
    for rank, (factor, scheme) in enumerate(cases):
        case = record.where(scheme=scheme, factor=factor)
        for at in sorted({0.0, case.step.max()}):
            rows = case.where(step=at)
            value = dict(zip(rows.quantity, rows.value.tolist(), strict=True))
            shown = [*(value[f"{form}_ratio"] for form in FORMS), value["found_ratio"]]
            found.append(shown[-1])
            after[f"{NAMES[scheme]} x{factor:.0f}"] = shown[-1]  # that of the last step stays
            look: dict[str, Any] = marks.look(rank) | {"linestyle": "none"}
            look |= {} if at else {"markerfacecolor": "none"}
            with style.applied():
                label = f"{NAMES[scheme]} x{factor:.0f}, step {at:.0f}"
                places = np.arange(len(names)) + _APART * (len(found) - 1)  # side by side
                ax.plot(places, shown, label=label, **look)
    with style.applied():
        ax.axhline(1.0, color=style.BLACK, linewidth=0.8, zorder=1.0)
        ax.annotate("bound broken above", (1.0, 1.0), va="bottom", fontsize=7)
        ax.set_xticks(np.arange(len(names)) + _APART * (len(found) - 1) / 2.0, names)
    frame.finish(
        ax,
        xlabel="form of the bound (Eq. 5), over sampled pairs; last: largest found among all",
        ylabel="largest deviation / bound",
        title="found by search at the last step: "
        f"{', '.join(f'{name} {ratio:.2f}' for name, ratio in after.items())} times the printed "
        "bound",
    )
    return frame.legend_below(ax, columns=2).figure


def whole(record: WholeTable) -> Any:
    """Draw what a digit costs in whole prompts beside the same across a gap, a panel a scheme."""
    schemes = sorted(set(record.scheme), key=lambda name: _LOOKS[name])
    figure, axes = frame.new_figure(1, len(schemes), width=style.TEXT_WIDTH, height=3.2)
    top = 3.0 * max(math.log(10.0), record.nats.max())
    for ax, scheme in zip(np.atleast_1d(axes), schemes, strict=True):
        rows = record.where(scheme=scheme)
        both = {how: rows.where(how=how) for how in _HOW}
        counts = {how: ", ".join(f"{n:.0f}" for n in both[how].recalled) for how in both}
        for rank, (how, part) in enumerate(both.items()):
            error = np.minimum(part.standard_error, 0.9 * part.nats)  # a log axis has no 0
            look: dict[str, Any] = marks.look(rank) | {"label": _HOW[how], "capsize": 3.5}
            places = part.k + _BESIDE * (rank - 0.5) * record.factor[0] * record.window
            with style.applied():
                ax.errorbar(places, part.nats, yerr=[error, part.standard_error], **look)
        frame.finish(
            ax,
            xlabel="k: distance from key to question\n(tokens; points of one k side by side)",
            ylabel=f"nats a digit of the key after {rows.step[0]:.0f} steps\n"
            f"({record.trials[0]:.0f} keys a distance; bars: 1 s. e.)",
            title=f"{NAMES[scheme]}, keys recalled of {record.trials[0]:.0f}\n"
            f"whole prompts: {counts['whole']}; gaps: {counts['gap']}",
            logy=True,
        )
        with style.applied():
            ax.axhline(math.log(10.0), color=style.GREY, linestyle=":", linewidth=0.8)
            guessed = (1.03 * record.window, math.log(10.0))
            ax.annotate("a digit guessed: ln 10", guessed, va="bottom", fontsize=7)
            ax.set_ylim(0.3 * record.nats.min(), top)
        _marks(ax, record)
        with style.applied():
            ax.set_xlim(left=0.75 * record.window)
            ax.set_xticks(record.window * np.arange(1.0, record.factor[0] + 0.1, 0.5))
    return frame.shared_legend(figure)


def table(record: Twin) -> Any:
    """Draw a table and its twin as text, and what ours measures."""
    at: dict[str, dict[str, None]] = {}  # protocol -> columns
    for protocol, column in zip(record.protocol, record.column, strict=True):
        if protocol:
            at.setdefault(protocol, {})[column] = None
    told = (f"{protocol} ({', '.join(columns)})" for protocol, columns in at.items())
    lines = [*text(record), "", *(f"ours: {line}" for line in (told if len(at) > 1 else at))]
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=0.5 + 0.125 * len(lines))
    marks.text_panel(lines, ax=ax, title=f"Table {record.table[-1]}: {TITLE}")
    return figure


def planned_coverage() -> Coverage:
    """Return the coverage of distances by the first case of tier cpu."""
    tier = TIERS["cpu"]
    asked = recipe(tier, tier.cases[0])
    return distances(
        asked.batch * tier.cases[0].steps,
        asked.sequence_length,
        asked.target,
        seed=asked.seed,
        edge_share=EDGE_SHARE,
    )


def coverage(record: Coverage) -> Any:
    """Draw the share of sequences that hold a distance, uniform beside stratified gaps."""
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.0)
    marks.curves(
        record.distance.tolist(),
        {"uniform gaps": record.uniform, "as trained: stratified, some at L'": record.stratified},
        ax=ax,
        xlabel="distance (tokens)",
        ylabel=f"share of {record.count} sequences\nthat hold it",
        title=f"at L' - 1: {record.uniform[-1]:.1%} of the sequences with uniform gaps, "
        f"{record.stratified[-1]:.1%} with the stratified",
        legend="best",
    )
    with style.applied():
        ax.set_ylim(0.0, 1.02)
    return figure


PICTURES: dict[str, Callable[[Any], Any]] = {
    "loss": loss,
    "reach": reached,
    "passkeys": digits,
    "gaps": gaps,
    "windows": windows,
    "whole": whole,
    "heads": ratios,
    "coverage": coverage,
    **dict.fromkeys(("table1", "table3", "table4"), table),
}


def _series(record: Any, step: float | None = None) -> list[tuple[str, int]]:
    """Return (scheme, seed) of one factor, of those read at a step: equal training only."""
    rows = record if step is None else record.where(step=step)
    found = set(zip(rows.scheme, rows.seed.astype(int).tolist(), strict=True))
    return sorted(found, key=lambda of: (_LOOKS[of[0]], of[1]))


def _shared(record: Any) -> float:
    """Return the last step at which PI and FT of one seed were read, of one alone its last."""
    steps = facts.shared(zip(record.scheme, record.seed, record.step, strict=True))
    return float(max((of[-1] for of in steps.values()), default=record.step.max()))


def _by_method(record: Any, step: float, tell: Callable[[Any], list[str]]) -> dict[str, list[str]]:
    """Return a method's name -> what is told of its rows at a step, all seeds together."""
    end = record.where(step=step)
    return {
        NAMES[scheme]: tell(end.where(scheme=scheme))
        for scheme in sorted(set(end.scheme), key=lambda name: _LOOKS[name])
    }


def _said(by_method: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{name} {' and '.join(values)}" for name, values in by_method.items())


def _moved(series: Sequence[tuple[str, int]], scheme: str, seed: int, end: float) -> float:
    """Return how far from its step a series is drawn, so that all stand around it."""
    place: int = series.index((scheme, seed))
    return _BESIDE * (place - (len(series) - 1) / 2.0) * end


def _line(ax: Any, x: Any, y: Any, scheme: str, seed: int, error: Any) -> None:
    look = marks.look(_LOOKS[scheme])
    label = f"{NAMES[scheme]}, seed {seed}"
    with style.applied():
        dash = _SEEDS[seed % 2]
        ax.errorbar(x, y, yerr=error, label=label, linestyle=dash, capsize=3.5, **look)


def _marks(ax: Any, record: Any) -> None:
    """Mark L and L' on the x axis, both inside the picture."""
    target = record.factor[0] * record.window
    with style.applied():
        for text, place in {"L": record.window, "L'": target}.items():
            ax.axvline(place, color=style.GREY, linestyle="--", linewidth=0.8)
            where: dict[str, Any] = {"xycoords": ("data", "axes fraction")}
            where |= {"xytext": (-3, -2), "textcoords": "offset points"}
            ax.annotate(text, (place, 1.0), ha="right", va="top", fontsize=7, **where)
        ax.set_xlim(0.0, 1.03 * target)
        low, high = ax.get_ylim()
        ax.set_ylim(low, high + 0.07 * (high - low))  # room for the names


def _levels(ax: Any, record: Any) -> None:
    """Mark L and L' on the y axis, both inside the picture."""
    target = record.factor[0] * record.window
    marks.level(record.window, f"L = {record.window}", ax=ax)
    marks.level(target, f"L' = {target:.0f}, the longest asked", ax=ax)
    left, right = ax.get_xlim()
    with style.applied():
        ax.set_xticks(np.unique(record.step))
        ax.set_xlim(left, right + 0.15 * (right - left))  # the names stand clear of the bars
        ax.set_ylim(-0.03 * target, 1.08 * target)
        ax.set_yticks(np.arange(0.0, target + 1.0, target / 4.0))
