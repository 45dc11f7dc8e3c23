r"""Any extension scheme inside a loaded model: other frequencies, for as long as a ``with`` lasts.

Scaling positions and scaling frequencies are one act (Eq. 4, arXiv:2306.15595), so no weight
changes and nothing is loaded again: each rotary embedding of the model turns pair j at
:math:`\theta'_j` and multiplies cos and sin by the scheme's attention factor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from pianalysis import checks
from pianalysis.extension import Extension

_SUFFIX = "inv_freq"
_FIXED = ("default", "linear", "llama3", "proportional", "yarn")  # the same at any length


@contextmanager
def extended(model: torch.nn.Module, extension: Extension) -> Iterator[None]:
    r"""Give a transformers model the frequencies of an extension inside a ``with`` block.

    Parameters
    ----------
    model : torch.nn.Module
        A transformers model with rotary embeddings; it may itself be loaded with any scheme, which
        is put aside.
    extension : Extension
        Of the model's own specification: the same rotary dimension and base.

    Raises
    ------
    TypeError
        Something that is not an extension.
    ValueError
        A model without rotary embeddings, of another rotary dimension or base. Where the layers of
        a model differ (Gemma 3), only those of the extension's base are changed, and a model with
        no such layer is refused.

    Notes
    -----
    Frequencies are rounded once, from float64 to the float32 in which transformers turns. A scheme
    that follows the length (``dynamic``, ``longrope``) stays at its target whatever the length of
    the input. On leaving, also by an exception, the very tensors of before are put back. The block
    changes the model for all its users: not for two threads at once.

    Examples
    --------
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> from pianalysis import PositionInterpolation, RopeSpec
    >>> model = LlamaForCausalLM(LlamaConfig(hidden_size=16, num_attention_heads=2, vocab_size=8,
    ...     num_hidden_layers=1, intermediate_size=8, max_position_embeddings=64))
    >>> with extended(model, PositionInterpolation(RopeSpec(8, 10_000.0, 64), 256)):
    ...     print(model.model.rotary_emb.inv_freq[0])
    tensor(0.2500)
    >>> model.model.rotary_emb.inv_freq[0]
    tensor(1.)
    """
    if not isinstance(extension, Extension):
        raise TypeError(f"extension must be an Extension, got {extension!r}")
    places = _places(model, extension)
    before = [
        (module, name, getattr(module, name))
        for module, prefix in places
        for name in (prefix + _SUFFIX, prefix + "attention_scaling", "rope_type")
    ]
    try:
        for module, prefix in places:
            _install(module, prefix, extension)
        yield
    finally:
        # Backwards: a module with several layer types holds one rope_type, saved first unchanged.
        for module, name, value in reversed(before):
            setattr(module, name, value)


def rotary_state(model: torch.nn.Module) -> tuple[Any, ...] | None:
    """Return what the rotation depends on beside positions, to be compared.

    None where the frequencies follow the length of the input, or no rotary embedding is found.
    """
    state: list[Any] = []
    for module, prefix in _rotary_embeddings(model):
        kind = module.rope_type
        if isinstance(kind, Mapping):
            kind = kind[prefix.removesuffix("_")]
        if kind not in _FIXED:
            return None
        frequencies = getattr(module, prefix + _SUFFIX).detach().cpu()
        state.append((frequencies.numpy().tobytes(), getattr(module, prefix + "attention_scaling")))
    return tuple(state) or None


def _install(module: Any, prefix: str, extension: Extension) -> None:
    old = getattr(module, prefix + _SUFFIX)
    frequencies = torch.tensor(extension.frequencies, dtype=torch.float32, device=old.device)
    setattr(module, prefix + _SUFFIX, frequencies)
    setattr(module, prefix + "attention_scaling", extension.attention_factor)
    # The type decides whether the forward pass computes frequencies anew: it must not.
    if isinstance(module.rope_type, Mapping):
        module.rope_type = {**module.rope_type, prefix.removesuffix("_"): "default"}
    else:
        module.rope_type = "default"


def _places(model: torch.nn.Module, extension: Extension) -> list[tuple[Any, str]]:
    """Return each (rotary embedding, buffer prefix) that the extension is for."""
    spec = extension.spec
    places = list(_rotary_embeddings(model))
    if not places:
        raise ValueError(
            "model must have rotary embeddings with inv_freq and attention_scaling, "
            f"got {type(model).__name__}"
        )
    bases = {_base(module, prefix) for module, prefix in places}
    places = [place for place in places if _base(*place) == spec.base]
    if not places:
        raise ValueError(f"extension must have the model's base {_listed(bases)}, got {spec.base}")
    pairs = {getattr(module, prefix + _SUFFIX).numel() for module, prefix in places}
    if pairs != {spec.pairs}:
        raise ValueError(
            "extension must have the model's rotary dimension "
            f"{_listed({2 * n for n in pairs})}, got {spec.rotary_dim}"
        )
    return places


def _rotary_embeddings(model: torch.nn.Module) -> Iterator[tuple[Any, str]]:
    """Yield (module, prefix): prefix '' or, where layers differ, 'full_attention_' and so on.

    A module without attention_scaling is no language model's: vision towers have one.
    """
    for module in model.modules():
        for name, _ in module.named_buffers(recurse=False):
            prefix = name.removesuffix(_SUFFIX)
            if name.endswith(_SUFFIX) and hasattr(module, prefix + "attention_scaling"):
                yield module, prefix


def _base(module: Any, prefix: str) -> float:
    """Return the base that a rotary embedding's config holds, of either generation."""
    parameters = getattr(module.config, "rope_parameters", None) or {}
    if prefix:
        parameters = parameters[prefix.removesuffix("_")]
    base: Any = parameters.get("rope_theta", getattr(module.config, "rope_theta", None))
    return checks.real("the model's rope_theta", base)


def _listed(values: set[Any]) -> str:
    return " or ".join(str(value) for value in sorted(values))
