"""Numbers in prose: each from a committed record, a claim, or the package itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

import jinja2
import numpy as np

import pianalysis as pia
from making.gallery import described, quoted
from making.places import FIGURES
from paper_repro import committed, findings, ledger

_THEORY = {"false": "interpolation", "true": "grid", "worst": "worst_case"}


def environment() -> jinja2.Environment:
    """Return the templates' environment: ``{= expression =}`` prints, nothing undefined passes."""
    out = jinja2.Environment(
        variable_start_string="{=",
        variable_end_string="=}",
        block_start_string="{%%",
        block_end_string="%%}",
        comment_start_string="{##",
        comment_end_string="##}",
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    claims = {claim.key: claim for claim in ledger.read(FIGURES)}
    out.globals.update(
        claim=lambda key: claims[key],
        claims=claims,
        verdicts=Counter(claim.verdict for claim in claims.values()),
        summary=committed.summary,
        columns=committed.columns,
        row=row,
        figure=figure,
        found=found,
        pia=pia,
        np=np,
        num=num,
        table=table,
    )
    return out


def found() -> str:
    """Return README's findings, each with its theory page, notebooks and picture."""
    parts = []
    for place, finding in enumerate(findings.findings(FIGURES), 1):
        seen = [f"[theory](theory/{_THEORY[finding.name]}.md)"] if finding.name in _THEORY else []
        seen.append("[more numbers](findings.md)")
        seen += [f"[{name}](notebooks/{name}.ipynb)" for name in finding.notebooks]
        seen.append(f"[picture](figures/{finding.picture}.md)")
        parts.append(f"{place}. **{finding.title}** {finding.text} {' · '.join(seen)}")
    return "\n".join([*parts, "", f"**What they do not say.** {findings.limits(FIGURES)}"])


def num(value: Any, digits: int = 4) -> str:
    """Return a number to so many significant digits, thousands apart."""
    value = float(value)
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:.{digits}g}"


def row(stem: str, **where: Any) -> dict[str, Any]:
    """Return the one row of a committed table in which every named column has its value."""
    table = committed.columns(stem)
    rows = [
        at
        for at in range(len(next(iter(table.values()))))
        if all(table[name][at] == value for name, value in where.items())
    ]
    if len(rows) != 1:
        raise ValueError(f"{stem} must have one row with {where}, got {len(rows)}")
    return {name: column[rows[0]] for name, column in table.items()}


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def figure(stem: str) -> str:
    """Return a committed figure with its alternative text and a link to its page."""
    facts = described(stem)
    return (
        f"```{{figure}} /figures/{stem}.png\n:alt: {quoted(facts.alt)}\n:class: paper\n\n"
        f"{facts.title}. [Data, script and claims](/figures/{stem}.md)\n```"
    )
