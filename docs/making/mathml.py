"""Formulas as MathML, written into the page when the site is built: nothing is fetched or run."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging

_LOGGER = logging.getLogger(__name__)
ElementTree.register_namespace("", "http://www.w3.org/1998/Math/MathML")
_NAME = "{http://www.w3.org/1998/Math/MathML}"
_LIMITED = ("max", "min", "sup", "inf")
_FUNCTIONS = ("ln", "log", "cos", "sin", "tanh", "arccos", "exp", "Re")
# The converter leaves a command that it does not know as an identifier.
_UNKNOWN = re.compile(r"<m[iotn][^>]*>\s*(\\[a-zA-Z]+)")


def mathml(latex: str, display: str = "inline") -> str:
    """Return one formula as a <math> element; a command that is not understood is a ValueError."""
    text = " ".join(latex.split())
    if display == "block" and ("\\\\" in text or "&" in text) and "\\begin" not in text:
        text = rf"\begin{{aligned}} {text} \end{{aligned}}"
    text = text.replace("{aligned}", "{align*}")  # the name that the converter knows
    out = str(convert(text, display=display))
    unknown = _UNKNOWN.findall(out)
    if unknown:
        raise ValueError(f"formulas must use known commands, got {', '.join(unknown)} in {latex}")
    tree = ElementTree.fromstring(out)
    for node in list(tree.iter()):
        _set(node, limits=display == "block")
    return ElementTree.tostring(tree, encoding="unicode")


def _set(node: Any, *, limits: bool) -> None:
    """Space bars, slashes and functions as LaTeX does; limits under a displayed maximum."""
    if node.tag == _NAME + "mo" and node.text in ("|", "/"):
        node.set("lspace", "0")
        node.set("rspace", "0")
    if node.get("minsize"):  # bigl and bigr: one size for both, whatever stands between
        for name in ("minsize", "maxsize"):
            node.attrib.pop(name, None)
        node.set("stretchy", "false")
    first = node[0] if len(node) else None
    if node.tag == _NAME + "msub" and limits and first is not None and first.text in _LIMITED:
        node.tag = _NAME + "munder"
    for at in range(len(node) - 1, 0, -1):
        before, after = node[at - 1], node[at]
        if before.tag == _NAME + "mi" and before.text in _FUNCTIONS and after.tag != _NAME + "mo":
            node.insert(at, ElementTree.Element(_NAME + "mspace", width="0.17em"))


def _write(node: Any, latex: str, display: str) -> str:
    try:
        return mathml(latex, display)
    except Exception as error:  # whatever the converter raises is a warning with its place
        _LOGGER.warning("formula %r: %s", latex, error, location=node)
        return latex


def _inline(self: Any, node: Any) -> None:
    self.body.append(f'<span class="math">{_write(node, node.astext(), "inline")}</span>')
    raise nodes.SkipNode


def _block(self: Any, node: Any) -> None:
    parts = [part for part in re.split(r"\n\s*\n", node.astext()) if part.strip()]
    number = f'<span class="eqno">({node["number"]})</span>' if node.get("number") else ""
    body = "".join(_write(node, part, "block") for part in parts)
    self.body.append(f'<div class="math-block" tabindex="0">{body}{number}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Register the renderer under the name "mathml"."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
