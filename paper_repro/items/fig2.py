"""Fig. 2: least-squares fits to noise, inside and beyond the window, in four precisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from paper_repro.ledger import CORRECTED, Claim, number, verdict
from pianalysis import RopeSpec, preset
from pianalysis.arrays import FloatArray
from pianalysis.pictures import frame, marks, style
from pianalysis.records import Record, columns
from pianalysis.scores.exact_fits import design_condition, exact_fit_spread
from pianalysis.scores.fits import fit_score

_claim = partial(Claim, item="fig2", test="scores/test_fits.py")

METHODS = ("normal_float32", "normal_float64", "svd")
LABELS = {
    "normal_float32": "float32 normal equations",
    "normal_float64": "float64 normal equations",
    "svd": "float64 singular values",
    "exact": "exact (standard dev.)",
}
RIDGES = tuple(float(f"1e{k}") for k in range(-7, 3))
SEEDS = 8
PAPER = 8000.0  # "larger than 8000" in Fig. 2's caption


@dataclass(frozen=True, slots=True)
class Panels(Record):
    """The paper's three panels: the float32 fit inside, beyond, and between the integers.

    Rows of the panel "data" are the noise that was fitted.
    """

    spec: RopeSpec
    seed: int
    panel: tuple[str, ...]
    span: FloatArray
    score: FloatArray


@dataclass(frozen=True, slots=True)
class Precision(Record):
    """|a(s)| of one fit in three float arithmetics, and the exact spread, by span (log10)."""

    spec: RopeSpec
    seed: int
    exact_bits: int
    method: tuple[str, ...]
    span: FloatArray
    log10_magnitude: FloatArray


@dataclass(frozen=True, slots=True)
class Seeds(Record):
    """Largest |a| beyond the window, by way of solving and by seed; 2L is the last span."""

    spec: RopeSpec
    method: tuple[str, ...]
    seed: FloatArray
    inside: FloatArray
    beyond: FloatArray


@dataclass(frozen=True, slots=True)
class Ridge(Record):
    """Largest |a| inside and beyond the window against the ridge, medians over seeds."""

    spec: RopeSpec
    seeds: int
    ridge: FloatArray
    inside: FloatArray
    beyond: FloatArray


def noise(spec: RopeSpec, seed: int) -> FloatArray:
    """One standard normal value an integer of the window, from torch's generator as the paper."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    values: FloatArray = torch.randn(spec.context_window, generator=generator).double().numpy()
    return values


def compute(seed: int = 0) -> Mapping[str, Record]:
    """Fit, evaluate on [0, 2L), repeat over seeds and ridges, and enclose the exact spread."""
    spec = preset("llama-7b")
    return {
        "fig2": _panels(spec, seed),
        "fig2_precision": _precision(spec, seed),
        "fig2_seeds": _seeds(spec, seed),
        "fig2_ridge": _ridge(spec, seed),
    }


def _panels(spec: RopeSpec, seed: int) -> Panels:
    values = noise(spec, seed)
    fit = fit_score(spec, values, method="normal_float32")
    window = spec.context_window
    spans = {
        "inside": np.arange(window, dtype=float),
        "beyond": np.arange(2 * window, dtype=float),
        "between": np.arange(25, 75, 1 / 8),
    }
    score = {name: fit.score(span) for name, span in spans.items()} | {"data": values}
    spans["data"] = spans["inside"]
    return Panels(
        spec=spec,
        seed=seed,
        panel=tuple(name for name, span in spans.items() for _ in span),
        span=np.concatenate(list(spans.values())),
        score=np.concatenate(list(score.values())),
    )


def _precision(spec: RopeSpec, seed: int) -> Precision:
    window = spec.context_window
    values = noise(spec, seed)
    span = np.arange(0, 2 * window, 16) + 0.5
    parts = {}
    for method in METHODS:
        score = np.abs(fit_score(spec, values, method=method).score(span))
        parts[method] = np.log10(np.maximum(score, 1e-12))
    exact = exact_fit_spread(spec, span)
    parts["exact"] = exact.log10
    names = tuple(name for name in parts for _ in span)
    return Precision(
        spec=spec,
        seed=seed,
        exact_bits=exact.bits,
        method=names,
        span=np.tile(span, len(parts)),
        log10_magnitude=np.concatenate(list(parts.values())),
    )


def _extremes(spec: RopeSpec, seed: int, method: str, ridge: float = 0.0) -> dict[str, float]:
    """Return the largest |a| inside the window and beyond it."""
    fit = fit_score(spec, noise(spec, seed), method=method, ridge=ridge)
    score = np.abs(fit.score(np.arange(2 * spec.context_window, dtype=float)))
    inside, beyond = np.split(score, [spec.context_window])
    return {"inside": inside.max(), "beyond": beyond.max()}


def _seeds(spec: RopeSpec, seed: int) -> Seeds:
    rows = [
        {"method": method, "seed": k} | _extremes(spec, k, method)
        for method in METHODS
        for k in range(seed, seed + SEEDS)
    ]
    return Seeds(spec=spec, **columns(rows))


def _ridge(spec: RopeSpec, seed: int) -> Ridge:
    rows = []
    for ridge in RIDGES:
        extremes = [_extremes(spec, seed + k, "svd", ridge) for k in range(SEEDS)]
        medians = {name: np.median(values) for name, values in columns(extremes).items()}
        rows.append({"ridge": ridge} | medians)
    return Ridge(spec=spec, seeds=SEEDS, **columns(rows))


def plot(records: Mapping[str, Record]) -> dict[str, Any]:
    """Draw the paper's panels, the precision comparison, the seeds and the ridge path."""
    return {
        "fig2": _plot_panels(records["fig2"]),
        "fig2_precision": _plot_precision(records["fig2_precision"]),
        "fig2_seeds": _plot_seeds(records["fig2_seeds"]),
        "fig2_ridge": _plot_ridge(records["fig2_ridge"]),
    }


def _plot_panels(record: Any) -> Any:
    figure, axes = frame.new_figure(1, 3, width=style.TEXT_WIDTH, height=2.1)
    titles = {
        "inside": "fitted in [0, L): |a| ≤ {:.2f}",
        "beyond": "the same fit up to 2L: |a| ≤ {:.0f}",
        "between": "between integers: |a| ≤ {:.2f}",
    }
    data, window = record.where(panel="data"), record.spec.context_window
    with style.applied():
        axes[0].plot(data.span, data.score, ".", color="#BBBBBB", markersize=1.5, label="noise")
    for ax, (name, text) in zip(axes, titles.items(), strict=True):
        drawn = record.where(panel=name)
        marks.curves(
            drawn.span,
            {"fit a(s)": drawn.score},
            ax=ax,
            xlabel="span s (tokens)",
            ylabel="score a(s)" if name == "inside" else "",
            title=text.format(np.abs(drawn.score).max()),
        )
    whole = drawn.span % 1.0 == 0.0
    with style.applied():
        axes[0].lines[-1].set_linewidth(0.4)
        axes[0].set_ylim(-4.5, 6.0)
        axes[0].legend(loc="upper right", ncols=2, markerscale=4.0)
        axes[1].axvline(window, color=style.GREY, linestyle="--", linewidth=0.8, label="L")
        axes[1].legend(loc="upper left")
        integers: dict[str, Any] = {"color": style.BLACK, "markersize": 2.0}
        axes[2].plot(drawn.span[whole], drawn.score[whole], "o", label="at integers", **integers)
        axes[2].legend(loc="upper right")
        axes[2].set_ylim(top=1.4 * axes[2].get_ylim()[1])  # room for the legend
    return figure


def _plot_precision(record: Any) -> Any:
    figure, ax = frame.new_figure(height=3.2)
    series = {text: record.where(method=name).log10_magnitude for name, text in LABELS.items()}
    reached = [f"10^{values.max():.1f}" for values in series.values()]
    marks.curves(
        record.where(method="exact").span,
        series,
        ax=ax,
        xlabel="span s (tokens)",
        ylabel="log10 |a(s)|",
        title=f"beyond L one problem reaches {reached[0]} in float32,\n"
        f"{reached[1]} and {reached[2]} in float64, {reached[3]} exactly",
        every=24,
        legend=None,
    )
    with style.applied():
        edge: dict[str, Any] = {"color": style.GREY, "linewidth": 0.8}
        ax.axvline(
            record.spec.context_window,
            linestyle="--",
            label=f"window L = {record.spec.context_window}",
            **edge,
        )
        ax.axhline(np.log10(PAPER), linestyle=":", label="paper: about 8000", **edge)
        ax.set_ylim(-4, 68)
    return frame.shared_legend(figure, rows=3)


def _plot_seeds(record: Any) -> Any:
    figure, ax = frame.new_figure(height=2.4)
    with style.applied():
        for index, method in enumerate(METHODS):
            values = record.where(method=method).beyond
            jitter = np.linspace(-0.15, 0.15, values.size)
            ax.plot(index + jitter, values, "osD"[index], color=style.CYCLE[index])
        ax.set_yscale("log")
        ax.set_ylim(1e1, 1e13)
        ax.set_xlim(-0.6, 2.9)
        ax.set_xticks(
            range(len(METHODS)),
            ["float32\nnormal eq.", "float64\nnormal eq.", "float64\nsing. values"],
        )
        ax.grid(axis="x", visible=False)
        ax.set_ylabel("largest |a(s)|, L ≤ s < 2L")
        largest = record.where(method=METHODS[0]).beyond.max()
        ax.set_title(
            f"set by rounding: at most {largest:.0f} in float32,\nat least "
            f"{record.where(method=METHODS[1]).beyond.min():.0f} in float64 ({values.size} seeds)",
            loc="left",
        )
    marks.level(PAPER, "paper: about 8000", ax=ax, color=style.BLACK)
    return figure


def _plot_ridge(record: Any) -> Any:
    figure, ax = frame.new_figure()
    tame = record.ridge[record.beyond <= 2.0 * record.inside]
    marks.curves(
        record.ridge,
        {"beyond, L ≤ s < 2L": record.beyond, "inside, 0 ≤ s < L": record.inside},
        ax=ax,
        xlabel="ridge added to the normal matrix",
        ylabel="largest |a(s)| (median)",
        title=f"beyond over inside: {record.beyond[0] / record.inside[0]:.0f} at ridge "
        f"{record.ridge[0]:.0e},\n"
        + (f"at most 2 from ridge {tame.min():g} on" if tame.size else "above 2 at every ridge"),
        logx=True,
        logy=True,
        every=1,
    )
    return figure


def claims(records: Mapping[str, Record]) -> list[Claim]:
    """What Fig. 2 and its text say, against the fit in each arithmetic."""
    panels: Any = records["fig2"]
    seeds: Any = records["fig2_seeds"]
    ridge: Any = records["fig2_ridge"]
    spec = panels.spec
    inside, between = (
        float(np.abs(panels.where(panel=name).score).max()) for name in ("inside", "between")
    )
    by_method = {method: seeds.where(method=method).beyond for method in METHODS}
    single = by_method["normal_float32"]
    edge = 2.0 * spec.context_window
    exact = exact_fit_spread(spec, [0.5, edge, 2047.75])
    at_edge = f"10^{exact.log10[1]:.6f} +- {exact.log10_radius[1]:.1g}"
    condition = design_condition(spec)
    ratio = ridge.beyond / ridge.inside
    first = float(ridge.ridge[np.flatnonzero(ratio <= 2.0)[0]]) if (ratio <= 2.0).any() else np.inf
    return [
        _claim(
            key="fig2-inside",
            location="Fig. 2",
            statement="Left: the fitted score stays about within [-1, 1] inside [0, L)",
            verdict=verdict(inside <= 1.2),
            paper="[-1, 1]",
            ours=f"largest |a| {number(inside)} (float32, seed {panels.seed})",
            certificate="measured",
        ),
        _claim(
            key="fig2-8000",
            location="Fig. 2",
            statement="Middle: beyond L the same fit reaches about 8000",
            verdict=verdict(bool(single.min() < 8000 < single.max())),
            paper="8000",
            ours=f"float32 {number(single.min(), 4)} to {number(single.max(), 4)} over {SEEDS} "
            f"seeds; exact spread at 2L {at_edge}",
            certificate="measured",
            why="No arithmetic tried gives about 8000: float32, whose rounding acts as a ridge, "
            "stays below it, float64 and exact arithmetic go far beyond. That extrapolation is "
            "harmful stands; the number does not.",
        ),
        _claim(
            key="fig2-double",
            location="Fig. 2",
            statement="The magnitude beyond L (about 8000) is a property of the fit, not of the "
            "arithmetic",
            verdict=verdict(bool(by_method["svd"].min() < 10 * single.max())),
            paper="8000",
            ours=f"float64 normal equations {number(by_method['normal_float64'].min(), 4)} to "
            f"{number(by_method['normal_float64'].max(), 4)}, float64 singular values "
            f"{number(by_method['svd'].min(), 4)} to {number(by_method['svd'].max(), 4)}; "
            f"log10 of the design's condition number is at least {condition.log10_lower:.4f}",
            certificate="measured",
            why="Implicit in printing one number for it.",
        ),
        _claim(
            key="fig2-between",
            location="Fig. 2",
            statement="Right: between the integers of [25, 75) the fit is smooth and as small as "
            "on them",
            verdict=verdict(between <= 1.05 * inside),
            paper="[25, 75)",
            ours=f"largest |a| {number(between)} at step 1/8; exact spread at 0.5 "
            f"{number(10 ** exact.log10[0])}",
            certificate="measured",
        ),
        _claim(
            key="fig2-last-span",
            location="section 2.3",
            statement="Interpolated spans (PI, factor 4) are as stable as the trained ones",
            verdict=verdict(bool(exact.log10[2] < 0.0), else_=CORRECTED),
            paper="stable",
            ours=f"exact spread 10^{exact.log10[2]:.4f} at PI's last span 2047.75, "
            f"10^{exact.log10[0]:.5f} in the first cell",
            certificate="ball interval",
            why="PI's last L'/L - 1 spans lie past the last trained integer: a one-token remainder "
            "of extrapolation.",
        ),
        _claim(
            key="ridge",
            location="section 2.3",
            statement="With ridge regularisation the extrapolated magnitude can be comparable to "
            "that within [0, L]",
            verdict=verdict(bool(ratio.min() <= 2.0)),
            paper="comparable",
            ours=f"within a factor 2 from ridge {number(first, 4)} on; ratio {ratio[0]:.4g} at "
            f"ridge {ridge.ridge[0]:.0e}",
            certificate="measured",
        ),
    ]
