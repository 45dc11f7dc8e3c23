"""The stability-resolution map: what each extension scheme risks, and what it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from paper_repro import committed
from paper_repro.ledger import Claim, number, verdict
from pianalysis import DynamicNTK, RopeSpec, mixed_base_bound, preset
from pianalysis.arrays import FloatArray
from pianalysis.comparison.growth import SchemeComparison, compare_schemes
from pianalysis.extension.named import COMPARABLE, comparable_extensions
from pianalysis.pictures import frame, marks, style
from pianalysis.records import Record, columns

FACTORS = (2, 4, 8, 16, 32)
MODEL = "llama-7b"
READ_AT = (2049, 2560, 4096, 8192)  # lengths at which dynamic NTK reads its cache
DRAWN = 1.0  # the limit H of the map; the others' maps look alike and stand in the CSV
WRITTEN = 129  # positions of keys, evenly spread up to the query


@dataclass(frozen=True, slots=True)
class SchemeMap(Record):
    """Comparisons at several extension factors, a row a factor, scheme and limit H.

    The columns are those of ``SchemeComparison`` at the spans tried.
    """

    spec: RopeSpec
    contrast_span: float
    factor: FloatArray
    scheme: tuple[str, ...]
    max_coefficient: FloatArray
    growth: FloatArray
    growth_lower: FloatArray
    growth_upper: FloatArray
    growth_span: FloatArray
    contrast: FloatArray
    contrast_lower: FloatArray
    contrast_upper: FloatArray
    contrast_termwise: FloatArray
    score_multiplier: FloatArray
    fastest_ratio: FloatArray

    def path(self, scheme: str, max_coefficient: float) -> tuple[FloatArray, FloatArray]:
        """Return (growth, contrast) over the factors, for one scheme and limit H."""
        rows = self.where(scheme=scheme, max_coefficient=max_coefficient)
        return rows.growth, rows.contrast


@dataclass(frozen=True, slots=True)
class MixedBases(Record):
    """How far a score can move because its key was rotated when it was the newest token.

    A cache of rotated keys under dynamic NTK, filled token by token: the key at ``position`` n has
    the base of length n + 1, its query that of ``length``; one ``factor`` for all, 1 as in section
    3.3 of arXiv:2309.00071. ``change`` is the bound for |h_j| <= 1,
    attained over phases; ``most`` is 2 sum_j |h_j|, what any two scores differ by at most.
    """

    spec: RopeSpec
    factor: float
    most: float
    length: FloatArray
    position: FloatArray
    change: FloatArray


def mixed_bases() -> MixedBases:
    """Tabulate the change for LLaMA 7B at several lengths."""
    spec, factor = preset(MODEL), 1.0
    window, rows = spec.context_window, []
    for length in READ_AT:
        read = DynamicNTK(spec, length, factor=factor)
        positions = {int(n) for n in np.linspace(0, length - 1, WRITTEN)} | {window - 1}
        for position in sorted(positions):
            written = DynamicNTK(spec, max(window, position + 1), factor=factor)
            change = float(mixed_base_bound(written, read, float(position)))
            rows.append({"length": length, "position": position, "change": change})
    return MixedBases(spec=spec, factor=factor, most=2.0 * spec.pairs, **columns(rows))


def compute(seed: int = 0) -> Mapping[str, Record]:
    """Compare all schemes at every factor for LLaMA 7B."""
    spec = preset(MODEL)
    parts: list[SchemeComparison] = []
    for factor in tqdm(FACTORS, unit="factor", disable=None, leave=False):
        extensions = comparable_extensions(spec, factor * spec.context_window)
        parts.append(compare_schemes(spec, extensions, every_span=False))
    rows = [
        {"factor": factor}
        | {
            name: value
            for name, value in zip(part.columns(), row, strict=True)
            if not name.startswith("largest_")
        }
        for factor, part in zip(FACTORS, parts, strict=True)
        for row in zip(*part.columns().values(), strict=True)
    ]
    span = parts[0].contrast_span
    return {
        "schemes": SchemeMap(spec=spec, contrast_span=span, **columns(rows)),
        "schemes_mixed_bases": mixed_bases(),
    }


def read_committed() -> SchemeMap:
    """Return the map as figures/schemes.csv holds it; computing it takes minutes."""
    span = committed.summary("schemes")["contrast_span"]
    return SchemeMap(spec=preset(MODEL), contrast_span=span, **committed.columns("schemes"))


def plot(records: Mapping[str, Record]) -> dict[str, Any]:
    """Draw the map of the schemes, and what mixed bases do to a cache."""
    return {
        "schemes": _map(records["schemes"]),
        "schemes_mixed_bases": _mixed(records["schemes_mixed_bases"]),
    }


def _map(record: Any) -> Any:
    """Draw one path a scheme over the factors for one limit H; beside it, the crowd, larger."""
    figure, axes = frame.new_figure(1, 2, width=style.TEXT_WIDTH, height=3.5)
    paths = {scheme: record.path(scheme, DRAWN) for scheme in COMPARABLE}
    crowd = [path for name, path in paths.items() if name != "linear"]
    growth, contrast = (np.concatenate(part) for part in zip(*crowd, strict=True))
    steady, blurred = paths["linear"]
    views = {
        f"linear: growth {steady.max():.2g} at most, contrast down to {blurred.min():.2g}": None,
        f"the others: growth {growth.min():.0f} to {growth.max():.0f}, contrast from "
        f"{contrast.min():.2g} on": (_around(growth), _around(contrast)),
    }
    for ax, (title, within) in zip(axes, views.items(), strict=True):
        marks.paths(
            paths,
            ax=ax,
            xlabel=f"worst-case growth of |a'(s)|, |h_j| ≤ {DRAWN:g}",
            ylabel="worst-case adjacent contrast" if ax is axes[0] else "",
            title=title,
            within=within,
        )
    with style.applied():
        arrow: dict[str, Any] = {"arrowstyle": "->", "linewidth": 0.8, "color": style.BLACK}
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "axes fraction"}
        axes[0].annotate("better", (0.4, 0.66), xytext=(0.52, 0.5), arrowprops=arrow, **place)
        factors = f"{record.factor.min():.0f} to {record.factor.max():.0f}"
        axes[0].annotate(f"marker size: factor, {factors}", (0.42, 0.06), **place)
    return frame.shared_legend(figure, rows=2)


def _around(values: FloatArray) -> tuple[float, float]:
    return float(values.min()) / 1.1, float(values.max()) * 1.1


def _mixed(record: Any) -> Any:
    figure, ax = frame.new_figure(height=3.1)
    window, last = record.spec.context_window, float(record.length.max())
    looks = zip(style.CYCLE, ("-", "--", "-.", ":"), marks.MARKERS, strict=False)
    with style.applied():
        for length, (color, dash, marker) in zip(np.unique(record.length), looks, strict=False):
            rows = record.where(length=length)
            ax.plot(
                rows.position,
                rows.change / record.most,
                color=color,
                linestyle=dash,
                marker=marker,
                markevery=16,
                label=f"sequence of {length:g}",
            )
    worst = float(record.where(length=last).change.max()) / record.most
    frame.finish(
        ax,
        xlabel="position of the key (tokens)",
        ylabel="largest change of its score / 2 Σ|h_j|",
        title="dynamic NTK, a key rotated when newest: its\nscore moves by up to "
        f"{worst:.0%} of 2 Σ|h_j|, its most",
        legend="upper right",
    )
    ax.set_ylim(0.0, 1.0)
    ax.set_xticks([0, window, 2 * window, last])
    return figure


def claims(records: Mapping[str, Record]) -> list[Claim]:
    """The paper compares no other scheme; YaRN's paper says what dynamic NTK does to a cache."""
    record: Any = records["schemes_mixed_bases"]
    edge = float(record.spec.context_window - 1)
    at_edge = {
        length: float(rows.change[rows.position == edge][0]) / record.most
        for length in np.unique(record.length)
        for rows in [record.where(length=length)]
    }
    lengths = sorted(at_edge)
    return [
        Claim(
            key="mixed-bases",
            location="arXiv:2309.00071",
            statement="Under dynamic NTK a cache must keep keys as they are before rotation: the "
            "rotation of every token changes with the length (2048 and on)",
            verdict=verdict(at_edge[lengths[-1]] > 0.5 and at_edge[lengths[0]] > 0.0),
            paper="in words",
            ours=f"the score of the key at {edge:.0f}, rotated when it was the newest, moves by up "
            "to "
            + ", ".join(f"{number(at_edge[n], 4)} (length {n:.0f})" for n in lengths)
            + f" of 2 sum|h|; at {lengths[-1]:.0f} a key is off by up to "
            f"{number(float(record.where(length=lengths[-1]).change.max()) / record.most, 4)}",
            certificate="closed form",
            item="schemes",
            test="bounds/test_average.py",
            why="The bound is attained over the phases of h. One token past the window little "
            "changes; at twice the window most of a score can.",
        )
    ]
