"""How fast training is, beside the fastest that this machine multiplies matrices."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from pianalysis.planning.cost import token_operations

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SIZES = {"cpu": 1024, "cuda": 8192}
_TRIES = 5


def flops_per_token(model: PreTrainedModel, length: int) -> float:
    """Return the operations that training one token needs, as ``planning.cost`` counts them.

    The weights are those of all linear maps of the model, which may lie on the meta device.
    Activations that are computed again (gradient checkpointing) are not counted, nor are norms,
    rotations and the optimiser: it is the numerator of what is called model FLOP utilisation.
    """
    config = model.config.get_text_config()
    linear = (m for m in model.modules() if isinstance(m, torch.nn.Linear))
    weights = sum(module.weight.numel() for module in linear)
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    return float(token_operations(weights, config.num_hidden_layers * width, length).model)


def matrix_product_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Return the floating-point operations a second of a large square matrix product, measured."""
    size = _SIZES.get(device.type, _SIZES["cpu"])
    a = torch.ones(size, size, device=device, dtype=dtype)
    times = []
    for _ in range(_TRIES + 1):  # the first warms up
        start = time.perf_counter()
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return 2.0 * size**3 / min(times[1:])
