"""`pianalysis compare`: one model's schemes as a table, a picture and files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pianalysis.commands.parser import (
    add_model_command,
    add_out,
    add_schemes,
    arguments_of,
    check_folder,
)
from pianalysis.commands.text import right_aligned
from pianalysis.comparison.growth import SchemeComparison, compare_schemes
from pianalysis.extension import named
from pianalysis.pictures import frame
from pianalysis.pictures.comparison import picture
from pianalysis.records import plain, write_atomic


def compare_model(
    model: str,
    target: int,
    *,
    schemes: Sequence[str] | None = None,
    original_length: int | None = None,
    layer_type: str | None = None,
    base: float | None = None,
) -> SchemeComparison:
    """Compare the schemes of a preset, config.json or directory, the model's own first."""
    read = named.find_model(
        model, original_length=original_length, layer_type=layer_type, base=base
    )
    extensions = read.chosen(target, schemes)
    return compare_schemes(read.spec, extensions, workers=os.cpu_count() or 1)


def table(comparison: SchemeComparison) -> str:
    """Return the comparison as text: a row a scheme, growth and contrast for each limit H."""
    max_coefficients = list(dict.fromkeys(comparison.max_coefficient.tolist()))
    rows = []
    for scheme in dict.fromkeys(comparison.scheme):
        each = [comparison.only(scheme=scheme, max_coefficient=value) for value in max_coefficients]
        rows.append(
            [
                scheme,
                *(_number(row["growth"], ".4g") for row in each),
                *(_number(row["largest_upper"], ".4g") for row in each),
                *(_number(row["contrast"], ".4f") for row in each),
                f"{each[0]['score_multiplier']:.4f}",
                f"{each[0]['fastest_ratio']:.4f}",
            ]
        )
    headers = ["scheme", *(f"growth\nH = {value:g}" for value in max_coefficients)]
    headers += [f"at most\nH = {value:g}" for value in max_coefficients]
    headers += [f"contrast\nH = {value:g}" for value in max_coefficients]
    headers += ["score\nfactor", "fastest\npair"]
    spec = comparison.spec
    lines = [
        f"d = {spec.rotary_dim}, base {spec.base:g}, window {spec.context_window} -> "
        f"target {comparison.target} tokens, where |a(n)| <= 1 in the window and |h_j| <= H",
        "",
        right_aligned(rows, headers),
        "",
        "growth    worst-case score, the largest of three spans up to L' - 1, proved (1: as in L)",
        "at most   bound on every score at every span up to L' - 1, least of several weightings",
        f"contrast  largest |a'(s+1) - a'(s)| at s = {comparison.contrast_span:g}, proved",
        "score     factor on every score (attention factor squared), included in both",
        "fastest   theta'_0 / theta_0: 1 keeps neighbouring tokens apart as trained",
    ]
    return "\n".join(lines)


def _number(value: float, form: str) -> str:
    """Return a number, or a dash where the cone programme does not fit."""
    return "-" if math.isnan(value) else format(value, form)


def save(comparison: SchemeComparison, folder: str | os.PathLike[str], name: str) -> Path:
    """Write NAME.png, .csv and .json into an existing folder, each atomically."""
    stem = check_folder(folder) / name
    write_atomic(stem.with_name(f"{stem.name}.png"), frame.png(picture(comparison)))
    comparison.save(stem)
    return stem


def _without_nan(body: dict[str, Any]) -> dict[str, Any]:
    """Return the record's columns with null, which JSON has, for NaN, which it has not."""
    return {
        name: [None if isinstance(v, float) and math.isnan(v) else v for v in value]
        if isinstance(value, (list, tuple))
        else value
        for name, value in body.items()
    }


def add(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_model_command(
        commands,
        "compare",
        run,
        summary="worst-case growth against resolution, for every extension scheme",
        description="Compare extension schemes of one model at one target: the exact worst-case "
        "growth of a score and the exact worst-case adjacent contrast. Prints a table and writes "
        "a picture, CSV and JSON. The growth is a cone programme over every position of the "
        "window: its memory grows with the window L, about 1 GB at 32768; a window beyond the "
        "machine's memory is not served (see `pianalysis report` for bounds in closed form).",
    )
    add_schemes(command, default="all")
    add_out(command)


def run(options: Any) -> str:
    """Return what the command prints."""
    check_folder(options.out)
    comparison = compare_model(**arguments_of(compare_model, options))
    name = f"compare_{Path(options.model).stem}_{comparison.target}"
    stem = save(comparison, options.out, name)
    if options.json:
        return json.dumps(_without_nan(plain(comparison)), indent=2)
    text = table(comparison)
    return f"{options.model}\n{text}\n\nwritten: {stem}.png, .csv, .json"
