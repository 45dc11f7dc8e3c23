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


def proofs() -> str:
    """Return the Markdown of the page that lists the Coq proofs, each with its own first line."""
    rows = []
    for path in sorted((ROOT / "paper_repro" / "proofs").glob("*.v")):
        head = path.read_text(encoding="utf-8").split("*)", 1)[0].split("\n\n", 1)[0]
        about = " ".join(head.removeprefix("(** * ").split()).rstrip(".")
        rows.append(f"- [{path.name}](source/paper_repro/proofs/{path.name}.md): {about}")
    return (
        "---\norphan: true\n---\n# Proofs in Coq\n\n"
        "`make proofs` compiles them; the files name what they assume.\n\n" + "\n".join(rows) + "\n"
    )
