"""Build the site: stage docs/ with what is generated, run Sphinx, check every link.

``python docs/make_site.py`` writes build/site; warnings and broken links are errors.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from making import api, explorer, gallery, ledger, links, notebooks, source_pages, values
from making.places import DOCS, FIGURES, PAGES, ROOT, SITE, STAGE, relinked
from sphinx.cmd.build import main as sphinx

from paper_repro import ledger as claims

# Pages that are files of the repository, shown as they are.
SHOWN = [
    *("CHANGELOG.md", "CONTRIBUTING.md", "ERRATA.md", "benchmarks/README.md"),
    *(f"docs/{page.name}" for page in sorted(DOCS.glob("*.md"))),
]
DOCTREES = ROOT / "build" / "site-doctrees"
STAMP = SITE / "stamp.txt"
MADE_OF = (
    *("*.md", "docs/**/*", "notebooks/*.ipynb", "benchmarks/*.md", "pianalysis/**/*.py"),
    *("paper_repro/**/*.py", "paper_repro/proofs/*.v", "figures/*"),
)


def stage() -> None:
    """Write every source of the site into build/site-source."""
    shutil.rmtree(STAGE, ignore_errors=True)
    STAGE.mkdir(parents=True)
    shutil.copy(DOCS / "conf.py", STAGE)
    shutil.copytree(DOCS / "_static", STAGE / "_static")
    used = notebooks.staged(STAGE / "notebooks") | ledger.sources() | gallery.sources()
    environment = values.environment()
    for path in sorted((DOCS / "site").rglob("*.md")):
        text = environment.from_string(path.read_text(encoding="utf-8")).render()
        _write(path.relative_to(DOCS / "site").as_posix(), text)
    _write("proofs.md", source_pages.proofs())
    for name in SHOWN:
        page = PAGES[name]
        text, more = relinked((ROOT / name).read_text(encoding="utf-8"), of=name, page=page)
        used |= more
        _write(f"{page}.md", text)
    for docname, text in gallery.pages().items():
        _write(f"{docname}.md", text)
    for stem in gallery.stems():
        shutil.copy(FIGURES / f"{stem}.png", STAGE / "figures")
    for docname, text in api.pages().items():
        _write(f"{docname}.rst", text)
    _sources(used)
    explorer.stage(STAGE)


def _sources(used: Iterable[str]) -> None:
    for path in sorted(used):
        if path.endswith((".md", ".ipynb", ".png", ".csv", ".json")) or (ROOT / path).is_dir():
            continue
        _write(f"source/{path}.md", source_pages.page(path))


def _write(name: str, text: str) -> None:
    path = STAGE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _downloads() -> None:
    """Put the data of every figure beside its page."""
    for stem in gallery.stems():
        for kind in ("png", "csv", "json", "pdf", "svg"):
            shutil.copy(FIGURES / f"{stem}.{kind}", SITE / "figures")


def sources_digest() -> str:
    """Return a digest of everything that the site is made of."""
    out = hashlib.sha256()
    tests = [f"tests/{one.test}" for one in claims.read(FIGURES) if one.test]
    for pattern in (*MADE_OF, *sorted(set(tests))):
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file() and "__pycache__" not in path.parts:
                out.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return out.hexdigest()


def main(arguments: list[str]) -> int:
    """Build; return the exit status. ``--if-older``: only where a source has changed since."""
    started = time.monotonic()
    digest = sources_digest()
    if "--if-older" in arguments:
        arguments = [argument for argument in arguments if argument != "--if-older"]
        if STAMP.is_file() and STAMP.read_text(encoding="utf-8") == digest:
            print(f"{SITE}: as its sources are")
            return 0
    stage()
    shutil.rmtree(SITE, ignore_errors=True)
    strict = ["-b", "html", "-q", "-W", "--keep-going", "-d", str(DOCTREES), "-E"]
    status = sphinx([*strict, *arguments, str(STAGE), str(SITE)])
    _downloads()
    explorer.publish(SITE)
    broken = links.broken(SITE)
    for line in broken:
        print(f"broken link: {line}", file=sys.stderr)
    pages = len(list(Path(SITE).rglob("*.html")))
    print(
        f"{SITE}: {pages} pages in {time.monotonic() - started:.0f} s, {len(broken)} broken links"
    )
    failed = bool(status or broken)
    if not failed:
        STAMP.write_text(digest, encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
