"""Fig. 1: positions inside and outside the trained range, and scaled back into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from paper_repro.ledger import Claim, number, verdict
from pianalysis import PositionInterpolation, RopeSpec, Unscaled, preset
from pianalysis.arrays import FloatArray
from pianalysis.pictures import frame, style
from pianalysis.records import Record

_claim = partial(Claim, item="fig1", test="extension/test_geometric.py")

TARGET = 4096
_SHOWN = 64  # every 64th token is drawn
_PAIR = 32


@dataclass(frozen=True, slots=True)
class Positions(Record):
    """Where each token of a 2L-token text sits on one pair's wave, in three ways of use."""

    spec: RopeSpec
    target: int
    pair: int
    panel: tuple[str, ...]
    token: FloatArray
    position: FloatArray
    value: FloatArray


def compute(seed: int = 0) -> Mapping[str, Record]:
    """Place tokens: trained (0..L), extrapolated (0..2L), interpolated (0..2L scaled by L/L')."""
    spec = preset("llama-7b")
    scale = PositionInterpolation(spec, TARGET).frequencies[0] / spec.frequencies[0]
    inside = np.arange(0, spec.context_window, _SHOWN, dtype=float)
    everything = np.arange(0, TARGET, _SHOWN, dtype=float)
    panels = {
        "trained": (inside, inside),
        "extrapolated": (everything, everything),
        "interpolated": (everything, everything * scale),
    }
    token = np.concatenate([t for t, _ in panels.values()])
    position = np.concatenate([p for _, p in panels.values()])
    names = tuple(name for name, (t, _) in panels.items() for _ in t)
    value = np.cos(position * spec.frequencies[_PAIR])
    record = Positions(
        spec=spec,
        target=TARGET,
        pair=_PAIR,
        panel=names,
        token=token,
        position=position,
        value=value,
    )
    return {"fig1": record}


def plot(records: Mapping[str, Record]) -> dict[str, Any]:
    """Draw the three panels on a common axis of positions."""
    record: Any = records["fig1"]
    figure, axes = frame.new_figure(3, 1, height=3.6)
    window = record.spec.context_window
    wave = np.linspace(0, record.target, 2000)
    titles = {
        "trained": "pretraining: positions in [0, L)",
        "extrapolated": "extrapolation: positions up to 2L, never seen",
        "interpolated": "Position Interpolation: scaled by L/L' into [0, L)",
    }
    with style.applied():
        for ax, (panel, text) in zip(axes, titles.items(), strict=True):
            ax.plot(
                wave, np.cos(wave * record.spec.frequencies[record.pair]), color="#BBBBBB", lw=0.8
            )
            drawn = record.where(panel=panel)
            x, y = drawn.position, drawn.value
            seen = x < window
            new = np.zeros_like(seen)
            if panel == "interpolated":  # half of them lie between two trained positions
                new = drawn.token % (2 * _SHOWN) != 0
            for shown, marker, color, label in (
                (seen & ~new, "o", style.BLUE, "trained"),
                (new, "^", style.GREEN, "in between"),
                (~seen, "s", style.RED, "beyond L"),
            ):
                ax.plot(x[shown], y[shown], marker, color=color, label=label)
            ax.axvline(window, color=style.GREY, linestyle="--", linewidth=0.8)
            ax.set_xlim(-40, record.target + 40)
            ax.set_ylim(-1.3, 1.3)
            ax.set_yticks([-1, 0, 1])
            ax.set_title(text, loc="left")
        axes[1].set_ylabel(f"cos(position x theta_{record.pair})")
        axes[-1].set_xlabel("position fed to RoPE (tokens); dashed: L = 2048")
        entries = axes[-1].get_legend_handles_labels()
        figure.legend(*entries, loc="outside lower center", ncols=3, columnspacing=0.8)
    return {"fig1": figure}


def claims(records: Mapping[str, Record]) -> list[Claim]:
    """Eq. 4: interpolated positions stay in the window, and PI is a change of frequencies."""
    record: Any = records["fig1"]
    spec = record.spec
    largest = (TARGET - 1) / PositionInterpolation(spec, TARGET).factor
    target = 5000  # not a power of two: scaling rounds
    position = np.random.default_rng(0).uniform(0, target, 200)
    scaled = np.exp(1j * np.outer(position * spec.context_window / target, spec.frequencies))
    direct = np.exp(1j * np.outer(position, PositionInterpolation(spec, target).frequencies))
    difference = float(np.abs(scaled - direct).max())
    same = PositionInterpolation(spec, spec.context_window).frequencies
    identity = bool((same == Unscaled(spec, spec.context_window).frequencies).all())
    return [
        _claim(
            key="pi-inside",
            location="Fig. 1",
            statement="PI scales the positions [0, 4096) of an extended window into [0, 2048)",
            verdict=verdict(largest < spec.context_window),
            paper="[0, 2048)",
            ours=f"largest scaled position {number(largest)}",
            certificate="identity",
            why="The last L'/L - 1 positions fall in (L-1, L), beyond the last trained integer "
            "2047.",
        ),
        _claim(
            key="pi-frequencies",
            location="Eq. 4",
            statement="f'(x, m) = f(x, m L / L'): only positions change (L = 2048); the same as "
            "scaling theta_j by L / L', and the identity at L' = L",
            verdict=verdict(difference < 1e-12 and identity),
            paper="identity",
            ours=f"largest difference {difference:.3e} over 200 positions, L' = 5000",
            certificate="measured",
        ),
    ]
