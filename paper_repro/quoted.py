"""The paper's two prompts as it prints them, part by part."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files

DATA = ("paper_repro/paper/prompts.json",)


def prompt(figure: str) -> list[str]:
    """Return the parts of the prompt of ``fig3`` or ``fig4``."""
    text = (files("paper_repro") / "paper" / "prompts.json").read_text(encoding="utf-8")
    parts: list[str] = json.loads(text)[figure]
    return parts


def differing(figure: str, names: Sequence[str], parts: Sequence[str]) -> list[str]:
    """Return the names of the parts that are not as the paper prints them."""
    printed = prompt(figure)
    if len(parts) != len(printed):
        return [f"{len(parts)} parts for {len(printed)}"]
    rows = zip(names, parts, printed, strict=True)
    return [name for name, part, other in rows if part != other]
