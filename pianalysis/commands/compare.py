"""`pianalysis compare`: one model's schemes as a table, a picture and files."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pianalysis.commands.parser import (
    add_model_command,
    add_out,
    add_schemes,
    check_folder,
    named_schemes,
)
from pianalysis.comparison.growth import SchemeComparison, compare_schemes
from pianalysis.extension import named
from pianalysis.extension.named import chosen_extensions
from pianalysis.pictures import style
from pianalysis.pictures.comparison import picture
from pianalysis.records import plain, write_atomic


def compare_model(
    name: str,
    target: int,
    *,
    schemes: Sequence[str] | None = None,
    original_length: int | None = None,
    layer_type: str | None = None,
) -> SchemeComparison:
    """Compare the schemes of a preset, config.json or directory, the model's own first."""
    source: dict[str, Any] = {"original_length": original_length, "layer_type": layer_type}
    spec, _ = named.find_model(name, **source)
    own = named.find_extension(name, target, **source)
    extensions = chosen_extensions(spec, target, own, schemes)
    return compare_schemes(spec, extensions, workers=os.cpu_count() or 1)


def table(found: SchemeComparison) -> str:
    """Return the comparison as text: a row a scheme, growth and contrast for each limit H."""
    from tabulate import tabulate

    limits = list(dict.fromkeys(found.max_coefficient.tolist()))
    rows = []
    for scheme in dict.fromkeys(found.scheme):
        each = [found.only(scheme=scheme, max_coefficient=limit) for limit in limits]
        rows.append(
            [
                scheme,
                *(f"{row['growth']:.4g}" for row in each),
                *(f"{row['contrast']:.4f}" for row in each),
                f"{each[0]['score_multiplier']:.4f}",
                f"{each[0]['fastest_ratio']:.4f}",
            ]
        )
    headers = ["scheme", *(f"growth\nH = {limit:g}" for limit in limits)]
    headers += [f"contrast\nH = {limit:g}" for limit in limits]
    headers += ["score\nfactor", "fastest\npair"]
    spec = found.spec
    lines = [
        f"d = {spec.rotary_dim}, base {spec.base:g}, window {spec.context_window} -> "
        f"target {found.target} tokens, where |a(n)| <= 1 in the window and |h_j| <= H",
        "",
        tabulate(rows, headers=headers, disable_numparse=True, stralign="right"),
        "",
        "growth    worst-case score, the largest of three spans up to L' - 1, proved (1: as in L)",
        f"contrast  largest |a'(s+1) - a'(s)| at s = {found.contrast_span:g}, proved",
        "score     factor on every score (attention factor squared), included in both",
        "fastest   theta'_0 / theta_0: 1 keeps neighbouring tokens apart as trained",
    ]
    return "\n".join(lines)


def save(found: SchemeComparison, folder: str | os.PathLike[str], name: str) -> Path:
    """Write NAME.png, .csv and .json into an existing folder, each atomically."""
    stem = check_folder(folder) / name
    out = io.BytesIO()
    with style.applied():
        picture(found).savefig(out, format="png", metadata={"Software": None})
    write_atomic(stem.with_name(f"{stem.name}.png"), out.getvalue())
    found.save(stem)
    return stem


def add(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_model_command(
        commands,
        "compare",
        run,
        summary="worst-case growth against resolution, for every extension scheme",
        description="Compare extension schemes of one model at one target: the exact worst-case "
        "growth of a score and the exact worst-case adjacent contrast. Prints a table and writes "
        "a picture, CSV and JSON.",
    )
    add_schemes(command, default="all")
    add_out(command)


def run(options: Any) -> str:
    """Return what the command prints."""
    check_folder(options.out)
    found = compare_model(
        options.model,
        options.target,
        schemes=named_schemes(options),
        original_length=options.original_length,
        layer_type=options.layer_type,
    )
    name = f"compare_{Path(options.model).stem}_{found.target}"
    stem = save(found, options.out, name)
    if options.json:
        return json.dumps(plain(found), indent=2)
    text = table(found)
    return f"{options.model}\n{text}\n\nwritten: {stem}.png, .csv, .json"
