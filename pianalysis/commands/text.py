"""Text that commands print: aligned lines, and a record as a table with a column a scheme."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pianalysis.records import Record

if TYPE_CHECKING:
    from pianalysis.evaluation.likelihood import GapLikelihood
    from pianalysis.evaluation.passkeys import Passkeys


def aligned(rows: Sequence[tuple[str, str]]) -> str:
    """Return "name  value" lines, the values below one another.

    Examples
    --------
    >>> print(aligned([("base c", "10000"), ("window", "2048 tokens"), ("", "")]).rstrip())
    base c  10000
    window  2048 tokens
    """
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"{name:<{width}}{value}".rstrip() for name, value in rows)


def right_aligned(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """Return a table of cells as they are written, not as tabulate would read their numbers."""
    from tabulate import tabulate

    return tabulate(rows, headers=headers, disable_numparse=True, stralign="right")


def by_scheme(
    record: Record, names: Sequence[str], cell: Callable[[dict[str, Any]], str], *, head: str = ""
) -> str:
    """Return a record as a table: a line for each value of the columns named, a column a scheme.

    ``cell`` writes what stands there, given the record's row; ``head`` stands before each scheme.
    """
    columns = record.columns()
    schemes = list(dict.fromkeys(columns["scheme"]))
    places = dict.fromkeys(zip(*(columns[name] for name in names), strict=True))
    rows = []
    for place in places:
        at = dict(zip(names, place, strict=True))
        cells = [cell(record.only(scheme=scheme, **at)) for scheme in schemes]
        rows.append([*(f"{value}" for value in place), *cells])
    return right_aligned(rows, [*names, *(f"{head}{scheme}" for scheme in schemes)])


def across_gaps(record: GapLikelihood) -> str:
    """Return the likelihood behind a gap as a table, a line a gap."""
    table = by_scheme(record, ["gap"], lambda row: f"{row['mean']:.3f}", head="NLL ")
    return f"{table}\nnats a token of {record.tail} tokens behind {record.prefix} and the gap"


def passkeys_read(record: Passkeys) -> str:
    """Return passkeys recalled and written as a table, a line a distance, and k_max below it."""

    def cell(row: dict[str, Any]) -> str:
        return f"{row['recalled']} {row['written']} {row['nats']:.2f}"

    def reached(k_max: Mapping[str, int], interval: Mapping[str, tuple[int, int]]) -> str:
        ends = (f"{label} {k} ({_span(interval[label])})" for label, k in k_max.items())
        return ", ".join(ends)

    lines = [
        by_scheme(record, ["k"], cell),
        f"of {record.trials} passkeys: recalled, written; nats a digit",
        f"k_max (20% rule, 95% interval) recalled: {reached(record.k_max, record.k_max_interval)}",
        f"written: {reached(record.k_max_written, record.k_max_written_interval)}",
    ]
    return "\n".join(lines)


def _span(ends: tuple[int, int]) -> str:
    low, high = ends
    return f"{low}" if low == high else f"{low} to {high}"
