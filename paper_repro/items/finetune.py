"""The fine-tune in tiers: Position Interpolation against direct fine-tuning, on a real model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paper_repro import committed
from paper_repro.ledger import Claim, number, verdict
from paper_repro.small_scale import twins
from pianalysis.bounds.interpolation import FORMS
from pianalysis.pictures import frame, marks, style
from pianalysis.records import Record

TIERS = ("quick", "cpu", "gpu")
DEFAULT_TIER = "cpu"  # of a run that names the item; `make repro` takes the first
WORK = Path("build") / "finetune"  # unfinished runs; never committed
_EVIDENCE = ("passkeys", "likelihood", "windows", "long")
_RANGES = {"1": "[0, L)", "2": "[L, 2L)", "4": "[2L, 4L)", "8": "[4L, 8L)"}
_BEFORE = ("linear x2 seed", "default x2 seed")  # cases whose first reading is drawn, too
_SMOOTH = 20  # steps, at most a quarter of the shortest case


def compute(seed: int = 0, tier: str = "quick") -> Mapping[str, Record]:
    """Train and read every case of a tier; what is finished is kept in build/finetune."""
    from paper_repro.small_scale.experiment import run_tier

    made = run_tier(tier, WORK / tier, seed)
    if tier != "quick":  # it trains one scheme: nothing to set beside the paper
        seen = twins.evidence({k: (made[k].columns(), made[k].summary()) for k in _EVIDENCE})
        made |= {name: table(seen) for name, table in twins.TABLES.items()}
    return {f"finetune_{tier}_{kind}": record for kind, record in made.items()}


def replayed() -> list[str]:
    """Do the first steps of the committed run of hours again; return a line a difference."""
    from paper_repro.small_scale.replay import replay

    return replay("cpu")


def plot(records: Mapping[str, Record]) -> dict[str, Any]:
    """Draw each reading by case, and the tables as text."""
    return {stem: _PICTURES[stem.rpartition("_")[2]](record) for stem, record in records.items()}


def _loss(record: Any) -> Any:
    by_case = _by_case(record, "step", "loss")
    shortest = min(int(np.isfinite(values).sum()) for values in by_case.values())
    width = min(_SMOOTH, max(1, shortest // 4))
    smooth = {}
    for case, values in by_case.items():
        known = np.flatnonzero(np.isfinite(values))
        smooth[case] = np.full(values.size, np.nan)
        mean = np.convolve(values[known], np.ones(width) / width, mode="valid")
        smooth[case][known[width - 1 :]] = mean
    return _lines(
        np.unique(record.step),
        smooth,
        xlabel="step",
        ylabel=f"training loss (nats),\nmean of {width} steps" if width > 1 else "loss (nats)",
        title=f"the same tokens for every scheme, tier {record.tier}",
    )


def _reach(record: Any) -> Any:
    return _lines(
        np.unique(record.step),
        _by_case(record, "step", "k_max"),
        xlabel="fine-tuning steps",
        ylabel="k_max (tokens, 20% rule)",
        title=f"how far passkeys are read; the pretrained window is {record.window} tokens",
        marker="o",
    )


def _distance(record: Any) -> Any:
    series = {
        _after(case, step): record.where(case=case, step=step).nats
        for case, step in _first_seed(record)
        if step or case.startswith(_BEFORE)
    }
    return _lines(
        np.unique(record.reach),
        series,
        xlabel="position of the last token, behind a gap in positions",
        ylabel="held-out text\n(nats a token)",
        title="likelihood against distance, before and after",
        marker="o",
    )


def _windows(record: Any) -> Any:
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=2.6)
    cases = list(dict.fromkeys(record.case))
    series: dict[str, list[float]] = {"before": [], "after": []}
    for case in cases:
        values = record.where(case=case).perplexity
        series["before"].append(values[0])
        series["after"].append(values[-1])
    marks.bars(
        [shown(case).replace(", ", "\n") for case in cases],
        series,
        ax=ax,
        ylabel="perplexity of held-out text",
        title=f"inside the old window: {record.tokens[0]:.0f} tokens read at once",
    )
    ax.set_ylim(0.0, 1.15 * ax.get_ylim()[1])  # room for the legend
    return figure


def _long(record: Any) -> Any:
    series = {
        _after(case, step): record.where(case=case, step=step).perplexity
        for case, step in _first_seed(record)
    }
    return _lines(
        np.unique(record.tokens),
        series,
        xlabel="tokens read at once, no gap",
        ylabel="perplexity of held-out text",
        title=f"one text of {record.count[0]:.0f} tokens; the pretrained window is {record.window}",
        marker="o",
    )


def _heads(record: Any) -> Any:
    figure, axes = frame.new_figure(1, 2, width=style.TEXT_WIDTH, height=2.8)
    peaks, ratios = {}, {}
    for case, step in _first_seed(record):
        rows = record.where(case=case, step=step)
        value = dict(zip(rows.quantity, rows.value, strict=True))
        peaks[_after(case, step)] = [value[f"peak_{end}_p95"] for end in _RANGES]
        ratios[_after(case, step)] = [value[f"{form}_ratio"] for form in FORMS]
    _by_name(
        list(_RANGES.values()),
        peaks,
        ax=axes[0],
        xlabel="span",
        ylabel="largest signed score (logits),\n95% of the pairs",
        title="scores inside and beyond the window",
    )
    _by_name(
        FORMS,
        ratios,
        ax=axes[1],
        xlabel="form of the bound (Eq. 5)",
        ylabel="largest deviation / bound",
        title="sampled pairs at Position Interpolation's spans",
    )
    return frame.shared_legend(figure, rows=2)


def _by_name(names: Sequence[str], series: Mapping[str, Any], *, ax: Any, **labels: Any) -> None:
    """Draw a line a case over names instead of numbers."""
    places = range(len(names))
    marks.curves(places, series, ax=ax, marker="o", legend=None, **labels)
    ax.set_xticks(places, names)


def _table(record: Any) -> Any:
    lines = twins.text(record)
    figure, ax = frame.new_figure(width=5.0, height=0.5 + 0.125 * len(lines))
    marks.text_panel(
        lines, ax=ax, title=f"Table {record.table[-1]}: the paper's and its small twin"
    )
    return figure


_PICTURES = {
    "loss": _loss,
    "passkeys": _reach,
    "likelihood": _distance,
    "windows": _windows,
    "long": _long,
    "heads": _heads,
    **dict.fromkeys(twins.TABLES, _table),
}


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


def _lines(x: Any, series: Mapping[str, Any], **labels: Any) -> Any:
    """Draw a line a case, its legend below."""
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.2)
    marks.curves(x, series, ax=ax, legend=None, **labels)
    frame.legend_below(ax, columns=3)
    return figure


def _by_case(record: Any, over: str, column: str) -> dict[str, Any]:
    """Return, for each case, the column at every value of ``over``, or NaN."""
    values = np.unique(getattr(record, over))
    out = {}
    for case in dict.fromkeys(record.case):
        rows = record.where(case=case)
        known = dict(zip(getattr(rows, over), getattr(rows, column), strict=True))
        out[shown(case)] = np.array([known.get(value, np.nan) for value in values])
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
        return f"{name}, after"
    return "no fine-tuning" if case.startswith("default") else f"{name}, before"


def claims(records: Mapping[str, Record]) -> list[Claim]:
    """Judge the twins of Tables 1, 3 and 4 and the bounds on fine-tuned heads, tier cpu.

    The quick tier trains too little to judge anything: then the committed records are read.
    """

    def read(kind: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        stem = f"finetune_cpu_{kind}"
        if stem in records:
            return records[stem].columns(), records[stem].summary()
        return committed.columns(stem), committed.summary(stem)

    seen = twins.evidence({kind: read(kind) for kind in (*_EVIDENCE, "heads")})
    return [*twins.claims(seen), _heads_claim(seen)]


def _heads_claim(seen: twins.Evidence) -> Claim:
    case = seen.case("linear")

    def value(quantity: str, step: int) -> float:
        return seen.value("heads", "value", case, step, quantity=quantity)

    ratios = [value("found_ratio", step) for step in (0, seen.last)]
    forms = "; ".join(
        f"{form} {value(f'{form}_violations', seen.last):.0f} "
        f"(largest ratio {number(value(f'{form}_ratio', seen.last), 4)})"
        for form in FORMS
    )
    return Claim(
        key="heads-finetuned",
        location="Eq. 5",
        statement="The printed bound holds for heads fine-tuned with Position Interpolation",
        verdict=verdict(max(ratios) <= 1.0),
        paper="|a - a_linear| <= d max|h| (s - s1)(s2 - s) / (8 ln c)",
        ours=f"SmolLM2-135M x2: largest deviation / printed bound found among all causal pairs "
        f"{number(ratios[0], 4)} before and {number(ratios[1], 4)} after {seen.last} steps; "
        f"violations among {value('checked', seen.last):.0f} sampled (pair, span) after: {forms}",
        certificate="measured",
        item="finetune",
        test="paper_repro/test_twins.py",
    )
