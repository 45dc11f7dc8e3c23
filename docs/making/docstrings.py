"""Docstrings as the house writes them, |h_j| a modulus, read by Sphinx, where bars substitute."""

from __future__ import annotations

import re
from typing import Any

# What is left as it stands: roles, literals, formulas set off, examples.
_KEPT = re.compile(
    r":[\w:]+:`[^`]*`|``.+?``"
    r"|^([ ]*)\.\. math::.*?(?=^\1\S|\Z)"
    r"|^[ ]*>>>.*?(?=^[ ]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)


def escaped(text: str) -> str:
    """Return reStructuredText in which a bar outside formulas, literals and examples is a bar."""
    out, last = [], 0
    for kept in _KEPT.finditer(text):
        out += [text[last : kept.start()].replace("|", r"\|"), kept.group()]
        last = kept.end()
    return "".join([*out, text[last:].replace("|", r"\|")])


def _process(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    lines[:] = escaped("\n".join(lines)).split("\n")


def setup(app: Any) -> dict[str, bool]:
    """Escape bars before numpydoc, whose tables of parameters hold none of its own."""
    app.connect("autodoc-process-docstring", _process, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
