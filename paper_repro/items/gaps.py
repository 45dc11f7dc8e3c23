"""Gaps: SmolLM2 reads a text and passkeys across gaps in the positions, under three schemes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paper_repro.items import real_heads
from paper_repro.ledger import Claim
from pianalysis.extension.named import comparable_extensions
from pianalysis.records import Record

TRIALS = 5
SCHEMES = {"linear x2": ("linear", 2), "ntk x2": ("ntk", 2), "yarn x2": ("yarn", 2)}


def compute(seed: int = 0) -> Mapping[str, Record]:
    """Read across gaps with SmolLM2-135M-Instruct as it is, and with each scheme untrained."""
    from pianalysis.checkpoints.checkpoint import open_checkpoint
    from pianalysis.evaluation.text import default_text, encode
    from pianalysis.heads import measurement

    checkpoint = open_checkpoint(real_heads.MODEL)
    window = checkpoint.spec.context_window
    extensions = {
        label: comparable_extensions(checkpoint.spec, factor * window, [scheme])[scheme]
        for label, (scheme, factor) in SCHEMES.items()
    }
    tokens = encode(checkpoint.tokenizer, default_text(), real_heads.TOKENS)
    likelihood, passkey = measurement.across_gaps(
        checkpoint, tokens, extensions=extensions, trials=TRIALS, seed=seed, store={}
    )
    return measurement.gap_records(likelihood, passkey)


def plot(records: Mapping[str, Record]) -> dict[str, Any]:
    """Draw each record with the command's own pictures."""
    from pianalysis.pictures import heads

    return heads.figures(records, real_heads.NAME)


def claims(records: Mapping[str, Record]) -> list[Claim]:
    """Judge nothing: the paper says of an untrained scheme what ``finetune`` reads at step 0."""
    return []
