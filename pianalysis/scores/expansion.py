r"""Scores: the basis expansion of Eq. 3, from q and k to a(s) and its derivatives.

.. math:: a(s) = \mathrm{Re} \sum_{j<d/2} h_j e^{i s \theta_j}, \qquad
          h_j = (q_{2j} + i q_{2j+1}) (k_{2j} - i k_{2j+1}).

Scores are logits before the division by :math:`\sqrt{d}`, as in the paper.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.rope import phases
from pianalysis.rope.phases import Rotary

LAYOUTS = ("interleaved", "half")


def score_coefficients(q: Any, k: Any, layout: str = "interleaved") -> Any:
    r"""Return the complex coefficients h_j of Eq. 3 for query and key vectors before RoPE.

    Parameters
    ----------
    q, k : array or torch.Tensor, shape (..., d)
        Query and key (their rotary part, if the rotation is partial); leading axes broadcast.
    layout : {"interleaved", "half"}
        Which entries form pair j: (2j, 2j+1) as in the paper and in GGUF files, or (j, j + d/2) as
        in Hugging Face models. The wrong layout gives a plausible and wrong score.

    Returns
    -------
    array (..., d/2), complex128; or a complex torch.Tensor of the input's precision when q or k is
    a tensor, differentiable.

    Raises
    ------
    ValueError
        Unknown layout; an odd, missing or unequal last axis; NaN or infinite entries, or entries
        whose products are.
    TypeError
        Half-precision or non-numeric input.

    Examples
    --------
    >>> q, k = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 0.0, 0.0, 1.0])
    >>> score_coefficients(q, k)
    array([1.+2.j, 4.-3.j])
    >>> score_coefficients(q, k, layout="half")
    array([1.+3.j, 4.-2.j])
    """
    checks.choice("layout", layout, LAYOUTS)
    if hasattr(q, "detach") or hasattr(k, "detach"):
        return _torch_coefficients(q, k, layout)
    q, k = checks.array("q", q), checks.array("k", k)
    _check_vectors(q.shape, k.shape)
    first, second = _pair_slices(layout, q.shape[-1])
    with np.errstate(over="ignore", invalid="ignore"):  # said below
        h = (q[..., first] + 1j * q[..., second]) * (k[..., first] - 1j * k[..., second])
    _check_products(bool(np.isfinite(h).all()), str(h.dtype))
    return h


def _check_products(finite: bool, dtype: str) -> None:
    if not finite:
        raise ValueError(f"q and k must be small enough for their products to be finite in {dtype}")


def _pair_slices(layout: str, dim: int) -> tuple[slice, slice]:
    if layout == "interleaved":
        return slice(0, None, 2), slice(1, None, 2)
    return slice(0, dim // 2), slice(dim // 2, None)


def _check_vectors(q_shape: tuple[int, ...], k_shape: tuple[int, ...]) -> None:
    for name, shape in (("q", q_shape), ("k", k_shape)):
        if not shape or shape[-1] == 0 or shape[-1] % 2:
            raise ValueError(f"{name} must have a last axis of even length, got shape {shape}")
    try:
        same = q_shape[-1] == k_shape[-1]
        np.broadcast_shapes(q_shape, k_shape)
    except ValueError:
        same = False
    if not same:
        raise ValueError(
            f"q and k must broadcast, with equal last axes, got {q_shape} and {k_shape}"
        )


def _torch_coefficients(q: Any, k: Any, layout: str) -> Any:
    import torch

    like = q if isinstance(q, torch.Tensor) else k
    tensors = []
    for name, value in (("q", q), ("k", k)):
        if not isinstance(value, torch.Tensor):
            value = torch.as_tensor(checks.array(name, value), device=like.device)
        if value.dtype in (torch.float16, torch.bfloat16):
            checks.refuse_half(name, str(value.dtype))
        if value.layout != torch.strided or value.is_meta:
            raise TypeError(f"{name} must be a dense tensor that holds numbers, got {value!r}")
        if value.is_complex():
            raise TypeError(f"{name} must hold real numbers, got dtype {value.dtype}")
        if not value.is_floating_point():
            value = value.double()
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"{name} must be finite, got a tensor with NaN or infinity")
        tensors.append(value)
    dtype = torch.promote_types(tensors[0].dtype, tensors[1].dtype)
    q, k = (tensor.to(dtype) for tensor in tensors)
    _check_vectors(tuple(q.shape), tuple(k.shape))
    first, second = _pair_slices(layout, q.shape[-1])
    turned = torch.complex(q[..., first].contiguous(), q[..., second].contiguous())
    against = torch.complex(k[..., first].contiguous(), k[..., second].contiguous())
    h = turned * against.conj()
    _check_products(bool(torch.isfinite(h).all()), str(h.dtype))
    return h


def attention_score(model: Rotary, h: Any, s: Any, *, derivative: int = 0) -> FloatArray:
    r"""Return a(s) of Eq. 3, or its first or second derivative with respect to s.

    .. math:: a^{(n)}(s) = \mathrm{Re} \sum_j (i \theta_j)^n h_j e^{i s \theta_j}

    Parameters
    ----------
    model : RopeSpec or extension
        Whose frequencies turn the pairs. An extension's attention factor enters squared.
    h : array, shape (..., d/2)
        Coefficients, complex; see :func:`score_coefficients`.
    s : float or array, shape (n,) or any other
        Spans m - n in tokens, real, of magnitude at most 2**53.
    derivative : {0, 1, 2}
        Order n, per token.

    Returns
    -------
    float64 array of shape h.shape[:-1] + s.shape.

    Notes
    -----
    Phases are reduced in two floats, so the error stays near 1e-15 sum|h_j| at every span.
    Uniformly spaced s (noticed by itself) are evaluated as one matrix product.

    Examples
    --------
    >>> from pianalysis import RopeSpec
    >>> spec = RopeSpec(4, 100.0, 16)
    >>> attention_score(spec, [1.0, 1.0], 0.0)
    array(2.)
    >>> attention_score(spec, [1.0, 1.0], [0.0, 2.0]).round(4)
    array([2.    , 0.5639])
    """
    order = checks.whole("derivative", derivative, at_least=0, at_most=2)
    theta = phases.check_rotary(model).frequencies
    weights = checks.coefficients(h, theta.size) * (1j * theta) ** order
    weights = (weights * model.attention_factor**2).astype(np.complex128, copy=False)
    spans = checks.numbers_of("s", s)
    grid = phases.uniform_grid(spans.ravel())
    if grid is None:  # a grid lies within the limit, which spares a long one two passes
        spans = checks.spans(spans)
    values = phases.trigonometric_sum(model, weights, spans.ravel(), grid)
    return values.reshape(weights.shape[:-1] + spans.shape)
