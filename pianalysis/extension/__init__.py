"""Extension schemes: a specification and a target window in, new frequencies out."""

from pianalysis.extension.base import Extension
from pianalysis.extension.by_pair import LongRoPE, Proportional
from pianalysis.extension.by_parts import Llama3, NTKByParts, YaRN
from pianalysis.extension.geometric import (
    BaseChange,
    DynamicNTK,
    NTKAware,
    PositionInterpolation,
    Unscaled,
)
from pianalysis.extension.registry import SCHEMES, extension_from_hf, layer_extensions

__all__ = [
    "SCHEMES",
    "BaseChange",
    "DynamicNTK",
    "Extension",
    "Llama3",
    "LongRoPE",
    "NTKAware",
    "NTKByParts",
    "PositionInterpolation",
    "Proportional",
    "Unscaled",
    "YaRN",
    "extension_from_hf",
    "layer_extensions",
]
