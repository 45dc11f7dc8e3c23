"""The bounds of one model at one target window, as a record and as a readable table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pianalysis.bounds.certified.first import first_span_below
from pianalysis.bounds.extrapolation import extrapolation_bound
from pianalysis.bounds.interpolation import adjacent_contrast, interpolation_bound
from pianalysis.bounds.ratio import bound_ratio
from pianalysis.commands import measured_heads
from pianalysis.commands.answers import answers
from pianalysis.commands.answers import rows as answer_rows
from pianalysis.commands.layers import layer_kinds, layer_table
from pianalysis.commands.parser import add_model_command
from pianalysis.commands.text import aligned
from pianalysis.extension import Extension, PositionInterpolation
from pianalysis.extension.named import NamedModel
from pianalysis.records import Record
from pianalysis.rope.spec import RopeSpec

LONGEST_SEARCH = 2**24  # spans; a second's work


@dataclass(frozen=True, slots=True)
class Report(Record):
    """What the theory says of one model extended to ``target``, all for max|h_j| = 1.

    Scores are before the model's own multiplier, ``logit_scale``, which turns them into logits.
    ``heads`` are the same answers for trained heads that ``pianalysis heads`` measured, in logits;
    None where no folder of theirs was named. ``scheme`` is what the config asks for at the target,
    beside which ``contrast`` has Position Interpolation; None for a preset or a config without a
    scheme. ``layers`` are the kinds of decoder layers, ``reader`` and ``notices`` say who read the
    config and what it said in passing.
    """

    model: str
    source: str
    spec: RopeSpec
    rotary_dim: int
    target: int
    factor: float
    logit_scale: float
    interpolation: dict[str, float]
    extrapolation: dict[str, float]
    ratio: dict[str, float]
    first_below: dict[str, float | int | None]
    wavelengths: dict[str, float | int]
    contrast: dict[str, float]
    scheme: dict[str, Any] | None
    layers: list[dict[str, Any]]
    reader: str | None
    notices: list[str]
    answers: dict[str, float | None]
    heads: dict[str, Any] | None


def build(model: str, read: NamedModel, target: int, folder: str | None = None) -> Report:
    """Compute the report of a model at a target window, with its heads measured in ``folder``."""
    spec = read.spec
    trained_heads = None if folder is None else measured_heads.read(folder, spec)
    extension = read.with_base(PositionInterpolation(spec, target))
    target = extension.target
    waves = spec.wavelengths
    below = first_span_below(spec, stop=min(max(target, 131072), LONGEST_SEARCH))
    trained, interpolated = float(adjacent_contrast(spec)), float(adjacent_contrast(extension))
    return Report(
        model=model,
        source=read.source,
        spec=spec,
        rotary_dim=spec.rotary_dim,
        target=target,
        factor=extension.factor,
        logit_scale=read.logit_scale,
        interpolation={
            form: float(interpolation_bound(spec, 0.5, form=form))
            for form in ("paper", "corrected", "sharp")
        },
        extrapolation={
            "triangle": float(extrapolation_bound(spec, target - 1, form="triangle")),
            "abel_at_target": float(extrapolation_bound(spec, target - 1, form="abel")),
        },
        ratio={form: bound_ratio(spec, form=form) for form in ("paper", "corrected", "sharp")},
        first_below={
            "searched_to": below.stop,
            "integer": below.integer,
            "ratio_at_integer": None if below.ratio is None else below.ratio.lower,
            "real_lower": None if below.real is None else below.real.lower,
            "real_upper": None if below.real is None else below.real.upper,
        },
        wavelengths={
            "shortest": float(waves[0]),
            "longest": float(waves[-1]),
            "pairs": spec.pairs,
            "beyond_window": int((waves > spec.context_window).sum()),
            "beyond_target": int((waves > target).sum()),
        },
        contrast={
            "trained": trained,
            "interpolated": interpolated,
            "kept": interpolated / trained,
            "fastest_pair_kept": _fastest_kept(extension),
        },
        scheme=_scheme(read.own(target), trained),
        layers=layer_kinds(read.layers),
        reader=None if read.facts is None else read.facts.reader,
        notices=[] if read.facts is None else list(read.facts.notices),
        answers=answers(spec, target, read.logit_scale),
        heads=None if trained_heads is None else trained_heads.answers(target),
    )


def _fastest_kept(extension: Extension) -> float:
    """Return how much of its change over one token the fastest pair keeps."""
    return math.sin(0.5 * float(extension.ratios[0])) / math.sin(0.5)


def _scheme(own: Extension | None, trained: float) -> dict[str, Any] | None:
    """Return the scheme of the config: its name, what defines it, and its adjacent contrast."""
    if own is None:
        return None
    contrast = float(adjacent_contrast(own))
    return {
        "name": type(own).__name__,
        "factor": own.factor,
        "attention_factor": own.attention_factor,
        "contrast": contrast,
        "kept": contrast / trained,
        "fastest_pair_kept": _fastest_kept(own),
    }


def table(report: Report) -> str:
    """Return the report as text, one quantity a line, units named."""
    spec, waves, below = report.spec, report.wavelengths, report.first_below
    logit = report.logit_scale

    def score(value: float) -> str:
        return f"{value:.6g}   (logit {value * logit:.6g})"

    if below["integer"] is None:
        first_integer = f"none below {below['searched_to']}"
    else:
        first_integer = f"{below['integer']}   (B/d = {below['ratio_at_integer']:.6f})"
    real = below["real_lower"]
    rows = [
        ("head_dim / rotary dimension d", f"{spec.head_dim} / {report.rotary_dim}"),
        ("base c", f"{spec.base:g}"),
        ("context window L -> target L'", f"{spec.context_window} -> {report.target} tokens"),
        ("extension factor", f"{report.factor:.6g}"),
        ("", ""),
        ("INTERPOLATION: |a - chord| at mid-cell", "for max|h| = 1"),
        ("  paper, Eq. 5 (not a theorem)", score(report.interpolation["paper"])),
        ("  sharp (attained)", score(report.interpolation["sharp"])),
        ("  corrected", score(report.interpolation["corrected"])),
        ("EXTRAPOLATION: |a(s)|", "for max|h| = 1"),
        ("  triangle, every s", score(report.extrapolation["triangle"])),
        ("  Abel, Eq. 8, at L' - 1", score(report.extrapolation["abel_at_target"])),
        ("RATIO, extrapolation to interpolation", "while B(s) >= d"),
        ("  paper (2d / Eq. 5 = 64 ln c, '~600x')", f"{report.ratio['paper']:.2f}"),
        ("  2d / corrected", f"{report.ratio['corrected']:.2f}"),
        ("  triangle / sharp (at every s)", f"{report.ratio['sharp']:.2f}"),
        ("FIRST SPAN with B(s) < d", "proved in ball arithmetic"),
        ("  integer", first_integer),
        ("  real", f"none below {below['searched_to']}" if real is None else f"{real:.4f}"),
        ("WAVELENGTHS", "tokens"),
        ("  shortest, longest", f"{waves['shortest']:.4f}, {waves['longest']:.6g}"),
        ("  pairs beyond the window", f"{waves['beyond_window']} of {waves['pairs']}"),
        ("  pairs beyond the target", f"{waves['beyond_target']} of {waves['pairs']}"),
        ("RESOLUTION under PI: |a(s+1) - a(s)|", "for max|h| = 1"),
        (
            "  before -> after",
            f"{report.contrast['trained']:.6g} -> {report.contrast['interpolated']:.6g}",
        ),
        ("  fastest pair keeps", f"{100 * report.contrast['fastest_pair_kept']:.2f}%"),
        *answer_rows(report.answers),
    ]
    if report.heads is not None:
        rows += measured_heads.rows(report.heads)
    own = report.scheme
    if own is not None:
        factor = f"attention factor {own['attention_factor']:.6g}"
        rows += [
            (f"SCHEME of the config: {own['name']}", f"factor {own['factor']:.6g}, {factor}"),
            ("  contrast after it", f"{own['contrast']:.6g}"),
            ("  fastest pair keeps", f"{100 * own['fastest_pair_kept']:.2f}%"),
        ]
    lines = [report.model, report.source, "", aligned(rows)]
    if len(report.layers) > 1:
        lines += ["", layer_table(report.layers)]
    lines += [f"note: {notice}" for notice in report.notices]
    if report.reader is not None:
        lines += ["", f"read by {report.reader}"]
    return "\n".join(lines)


def add(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_model_command(
        commands,
        "report",
        run,
        summary="bounds, ratios, first span with B < d and wavelengths of one model",
        description="Print the bounds of one model extended to a target window, for max|h| = 1; "
        "with --heads also the worst case, the shift of attention and the averages for the limits "
        "of its own trained heads.",
    )
    command.add_argument(
        "--heads",
        metavar="FOLDER",
        help="what `pianalysis heads` wrote of the same model: adds the answers for its heads",
    )


def run(options: Any) -> str:
    """Return what the command prints."""
    from pianalysis.extension import named

    read = named.find_model(
        options.model,
        original_length=options.original_length,
        layer_type=options.layer_type,
        base=options.base,
    )
    report = build(options.model, read, options.target, options.heads)
    return report.json().rstrip() if options.json else table(report)
