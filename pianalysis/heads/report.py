"""`pianalysis heads`: one checkpoint measured, as text, tables and pictures in a folder."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pianalysis import _validate, style
from pianalysis.compare import COMPARABLE, comparable_extensions
from pianalysis.extension import Extension
from pianalysis.heads import pictures, statistics_pictures, summary
from pianalysis.heads.checkpoint import Checkpoint, open_checkpoint
from pianalysis.heads.measurement import Measurement, measure
from pianalysis.heads.store import FolderStore
from pianalysis.heads.text import default_text, encode, read_text
from pianalysis.records import Record, write_atomic

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


def records(found: Measurement) -> dict[str, Record]:
    """Return file stem -> record."""
    out: dict[str, Record] = {
        "heads_statistics": found.statistics,
        "heads_bands": found.statistics.bands,
        "heads_likelihood": found.likelihood,
        "heads_passkey": found.passkey,
    }
    return out if found.curve is None else {**out, "heads_worst_case": found.curve}


def figures(found: Measurement) -> dict[str, Figure]:
    """Return file stem -> picture."""
    out = {
        "heads_map": statistics_pictures.map_picture(found.statistics),
        "heads_bands": statistics_pictures.bands_picture(found.statistics),
        "heads_bounds": statistics_pictures.bounds_picture(found.statistics),
        "heads_likelihood": pictures.likelihood_picture(found.likelihood),
        "heads_passkey": pictures.passkey_picture(found.passkey),
    }
    if found.curve is not None:
        out["heads_worst_case"] = statistics_pictures.worst_case_picture(
            found.statistics, found.curve
        )
    return out


def save(found: Measurement, folder: Path, provenance: Mapping[str, Any] | None = None) -> None:
    """Write every record as CSV and JSON and every picture as PNG, each atomically."""
    for stem, record in records(found).items():
        record.save(folder / stem, provenance)
    for stem, figure in figures(found).items():
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
