"""`pianalysis compare`: one model's schemes as a table, a picture and files."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pianalysis import plots, report, style
from pianalysis.compare import (
    SchemeComparison,
    comparable_extensions,
    compare_schemes,
)
from pianalysis.extension import Extension
from pianalysis.records import write_atomic
from pianalysis.rope import RopeSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OWN = "config"  # the scheme a config itself asks for


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
    spec, _ = report.find_model(name, **source)
    own = report.find_extension(name, target, **source)
    extensions = chosen_extensions(spec, target, own, schemes)
    return compare_schemes(spec, extensions, workers=os.cpu_count() or 1)


def chosen_extensions(
    spec: RopeSpec, target: int, own: Extension | None, schemes: Sequence[str] | None
) -> dict[str, Extension]:
    """Return a model's extensions by name, its own (if any) first; all where None given."""
    extensions: dict[str, Extension] = {}
    if schemes is None or OWN in schemes:
        if own is not None:
            extensions[OWN] = own
        elif schemes is not None:
            raise ValueError(f"schemes must not name {OWN!r} for a model without its own scheme")
    others = None if schemes is None else [scheme for scheme in schemes if scheme != OWN]
    if others is None or others:
        extensions |= comparable_extensions(spec, target, others)
    return extensions


def table(found: SchemeComparison) -> str:
    """Return the comparison as text: a row a scheme, growth and contrast for each limit H."""
    from tabulate import tabulate

    limits = list(dict.fromkeys(found.max_coefficient.tolist()))
    rows = []
    for scheme in dict.fromkeys(found.scheme):
        each = [found.row(scheme, limit) for limit in limits]
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


def picture(found: SchemeComparison) -> Figure:
    """Draw growth against contrast, a panel for each limit H, a marker for each scheme."""
    limits = list(dict.fromkeys(found.max_coefficient.tolist()))
    figure, axes = plots.new_figure(1, len(limits), width=style.TEXT_WIDTH, height=2.9)
    for limit, ax in zip(limits, axes if len(limits) > 1 else [axes], strict=True):
        paths: dict[str, Any] = {}
        for scheme in dict.fromkeys(found.scheme):
            row = found.row(scheme, limit)
            paths[scheme] = ([row["growth"]], [row["contrast"]])
        plots.paths(
            paths,
            ax=ax,
            xlabel="worst-case growth of |a'(s)|",
            ylabel="worst-case adjacent contrast" if ax.get_subplotspec().is_first_col() else "",
            title=f"H = {limit:g}",
        )
    plots.shared_legend(figure, rows=2)
    return figure


def check_folder(folder: str | os.PathLike[str]) -> Path:
    """Return an existing folder; refused before the work, not after it."""
    if not Path(folder).is_dir():
        raise ValueError(f"out must be an existing directory, got {str(folder)!r}")
    return Path(folder)


def save(found: SchemeComparison, folder: str | os.PathLike[str], name: str) -> Path:
    """Write NAME.png, .csv and .json into an existing folder, each atomically."""
    stem = check_folder(folder) / name
    out = io.BytesIO()
    with style.applied():
        picture(found).savefig(out, format="png", metadata={"Software": None})
    write_atomic(stem.with_name(f"{stem.name}.png"), out.getvalue())
    found.save(stem)
    return stem
