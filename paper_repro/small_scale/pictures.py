"""Pictures of the fine-tune's readings: what a case was trained for stands in its label."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from paper_repro.small_scale import twins
from pianalysis.arrays import FloatArray
from pianalysis.bounds.interpolation import FORMS
from pianalysis.pictures import frame, marks, style

_RANGES = {"1": "[0, L)", "2": "[L, 2L)", "4": "[2L, 4L)", "8": "[4L, 8L)"}
_BEFORE = ("linear x2 seed", "default x2 seed")  # cases whose first reading is drawn, too
_SMOOTH = 20  # steps, at most a quarter of the shortest case
_OPEN: dict[str, Any] = {"markerfacecolor": "none", "linestyle": "none"}


def shown(case: str) -> str:
    """Return a case's label as a legend has it.

    Examples
    --------
    >>> shown("linear x2 text only seed 0")
    'PI x2, text only, seed 0'
    """
    scheme, _, rest = case.partition(" ")
    rest = rest.replace(" text only", ", text only").replace(" seed", ", seed")
    return f"{twins.NAMES[scheme]} {rest}"


def loss(record: Any) -> Any:
    """Draw the training loss, a mean over steps; cases of other texts end with their training."""
    by_case = _by_case(record, "loss", np.unique(record.step))
    steps = {case: int(np.isfinite(values).sum()) for case, values in by_case.items()}
    width = min(_SMOOTH, max(1, min(steps.values()) // 4))
    smooth = {}
    for case, values in by_case.items():
        known = np.flatnonzero(np.isfinite(values))
        smooth[case] = np.full(values.size, np.nan)
        mean = np.convolve(values[known], np.ones(width) / width, mode="valid")
        smooth[case][known[width - 1 :]] = mean
    longest = max(steps.values())
    ends = [values[-1] for case, values in smooth.items() if steps[case] == longest]
    return _lines(
        np.unique(record.step),
        smooth,
        xlabel="step",
        ylabel=f"training loss (nats),\nmean of {width} steps" if width > 1 else "loss (nats)",
        title=f"after {longest} steps the loss is {min(ends):.2f} to {max(ends):.2f} nats, "
        "whatever the scheme ('text only': other tokens, fewer steps)",
        every=20,
    )


def passkeys(record: Any) -> Any:
    """Draw k_max by step; readings of more trials are another protocol, joined to none."""
    fewest, most = record.trials.min(), record.trials.max()
    steps = np.unique(record.step)
    quick = record.where(trials=fewest)
    lines = _by_case(quick, "k_max", steps)
    lengths = quick.where(case=quick.case[0], step=quick.step[0]).k.size
    figure = _lines(
        steps,
        lines,
        xlabel="fine-tuning steps",
        ylabel="k_max (tokens, 20% rule)",
        title="",
        every=1,
    )
    (ax,) = figure.axes
    ends: dict[str, list[str]] = {}  # by method, a seed each
    for index, case in enumerate(dict.fromkeys(record.case)):
        rows = record.where(case=case, trials=most)
        if fewest < most and rows.k.size:
            label = f"open: {rows.k.size} lengths x {most:.0f} trials, not {lengths} x {fewest:.0f}"
            with style.applied():
                ax.plot(
                    [rows.step[-1]],
                    [rows.k_max[-1]],
                    label=None if ends else label,
                    **marks.look(index) | _OPEN | {"markersize": 7.0},
                )
            ends.setdefault(shown(case).partition(" x2")[0], []).append(f"{rows.k_max[-1]:.0f}")
    said = "; ".join(f"{name} {' and '.join(reached)}" for name, reached in ends.items())
    frame.finish(ax, title=f"k_max after {steps[-1]:.0f} steps: {said}" if ends else "")
    marks.level(record.window, f"pretrained window {record.window}", ax=ax)
    frame.legend_below(ax, columns=3)
    return figure


def likelihood(record: Any) -> Any:
    """Draw held-out text against distance with standard errors; other seeds as open markers."""
    first = _first_seed(record)
    chosen = {
        _after(case, step): record.where(case=case, step=step)
        for case, step in first
        if step or case.startswith(_BEFORE)
    }
    reach = np.unique(record.reach)
    ends: dict[str, list[str]] = {}
    for case, step in first:
        if case.startswith(_BEFORE) and _after(case, step) in chosen:
            when = f"after {step} steps" if step else "before"
            value = f"{chosen[_after(case, step)].nats[-1]:.2f}"
            untuned = not step and case.startswith("default")
            name = "no fine-tuning" if untuned else shown(case).partition(" x2")[0]
            ends.setdefault(name, []).append(value if untuned else f"{value} {when}")
    said = "; ".join(f"{name} {', '.join(values)}" for name, values in ends.items())
    figure = _lines(
        reach,
        {label: rows.nats for label, rows in chosen.items()},
        xlabel="position of the last token, behind a gap in positions (tokens)",
        ylabel="held-out text (nats a token;\nbars: 1 standard error)",
        title=f"nats at {reach[-1]:.0f}: {said}",
        every=1,
        errors={label: rows.standard_error for label, rows in chosen.items()},
    )
    (ax,) = figure.axes
    places = {label: index for index, label in enumerate(chosen)}
    others = [end for end in _ends(record) if end not in first and _after(*end) in places]
    with style.applied():
        for place, (case, step) in enumerate(others):
            if step:
                rows, index = record.where(case=case, step=step), places[_after(case, step)]
                look: dict[str, Any] = marks.look(index) | _OPEN | {"markersize": 6.0}
                ax.plot(rows.reach, rows.nats, label=None if place > 1 else "open: seed 1", **look)
    _mark(ax, {"L": record.window, "L'": float(record.target[0])})
    frame.legend_below(ax, columns=3)
    return figure


def windows(record: Any) -> Any:
    """Draw perplexity inside the old window, before and after; each case names its steps."""
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=2.8)
    series: dict[str, list[float]] = {"before": [], "after": []}
    names = []
    for case in dict.fromkeys(record.case):
        rows = record.where(case=case)
        series["before"].append(rows.perplexity[0])
        series["after"].append(rows.perplexity[-1])
        names.append(f"{shown(case)}, {rows.step[-1]:.0f} steps".replace(", ", "\n"))
    said = ", ".join(
        f"{name.split()[0]} {before:.1f} to {after:.1f}"
        for name, before, after in zip(names[:2], *series.values(), strict=False)
    )
    marks.bars(
        names,
        series,
        ax=ax,
        ylabel="perplexity of held-out text",
        title=f"inside the old window ({record.tokens[0]:.0f} tokens read at once): {said}",
    )
    ax.set_ylim(0.0, 1.15 * ax.get_ylim()[1])  # room for the legend
    return figure


def long(record: Any) -> Any:
    """Draw the perplexity of whole texts against the tokens read at once."""
    chosen = {_after(c, step): record.where(case=c, step=step) for c, step in _first_seed(record)}
    tuned = {label: rows for label, rows in chosen.items() if rows.step[-1]}
    ends = ", ".join(f"{label} {rows.perplexity[-1]:.1f}" for label, rows in tuned.items())
    figure = _lines(
        np.unique(record.tokens),
        {label: rows.perplexity for label, rows in chosen.items()},
        xlabel="tokens read at once, no gap",
        ylabel="perplexity of held-out text",
        title=f"one text of {record.count[0]:.0f} tokens, read whole: {ends}",
        every=1,
    )
    _mark(figure.axes[0], {"L": record.window, "L'": float(record.target[0])})
    return figure


def heads(record: Any) -> Any:
    """Draw scores by range of spans, and deviations over each bound, sampled and searched."""
    figure, axes = frame.new_figure(1, 2, width=style.TEXT_WIDTH, height=3.0)
    peaks, ratios = {}, {}
    for case, step in _first_seed(record):
        rows = record.where(case=case, step=step)
        value = dict(zip(rows.quantity, rows.value, strict=True))
        peaks[_after(case, step)] = [value[f"peak_{end}_p95"] for end in _RANGES]
        found = [value[f"{form}_ratio"] for form in FORMS] + [value["found_ratio"]]
        ratios[_after(case, step)] = found
    inside, beyond = ([values[place] for values in peaks.values()] for place in (0, 1))
    _by_name(
        list(_RANGES.values()),
        peaks,
        ax=axes[0],
        xlabel="spans",
        ylabel="largest signed score (logits),\n95% of the pairs",
        title=f"scores: {min(inside):.1f} to {max(inside):.1f} inside, "
        f"{min(beyond):.0f} to {max(beyond):.0f} on [L, 2L)",
    )
    searched = [values[-1] for values in ratios.values()]
    _by_name(
        [*FORMS, "paper,\nsearched"],
        ratios,
        ax=axes[1],
        xlabel="form of the bound (Eq. 5)",
        ylabel="largest deviation / bound",
        title=f"searched pairs break Eq. 5: {min(searched):.2f} to {max(searched):.2f} times",
    )
    for line in axes[1].lines:
        line.set_linestyle("none")  # forms are no order
    with style.applied():
        axes[1].axhline(1.0, color=style.BLACK, linewidth=0.8)
    return frame.shared_legend(figure, rows=2)


_NOTES = {
    "table1": "ours: no gaps; 2048 in sliding windows over a shorter text, the others side by "
    "side in one text",
    "table3": "ours: exp(nats a token) behind a gap in positions, not whole texts as in Table 1",
    "table4": "ours: passkeys behind a gap in positions",
}


def table(record: Any) -> Any:
    """Draw a table and its twin as text, and what ours measures."""
    lines = [*twins.text(record), "", _NOTES[record.table]]
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=0.5 + 0.125 * len(lines))
    marks.text_panel(lines, ax=ax, title=f"Table {record.table[-1]}: {twins.TITLE}")
    return figure


PICTURES: dict[str, Callable[[Any], Any]] = {
    "loss": loss,
    "passkeys": passkeys,
    "likelihood": likelihood,
    "windows": windows,
    "long": long,
    "heads": heads,
    **dict.fromkeys(twins.TABLES, table),
}


def _lines(x: FloatArray, series: Mapping[str, Any], **labels: Any) -> Any:
    """Draw a line a case, its legend below."""
    _, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.4)
    marks.curves(x, series, ax=ax, legend=None, **labels)
    return frame.legend_below(ax, columns=3).figure


def _mark(ax: Any, places: Mapping[str, float]) -> None:
    """Mark where windows end, the name beside the line."""
    with style.applied():
        for text, place in places.items():
            ax.axvline(place, color=style.GREY, linestyle="--", linewidth=0.8)
            ax.annotate(
                text,
                (place, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(-3, 0),
                textcoords="offset points",
                ha="right",
                va="top",
                fontsize=7,
            )


def _by_name(names: Sequence[str], series: Mapping[str, Any], *, ax: Any, **labels: Any) -> None:
    """Draw a line a case over names instead of numbers."""
    places = range(len(names))
    marks.curves(places, series, ax=ax, every=1, legend=None, **labels)
    ax.set_xticks(places, names)


def _by_case(record: Any, column: str, steps: FloatArray) -> dict[str, FloatArray]:
    """Return, for each case, the column at every step, or NaN."""
    out = {}
    for case in dict.fromkeys(record.case):
        rows = record.where(case=case)
        known = dict(zip(rows.step, getattr(rows, column), strict=True))
        out[shown(case)] = np.array([known.get(step, np.nan) for step in steps])
    return out


def _ends(record: Any) -> list[tuple[str, int]]:
    """Return (case, step) of the first and the last reading of each case."""
    out = []
    for case in dict.fromkeys(record.case):
        steps = record.where(case=case).step
        out += [(case, int(step)) for step in (steps.min(), steps.max())]
    return out


def _first_seed(record: Any) -> list[tuple[str, int]]:
    """Return the ends of the cases that differ in more than the seed: the first of each."""
    kinds: dict[str, str] = {}
    for case in record.case:
        kinds.setdefault(case.rpartition(" seed ")[0], case)
    return [(case, step) for case, step in _ends(record) if case in kinds.values()]


def _after(case: str, step: int) -> str:
    """Return a legend's entry for a case at a step; FT before training is the model itself."""
    name = shown(case.rpartition(" seed ")[0])
    if step:
        return f"{name}, {step} steps"
    return "no fine-tuning" if case.startswith("default") else f"{name}, before"
