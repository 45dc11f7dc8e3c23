"""Published conditions on the base for a context length, side by side, and what is true of each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from paper_repro.items import base_limits_drawn as draw
from paper_repro.ledger import CORRECTED, Claim, number, verdict
from pianalysis import PRESETS, RopeSpec, base_limits, first_wrong, preset
from pianalysis.arrays import FloatArray
from pianalysis.comparison.profile import critical_dimension
from pianalysis.records import Record, columns

_claim = partial(Claim, item="base_limits", test="comparison/test_base_limits.py")

MODEL = "llama-7b"
TARGETS = (2048, 4096, 8192, 16384, 32768)
EPSILON, LAYERS, PIPELINE = 0.5, 32, "bfloat16"
WRONG, SEARCHED = 0.1, 2048  # radians, positions
MEN, LIU, PHASE = (f"arXiv:{number}" for number in ("2405.14591", "2310.05209", "2602.10959"))
_ROUNDED = 1.0 - 1e-12
_SHOWN = ("condition", "side", "limit")


@dataclass(frozen=True, slots=True)
class BaseLimitsByLength(Record):
    """The limit that each published condition sets the base, by target length, for one model.

    ``resolved_base`` meets the condition on precision in ``pipeline``; there a phase is first wrong
    by more than ``tolerance`` radians at position ``first_wrong`` (proved; -1: nowhere below 2048).
    """

    spec: RopeSpec
    epsilon: float
    layers: int
    pipeline: str
    resolved_base: float
    tolerance: float
    first_wrong: int
    condition: tuple[str, ...]
    source: tuple[str, ...]
    side: tuple[str, ...]
    length: FloatArray
    limit: FloatArray


@dataclass(frozen=True, slots=True)
class BaseLimitsOfModels(Record):
    """Which conditions presets of one rotary dimension meet at their own pretrained window.

    ``turning`` counts the dimensions that complete a turn in it, the critical dimension.
    """

    rotary_dim: int
    model: tuple[str, ...]
    window: FloatArray
    base: FloatArray
    turning: FloatArray
    condition: tuple[str, ...]
    side: tuple[str, ...]
    limit: FloatArray
    met: tuple[str, ...]
    finding: tuple[str, ...]


def compute(seed: int = 0) -> Mapping[str, Record]:
    """Tabulate every condition for LLaMA by length, and for presets at their own windows."""
    spec = preset(MODEL)
    asked: dict[str, Any] = {"epsilon": EPSILON, "layers": LAYERS, "pipeline": PIPELINE}
    rows = []
    for target in TARGETS:
        found = base_limits(spec, target, **asked)
        rows += [{"length": target} | row for row in _rows(found, "source", *_SHOWN)]
    precision = next(row["limit"] for row in rows if row["condition"] == "precision")
    resolved = RopeSpec(spec.head_dim, 0.5 * float(precision), spec.context_window)
    wrong = first_wrong(resolved, pipeline=PIPELINE, tolerance=WRONG, stop=SEARCHED).first
    by_length = BaseLimitsByLength(
        spec=spec,
        **asked,
        resolved_base=resolved.base,
        tolerance=WRONG,
        first_wrong=-1 if wrong is None else wrong,
        **columns(rows),
    )
    models = []
    for label, each in _distinct(spec.rotary_dim).items():
        found = base_limits(each, each.context_window, **asked)
        facts: dict[str, Any] = {"model": label, "window": each.context_window, "base": each.base}
        facts["turning"] = critical_dimension(each)
        models += [
            facts | row for row in _rows(found, "condition", "side", "limit", "met", "finding")
        ]
    return {
        "base_limits": by_length,
        "base_limits_models": BaseLimitsOfModels(rotary_dim=spec.rotary_dim, **columns(models)),
    }


def _rows(found: Any, *names: str) -> list[dict[str, Any]]:
    """Return some columns of a record as rows."""
    table = zip(*(getattr(found, name) for name in names), strict=True)
    return [dict(zip(names, row, strict=True)) for row in table]


def _distinct(rotary_dim: int) -> dict[str, RopeSpec]:
    """Return presets of one rotary dimension, those of one specification under their names."""
    names: dict[tuple[float, int], list[str]] = {}
    specs = {}
    for name, each in PRESETS.items():
        if each.spec.rotary_dim == rotary_dim and each.spec.head_dim == rotary_dim:
            key = each.spec.base, each.spec.context_window
            names.setdefault(key, []).append(name)
            specs[key] = each.spec
    return {_joined(names[key]): spec for key, spec in specs.items()}


def _joined(names: list[str]) -> str:
    return ", ".join(names)


def plot(records: Mapping[str, Record]) -> dict[str, Any]:
    """Draw base against length with a line a condition, and a row of verdicts a model."""
    limits: Any = records["base_limits"]
    models: Any = records["base_limits_models"]
    return {
        "base_limits": draw.by_length(limits, models, MODEL),
        "base_limits_models": draw.by_model(models),
    }


def claims(records: Mapping[str, Record]) -> list[Claim]:
    """Statements of three papers on the base, judged by the model's true frequencies."""
    limits: Any = records["base_limits"]
    models: Any = records["base_limits_models"]
    return [
        _trend(limits),
        _critical_dimension(models),
        _critical_base(limits),
        _aliasing(limits),
        _stability(limits),
        _precision(limits),
    ]


def _trend(limits: Any) -> Claim:
    rows = limits.where(condition="cosine sum")
    ratio = rows.limit / (0.0424 * rows.length**1.628)
    return _claim(
        key="base-cosine-sum",
        location=MEN,
        statement="The smallest base under which no sum_j cos(m theta_j), m < L', is negative "
        "follows 0.0424 L'^1.628 (d = 128)",
        verdict=verdict(bool((abs(np.log(ratio)) < math.log(1.1)).all()), else_=CORRECTED),
        paper="0.0424 L'^1.628",
        ours="; ".join(
            f"{length:.0f}: {number(limit, 7)}, {number(share, 4)} of it"
            for length, limit, share in zip(rows.length, rows.limit, ratio, strict=True)
        ),
        certificate="enclosure, float64 with its rounding bounded",
        test="extension/test_minimal_base.py",
        why="A trend through points that the sums themselves scatter.",
    )


def _critical_dimension(models: Any) -> Claim:
    own = models.where(model="llama-2-7b", condition="critical base")
    turning = int(own.turning[0])
    exact = 2.0 * (models.rotary_dim / 2) * math.log(own.window[0] / (2 * math.pi), own.base[0])
    return _claim(
        key="base-critical-dimension",
        location=LIU,
        statement="92 of LLaMA 2's 128 dimensions complete a turn in its 4096 tokens",
        verdict=verdict(turning == 92),
        paper="92",
        ours=f"{turning}, from 2 ceil({number(exact / 2.0, 6)})",
        certificate="closed form",
        test="comparison/test_profile.py",
    )


def _turning(base: float, dim: int, length: float) -> int:
    """Count dimensions whose wavelength is at most a length."""
    spec = RopeSpec(dim, base, int(length))
    return 2 * int((spec.wavelengths <= length).sum())


def _critical_base(limits: Any) -> Claim:
    dim, spec = limits.spec.rotary_dim, limits.spec
    rows = limits.where(condition="critical base")
    own = _turning(spec.base, dim, spec.context_window)
    kept = [_turning(c, dim, n) for c, n in zip(rows.limit, rows.length, strict=True)]
    return _claim(
        key="base-critical-base",
        location=LIU,
        statement="With the base c0^(ln(L'/2pi) / ln(L/2pi)) as many of 128 dimensions complete a "
        "turn in L' tokens as did in L",
        verdict=verdict(set(kept) == {own}, else_=CORRECTED),
        paper="equal",
        ours=f"{own} in {spec.context_window}; "
        + ", ".join(
            f"{count} in {length:.0f} at {number(limit)}"
            for count, length, limit in zip(kept, rows.length, rows.limit, strict=True)
        ),
        certificate="closed form",
    )


def _slowest(limit: FloatArray, dim: int) -> FloatArray:
    out: FloatArray = limit ** (-(dim - 2) / dim)
    return out


def _aliasing(limits: Any) -> Claim:
    rows, dim = limits.where(condition="aliasing"), limits.spec.rotary_dim
    turns = rows.length * _slowest(rows.limit, dim) / (2 * math.pi)
    largest = 2 * math.pi * limits.spec.base
    wavelength = float(limits.spec.wavelengths[-1])
    return _claim(
        key="base-aliasing",
        location=PHASE,
        statement="While L' < 2 pi c the slowest pair completes no turn (no aliasing), d = 128",
        verdict=verdict(bool((turns * _ROUNDED <= 1.0).all()), else_=CORRECTED),
        paper="1 turn at most",
        ours=f"{number(float(turns.max()), 5)} turns at the limit for {rows.length[-1]:.0f} tokens;"
        f" base {limits.spec.base:g} completes one at {number(wavelength, 7)}, not {largest:.0f}",
        certificate="closed form",
        why="The slowest frequency is c^(-(d-2)/d), not 1/c: the limit must be raised to the power "
        "d/(d-2).",
    )


def _stability(limits: Any) -> Claim:
    dim, left = limits.spec.rotary_dim, {}
    for condition, power in (("DC stability", 1), ("N layers", limits.layers)):
        rows = limits.where(condition=condition)
        left[condition] = float((np.cos(rows.length * _slowest(rows.limit, dim)) ** power).min())
    one, many = left["DC stability"], left["N layers"]
    return _claim(
        key="base-dc-stability",
        location=PHASE,
        statement="c >= L' / arccos(eps) leaves cos(L' theta) >= eps in the slowest pair, and "
        "c >= L' / arccos(eps^(1/N)) leaves eps after N layers, d = 128",
        verdict=verdict(min(one, many) >= limits.epsilon * _ROUNDED, else_=CORRECTED),
        paper=f"{limits.epsilon:g}",
        ours=f"{number(one, 5)} in one layer and {number(many, 5)} in {limits.layers} at the "
        f"limits for up to {limits.length.max():.0f} tokens",
        certificate="closed form",
        why="As for aliasing: true with the limit raised to the power d/(d-2).",
    )


def _precision(limits: Any) -> Claim:
    limit = float(limits.where(condition="precision").limit[0])
    return _claim(
        key="base-precision",
        location=PHASE,
        statement="The base must lie below 1 / eps_mach for a format to resolve positions: 128 for "
        "bfloat16",
        verdict=verdict(limits.first_wrong < 0, else_=CORRECTED),
        paper=f"{limit:g}",
        ours=f"base {number(limits.resolved_base)} meets it, and a phase is wrong by more than "
        f"{limits.tolerance:g} rad at position {limits.first_wrong}; no length enters the limit",
        certificate="ball interval",
        test="precision/test_phase_error.py",
        why="It compares the slowest frequency with the rounding of 1; what rounding does grows "
        "with position and is largest in the fastest pairs.",
    )
