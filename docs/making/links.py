"""Every address in the built site: the file is there, and so is the anchor."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

# The pages are made by Sphinx and by this folder: attributes always stand in double quotes.
_TAG = re.compile(r"<[a-zA-Z][^<>]*>")
_ATTRIBUTE = re.compile(r'\s(id|name|href|src)="([^"]*)"')
_SCRIPT = re.compile(r"(<script\b[^>]*>).*?</script>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Page:
    ids: frozenset[str]
    links: tuple[str, ...]


def broken(site: Path) -> list[str]:
    """Return one line for each link of the site that leads nowhere, or out to load something."""
    pages = {path: _read(path) for path in sorted(site.rglob("*.html"))}
    lines = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                lines.append(f"{path.relative_to(site)}: {link} is missing")
            elif (
                parts.fragment
                and target in pages
                and unquote(parts.fragment) not in pages[target].ids
            ):
                lines.append(f"{path.relative_to(site)}: {link} has no such anchor")
    return sorted(set(lines))


def _read(path: Path) -> _Page:
    text = _SCRIPT.sub(r"\1", path.read_text(encoding="utf-8"))
    found = [
        (name, html.unescape(value))
        for tag in _TAG.findall(text)
        for name, value in _ATTRIBUTE.findall(tag)
    ]
    return _Page(
        frozenset(value for name, value in found if name in ("id", "name")),
        tuple(dict.fromkeys(value for name, value in found if name in ("href", "src"))),
    )
