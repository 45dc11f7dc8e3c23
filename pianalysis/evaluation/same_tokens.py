r"""What a longer window is worth: the same tokens scored at every window, for Tables 1 and 3.

The last n tokens of a text are scored. A window of W tokens that ends at the text's end, and
others before it by the stride, score them all; what differs from one window to the next is only
how far back the model sees. With the stride

.. math:: S = \min(W/2,\, n)

every scored token has at least max(W/2, W - n) tokens before it in its window, and W >= 2n is one
pass. Means over blocks of tokens are kept, so that two windows, models or steps are compared block
by block: the texts' own ups and downs, which are far larger than what is compared, drop out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray, IntArray
from pianalysis.evaluation import units
from pianalysis.evaluation.forward import LARGEST_POSITION
from pianalysis.evaluation.perplexity import token_losses
from pianalysis.evaluation.units import Measured, Store
from pianalysis.extension import Extension

if TYPE_CHECKING:
    from pianalysis.checkpoints.checkpoint import Checkpoint

BLOCKS = 16


@dataclass(frozen=True, slots=True)
class SameTokens(Measured):
    """Mean loss of the same ``scored`` tokens, a row a scheme, window and block of them.

    ``nats`` a token in each of 16 consecutive blocks; windows lie ``stride`` apart.
    """

    tokens_sha256: str
    scored: int
    scheme: tuple[str, ...]
    window: IntArray
    stride: IntArray
    block: IntArray
    nats: FloatArray


def same_tokens(
    checkpoint: Checkpoint,
    tokens: Sequence[int],
    *,
    windows: Sequence[int],
    scored: int,
    extensions: Mapping[str, Extension] | None = None,
    store: Store | None = None,
) -> SameTokens:
    """Return the loss of a text's last tokens, read through each window.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model; measured as loaded, and with each extension.
    tokens : sequence of int
        The text, more than the longest window.
    windows : sequence of int
        W: tokens read at once, increasing, at least 2.
    scored : int
        n, a multiple of 16.
    extensions, store
        As for ``perplexity``; a unit is one scheme and window.

    Raises
    ------
    ValueError, TypeError
        Naming the argument: a window as long as the text, scored tokens beyond it or no multiple
        of 16, a token outside the vocabulary, a loss that is not finite.
    """
    text = units.vocabulary_ids(checkpoint, tokens)
    most = min(len(text) - 1, LARGEST_POSITION)
    windows = units.listed("windows", windows, at_least=2, at_most=most)
    scored = checks.whole("scored", scored, at_most=most)
    if scored % BLOCKS:
        raise ValueError(f"scored must be a multiple of {BLOCKS}, got {scored}")
    schemes = units.schemes(checkpoint, extensions)

    def measure(window: int) -> dict[str, Any]:
        losses = np.concatenate(
            [
                token_losses(checkpoint.model, text[start : end + 1], count)
                for start, end, count in ending_spans(len(text), window, scored)
            ]
        )
        if not np.isfinite(losses).all():
            raise ValueError(f"checkpoint must give finite losses, got others at window {window}")
        return {"nats": losses.reshape(BLOCKS, -1).mean(-1).tolist()}

    sha256 = units.sha256(text)
    cases = {
        window: {"kind": "same tokens", "tokens": sha256, "scored": scored, "window": window}
        for window in windows
    }
    nats = [unit["nats"] for unit in units.run(checkpoint, schemes, cases, measure, store)]
    each = np.repeat(windows * len(schemes), BLOCKS)
    return SameTokens(
        **units.about(checkpoint, schemes),
        tokens_sha256=sha256,
        scored=scored,
        scheme=tuple(label for label in schemes for _ in range(len(windows) * BLOCKS)),
        window=each,
        stride=np.minimum(each // 2, scored),
        block=np.tile(np.arange(BLOCKS), len(windows) * len(schemes)),
        nats=np.array(nats).ravel(),
    )


def ending_spans(length: int, window: int, scored: int) -> Iterator[tuple[int, int, int]]:
    """Yield (start, end, count): a window reads [start, end), its last ``count`` are scored.

    Examples
    --------
    >>> list(ending_spans(21, window=6, scored=5))
    [(11, 17, 2), (14, 20, 3)]
    >>> list(ending_spans(21, window=16, scored=5))
    [(4, 20, 5)]
    """
    stride = min(window // 2, scored)
    for back in range(stride * ((scored - 1) // stride), -1, -stride):
        end = length - 1 - back
        yield max(0, end - window), end, min(stride, scored - back)
