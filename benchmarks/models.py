"""The models and texts of the benchmarks: SmolLM2-135M on a play, or a random one for a trial."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pianalysis.checkpoints.checkpoint import open_checkpoint
from pianalysis.evaluation.text import default_text, encode

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import tiny


def opened(name: str, tokens: int) -> tuple[Any, list[int]]:
    """Return a checkpoint and the first tokens of its text."""
    if name == "tiny":
        checkpoint = tiny.checkpoint(tiny.llama(), tiny.letters())
        return checkpoint, encode(checkpoint.tokenizer, "To be, or not to be? " * tokens, tokens)
    checkpoint = open_checkpoint(name)
    return checkpoint, encode(checkpoint.tokenizer, default_text(), tokens)
