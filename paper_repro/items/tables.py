"""Tables 1-6 as data, and every sentence that cites a number from them recomputed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from paper_repro import tables
from paper_repro.items import sentences
from paper_repro.ledger import Claim
from pianalysis.arrays import FloatArray
from pianalysis.pictures import frame, marks, style
from pianalysis.records import Record, columns

SIZES = ("7B", "13B", "33B", "65B")
EXTENDED = ("8192 FT", "8192 PI", "16384 PI", "32768 PI")


@dataclass(frozen=True, slots=True)
class Cells(Record):
    """One table in long form: a row a printed number; "> 10^3" is marked, not invented."""

    table: str
    row: tuple[str, ...]
    column: tuple[str, ...]
    value: FloatArray
    lower_limit_only: FloatArray


def compute(seed: int = 0) -> Mapping[str, Record]:
    """Read the tables and recompute the stated reductions."""
    cells: dict[str, Record] = {name: _cells(name) for name in tables.NAMES}
    return cells | {"table_sentences": sentences.compute()}


def _cells(name: str) -> Cells:
    cells = []
    for row in tables.rows(name):
        keys = [key for key in row if _is_label(key)]
        label = " ".join(row[key] for key in keys if row[key] != "None")
        for column, text in row.items():
            if column not in keys and text:
                number, limit = float(text.lstrip(">")), text.startswith(">")
                place = {"row": label, "column": column}
                cells.append(place | {"value": number, "lower_limit_only": limit})
    return Cells(table=name, **columns(cells))


def _is_label(column: str) -> bool:
    return column in ("size", "context_window", "method", "fine_tune_on", "model")


def plot(records: Mapping[str, Record]) -> dict[str, Any]:
    """Draw each table, and the sentences against their two readings."""
    return {
        "table1": _perplexity(records["table1"], "PG-19"),
        "table2": _perplexity(records["table2"], "proof-pile"),
        "table3": _steps(records["table3"]),
        "table4": _reach(records["table4"]),
        "table5": _losses(records["table5"]),
        "table6": _rouge(records["table6"]),
        "table_sentences": sentences.plot(records["table_sentences"]),
    }


def _series(record: Any) -> dict[str, Any]:
    """Return label -> its cells, those that are numbers."""
    exact = record.where(lower_limit_only=0.0)
    return {label: exact.where(row=label) for label in dict.fromkeys(exact.row)}


def _numbers(cells: Any) -> list[float]:
    return [float(column) for column in cells.column]


def _perplexity(record: Any, corpus: str) -> Any:
    """Draw a panel a model size, all of one height in perplexity; cells "> 10^3" as arrows."""
    figure, axes = frame.new_figure(1, 4, width=style.TEXT_WIDTH, height=3.0)
    looks = {"2048": "original", **{name: name for name in EXTENDED}}
    series = _series(record)
    by_size = {size: [n for n in series if n.split()[0] == size] for size in SIZES}
    middle, reach = {}, 0.0
    for size, labels in by_size.items():
        values = np.concatenate([series[label].value for label in labels])
        middle[size] = (values.max() + values.min()) / 2.0
        reach = max(reach, 0.7 * float(np.ptp(values)))
    with style.applied():
        for ax, (size, labels) in zip(axes, by_size.items(), strict=True):
            for label in labels:
                index = list(looks).index(label.removeprefix(size).strip())
                own: dict[str, Any] = {**marks.look(index), "linestyle": marks.DASHES[index]}
                name = list(looks.values())[index]
                ax.plot(_numbers(series[label]), series[label].value, label=name, **own)
            ax.set_ylim(middle[size] - reach, middle[size] + reach)
            for column in record.where(row=f"{size} 2048", lower_limit_only=1.0).column:
                place = (float(column), 0.98), (float(column), 0.86)
                axis: dict[str, Any] = {"xycoords": ("data", "axes fraction")}
                arrow = {"arrowstyle": "->", "color": style.CYCLE[0]}
                ax.annotate("", place[0], xytext=place[1], arrowprops=arrow, **axis)
            ax.set_xscale("log", base=2)
            ax.set_xlim(1500, 45000)
            ax.set_title(f"LLaMA {size}", loc="left")
            ax.set_xlabel("window read (tokens)")
            frame.plain_ticks(ax, "x", [2048, 8192, 32768])
        axes[0].set_ylabel(f"{corpus} perplexity")
        if record.lower_limit_only.any():
            up: dict[str, Any] = {"marker": r"$\uparrow$", "markersize": 7.0, "linestyle": "none"}
            axes[0].plot([], [], color=style.CYCLE[0], label="original: above 1000", **up)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=6)
        falls = {method: _falling(series, method) for method in ("PI", "FT")}
        figure.suptitle(
            f"{corpus}: perplexity falls from 2048 tokens to the extended window in "
            + ", in ".join(f"{n} of {m} {method} models" for method, (n, m) in falls.items()),
            fontsize=8,
        )
    return figure


def _falling(series: Mapping[str, Any], method: str) -> tuple[int, int]:
    """Return how many models of a method read their last window better than 2048; of how many."""
    ends = [cells.value[[0, -1]] for label, cells in series.items() if label.endswith(method)]
    return sum(last < first for first, last in ends), len(ends)


def _steps(record: Any) -> Any:
    """Draw every step above; below, from the first reading after training on, enlarged."""
    figure, axes = frame.new_figure(2, 1, height=3.8)
    series = _series(record)
    exact = next(iter(series.values()))
    title = ",\n".join(
        f"{cells.value[0]:.1f} to {cells.value[1]:.2f} ({label})" for label, cells in series.items()
    )
    for ax, first, text in zip(
        axes, (0, 1), (f"by step {_numbers(exact)[1]:.0f}: {title}", ""), strict=True
    ):
        steps = _numbers(exact)[first:]
        marks.curves(
            steps,
            {label: cells.value[first:] for label, cells in series.items()},
            ax=ax,
            xlabel="fine-tuning steps" if first else "",
            ylabel="PG-19 perplexity" + ",\nenlarged" * first,
            title=text,
            logy=not first,
            every=1,
            legend=None,
        )
        ax.set_xlim(-40, 1040)
    frame.plain_ticks(axes[0], "y", [7, 10, 20, 50, 100])
    return frame.shared_legend(figure)


def _reach(record: Any) -> Any:
    """Draw k_max as numbers, a row a model, a column a step; the darker, the nearer the window."""
    rows = list(dict.fromkeys(record.row))
    steps = sorted(set(record.column), key=int)
    _, ax = frame.new_figure(height=2.9)
    full = 0
    with style.applied():
        for label, column, value in zip(record.row, record.column, record.value, strict=True):
            share = value / float(label.split()[1])
            full += share == 1.0 and label.endswith("PI")
            at: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": 6.5}
            x, y = steps.index(column), rows.index(label)
            across = [x - 0.47, x + 0.47]
            ax.fill_between(across, y - 0.42, y + 0.42, color=str(1 - 0.4 * share), linewidth=0)
            ax.text(x, y, f"{value:.0f}", **at)
        ax.set_xlim(-0.55, len(steps) - 0.45)
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xticks(range(len(steps)), steps)
        ax.set_yticks(range(len(rows)), rows)
        ax.grid(visible=False)
    method = [label.rpartition(" ")[2] for label in record.row]
    tuned = record.value[np.array(method) == "FT"].max()
    return frame.finish(
        ax,
        xlabel="fine-tuning steps",
        ylabel="model, window, method; cells: k_max",
        title=f"PI reads its whole window in {full} of {method.count('PI')}\ncells; FT reads "
        f"{tuned:.0f} tokens at most",
    ).figure


def _losses(record: Any) -> Any:
    """Draw what each extended model lost against its own size before extension."""
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=2.9)
    series = _series(record)
    tasks = next(iter(series.values())).column
    lost = {
        f"{label} ({series[f'{label.split()[0]} 2048'].value.mean():.1f} before)": cells.value
        - series[f"{label.split()[0]} 2048"].value
        for label, cells in series.items()
        if label.split()[1] != "2048"
    }
    worst = min(lost, key=lambda label: float(lost[label].min()))
    places = np.linspace(-0.3, 0.3, len(lost))
    with style.applied():
        for index, (label, values) in enumerate(lost.items()):
            own: dict[str, Any] = {**marks.look(index), "markersize": 5.0, "linestyle": "none"}
            ax.plot(np.arange(len(tasks)) + places[index], values, label=label, **own)
        ax.axhline(0.0, color=style.BLACK, linewidth=0.8)
        ax.set_xticks(range(len(tasks)), tasks)
        ax.grid(axis="x", visible=False)
    frame.finish(
        ax,
        ylabel="accuracy gained by extension (points)",
        title=f"short tasks lose {-lost[worst].min():.1f} points at most "
        f"({worst.partition(' (')[0]}, {tasks[int(lost[worst].argmin())]}); legend: mean accuracy "
        "of that size before",
    )
    return frame.shared_legend(figure, rows=2)


def _rouge(record: Any) -> Any:
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=2.6)
    series = _series(record)
    groups = next(iter(series.values())).column
    values = {label: cells.value for label, cells in series.items()}
    own = next(label for label in values if "Extended" in label)
    rest = np.array([scores for label, scores in values.items() if label != own])
    lowest = [name for name, low in zip(groups, values[own] < rest.min(axis=0), strict=True) if low]
    marks.bars(
        groups,
        values,
        ax=ax,
        ylabel="ROUGE (of 100)",
        title=f"GovReport: {own} is the lowest of {len(values)} in "
        f"{' and '.join(lowest) or 'none'}",
    )
    with style.applied():
        ax.set_ylim(0, ax.get_ylim()[1] * 1.25)
        ax.legend(ncols=4, loc="upper right")
    return figure


def claims(records: Mapping[str, Record]) -> list[Claim]:
    """Every sentence that cites a number from the tables."""
    return sentences.claims(records["table_sentences"])
