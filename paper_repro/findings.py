"""The findings put together: README's section, the page of their numbers, what they do not say."""

from __future__ import annotations

import json
from pathlib import Path

from paper_repro import committed, ledger
from paper_repro.facts import at_least, at_most
from paper_repro.found import MAKERS, Finding, steps
from paper_repro.marked import replaced
from pianalysis.records import write_atomic

__all__ = ("at_least", "at_most", "block", "findings", "limits", "page", "text", "update_readme")

BEGIN, END = "<!-- findings:begin -->", "<!-- findings:end -->"
NUMBERS = "docs/findings.md"  # beside README: every finding with all its numbers
RECIPE = Path(__file__).parent / "recipes" / "llama-7b-8192.json"


def findings(folder: Path = committed.FOLDER) -> tuple[Finding, ...]:
    """Return the findings as the records of ``folder`` have them, in the order of README."""
    return tuple(make(folder) for make in MAKERS.values())


def text(name: str, folder: Path = committed.FOLDER) -> str:
    """Return one finding's words.

    Raises
    ------
    ValueError
        An unknown name; a record that is missing.
    """
    if name not in MAKERS:
        raise ValueError(f"name must be one of {', '.join(MAKERS)}, got {name!r}")
    return MAKERS[name](folder).text


def limits(folder: Path = committed.FOLDER) -> str:
    """Return what the findings do not say."""
    claims = ledger.read(folder)
    open_ = sum(claim.verdict == ledger.NOT_ATTEMPTED for claim in claims)
    tuned = committed.summary("finetune_x4_loss", folder)
    tokens = steps(folder) * tuned["batch_tokens"]
    paper = json.loads(RECIPE.read_text(encoding="utf-8"))
    published = paper["steps"] * paper["batch"] * paper["sequence_length"]
    return (
        "A worst case speaks of all heads within its limits, not of the one you have. What is "
        f"measured is one small model on two kinds of text, fine-tuned on {tokens:,} tokens (the "
        f"paper's shortest run: {published:,}); its long distances are gaps, position numbers left "
        "out, which hold no distracting keys where a long text does. Nothing was run on a GPU, the "
        f"LLaMA models of the paper were neither trained nor read again, and {open_} of the "
        f"ledger's {len(claims)} claims are not attempted."
    )


def block(folder: Path = committed.FOLDER) -> str:
    """Return README's section: each finding with its picture, notebooks, numbers and evidence."""
    parts = []
    for place, finding in enumerate(findings(folder), 1):
        parts += [
            f"**{place}. {finding.title}** {finding.text} *Run it*: {_books(finding)}. "
            f"*More numbers*: [finding {place}]({NUMBERS}#{finding.name}). "
            f"*Rests on*: {_proofs(finding)}.",
            f"![{finding.shows}](figures/{finding.picture}.png)",
        ]
    return "\n\n".join([*parts, f"**What they do not say.** {limits(folder)}"])


def page(folder: Path = committed.FOLDER) -> str:
    """Return the page of the numbers, as it stands in docs/."""
    parts = [
        "# The findings in numbers",
        "Written from the records in [figures](../figures/claims.md) by "
        "`python -m paper_repro run`. A number that bounds from above is rounded up, one that "
        "bounds from below is rounded down. Words and symbols: [glossary](glossary.md).",
    ]
    for place, finding in enumerate(findings(folder), 1):
        parts += [
            f'<a id="{finding.name}"></a>',
            f"## {place}. {finding.title.rstrip('.')}",
            finding.text,
            "\n".join(f"- {more}" for more in finding.more),
            f"*Run it*: {_books(finding, '../')}. *Rests on*: {_proofs(finding, '../')}.",
        ]
    return "\n\n".join(parts) + "\n"


def update_readme(readme: Path, folder: Path = committed.FOLDER) -> None:
    """Replace the findings of README between their two markers, and the page beside it."""
    whole = readme.read_text(encoding="utf-8")
    write_atomic(readme, replaced(whole, BEGIN, END, block(folder)))
    numbers = readme.parent / NUMBERS
    numbers.parent.mkdir(exist_ok=True)
    write_atomic(numbers, page(folder))


def _books(finding: Finding, up: str = "") -> str:
    return ", ".join(f"[{name}]({up}notebooks/{name}.ipynb)" for name in finding.notebooks)


def _proofs(finding: Finding, up: str = "") -> str:
    return ", ".join(f"[{label}]({up}{path})" for label, path in finding.evidence)
