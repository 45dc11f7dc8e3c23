"""What is caught at the rotation, compared with what the model's softmax is given.

Between the two a family may do more (Hunyuan normalises queries and keys after it rotated them):
then a(s) is not the model's score, and the layer is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from pianalysis.arrays import ComplexArray, FloatArray


@dataclass(frozen=True, slots=True)
class Rotated:
    """Queries and keys of a layer as its rotation returned them, (heads, tokens, width)."""

    queries: Any
    keys: Any
    phases: FloatArray  # of the tokens, (tokens, d/2)
    factor: float  # on cos and sin
    rotary_dim: int


class Attended(TorchFunctionMode):
    """While active: keeps what the attention of the layer that runs multiplies and normalises."""

    def __init__(self) -> None:
        super().__init__()
        self.clear()

    def clear(self) -> None:
        """Forget the layer before."""
        self.queries: Any = None
        self.keys: Any = None
        self.logits: Any = None
        self.scale: float | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "scaled_dot_product_attention" and self.queries is None:
            self.queries, self.keys = args[0], args[1]
            scale = kwargs.get("scale")
            self.scale = args[0].shape[-1] ** -0.5 if scale is None else float(scale)
        elif name == "matmul" and self.queries is None and args[0].ndim == 4:
            if args[1].shape[-2] == args[0].shape[-1] and args[1].shape[-1] == args[0].shape[-2]:
                self.queries, self.keys = args[0], args[1].transpose(-1, -2)
        elif name == "softmax" and self.logits is None and args[0].ndim == 4:
            self.logits = args[0]
        return func(*args, **kwargs)


def disagreement(
    attended: Attended,
    rotated: Rotated,
    q: ComplexArray,
    k: ComplexArray,
    scaling: float,
    softcap: float | None,
) -> str | None:
    """Return why the package's logits of the last query are not the model's; None if they are.

    Compared up to a constant, which no softmax sees, over the keys that the query attends to.
    """
    if attended.queries is None:
        return "its attention is neither scaled_dot_product_attention nor a product and a softmax"
    last = rotated.queries.shape[-2] - 1
    queries, keys = _array(attended.queries)[:, last], _array(attended.keys)
    heads = queries.shape[0]
    turned_q, turned_k = _array(rotated.queries)[:, last], _array(rotated.keys)
    if keys.shape[1] != turned_k.shape[1]:
        return "its attention sees other keys than those that were rotated"
    turned_k, keys = _repeated(turned_k, heads), _repeated(keys, heads)
    width, room = turned_q.shape[-1], _room(rotated.queries, queries)
    places = [
        start
        for start in (0, queries.shape[-1] - width)
        if start >= 0
        and np.abs(queries[:, start : start + width] - turned_q).max() <= room
        and np.abs(keys[..., start : start + width] - turned_k).max() <= _room(keys, keys)
    ]
    if not places:
        return "queries or keys are changed after the rotation (by a norm, for instance)"
    start = places[0]
    inside = np.zeros(queries.shape[-1], bool)
    inside[start : start + rotated.rotary_dim] = True
    content = np.einsum("hd,hnd->hn", queries[:, ~inside], keys[..., ~inside])
    turn = np.exp(1j * (rotated.phases[last] - rotated.phases)) * rotated.factor**2
    h = q[:, last, None] * _repeated(k, heads).conj()
    ours = scaling * ((h * turn).real.sum(axis=-1) + content)
    if softcap is not None:
        ours = softcap * np.tanh(ours / softcap)
    if attended.logits is not None:
        theirs = _array(attended.logits)[:, last, : ours.shape[-1]]
    else:
        theirs = float(attended.scale or 0.0) * np.einsum("hd,hnd->hn", queries, keys)
    seen = theirs > -1e4  # masks are the most negative number of their format
    for head in range(heads):
        gap = (ours[head] - theirs[head])[seen[head]]
        size = max(1.0, float(np.abs(theirs[head][seen[head]]).max()))
        if gap.size and np.ptp(gap) > 20 * room_of(rotated.queries) * size:
            return f"logits of head {head} differ by up to {np.ptp(gap):.3g} from scaling a(m - n)"
    return None


def room_of(values: Any) -> float:
    """Return the relative error of the format that a model computes in."""
    return 1e-2 if values.element_size() < 4 else 1e-4


def _room(source: Any, values: FloatArray) -> float:
    relative = room_of(source) if isinstance(source, torch.Tensor) else 1e-2
    return relative * max(1e-30, float(np.abs(values).max()))


def _array(value: Any) -> FloatArray:
    out: FloatArray = value.detach().double().cpu().numpy().reshape(value.shape[-3:])
    return out


def _repeated(keys: Any, heads: int) -> Any:
    """Return keys once for each query head of their group."""
    return np.repeat(keys, heads // keys.shape[0], axis=0)
