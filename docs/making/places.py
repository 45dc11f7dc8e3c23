"""Where things are: the repository, the staged sources, and the page that shows a file."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FIGURES = ROOT / "figures"
STAGE = ROOT / "build" / "site-source"
SITE = ROOT / "build" / "site"

# Files of the repository that have a page of their own.
PAGES = {
    "README.md": "index",
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "ERRATA.md": "differences",
    "benchmarks/README.md": "benchmarks",
    "figures/claims.md": "ledger",
    "notebooks": "notebooks/index",
    "figures": "figures/index",
    "paper_repro/proofs": "proofs",
    **{f"docs/{page.name}": page.stem for page in sorted(DOCS.glob("*.md"))},
    **{f"docs/site/{page.name}": page.stem for page in sorted((DOCS / "site").glob("*.md"))},
}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def page_of(path: str) -> str:
    """Return the docname of the page that shows a file of the repository."""
    if path in PAGES:
        return PAGES[path]
    target = ROOT / path
    if not target.exists():
        raise ValueError(f"links must lead to files of the repository, got {path}")
    if path.startswith("notebooks/"):
        return path.removesuffix(".ipynb")
    if path.startswith("figures/"):
        return f"figures/{target.stem}"
    if target.is_dir():
        raise ValueError(f"links must lead to files, got the folder {path}")
    return f"source/{path}"


def relative(from_page: str, to: str) -> str:
    """Return the address of ``to`` as seen from a page, both relative to the site's root."""
    return posixpath.relpath(to, posixpath.dirname(from_page) or ".")


def relinked(text: str, *, of: str, page: str) -> tuple[str, set[str]]:
    """Return Markdown whose links into the repository lead to pages, and the files linked.

    ``of`` is the file the text stands in; pictures of figures/ keep their place on the site.
    """
    used: set[str] = set()

    def replaced(match: re.Match[str]) -> str:
        picture, words, address = match.groups()
        if re.match(r"[a-z]+:|#", address):
            return match.group()
        path, _, anchor = address.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(of), path))
        if picture:
            return f"![{words}]({relative(page, path)})"
        used.add(path)
        docname = page_of(path)
        suffix = ".ipynb" if docname.startswith("notebooks/0") else ".md"
        found = relative(page, docname + suffix) + (f"#{anchor}" if anchor else "")
        return f"[{words}]({found})"

    return _LINK.sub(replaced, text), used
