r"""Sliding-window perplexity (Press et al. 2022), as in Tables 1 to 3 of arXiv:2306.15595.

A window of W tokens starts at every multiple of the stride S and is read from position 0 on. Each
token of it predicts the next one; scored is what no window before has scored, so every token but a
text's first is scored once, behind at least W - S tokens wherever that many stand before it:

.. math:: \mathrm{PPL} = \exp\Big(-\frac{1}{N} \sum_{i=1}^{N}
          \log p(x_i \mid \text{its window's tokens before } x_i)\Big) .

The sum runs over all scored tokens of all documents: it is pooled by tokens. Public scripts also
take the mean over windows of each window's mean, which counts the first window of a document, W
tokens with little context, no more than each later one of S tokens. ``compat=True`` does so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from pianalysis import checks
from pianalysis.arrays import FloatArray, IntArray
from pianalysis.evaluation import units
from pianalysis.evaluation.forward import LARGEST_POSITION, device_of
from pianalysis.evaluation.units import Measured, Store
from pianalysis.extension import Extension

if TYPE_CHECKING:
    from pianalysis.checkpoints.checkpoint import Checkpoint

STRIDE = 256
# Numbers in one block of logits, 256 MiB of float32: a vocabulary times a few hundred tokens.
MOST_LOGITS = 2**26


@dataclass(frozen=True, slots=True)
class Perplexity(Measured):
    """Sliding-window perplexity, a row for each scheme and window.

    ``total`` is the negative log-likelihood (nats) of the ``count`` scored tokens, and
    ``perplexity`` is exp(total / count) where ``pooling`` is "tokens"; where it is "windows" it is
    exp of the unweighted mean of window means. ``longest`` is the longest window really read: less
    than ``window`` where no document is that long. ``bos`` tells which documents begin with the
    model's BOS token; no later window does.
    """

    tokens_sha256: str
    documents: int
    bos: str
    stride: int
    pooling: str
    scheme: tuple[str, ...]
    window: IntArray
    longest: IntArray
    total: FloatArray
    count: IntArray
    perplexity: FloatArray


def perplexity(
    checkpoint: Checkpoint,
    documents: Sequence[Sequence[int]],
    *,
    windows: Sequence[int],
    stride: int = STRIDE,
    compat: bool = False,
    extensions: Mapping[str, Extension] | None = None,
    store: Store | None = None,
) -> Perplexity:
    """Return the sliding-window perplexity of documents, by scheme and window.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model; measured as loaded, and with each extension.
    documents : sequence of sequences of int
        Tokens, at least 2 a document. Begin each as the model expects: ``evaluation.text.opening``.
    windows : sequence of int
        W: tokens that are read at once, increasing.
    stride : int
        S, from 1 to the shortest window. At S = W windows meet without overlap, and the first token
        of each is predicted by the last of the window before.
    compat : bool
        Pool by windows instead of by tokens; see the module.
    extensions : mapping, optional
        Label -> extension of ``checkpoint.spec``.
    store : mutable mapping, optional
        Results of single units, one a scheme, window and document, by a key that names all that
        enters; a unit found there is not computed again.

    Raises
    ------
    ValueError, TypeError
        Naming the argument: a document of one token, a token outside the vocabulary, a stride
        beyond a window, a loss that is not finite.

    Notes
    -----
    A model may be given any window; beyond the one it was trained for the numbers show what that
    costs. Logits are made for scored tokens alone and block by block, so memory grows with W as the
    model's own layers need it. A longer window helps by more context and, at equal stride, by
    leaving fewer tokens with little of it: compare windows on the same documents only.
    """
    texts = _documents(checkpoint, documents)
    windows = units.listed("windows", windows, at_least=1, at_most=LARGEST_POSITION)
    stride = checks.whole("stride", stride, at_most=windows[0])
    schemes = units.schemes(checkpoint, extensions)

    def measure(case: tuple[int, int]) -> dict[str, Any]:
        window, index = case
        return _read(checkpoint, texts[index], window, stride, f"document {index}")

    cases = {
        (window, index): {
            "kind": "perplexity",
            "tokens": units.sha256(text),
            "window": window,
            "stride": stride,
        }
        for window in windows
        for index, text in enumerate(texts)
    }
    results = list(units.run(checkpoint, schemes, cases, measure, store))
    sums = {
        name: np.array([unit[name] for unit in results]).reshape(-1, len(texts)).sum(-1)
        for name in ("total", "count", "sum_of_means", "windows")
    }
    total, count = ("sum_of_means", "windows") if compat else ("total", "count")
    longest = max(len(text) for text in texts) - 1
    return Perplexity(
        **units.about(checkpoint, schemes),
        **_of_texts(checkpoint, texts),
        stride=stride,
        pooling="windows" if compat else "tokens",
        scheme=tuple(label for label in schemes for _ in windows),
        window=np.array(windows * len(schemes)),
        longest=np.minimum(windows * len(schemes), longest),
        total=sums["total"],
        count=sums["count"],
        perplexity=np.exp(sums[total] / sums[count]),
    )


def window_spans(length: int, window: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """Yield (start, end, scored): a window reads [start, end) and scores its last ``scored``.

    "Its last" are the tokens that the last ``scored`` read ones predict, at start + 1 to end.

    Examples
    --------
    >>> list(window_spans(11, window=6, stride=2))
    [(0, 6, 6), (2, 8, 2), (4, 10, 2)]
    >>> list(window_spans(11, window=5, stride=5))
    [(0, 5, 5), (5, 10, 5)]
    """
    done = 0
    for start in range(0, length - 1, stride):
        end = min(start + window, length - 1)
        yield start, end, end - done
        if end == length - 1:
            return
        done = end


def _read(
    checkpoint: Checkpoint, tokens: list[int], window: int, stride: int, name: str
) -> dict[str, Any]:
    """Return one document's sums over tokens and over windows."""
    spans = list(window_spans(len(tokens), window, stride))
    total, count, sum_of_means = 0.0, 0, 0.0
    for start, end, scored in tqdm(spans, desc=name, unit="window", disable=None, leave=False):
        loss = _loss(checkpoint.model, tokens[start : end + 1], scored)
        if not np.isfinite(loss):
            raise ValueError(
                f"checkpoint must give finite losses, got {loss} at tokens {start} to {end} "
                f"of {name}"
            )
        total, count, sum_of_means = total + loss, count + scored, sum_of_means + loss / scored
    return {"total": total, "count": count, "sum_of_means": sum_of_means, "windows": len(spans)}


def _loss(model: Any, tokens: list[int], scored: int) -> float:
    """Return the summed loss (nats) of the last ``scored`` tokens; the last is only predicted."""
    return sum(float(block.sum()) for block in _blocks(model, tokens, scored))


def token_losses(model: Any, tokens: Sequence[int], scored: int) -> FloatArray:
    """Return the loss (nats) of each of the last ``scored`` tokens, all read in one pass.

    Parameters
    ----------
    model : transformers model
    tokens : sequence of int
        All but the last are read; the last is only predicted.
    scored : int
        From 1 to one less than there are tokens.

    Returns
    -------
    float64 (scored,).
    """
    scored = checks.whole("scored", scored, at_most=len(tokens) - 1)
    return np.concatenate([b.cpu().numpy() for b in _blocks(model, list(tokens), scored)])


def _blocks(model: Any, tokens: list[int], scored: int) -> Iterator[torch.Tensor]:
    """Yield the losses of the last ``scored`` tokens, float64, as many as fit one block."""
    device = device_of(model)
    ids = torch.tensor([tokens[:-1]], device=device)
    following = torch.tensor(tokens[1:], device=device)
    rows = torch.arange(len(tokens) - 1 - scored, len(tokens) - 1, device=device)
    block = max(1, MOST_LOGITS // model.config.get_text_config().vocab_size)
    with torch.inference_mode():
        read = model.base_model(input_ids=ids, use_cache=False)
        with _answering(model.base_model, read):
            for some in torch.split(rows, block):
                logits = model(input_ids=ids, use_cache=False, logits_to_keep=some).logits[0]
                losses = torch.nn.functional.cross_entropy(
                    logits.float(), following[some], reduction="none"
                )
                yield losses.double()


@contextmanager
def _answering(base: Any, read: Any) -> Iterator[None]:
    """Let the layers answer with what they have read, so that the model's head runs in blocks.

    The head is the model's own, with all that its family does to logits.
    """
    own = vars(base).get("forward")  # accelerate puts one there
    base.forward = lambda *_, **__: read
    try:
        yield
    finally:
        if own is None:
            del base.forward
        else:
            base.forward = own


def _documents(checkpoint: Checkpoint, documents: Sequence[Sequence[int]]) -> list[list[int]]:
    texts = [units.vocabulary_ids(checkpoint, tokens) for tokens in documents]
    if not texts:
        raise ValueError("documents must hold at least one text, got none")
    for index, text in enumerate(texts):
        if len(text) < 2:
            raise ValueError(f"documents must hold at least 2 tokens, got {len(text)} in {index}")
    return texts


def _of_texts(checkpoint: Checkpoint, texts: list[list[int]]) -> dict[str, Any]:
    """Return the fields that tell what was read."""
    bos = checkpoint.model.config.get_text_config().bos_token_id
    begin = sum(text[0] == bos for text in texts)
    return {
        "tokens_sha256": units.sha256(texts),
        "documents": len(texts),
        "bos": {0: "no document", len(texts): "every document"}.get(begin, "some documents"),
    }
