"""One forward pass at positions of our choice, and what texts that begin alike can share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pianalysis.arrays import IntArray
from pianalysis.checkpoints.extended import rotary_state

if TYPE_CHECKING:
    from pianalysis.checkpoints.checkpoint import Checkpoint

LARGEST_POSITION = 2**24  # beyond it float32 merges neighbouring positions


def positions(length: int, before: int, gap: int) -> IntArray:
    """Return 0, 1, ... with ``gap`` left out after the first ``before`` positions."""
    positions = np.arange(length)
    positions[before:] += gap
    return positions


def device_of(model: Any) -> torch.device:
    """Return the device that inputs go to.

    Weights left on disk are "meta"; accelerate then moves the inputs itself.
    """
    device: torch.device = model.device
    return torch.device("cpu") if device.type == "meta" else device


def logits(
    checkpoint: Checkpoint, tokens: list[int], positions: IntArray, keep: int
) -> torch.Tensor:
    """Return the logits (keep, vocabulary) of the last ``keep`` tokens."""
    return _pass(checkpoint, [tokens], positions, keep)[0]


class Beginning:
    """Tokens that many texts begin with, read once and not again for each of them.

    They stand at positions 0, 1, ...; their keys and values are kept until the rotary frequencies
    change. Where a key cannot be kept, every text is read whole: frequencies that follow the length
    of the input (``dynamic``, ``longrope``) turn the first keys otherwise in a longer text, and
    caches that hold less than every key (sliding windows, recurrences) cannot go back.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = list(tokens)
        self._state: Any = None
        self._cache: Any = None
        self._kept: list[tuple[torch.Tensor, torch.Tensor]] | None = None

    def logits(
        self, checkpoint: Checkpoint, texts: list[list[int]], positions: IntArray, keep: int
    ) -> torch.Tensor:
        """Return the logits (texts, keep, vocabulary) of the last ``keep`` tokens of each text.

        All texts are of one length and begin with these tokens. ``positions`` are those of all of
        them (length,) or of each (texts, length); ``keep`` is at most what stands behind them.
        """
        state = rotary_state(checkpoint.model)
        if state is None or not self.tokens:
            return _pass(checkpoint, texts, positions, keep)
        if state != self._state:
            self._read(checkpoint)
            self._state = state
        if self._kept is None:
            return _pass(checkpoint, texts, positions, keep)
        for layer, (keys, values) in zip(self._cache.layers, self._kept, strict=True):
            # A layer appends by concatenation: what is kept here stays as it is.
            layer.keys = keys.expand(len(texts), -1, -1, -1)
            layer.values = values.expand(len(texts), -1, -1, -1)
        return _pass(checkpoint, texts, positions, keep, behind=len(self.tokens), cache=self._cache)

    def _read(self, checkpoint: Checkpoint) -> None:
        from transformers.cache_utils import DynamicLayer

        ids = torch.tensor([self.tokens], device=device_of(checkpoint.model))
        with torch.inference_mode():
            out: Any = checkpoint.model.base_model(
                input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=True
            )
        self._cache = getattr(out, "past_key_values", None)
        layers = getattr(self._cache, "layers", [])
        whole = layers and all(type(layer) is DynamicLayer for layer in layers)
        self._kept = [(layer.keys, layer.values) for layer in layers] if whole else None


def _pass(
    checkpoint: Checkpoint,
    texts: list[list[int]],
    positions: IntArray,
    keep: int,
    *,
    behind: int = 0,
    cache: Any = None,
) -> torch.Tensor:
    """Run the tokens of each text from ``behind`` on; what stands before them is in the cache."""
    device = device_of(checkpoint.model)
    ids = torch.tensor(texts, device=device)
    at = torch.tensor(positions, device=device).expand(len(texts), -1)
    known: dict[str, Any] = {"use_cache": False}
    if cache is not None:
        known = {"use_cache": True, "past_key_values": cache}
    with torch.inference_mode():
        # Without a mask transformers takes a gap for the border of two packed texts and hides
        # one part from the other.
        out = checkpoint.model(
            input_ids=ids[:, behind:],
            position_ids=at[:, behind:],
            attention_mask=torch.ones_like(ids),
            logits_to_keep=keep,
            **known,
        )
    logits: torch.Tensor = out.logits.float()
    return logits
