"""The explorer's page: plain modules joined into one script, so that it opens from a file too."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from making import values
from making.places import DOCS
from paper_repro import committed
from pianalysis import PRESETS

FOLDER = DOCS / "explorer"
# Each stands after those that it imports from.
MODULES = (
    "rope",
    "schemes",
    "bounds",
    "eigen",
    "factor",
    "worst",
    "plots",
    "state",
    "numbers",
    "panels",
    "main",
)
_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)


def presets() -> str:
    """Return the presets as JSON: name -> head_dim, base, window, rotary dimension."""
    return json.dumps(
        {
            name: {
                "dim": one.spec.rotary_dim,
                "base": one.spec.base,
                "window": one.spec.context_window,
            }
            for name, one in PRESETS.items()
        }
    )


def exact() -> str:
    """Return the record's exact worst cases as JSON: its limits, and [span, value] by scheme."""
    tight = committed.summary("worst_case_tightness")
    table = committed.columns("worst_case_tightness")
    worst: dict[str, list[tuple[float, float]]] = {}
    for scheme, span, upper in zip(table["scheme"], table["span"], table["upper"], strict=True):
        # The base of another base is the reader's choice.
        if span < tight["target"] and scheme != "base-change":
            worst.setdefault(scheme, []).append((span, upper))
    spec, target, limit = tight["spec"], tight["target"], tight["max_coefficient"]
    return json.dumps(
        {
            "dim": spec["head_dim"],
            "base": spec["base"],
            "window": spec["context_window"],
            "target": target,
            "H": limit,
            "worst": worst,
        }
    )


def text() -> str:
    """Return the page's HTML; what trained heads have for H stands in it, from the record."""
    template = (FOLDER / "explorer.html").read_text(encoding="utf-8")
    overall = committed.summary("heads_map")["overall"]
    at = overall["quantity"].index("limit")
    typical = {column: overall[column][at] for column in ("median", "extreme")}
    return values.environment().from_string(template).render(typical=typical)


def bundle() -> str:
    """Return all modules as one classic script; a browser loads no module from a file."""
    parts = []
    for name in MODULES:
        text = (FOLDER / f"{name}.js").read_text(encoding="utf-8")
        text = re.sub(
            r"^export (?=(?:async )?(?:function|const|class)\b)",
            "",
            _IMPORT.sub("", text),
            flags=re.MULTILINE,
        )
        if re.search(r"^(?:import|export)\b", text, re.MULTILINE):
            raise ValueError(f"explorer/{name}.js must export declarations and import whole lines")
        parts.append(f"// {name}.js\n{text}")
    names = re.findall(r"^(?:function|const|let|class) (\w+)", "\n".join(parts), re.MULTILINE)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"explorer/ must name each thing once, got two of {', '.join(twice)}")
    return '(() => {\n"use strict";\n' + "\n".join(parts) + "})();\n"


def stage(folder: Path) -> None:
    """Write the page's script, presets and style among the sources."""
    static = folder / "_static" / "explorer"
    static.mkdir(parents=True, exist_ok=True)
    (static / "explorer.js").write_text(bundle(), encoding="utf-8")
    given = f"window.PRESETS = {presets()};\nwindow.EXACT = {exact()};\n"
    (static / "presets.js").write_text(given, encoding="utf-8")
    shutil.copy(FOLDER / "explorer.css", static)
    (folder / "explorer.html").write_text(text(), encoding="utf-8")


def publish(site: Path) -> None:
    """Put the modules themselves on the site, to be read."""
    out = site / "explorer"
    out.mkdir(exist_ok=True)
    for name in MODULES:
        shutil.copy(FOLDER / f"{name}.js", out)
