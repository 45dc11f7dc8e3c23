"""Files of the repository as pages: items, tests, proofs, scripts, with an anchor a line."""

from __future__ import annotations

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename
from pygments.lexers.special import TextLexer
from pygments.util import ClassNotFound

from making.places import ROOT


def page(path: str) -> str:
    """Return the Markdown of one file's page."""
    try:
        lexer = get_lexer_for_filename(path)
    except ClassNotFound:
        lexer = TextLexer()
    form = HtmlFormatter(lineanchors="L", linenos=False, wrapcode=True)
    body = highlight((ROOT / path).read_text(encoding="utf-8"), lexer, form)
    fence = "`" * 10
    return (
        f"---\norphan: true\nsearch: false\n---\n# `{path}`\n\n"
        f"{fence}{{raw}} html\n{body}\n{fence}\n"
    )
