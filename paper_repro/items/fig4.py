"""Fig. 4: the summarisation prompt, built word for word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paper_repro import quoted
from paper_repro.items.fig3 import Prompt, prompt_figure
from paper_repro.ledger import Claim, verdict
from pianalysis.evaluation.summaries import summary_prompt
from pianalysis.records import Record

DOCUMENT = "# .... Document goes here"


def compute(seed: int = 0) -> Mapping[str, Record]:
    """Build the prompt around the figure's placeholder."""
    lines = summary_prompt(DOCUMENT).splitlines()
    names = ("task", "document", "request", "cue")
    return {"fig4": Prompt("Fig. 4", names, tuple(lines))}


def plot(records: Mapping[str, Record]) -> dict[str, Any]:
    """Draw the prompt as text."""
    return {
        "fig4": prompt_figure(
            records["fig4"],
            "Fig. 4: the summarisation prompt puts the document between two requests",
        )
    }


def claims(records: Mapping[str, Record]) -> list[Claim]:
    """The prompt itself."""
    record: Any = records["fig4"]
    wrong = quoted.differing("fig4", record.part, record.text)
    text = summary_prompt("x" * 15000)
    return [
        Claim(
            key="summary-prompt",
            location="Fig. 4",
            statement="The GovReport prompt around a document cut to 15000 tokens",
            verdict=verdict(not wrong),
            paper="text",
            ours=f"differs from the figure: {', '.join(wrong)}"
            if wrong
            else f"built word for word, {len(text)} characters around a document of 15000",
            certificate="identity",
            item="fig4",
            test="paper_repro/test_prompts.py",
        )
    ]
