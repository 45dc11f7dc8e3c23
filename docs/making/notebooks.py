"""The notebooks as they are kept: outputs shown, nothing executed, links turned into pages."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from making.places import ROOT, relinked

FOLDER = ROOT / "notebooks"
NO_KERNEL = (
    "*Controls stand here where a kernel runs; the [explorer](../docs/site/explorer.md) has them "
    "without one.*"
)
WIDGET = "application/vnd.jupyter.widget-view+json"


def staged(folder: Path) -> set[str]:
    """Write every notebook and their index into a folder; return the files that they link to."""
    used: set[str] = set()
    names = []
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        heading = path.stem
        for cell in notebook["cells"]:
            used |= _cell(cell, path)
            titles = re.findall(r"^#+ (.+)$", "".join(cell["source"]), re.MULTILINE)
            if cell["cell_type"] == "markdown" and titles:
                heading = titles[-1]
            elif cell["cell_type"] == "code":
                alt = f"Output of notebook {path.name[:2]}: {heading}"
                cell["metadata"]["mystnb"] = {"image": {"alt": alt}}
        notebook["metadata"].pop("widgets", None)  # their scripts would be fetched
        _numbered(notebook, path)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_text(json.dumps(notebook), encoding="utf-8")
        names.append(path.stem)
    (folder / "index.md").write_text(_index(names), encoding="utf-8")
    return used


def _cell(cell: dict[str, Any], path: Path) -> set[str]:
    page = f"notebooks/{path.stem}"
    of = f"notebooks/{path.name}"
    if cell["cell_type"] == "markdown":
        text, used = relinked("".join(cell["source"]), of=of, page=page)
        cell["source"] = text.splitlines(keepends=True)
        return used
    used = set()
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        # A widget needs a kernel: the page shows the picture that is kept beside it, if one is.
        if data.pop(WIDGET, None) and "image/png" not in data:
            output["data"] = data = {"text/plain": "", "text/markdown": NO_KERNEL}
        if "text/markdown" in data:
            text, more = relinked("".join(data["text/markdown"]), of=of, page=page)
            data["text/markdown"] = text
            used |= more
    return used


def _numbered(notebook: dict[str, Any], path: Path) -> None:
    """Begin the title with the notebook's number where it does not."""
    first = "".join(notebook["cells"][0]["source"])
    number = path.name[:2]
    if not first.startswith(f"# {number}"):
        notebook["cells"][0]["source"] = first.replace("# ", f"# {number} ", 1)


def _index(names: list[str]) -> str:
    return (
        "# Notebooks\n\nEach asks one question and answers it in under a minute; they are shown "
        "here with the outputs that are kept beside them. To change something, open them with a "
        "kernel: `make lab`, or try the [explorer](/explorer.md), which needs none.\n\n"
        "```{toctree}\n:maxdepth: 1\n\n" + "\n".join(names) + "\n```\n"
    )
