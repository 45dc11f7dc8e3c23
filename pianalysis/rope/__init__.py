"""The RoPE specification: frequencies, presets, configs, and phases that stay exact."""

from pianalysis.rope.config_keys import LARGEST_HEAD_DIM
from pianalysis.rope.presets import PRESETS, Preset, preset
from pianalysis.rope.spec import LARGEST_WINDOW, RopeSpec, check_spec

__all__ = [
    "LARGEST_HEAD_DIM",
    "LARGEST_WINDOW",
    "PRESETS",
    "Preset",
    "RopeSpec",
    "check_spec",
    "preset",
]
