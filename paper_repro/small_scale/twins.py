"""Small-scale twins of Tables 1, 3 and 4: the paper's cells beside ours, and what they agree on.

Ours are those of the fine-tuning experiment: another model, another corpus, far fewer tokens. What
can be compared is the order of the methods and where each one ends, not the level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from paper_repro import tables
from paper_repro.small_scale.plan import BOTH, PRESET, STEPS, TEXTS
from paper_repro.small_scale.rules import Rows
from paper_repro.small_scale.tables import Table, WindowTable
from pianalysis.records import Record, columns
from pianalysis.rope.presets import preset

NAMES = {"linear": "PI", "default": "FT", "yarn": "YaRN", "ntk": "NTK-aware"}
_PAPER = f"paper, LLaMA 7B, L = {preset('llama-7b').context_window}"
_HERE = f"here, SmolLM2-135M, L = {preset(PRESET).context_window}"
TITLE = "the paper (LLaMA 7B) and here (SmolLM2-135M)"
WINDOWS_FACTOR = 2  # Tables 1 and 3 are of this factor here, Table 4 of all
_TEXTS = ("", *TEXTS)  # in this order; "" where a table is of no text
_THEIRS = dict(zip(TEXTS, ("PG-19", "proof-pile"), strict=True))
_PAPERS = dict(zip(TEXTS, ("table1", "table2"), strict=True))  # the paper's text of that rank


@dataclass(frozen=True, slots=True)
class Twin(Record):
    """One table in long form: a row a cell; ``column`` as the table heads it, below ``text``.

    ``context_window`` is the window extended to; ``value`` is the cell as printed. Of ours
    ``seed`` is the case's, ``uncertainty`` one standard error or the 95% interval, ``count`` the
    tokens scored or the trials, ``protocol`` how it was read; the paper's cells leave them empty.
    """

    table: str
    measure: str
    source: tuple[str, ...]
    context_window: tuple[str, ...]
    method: tuple[str, ...]
    text: tuple[str, ...]
    column: tuple[str, ...]
    value: tuple[str, ...]
    seed: tuple[str, ...]
    uncertainty: tuple[str, ...]
    count: tuple[str, ...]
    protocol: tuple[str, ...]


class Evidence:
    """The experiment's tables, asked for the rows of a case at a step.

    ``read`` is kind -> tables of that kind, ``window`` L.
    """

    def __init__(self, read: Mapping[str, Sequence[Table]], window: int) -> None:
        self.window = window
        self.count = {t.scored for t in read.get("windows", ()) if isinstance(t, WindowTable)}
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._found: dict[tuple[str, ...], dict[tuple[Any, ...], list[dict[str, Any]]]] = {}
        for kind, tables_ in read.items():
            columns_ = [table.columns() for table in tables_]
            self._rows[kind] = [
                dict(zip(names, row, strict=True))
                for names in columns_
                for row in zip(*names.values(), strict=True)
            ]

    def rows(self, kind: str, **where: Any) -> list[dict[str, Any]]:
        """Return the rows of a kind that hold these values; none where nothing was read."""
        asked = (kind, *where)
        if asked not in self._found:  # thousands of questions are asked in a few ways
            found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
            for row in self._rows.get(kind, ()):
                found.setdefault(tuple(row[name] for name in where), []).append(row)
            self._found[asked] = found
        return list(self._found[asked].get(tuple(where.values()), ()))

    def places(self, kind: str, *names: str, **where: Any) -> list[tuple[Any, ...]]:
        """Return the different values of some columns, in the order of the rows."""
        found = ((tuple(row[name] for name in names)) for row in self.rows(kind, **where))
        return list(dict.fromkeys(found))

    def scored(self, text: str, tokens: float, scheme: str, step: float) -> list[dict[str, Any]]:
        """Return the blocks of a text at a window; FT before training is the original, any case."""
        at: dict[str, Any] = {"text": text, "tokens": tokens, "scheme": scheme, "step": step}
        return self.rows("windows", factor=WINDOWS_FACTOR, seed=0, **at)

    def passkeys(self, factor: float) -> dict[tuple[str, int, int], Rows]:
        """Return (scheme, seed, step) -> rows, as ``rules.table4`` takes them."""
        cases = self.places("passkeys", "scheme", "seed", "step", factor=factor)
        return {
            (scheme, int(seed), int(step)): self.rows(
                "passkeys", factor=factor, scheme=scheme, seed=seed, step=step
            )
            for scheme, seed, step in cases
        }


def table1(seen: Evidence) -> Twin | None:
    """Return perplexity by evaluation window after the last step (Tables 1 and 2), or None."""
    rows = [
        _paper(row, kind, column)
        for kind, name in _PAPERS.items()
        for row in tables.rows(name)
        if row["size"] == "7B" and (row["method"] == "None" or row["context_window"] == "8192")
        for column in ("2048", "4096", "8192")
        if row.get(column)
    ]
    target = WINDOWS_FACTOR * seen.window
    models = [("None", "default", 0.0)] + [(NAMES[s], s, float(STEPS)) for s in reversed(BOTH)]
    ours = [
        _perplexity(seen, kind, tokens, scheme, step)
        | {"context_window": str(seen.window if method == "None" else target)}
        | {"method": method, "column": f"{tokens:.0f}"}
        for method, scheme, step in models
        for kind in _PAPERS
        for (tokens,) in seen.places(
            "windows", "tokens", scheme=scheme, step=step, factor=WINDOWS_FACTOR
        )
    ]
    return _twin("table1", "perplexity by evaluation window (tokens)", rows, ours)


def table3(seen: Evidence) -> Twin | None:
    """Return perplexity at the extended window against fine-tuning steps (Table 3), or None."""
    rows = [
        _paper(row, TEXTS[0], column) | {"method": "PI"}
        for row in tables.rows("table3")
        for column in ("0", "200", "400", "600", "800", "1000")
    ]
    target = WINDOWS_FACTOR * seen.window
    ours = [
        _perplexity(seen, kind, target, scheme, step)
        | {"context_window": str(target), "method": NAMES[scheme], "column": f"{step:.0f}"}
        for scheme, kind, step in seen.places(
            "windows", "scheme", "text", "step", factor=WINDOWS_FACTOR, tokens=target
        )
    ]
    return _twin("table3", "perplexity at the extended window by fine-tuning steps", rows, ours)


def table4(seen: Evidence) -> Twin | None:
    """Return k_max against fine-tuning steps (Table 4)."""
    rows = [
        _paper(row, "", column)
        for row in tables.rows("table4")
        if row["size"] == "7B"
        for column in ("200", "400", "600", "800", "1000", "10000")
        if row[column]
    ]
    ours = [
        {
            "context_window": f"{row['factor'] * seen.window:.0f}",
            "method": f"{NAMES[row['scheme']]}, seed {row['seed']:.0f}",
            **{"text": "", "column": f"{row['step']:.0f}", "value": f"{row['k_max']:.0f}"},
            "seed": f"{row['seed']:.0f}",
            "uncertainty": f"{row['low']:.0f} to {row['high']:.0f}",
            "count": f"{row['distances'] * row['trials']:.0f}",
            "protocol": f"recalled across a gap, {row['distances']:.0f} distances "
            f"of {row['trials']:.0f} trials",
        }
        for row in sorted(seen.rows("reach"), key=_place)
    ]
    return _twin("table4", "k_max (tokens) by fine-tuning steps", rows, ours)


TABLES: dict[str, Callable[[Evidence], Twin | None]] = {
    "table1": table1,
    "table3": table3,
    "table4": table4,
}


def text(table: Twin) -> list[str]:
    """Return the table in the paper's layout, ours below: a line a model, uncertainty below it."""
    from tabulate import tabulate

    lines = [table.measure, ""]
    for source in dict.fromkeys(table.source):
        part = table.where(source=source)
        places = list(zip(part.text, part.column, strict=True))
        heads = sorted(set(places), key=lambda place: (_TEXTS.index(place[0]), float(place[1])))
        models = list(zip(part.context_window, part.method, strict=True))
        shown_as = map(_cell, part.value, part.uncertainty)
        cells = dict(zip(zip(models, places, strict=True), shown_as, strict=True))
        body = [
            [*map(_whole, model), *(cells.get((model, head), "") for head in heads)]
            for model in dict.fromkeys(models)
        ]
        named = _THEIRS if source == _PAPER else {}
        headers = ["window", "method"]
        headers += [f"{named.get(kind, kind)}\n{_whole(at)}".strip() for kind, at in heads]
        shown = tabulate(body, headers, disable_numparse=True, stralign="right")
        lines += [source + _below(part.uncertainty), *shown.splitlines(), ""]
    return lines[:-1]


def _place(row: Mapping[str, Any]) -> tuple[float, int, float]:
    """Return where a row stands: by L', then by method, then by seed."""
    return row["factor"], list(NAMES).index(row["scheme"]), row["seed"]


def _cell(value: Any, uncertainty: Any) -> str:
    """Return a value as printed, and below it the interval or the standard error."""
    low, to, high = str(uncertainty).partition(" to ")
    below = f"({low}–{high})" if to else f"± {low}" * bool(low)
    return f"{_whole(value)}\n{below}".strip()


def _below(uncertainties: Sequence[Any]) -> str:
    """Return what stands below the values, in words; nothing where there is none."""
    one = str(next(filter(None, uncertainties), ""))
    kind = "in brackets its 95% interval" if " to " in one else "one standard error"
    return f"; below each value {kind}" * bool(one)


def _whole(cell: Any) -> str:
    """Return a cell as printed; whole numbers, read back from a file as floats, without a point."""
    number = isinstance(cell, (int, float))
    return f"{cell:.0f}" if number and float(cell).is_integer() else str(cell)


def _paper(row: Mapping[str, str], kind: str, column: str) -> dict[str, str]:
    made = {"source": _PAPER, "context_window": row["context_window"], "text": kind}
    made |= {"method": row.get("method", ""), "column": column, "value": row[column]}
    return made | dict.fromkeys(("seed", "uncertainty", "count", "protocol"), "")


def _perplexity(
    seen: Evidence, kind: str, tokens: float, scheme: str, step: float
) -> dict[str, str]:
    """Return what a cell says of a text at a window: exp of the mean over blocks."""
    blocks = seen.scored(kind, tokens, scheme, step)
    nats = np.array([row["nats"] for row in blocks])
    perplexity = math.exp(nats.mean())
    error = perplexity * float(nats.std(ddof=1)) / math.sqrt(nats.size)
    (scored,) = seen.count
    return {
        **{"text": kind, "value": f"{perplexity:.2f}", "uncertainty": f"{error:.2f}"},
        **{"seed": "0", "count": str(scored)},
        "protocol": f"the same {scored} tokens at every window, {nats.size} blocks, no gap",
    }


def _twin(
    name: str, measure: str, rows: Iterable[Mapping[str, str]], ours: Sequence[Mapping[str, str]]
) -> Twin | None:
    if not ours:
        return None
    made = columns([*rows, *({"source": _HERE, **row} for row in ours)])
    return Twin(table=name, measure=measure, **made)
