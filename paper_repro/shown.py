"""What notebooks show things by: a table, claims, steps of a derivation; all as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from paper_repro import committed, ledger

if TYPE_CHECKING:
    from pianalysis.bounds.symbolic import Step

_NUMBER = re.compile(r"(?:[-+<>≤≥]? ?\d[\d.,]*(?:e[-+]?\d+)?%?|-|)")
_MARKS = re.compile(r"([\\|*_<>$`~\[\]])")
_LONGEST = 72  # signs of a formula on one line


class Shown(str):
    """Markdown that a notebook shows as such."""

    __slots__ = ()

    def _repr_markdown_(self) -> str:
        return str(self)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Shown:
    """Return a table; columns of numbers are aligned to the right, all others to the left.

    Examples
    --------
    >>> print(table(["scheme", "H", "|a|"], [["yarn", 1, "30.96"], ["linear", 10, "1.936"]]))
    | scheme | H | \\|a\\| |
    |:---|---:|---:|
    | yarn | 1 | 30.96 |
    | linear | 10 | 1.936 |
    """
    cells = [[str(cell).replace("|", r"\|") for cell in row] for row in rows]
    if any(len(row) != len(head) for row in cells):
        raise ValueError(f"every row must have {len(head)} cells, as the head has")
    sides = [
        "---:" if all(_NUMBER.fullmatch(cell) for cell in column) else ":---"
        for column in zip(*cells, strict=True)
    ]
    first = [name.replace("|", r"\|") for name in head]
    lines = [f"| {' | '.join(row)} |" for row in (first, *cells)]
    lines.insert(1, f"|{'|'.join(sides or [':---' for _ in head])}|")
    return Shown("\n".join(lines))


def plain(text: str) -> str:
    """Return text with every sign that Markdown would read escaped."""
    return _MARKS.sub(r"\\\1", text)


def claims(*sources: str | Iterable[ledger.Claim]) -> Shown:
    """Return claims as a table: those given, and those of the items named, as the ledger has them.

    Raises
    ------
    ValueError
        An item that has no claim in the ledger.
    """
    found: list[ledger.Claim] = []
    for source in sources:
        if isinstance(source, str):
            own = [claim for claim in ledger.read(committed.FOLDER) if claim.item == source]
            if not own:
                raise ValueError(f"item must have claims in the ledger, got {source!r}")
            found += own
        else:
            found += source
    lines = ["| where | the paper says | verdict | we find | rests on |", f"|{':---|' * 5}"]
    for claim in found:
        cells = map(plain, (claim.statement, claim.verdict, claim.ours, claim.certificate))
        place = claim.location
        if place.startswith("arXiv:"):
            place = f"[{place}](https://arxiv.org/abs/{place.removeprefix('arXiv:')})"
        statement, verdict, ours, certificate = cells
        lines.append(f"| {place} | {statement} | **{verdict}** | {ours} | {certificate} |")
    return Shown("\n".join(lines))


def steps(derivation: Iterable[Step]) -> Shown:
    """Return steps of a derivation: label, status and title, the formula in lines, the reason."""
    parts = []
    for step in derivation:
        parts += [
            f"**{step.label}**, {step.status}: {step.title}",
            f"$$\n{formula(step.statement)}\n$$",
            step.reason,
        ]
    return Shown("\n\n".join(parts))


def formula(relation: Any) -> str:
    r"""Return a relation in LaTeX, theta_j for c^(-2j/d), broken into lines where it is long.

    Examples
    --------
    >>> from pianalysis.bounds import symbolic
    >>> print(formula(symbolic.abel_steps()[3].statement))
    \left|{{A}_{j + 1} - {A}_{j}}\right| = 1
    """
    import sympy as sp

    from pianalysis.bounds import symbolic

    theta = sp.Symbol("theta_j", positive=True)
    left, right = (side.xreplace({symbolic.frequency(symbolic.j): theta}) for side in relation.args)
    sign = {"Equality": "=", "LessThan": r"\leq", "GreaterThan": r"\geq"}.get(
        relation.func.__name__, {"StrictLessThan": "<"}.get(relation.func.__name__, ">")
    )
    whole = f"{symbolic.render(left)} {sign} {symbolic.render(right)}"
    if _signs(whole) <= _LONGEST:
        return whole
    first, second = _lines(left), _lines(right)
    rows = [f"& {first[0]}", *(rf"& \quad {line}" for line in first[1:])]
    rows += [f"{sign} {second[0]}".join(["& ", ""]), *(rf"& \quad {line}" for line in second[1:])]
    return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"


def _lines(expression: Any) -> list[str]:
    """Return one side of a relation, a line a summand where the whole is long."""
    import sympy as sp

    from pianalysis.bounds import symbolic

    text = symbolic.render(expression)
    if _signs(text) <= _LONGEST:
        return [text]
    if isinstance(expression, sp.Sum) and expression.function.is_Add:
        mark = sp.Symbol("SUMMAND")
        sum_ = symbolic.render(sp.Sum(mark, *expression.limits)).removesuffix("SUMMAND")
        inner = _lines(expression.function)
        return [rf"{sum_} \Bigl( {inner[0]}", *inner[1:-1], rf"{inner[-1]} \Bigr)"]
    if expression.is_Add:
        terms = [symbolic.render(term) for term in sp.Add.make_args(expression)]
        return [terms[0], *(term if term.startswith("-") else f"+ {term}" for term in terms[1:])]
    return [text]


def _signs(latex: str) -> int:
    """Return about how many signs a formula is wide: a matrix as wide as its widest row."""
    rows = re.sub(
        r"\\begin\{matrix\}(.*?)\\end\{matrix\}",
        lambda found: max(found[1].split(r"\\"), key=len),
        latex,
    )
    return len(re.sub(r"\\(?:left|right|begin|end)\b|\\([a-z])[a-z]*|[{}_^\s&]", r"\1", rows))


def twin(stem: str) -> Shown:
    """Return a table of the paper and its small twin, from the committed record."""
    record = committed.columns(stem)
    names = ("source", "context_window", "method", "text", "column", "value")
    cells = [
        tuple(f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in row)
        for row in zip(*(record[name] for name in names), strict=True)
    ]
    texts = list(dict.fromkeys(text for *_, text, _, _ in cells))
    heads = sorted(
        {row[3:5] for row in cells}, key=lambda head: (texts.index(head[0]), int(head[1]))
    )
    values = {(row[:3], row[3:5]): row[5] for row in cells}
    return table(
        ["", "window", "method", *(" ".join(head).strip() for head in heads)],
        [
            [*model, *(values.get((model, head), "") for head in heads)]
            for model in dict.fromkeys(row[:3] for row in cells)
        ],
    )
