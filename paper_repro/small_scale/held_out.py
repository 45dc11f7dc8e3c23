"""Which texts reward a long window: the same tokens scored at every window, before any training.

The held-out files of the fine-tune are chosen by this measurement on the unextended model. A text
is read up to its ``EXCERPT``-th token and its last ``SCORED`` tokens are scored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.checkpoints.checkpoint import open_checkpoint
from pianalysis.evaluation.same_tokens import same_tokens
from pianalysis.evaluation.text import PLAY, encode
from pianalysis.evaluation.units import Store
from pianalysis.finetune.texts import plays, source_files
from pianalysis.records import Record, columns

EXCERPT = 32769  # tokens: what the longest target holds, and one to predict
SCORED = 2048
WINDOWS = (1024, 2048, 4096, 8192)
CANDIDATES = (
    PLAY.stem,
    "polys/polytools.py",
    "combinatorics/perm_groups.py",
    "matrices/matrixbase.py",
)


@dataclass(frozen=True, slots=True)
class Candidates(Record):
    """Perplexity of the last ``scored`` of ``excerpt`` tokens, a row a text and window.

    ``gain`` is the drop in nats a token against the shortest window, on the same tokens, and
    ``standard_error`` that of its mean over 16 blocks.
    """

    checkpoint: str
    digest: str
    excerpt: int
    scored: int
    text: tuple[str, ...]
    window: FloatArray
    perplexity: FloatArray
    gain: FloatArray
    standard_error: FloatArray


def measure(
    model: str = "smollm2",
    store: Store | None = None,
    *,
    excerpt: int = EXCERPT,
    scored: int = SCORED,
) -> Candidates:
    """Read every candidate through every window with the unextended model.

    Raises
    ------
    ValueError
        A text shorter than the excerpt.
    """
    checkpoint = open_checkpoint(model)
    texts = {**plays(), **source_files()}
    rows = []
    for name in CANDIDATES:
        tokens = encode(checkpoint.tokenizer, texts[name], excerpt)
        windows = [window for window in WINDOWS if window < excerpt]
        read = same_tokens(checkpoint, tokens, windows=windows, scored=scored, store=store)
        nats = read.nats.reshape(len(windows), -1)
        gains = nats[0] - nats
        errors = gains.std(-1, ddof=1) / np.sqrt(nats.shape[1])
        found = zip(windows, np.exp(nats.mean(-1)), gains.mean(-1), errors, strict=True)
        rows += [
            {"text": name, "window": w, "perplexity": p, "gain": gain, "standard_error": error}
            for w, p, gain, error in found
        ]
    return Candidates(
        checkpoint=checkpoint.name,
        digest=checkpoint.digest,
        excerpt=excerpt,
        scored=scored,
        **columns(rows),
    )
