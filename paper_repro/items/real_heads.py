"""Real heads: what the bounds say of SmolLM2's trained heads, and reading across a gap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paper_repro.claims import Claim
from pianalysis.compare import comparable_extensions
from pianalysis.records import Record

MODEL = "smollm2"
TOKENS = 1024
SCHEMES = {"linear x2": ("linear", 2), "ntk x2": ("ntk", 2), "yarn x2": ("yarn", 2)}


def compute(seed: int = 0) -> Mapping[str, Record]:
    """Measure SmolLM2-135M-Instruct on a play, with three schemes across the gaps."""
    from pianalysis.heads import report
    from pianalysis.heads.checkpoint import open_checkpoint
    from pianalysis.heads.measurement import measure
    from pianalysis.heads.text import default_text, encode

    checkpoint = open_checkpoint(MODEL)
    window = checkpoint.spec.context_window
    extensions = {
        label: comparable_extensions(checkpoint.spec, factor * window, [scheme])[scheme]
        for label, (scheme, factor) in SCHEMES.items()
    }
    tokens = encode(checkpoint.tokenizer, default_text(), TOKENS)
    return report.records(measure(checkpoint, tokens, extensions=extensions, seed=seed))


def plot(records: Mapping[str, Record]) -> dict[str, Any]:
    """Draw each record with the command's own pictures."""
    from pianalysis.heads import report

    return report.figures(records)


def claims(records: Mapping[str, Record]) -> list[Claim]:
    """Judge nothing of the paper's own, which measures no head."""
    return []
