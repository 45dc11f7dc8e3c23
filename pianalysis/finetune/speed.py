"""How fast training is, beside the fastest that this machine multiplies matrices."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SIZES = {"cpu": 1024, "cuda": 8192}
_TRIES = 5


def flops_per_token(model: PreTrainedModel, length: int) -> float:
    r"""Return the floating-point operations that training one token needs, backward pass included.

    .. math:: 6 N + 6\, l\, w\, n

    with N the weights of all matrix products (embeddings are looked up, not multiplied), l layers
    of attention width w, and sequences of n tokens, of which a causal query sees half on average.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal language model of transformers; it may lie on the meta device.
    length : int
        n.

    Notes
    -----
    Activations that are computed again (gradient checkpointing) are not counted, nor are norms,
    rotations and the optimiser: it is the numerator of what is called model FLOP utilisation.
    """
    config = model.config.get_text_config()
    linear = (m for m in model.modules() if isinstance(m, torch.nn.Linear))
    weights = sum(module.weight.numel() for module in linear)
    heads = config.num_attention_heads
    width: int = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    layers: int = config.num_hidden_layers
    return 6.0 * weights + 6.0 * layers * width * length


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
