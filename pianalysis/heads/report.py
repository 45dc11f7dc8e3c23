"""`pianalysis heads`: one checkpoint measured, as text, tables and pictures in a folder."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pianalysis import _validate, style
from pianalysis._validate import FloatArray
from pianalysis.bounds.interpolation import FORMS
from pianalysis.compare import COMPARABLE, comparable_extensions
from pianalysis.extension import Extension
from pianalysis.heads import pictures, statistics_pictures, summary
from pianalysis.heads.checkpoint import Checkpoint, open_checkpoint
from pianalysis.heads.measurement import Measurement, measure
from pianalysis.heads.store import FolderStore
from pianalysis.heads.summary import WorstCaseCurve
from pianalysis.heads.text import default_text, encode, read_text
from pianalysis.records import Record, plain, write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = ".heads-parts"  # finished units of a run that has not ended, inside its folder


def measure_model(
    source: str,
    folder: str | os.PathLike[str],
    *,
    text: str | None = None,
    tokens: int = 1024,
    scheme: str | None = None,
    factor: float | None = None,
    pairs: int = 1,
    trials: int = 5,
    seed: int = 0,
    original_length: int | None = None,
    device_map: str | None = None,
) -> tuple[Checkpoint, Measurement]:
    """Open a checkpoint, measure it and write everything into ``folder``.

    Finished units are kept in a hidden folder there until the run has ended: the same call goes on
    where it was stopped.
    """
    out = Path(folder)
    if not out.is_dir():
        raise ValueError(f"out must be an existing directory, got {str(folder)!r}")
    _validate.whole("tokens", tokens, at_least=8)
    for name, value in (("pairs", pairs), ("trials", trials)):
        _validate.whole(name, value)
    _validate.whole("seed", seed, at_least=0)
    if (scheme is None) != (factor is None):
        raise ValueError("scheme and factor go together, got one of them")
    if scheme is not None:
        _validate.choice("scheme", scheme, COMPARABLE)
        factor = _validate.real("factor", factor, at_least=1.0, at_most=1024.0)
    words = default_text() if text is None else read_text(text)
    checkpoint = open_checkpoint(source, original_length=original_length, device_map=device_map)
    if checkpoint.tokenizer is None:
        raise ValueError(f"model must come with a tokenizer.json to read a text, got {source!r}")
    extensions: dict[str, Extension] = {}
    if scheme is not None and factor is not None:
        target = round(factor * checkpoint.spec.context_window)
        label = f"{scheme} x{factor:g}"
        extensions[label] = comparable_extensions(checkpoint.spec, target, [scheme])[scheme]
    found = measure(
        checkpoint,
        encode(checkpoint.tokenizer, words, tokens),
        extensions=extensions,
        pairs=pairs,
        trials=trials,
        seed=seed,
        store=FolderStore(out / PARTS),
    )
    save(found, out)
    shutil.rmtree(out / PARTS, ignore_errors=True)
    return checkpoint, found


@dataclass(frozen=True, slots=True)
class HeadColumns(Record):
    """Some columns of the statistics, those of one picture, beside the curve it is held against."""

    meanings: dict[str, str]
    curve: WorstCaseCurve | None
    table: dict[str, FloatArray]

    def columns(self) -> dict[str, Any]:
        """Return the table: column name -> values."""
        return {name: column.tolist() for name, column in self.table.items()}

    def summary(self) -> dict[str, Any]:
        """Return what stands beside the table."""
        return {"meanings": self.meanings, "curve": plain(self.curve)}


def records(found: Measurement) -> dict[str, Record]:
    """Return file stem -> record, each the data of the picture of that name."""
    statistics = found.statistics

    def chosen(*names: str, curve: WorstCaseCurve | None = None) -> HeadColumns:
        table = {name: statistics.table[name] for name in ("layer", "head", *names)}
        return HeadColumns(statistics.meanings, curve, table)

    bounds = [f"{form}_{what}" for form in FORMS for what in ("bound_max", "violations", "ratio")]
    searched = [f"found_{what}" for what in ("ratio", "deviation", "bound", "query", "key", "span")]
    growth = ("limit_median", "growth_median", "growth_limit", "growth_max")
    out: dict[str, Record] = {
        "heads_map": statistics,
        "heads_bands": statistics.bands,
        "heads_bounds": chosen("deviation_max", *bounds, *searched),
        "heads_growth": chosen(*growth, curve=found.curve),
        "heads_likelihood": found.likelihood,
        "heads_passkey": found.passkey,
    }
    return out


def figures(found: Mapping[str, Record]) -> dict[str, Figure]:
    """Return file stem -> picture, drawn from ``records``."""
    statistics: Any = found["heads_map"]
    growth: Any = found["heads_growth"]
    likelihood: Any = found["heads_likelihood"]
    passkey: Any = found["heads_passkey"]
    return {
        "heads_map": statistics_pictures.head_map(statistics),
        "heads_bands": statistics_pictures.score_fan(statistics),
        "heads_bounds": statistics_pictures.deviation_against_bounds(statistics),
        "heads_growth": statistics_pictures.growth_against_worst_case(statistics, growth.curve),
        "heads_likelihood": pictures.likelihood_picture(likelihood),
        "heads_passkey": pictures.passkey_picture(passkey),
    }


def save(found: Measurement, folder: Path, provenance: Mapping[str, Any] | None = None) -> None:
    """Write every record as CSV and JSON and every picture as PNG, each atomically."""
    written = records(found)
    for stem, record in written.items():
        record.save(folder / stem, provenance)
    for stem, figure in figures(written).items():
        out = io.BytesIO()
        with style.applied():
            figure.savefig(out, format="png", metadata={"Software": None})
        write_atomic(folder / f"{stem}.png", out.getvalue())


def table(checkpoint: Checkpoint, found: Measurement) -> str:
    """Return a page of text: the statistics, then reading across a gap by scheme."""
    from tabulate import tabulate

    spec = checkpoint.spec
    likelihood, passkey = found.likelihood, found.passkey
    style_: dict[str, Any] = {"disable_numparse": True, "stralign": "right"}
    schemes = list(dict.fromkeys(likelihood.scheme))
    by_gap = [
        [f"{gap}", *(f"{_cell(likelihood, scheme, 'gap', gap, 'mean'):.3f}" for scheme in schemes)]
        for gap in dict.fromkeys(likelihood.gap.tolist())
    ]
    by_distance = [
        [
            f"{distance}",
            *(
                f"{_cell(passkey, scheme, 'distance', distance, 'successes'):.0f}/{passkey.trials}"
                for scheme in schemes
            ),
        ]
        for distance in dict.fromkeys(passkey.distance.tolist())
    ]
    return "\n".join(
        [
            f"{checkpoint.name}: d = {spec.rotary_dim}, base {spec.base:g}, "
            f"window {spec.context_window} tokens",
            "",
            summary.text(summary.summarise(found.statistics)),
            "",
            tabulate(by_gap, headers=["gap", *(f"NLL {s}" for s in schemes)], **style_),
            f"nats a token of {likelihood.tail} tokens behind {likelihood.prefix} and the gap",
            "",
            tabulate(by_distance, headers=["distance", *schemes], **style_),
            "passkeys read out; k_max (20% rule): "
            + ", ".join(f"{scheme} {passkey.k_max[scheme]}" for scheme in schemes),
        ]
    )


def _cell(record: Any, scheme: str, name: str, value: int, column: str) -> float:
    rows = zip(record.scheme, getattr(record, name), getattr(record, column), strict=True)
    return next(float(cell) for label, at, cell in rows if (label, int(at)) == (scheme, value))
