"""The picture of ``pianalysis compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pianalysis.comparison.growth import SchemeComparison
from pianalysis.pictures import frame, marks, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_BOUNDS = ("largest_upper", "contrast_termwise")


def picture(comparison: SchemeComparison) -> Figure:
    """Draw growth against contrast, a panel for each limit H, a marker for each scheme."""
    limits = list(dict.fromkeys(comparison.max_coefficient.tolist()))
    figure, axes = frame.new_figure(1, len(limits), width=style.TEXT_WIDTH, height=2.9)
    for limit, ax in zip(limits, axes if len(limits) > 1 else [axes], strict=True):
        paths: dict[str, Any] = {}
        for scheme in dict.fromkeys(comparison.scheme):
            row = comparison.only(scheme=scheme, max_coefficient=limit)
            # Windows too long for the cone programme have the bounds alone.
            solved = row["growth"] == row["growth"]
            growth, contrast = ("growth", "contrast") if solved else _BOUNDS
            paths[scheme] = ([row[growth]], [row[contrast]])
        marks.paths(
            paths,
            ax=ax,
            xlabel="worst-case growth of |a'(s)|",
            ylabel="worst-case adjacent contrast" if ax.get_subplotspec().is_first_col() else "",
            title=f"H = {limit:g}",
        )
    frame.shared_legend(figure, rows=2)
    return figure
