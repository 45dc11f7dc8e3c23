"""One forward pass at positions of our choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pianalysis.arrays import IntArray

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
    device = device_of(checkpoint.model)
    ids = torch.tensor([tokens], device=device)
    with torch.inference_mode():
        # Without a mask transformers takes a gap for the border of two packed texts and hides
        # one part from the other.
        out = checkpoint.model(
            input_ids=ids,
            position_ids=torch.tensor(positions, device=device)[None],
            attention_mask=torch.ones_like(ids),
            use_cache=False,
            logits_to_keep=keep,
        )
    logits: torch.Tensor = out.logits[0].float()
    return logits
