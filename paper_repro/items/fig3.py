"""Fig. 3: the passkey prompt, built word for word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paper_repro import quoted
from paper_repro.ledger import Claim, not_attempted, verdict
from pianalysis.evaluation.passkey_prompt import passkey_lines, passkey_prompt
from pianalysis.pictures import frame, marks, style
from pianalysis.records import Record


@dataclass(frozen=True, slots=True)
class Prompt(Record):
    """A prompt in its parts."""

    figure: str
    part: tuple[str, ...]
    text: tuple[str, ...]


def compute(seed: int = 0) -> Mapping[str, Record]:
    """Build the example of the figure: key 12345, one filler shown on each side."""
    names = ("task", "filler, X times", "key", "filler, Y times", "question")
    return {"fig3": Prompt("Fig. 3", names, tuple(passkey_lines(1, 1, 12345)))}


def plot(records: Mapping[str, Record]) -> dict[str, Any]:
    """Draw the prompt as text."""
    return {
        "fig3": prompt_figure(
            records["fig3"], "Fig. 3: the passkey prompt hides one sentence among X + Y fillers"
        )
    }


def prompt_figure(record: Any, title: str) -> Any:
    """Draw a prompt's parts with their names, wrapped to the width of the text."""
    import textwrap

    lines = []
    for name, text in zip(record.part, record.text, strict=True):
        wrapped = textwrap.wrap(text, 104) or [""]
        lines += [f"{name if i == 0 else '':<17}{line}" for i, line in enumerate(wrapped)]
    height = 0.3 + 0.125 * len(lines)
    figure, ax = frame.new_figure(width=style.TEXT_WIDTH, height=height)
    marks.text_panel(lines, ax=ax, title=title)
    return figure


def claims(records: Mapping[str, Record]) -> list[Claim]:
    """The prompt itself, and the measurement it serves."""
    record: Any = records["fig3"]
    wrong = quoted.differing("fig3", record.part, record.text)
    if passkey_prompt(1, 1, 12345) != "\n".join(record.text):
        wrong.append("how the parts are joined")
    text = passkey_prompt(100, 100, 12345)
    return [
        Claim(
            key="passkey-prompt",
            location="Fig. 3",
            statement="The passkey prompt of Mohtashami and Jaggi (2023), key 12345",
            verdict=verdict(not wrong),
            paper="text",
            ours=f"differs from the figure: {', '.join(wrong)}"
            if wrong
            else f"built word for word, {len(text)} characters with 100 fillers a side",
            certificate="identity",
            item="fig3",
            test="paper_repro/test_prompts.py",
        ),
        not_attempted(
            key="passkey-measured",
            location="section 3.3",
            statement="Success measured at 32 distances, 10 trials each, k_max by the 20% rule",
            paper="32 x 10",
            item="fig3",
            why="Needs the extended LLaMA models; the prompt and the tables are here.",
        ),
    ]
