"""Phase errors by number format: from which position on a low-precision RoPE is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from paper_repro.ledger import Claim
from pianalysis import RopeSpec, first_wrong, phase_error, preset
from pianalysis.arrays import FloatArray
from pianalysis.extension.named import comparable_extensions
from pianalysis.pictures import clouds, frame, marks, style
from pianalysis.precision.formats import PIPELINES
from pianalysis.precision.table import SEARCHED, TOLERANCE
from pianalysis.records import Record, columns

MODEL = "llama-7b"
TARGET = 16_384
SCHEMES = ("default", "linear", "ntk", "yarn", "llama3", "base-change")
ONE = "bfloat16-frequencies"  # the pipeline whose schemes are drawn
CURVES = SCHEMES[:4]  # the fast pairs of the others turn as those of default or ntk
POSITIONS = np.unique(np.geomspace(1, SEARCHED - 1, 140).round())


@dataclass(frozen=True, slots=True)
class _ByPipeline(Record):
    """Each row is of a scheme and a pipeline; a phase is wrong when off by above ``tolerance``."""

    spec: RopeSpec
    target: int
    tolerance: float
    scheme: tuple[str, ...]
    pipeline: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PhaseCurves(_ByPipeline):
    """The largest phase and score error over positions, a row a scheme, pipeline and position.

    All pipelines on the unscaled model, one pipeline on every scheme. Radians; the score error is
    a share of the largest score. Infinite where the position overflows float16.
    """

    position: FloatArray
    phase_error: FloatArray
    pair: npt.NDArray[np.int64]
    score_error: FloatArray

    def curve(self, scheme: str, pipeline: str) -> FloatArray:
        """Return the phase errors of one curve; not a number where the format overflows."""
        error = self.where(scheme=scheme, pipeline=pipeline).phase_error
        return np.where(np.isfinite(error), error, np.nan)


@dataclass(frozen=True, slots=True)
class FirstWrongPositions(_ByPipeline):
    """Where each pipeline is wrong first, and from where always: a row a scheme and pipeline.

    Proved over every position in [0, ``searched``); infinite where there is none.
    """

    searched: int
    first: FloatArray
    always: FloatArray


def compute(seed: int = 0) -> Mapping[str, Record]:
    """Compute curves and first wrong positions for LLaMA 7B and its extensions to 16384 tokens."""
    spec = preset(MODEL)
    extensions = comparable_extensions(spec, TARGET, SCHEMES)
    drawn = [("default", pipeline) for pipeline in PIPELINES]
    drawn += [(scheme, ONE) for scheme in CURVES if scheme != "default"]
    curves = [phase_error(extensions[scheme], POSITIONS, pipeline=name) for scheme, name in drawn]
    cases = [(scheme, pipeline) for scheme in SCHEMES for pipeline in PIPELINES]
    rows = []
    for scheme, pipeline in tqdm(cases, unit="case", disable=None, leave=False):
        model = extensions[scheme]
        wrong = first_wrong(model, pipeline=pipeline, tolerance=TOLERANCE, stop=SEARCHED)
        positions = {"first": wrong.first, "always": wrong.always}
        none = {name: math.inf for name, position in positions.items() if position is None}
        rows.append({"scheme": scheme, "pipeline": pipeline} | positions | none)
    about: dict[str, Any] = {"spec": spec, "target": TARGET, "tolerance": TOLERANCE}
    return {
        "phase_error": PhaseCurves(
            scheme=tuple(scheme for scheme, _ in drawn for _ in POSITIONS),
            pipeline=tuple(pipeline for _, pipeline in drawn for _ in POSITIONS),
            position=np.tile(POSITIONS, len(curves)),
            phase_error=np.concatenate([curve.phase_error for curve in curves]),
            pair=np.concatenate([curve.pair for curve in curves]),
            score_error=np.concatenate([curve.score_error for curve in curves]),
            **about,
        ),
        "phase_error_first": FirstWrongPositions(searched=SEARCHED, **about, **columns(rows)),
    }


def plot(records: Mapping[str, Record]) -> dict[str, Any]:
    """Draw the curves by pipeline and by scheme, and the first wrong positions."""
    curves: Any = records["phase_error"]
    first: Any = records["phase_error_first"]
    start = first.where(scheme="default").first
    early = int((start < curves.spec.context_window).sum())
    own = [first.only(scheme=name, pipeline=ONE)["first"] for name in CURVES]
    figure, axes = frame.new_figure(1, 2, width=style.TEXT_WIDTH, height=3.6)
    panels = (
        (
            {name: curves.curve("default", name) for name in PIPELINES},
            f"{MODEL}: {early} of {start.size} formats\ngo wrong inside L",
            start.tolist(),
        ),
        (
            {name: curves.curve(name, ONE) for name in CURVES},
            f"{ONE}, extended to {TARGET}:\nwrong first at {min(own):.0f} to {max(own):.0f}",
            [first.only(scheme=name, pipeline=ONE)["first"] for name in CURVES],
        ),
    )
    for ax, (series, title, wrong) in zip(axes, panels, strict=True):
        marks.curves(
            POSITIONS,
            series,
            ax=ax,
            xlabel="position (tokens), sampled",
            ylabel="largest phase error at sampled\npositions (rad)" if ax is axes[0] else "",
            title=title,
            logx=True,
            logy=True,
            every=14,
            legend="",
        )
        with style.applied():  # proved over all positions: samples may lie below it beyond
            ax.plot(
                [place for place in wrong if math.isfinite(place)],
                [curves.tolerance for place in wrong if math.isfinite(place)],
                "|",
                color=style.BLACK,
                markersize=9.0,
                label="first wrong of all (proved)",
            )
            window = curves.spec.context_window
            ax.axvline(
                window, color=style.GREY, linestyle=":", linewidth=0.8, label=f"L = {window}"
            )
        marks.level(curves.tolerance, f"wrong above {curves.tolerance:g} rad", ax=ax, at=0.9)
        frame.legend_below(ax, columns=2)
    soon = first.where(pipeline="bfloat16").first
    other, ax = frame.new_figure(width=style.TEXT_WIDTH, height=3.2)
    clouds.dots(
        SCHEMES,
        {name: first.where(pipeline=name).first for name in PIPELINES},
        ax=ax,
        xlabel=f"first position with a phase off by more than {first.tolerance:g} rad (tokens)",
        title=f"{MODEL} to {TARGET}: bfloat16 is wrong at position {soon.max():.0f} or "
        f"earlier under every scheme\n(no marker: not below {first.searched})",
    )
    frame.shared_legend(other, rows=2)
    return {"phase_error": figure, "phase_error_first": other}


def claims(records: Mapping[str, Record]) -> list[Claim]:
    """The paper says nothing of number formats, so no claim of its own is judged here."""
    return []
