r"""A ridge on what attention scores are made of: the mean of sum_j |h_j|^2, exact and cheap.

Section 2.3 of arXiv:2306.15595 notes that least squares with ridge regularisation of h keep the
extrapolated magnitude comparable to the one inside the window, and leaves open whether a language
model trained with such a regulariser behaves so. Here is the regulariser for a model in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


def mean_square_coefficients(
    queries: torch.Tensor, keys: torch.Tensor, *, heads: int, scaling: float
) -> torch.Tensor:
    r"""Return the mean of :math:`\sum_j |h_j|^2` over texts, heads and all pairs of positions.

    With :math:`h_j = c \, q_{m,j} \bar k_{n,j}` and c the scaling, :math:`|h_j|^2` is a product of
    a factor of m and a factor of n, so that the mean over all (m, n) factorises:

    .. math:: \frac{1}{N^2} \sum_{m,n} \sum_j |h_j|^2
              = c^2 \sum_j \Big(\frac1N \sum_m |q_{m,j}|^2\Big)
                           \Big(\frac1N \sum_n |k_{n,j}|^2\Big)

    Parameters
    ----------
    queries, keys : tensor (texts, tokens, heads * head_dim)
        Before rotation, which leaves every :math:`|q_j|` and :math:`|k_j|` as it is; entry j pairs
        with entry j + head_dim / 2.
    heads : int
        Of queries and of keys.
    scaling : float
        From score to logit: h is in logits.

    Returns
    -------
    Scalar tensor, differentiable.

    Notes
    -----
    Pairs whose key comes after the query count too, although no score reads them: without them the
    mean would not factorise.
    """
    query, key = (_mean_squares(values, heads) for values in (queries, keys))
    return scaling**2 * (query * key).sum(dim=-1).mean()


def _mean_squares(values: torch.Tensor, heads: int) -> torch.Tensor:
    """Return the mean over tokens of the squared modulus of each pair: (texts, heads, d/2)."""
    texts, tokens, _ = values.shape
    halves = values.view(texts, tokens, heads, 2, -1)
    return halves.square().sum(dim=3).mean(dim=1)


@contextmanager
def observed(model: Any) -> Iterator[Callable[[], torch.Tensor]]:
    """Yield a function that returns the penalty of the last forward pass, its mean over layers.

    ``model`` is a transformers Llama with as many key heads as query heads. Queries and keys are
    the outputs of its own ``q_proj`` and ``k_proj``, where nothing else stands before the rotation;
    a gradient flows back through them.
    """
    caught: dict[tuple[int, str], torch.Tensor] = {}
    attentions = [layer.self_attn for layer in model.model.layers]

    def keep(place: tuple[int, str]) -> Callable[..., None]:
        def hook(module: Any, inputs: Any, output: torch.Tensor) -> None:
            caught[place] = output

        return hook

    def penalty() -> torch.Tensor:
        parts = [
            mean_square_coefficients(
                caught[index, "q"],
                caught[index, "k"],
                heads=model.config.num_attention_heads,
                scaling=attention.scaling,
            )
            for index, attention in enumerate(attentions)
        ]
        return torch.stack(parts).mean()

    hooks = [
        projection.register_forward_hook(keep((index, name)))
        for index, attention in enumerate(attentions)
        for name, projection in (("q", attention.q_proj), ("k", attention.k_proj))
    ]
    try:
        yield penalty
    finally:
        for hook in hooks:
            hook.remove()
