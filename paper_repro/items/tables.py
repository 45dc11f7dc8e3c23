"""Tables 1-6 as data, and every sentence that cites a number from them recomputed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paper_repro import tables
from paper_repro.items import sentences
from paper_repro.ledger import Claim
from pianalysis.arrays import FloatArray
from pianalysis.pictures import frame, marks, style
from pianalysis.records import Record, columns

SIZES = ("7B", "13B", "33B", "65B")


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
    out = {name: _plot_perplexity(records[name]) for name in ("table1", "table2")}
    out["table3"] = _plot_steps(
        records["table3"], "perplexity", "PG-19 perplexity against steps", [7, 10, 20, 50, 100]
    )
    out["table4"] = _plot_steps(
        records["table4"], "k_max (tokens)", "passkey k_max", [2048, 4096, 8192, 16384, 32768]
    )
    out["table5"] = _plot_bars(records["table5"], "accuracy (%)", "zero-shot tasks")
    out["table6"] = _plot_bars(records["table6"], "ROUGE", "GovReport")
    out["table_sentences"] = sentences.plot(records["table_sentences"])
    return out


def _series(record: Any) -> dict[str, Any]:
    """Return label -> its cells, those that are numbers."""
    exact = record.where(lower_limit_only=0.0)
    return {label: exact.where(row=label) for label in dict.fromkeys(exact.row)}


def _plot_perplexity(record: Any) -> Any:
    figure, axes = frame.new_figure(1, 4, width=style.TEXT_WIDTH, height=2.8)
    looks = {"2048": "original"}
    looks |= {name: name for name in ("8192 FT", "8192 PI", "16384 PI", "32768 PI")}
    with style.applied():
        for ax, size in zip(axes, SIZES, strict=True):
            for label, cells in _series(record).items():
                if label.split()[0] == size:
                    name = label.removeprefix(size).strip()
                    index = list(looks).index(name)
                    ax.plot(_numbers(cells), cells.value, label=looks[name], **_look(index))
            ax.set_xscale("log", base=2)
            ax.set_xlim(1500, 45000)
            ax.set_title(f"LLaMA {size}", loc="left")
            frame.plain_ticks(ax, "x", [2048, 8192, 32768])
        corpus = "PG-19" if record.table == "table1" else "proof-pile"
        axes[0].set_ylabel(f"{corpus} perplexity")
        figure.supxlabel("evaluation window (tokens)", fontsize=8)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=5)
    return figure


def _numbers(cells: Any) -> list[float]:
    return [float(column) for column in cells.column]


def _look(index: int) -> dict[str, Any]:
    return {
        "marker": "osD^v<>"[index % 7],
        "color": style.CYCLE[index % 7],
        "linestyle": ("-", "--", "-.", ":")[index % 4],
    }


def _plot_steps(record: Any, ylabel: str, title: str, ticks: list[float]) -> Any:
    figure, ax = frame.new_figure(height=2.9)
    with style.applied():
        for index, (label, cells) in enumerate(_series(record).items()):
            ax.plot(_numbers(cells), cells.value, label=label, **_look(index))
        ax.set_xscale("symlog", linthresh=200)
        steps = sorted({float(c) for c in record.column} - {600.0, 800.0})
        ax.set_yscale("log")
        frame.plain_ticks(ax, "x", steps)
        frame.plain_ticks(ax, "y", ticks)
        ax.set_xlabel("fine-tuning steps")
        ax.set_ylabel(ylabel)
        ax.set_title(title, loc="left")
        figure.legend(loc="outside lower center", ncols=3, fontsize=6.5)
    return figure


def _plot_bars(record: Any, ylabel: str, title: str) -> Any:
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=2.6)
    series = _series(record)
    groups = next(iter(series.values())).column
    values = {label: cells.value for label, cells in series.items()}
    marks.bars(groups, values, ax=ax, ylabel=ylabel, title=title)
    with style.applied():
        ax.set_ylim(0, ax.get_ylim()[1] * 1.25)
        ax.legend(ncols=4, loc="upper right")
    return figure


def claims(records: Mapping[str, Record]) -> list[Claim]:
    """Every sentence that cites a number from the tables."""
    return sentences.claims(records["table_sentences"])
