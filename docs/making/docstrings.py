"""Docstrings as the house writes them, |h_j| a modulus, read by Sphinx, where bars substitute."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

# What is left as it stands: roles, literals, formulas set off, examples.
_KEPT = re.compile(
    r":[\w:]+:`[^`]*`|``.+?``"
    r"|^([ ]*)\.\. math::.*?(?=^\1\S|\Z)"
    r"|^[ ]*>>>.*?(?=^[ ]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)

_BESIDE = re.compile(r":mod:`~\.(\w+)`")


def escaped(text: str) -> str:
    """Return reStructuredText in which a bar outside formulas, literals and examples is a bar."""
    out, last = [], 0
    for kept in _KEPT.finditer(text):
        out += [text[last : kept.start()].replace("|", r"\|"), kept.group()]
        last = kept.end()
    return "".join([*out, text[last:].replace("|", r"\|")])


def beside(text: str, module: str) -> str:
    """Return text in which ``:mod:`~.x` `` means the x beside the module, where there is one."""
    room = module.rpartition(".")[0]

    def full(found: re.Match[str]) -> str:
        name = f"{room}.{found[1]}"
        return f":mod:`~{name}`" if importlib.util.find_spec(name) else found[0]

    return _BESIDE.sub(full, text)


def _process(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    text = "\n".join(lines)
    if what == "module":
        text = beside(text, name)
    lines[:] = escaped(text).split("\n")


def setup(app: Any) -> dict[str, bool]:
    """Escape bars before numpydoc, whose tables of parameters hold none of its own."""
    app.connect("autodoc-process-docstring", _process, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
