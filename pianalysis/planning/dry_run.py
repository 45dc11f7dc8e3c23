"""Dry run: the whole model and one pass at full length on the meta device, without memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pianalysis.extension import Extension
from pianalysis.planning.measured import sizes_of
from pianalysis.records import Record

# transformers computes frequencies in float32: base ** (-2j/d) is off by a few roundings.
FREQUENCY_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class DryRun(Record):
    """What transformers built: parameters, shape of the logits, and its frequencies' error.

    ``frequency_error`` is relative to the scheme's frequencies, the worst pair.
    """

    model_class: str
    parameters: int
    logits: tuple[int, int, int]
    frequency_error: float


def dry_run(config: Mapping[str, Any], extension: Extension) -> DryRun:
    """Build a model with ``extension`` on the meta device and pass one sequence of its target.

    Parameters
    ----------
    config : mapping
        The model's Hugging Face config before the extension.
    extension : Extension
        A scheme whose frequencies do not depend on the length in use.

    Raises
    ------
    ValueError
        transformers refuses the config, or counts other parameters, another shape or other
        frequencies than this package.

    Notes
    -----
    Tensors on the meta device have shapes and no storage. What it cannot show: whether
    kernels exist for the shapes, and how much memory they take.

    Examples
    --------
    >>> from pianalysis import PositionInterpolation, preset
    >>> from pianalysis.planning.published import llama_config
    >>> extension = PositionInterpolation(preset("llama-7b"), 8192)
    >>> dry_run(llama_config("llama-7b"), extension).logits
    (1, 8192, 32000)
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    merged = {k: v for k, v in config.items() if k not in ("rope_theta", "rope_scaling")}
    merged |= extension.to_hf()
    # transformers types its factories in part only.
    factory: Any = AutoModelForCausalLM
    try:
        built = AutoConfig.for_model(**merged)
        with torch.device("meta"):
            model = factory.from_config(built, attn_implementation="sdpa", trust_remote_code=False)
            model.tie_weights()
            ids = torch.zeros((1, extension.target), dtype=torch.long)
            # A mask in four dimensions is taken as it is; one to be derived would read values.
            mask = torch.ones((1, 1, extension.target, extension.target), dtype=torch.bool)
            with torch.no_grad():
                logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        rotary = type(model.model.rotary_emb)(built)
    except (ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"config must build a model in transformers, got {reason}") from None
    if any(tensor.device.type != "meta" for tensor in model.state_dict().values()):
        raise ValueError("every weight of a dry run must be on the meta device, got another")
    ratios = rotary.inv_freq.double().numpy() / extension.frequencies
    run = DryRun(
        model_class=type(model).__name__,
        parameters=sum(weight.numel() for weight in model.parameters()),
        logits=tuple(logits.shape),
        frequency_error=float(np.abs(ratios - 1.0).max()),
    )
    sizes = sizes_of(config)
    shape = (1, extension.target, sizes.vocabulary)
    if run.parameters != sizes.parameters:
        raise ValueError(
            f"parameters must be {sizes.parameters} by the formula, "
            f"got {run.parameters} in {run.model_class}"
        )
    if run.logits != shape:
        raise ValueError(f"logits must have shape {shape}, got {run.logits}")
    if not run.frequency_error <= FREQUENCY_TOLERANCE:
        raise ValueError(
            f"frequencies must be the scheme's to {FREQUENCY_TOLERANCE:g}, "
            f"got a relative error of {run.frequency_error:g} in {run.model_class}"
        )
    return run
