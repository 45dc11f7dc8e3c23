"""pianalysis: the theory lab of RoPE context extension (arXiv:2306.15595 and beyond)."""

from pianalysis.bounds.average import expected_deviation, expected_square
from pianalysis.bounds.certified.constants import paper_bound_threshold
from pianalysis.bounds.certified.first import first_span_below
from pianalysis.bounds.certified.minimum import smallest_abel_sum
from pianalysis.bounds.certified.ratio import ratio_readings
from pianalysis.bounds.deviation import Deviation, deviation_bound
from pianalysis.bounds.extrapolation import abel_sum, extrapolation_bound, partial_sums
from pianalysis.bounds.grid.theorem import local_grid_constant
from pianalysis.bounds.interpolation import (
    adjacent_contrast,
    grid_constant,
    interpolation_bound,
    theta_square_sum,
)
from pianalysis.bounds.mixed_base import mixed_base_bound
from pianalysis.bounds.ratio import bound_ratio
from pianalysis.bounds.softmax import attention_shift, output_shift, required_margin
from pianalysis.bounds.worst_case.case import WorstCase, worst_case_contrast, worst_case_score
from pianalysis.bounds.worst_case.closed_form import worst_case_bound
from pianalysis.bounds.worst_case.supremum import LargestWorstCase, largest_worst_case
from pianalysis.comparison.base_limits import BaseLimits, base_limits
from pianalysis.comparison.profile import (
    SchemeProfile,
    critical_base,
    critical_dimension,
    scheme_profile,
)
from pianalysis.extension import (
    SCHEMES,
    BaseChange,
    DynamicNTK,
    Llama3,
    LongRoPE,
    NTKAware,
    NTKByParts,
    PositionInterpolation,
    Proportional,
    Unscaled,
    YaRN,
    extension_from_hf,
    layer_extensions,
)
from pianalysis.extension.minimal_base import MinimalBase, cosine_length, cosine_sum, minimal_base
from pianalysis.precision.errors import FirstWrong, PhaseError, first_wrong, phase_error
from pianalysis.rope.presets import PRESETS, preset
from pianalysis.rope.spec import RopeSpec
from pianalysis.scores.exact_fits import exact_fit_spread
from pianalysis.scores.expansion import attention_score, score_coefficients
from pianalysis.scores.fits import fit_score
from pianalysis.version import __version__

__all__ = [
    "PRESETS",
    "SCHEMES",
    "BaseChange",
    "BaseLimits",
    "Deviation",
    "DynamicNTK",
    "FirstWrong",
    "LargestWorstCase",
    "Llama3",
    "LongRoPE",
    "MinimalBase",
    "NTKAware",
    "NTKByParts",
    "PhaseError",
    "PositionInterpolation",
    "Proportional",
    "RopeSpec",
    "SchemeProfile",
    "Unscaled",
    "WorstCase",
    "YaRN",
    "__version__",
    "abel_sum",
    "adjacent_contrast",
    "attention_score",
    "attention_shift",
    "base_limits",
    "bound_ratio",
    "cosine_length",
    "cosine_sum",
    "critical_base",
    "critical_dimension",
    "deviation_bound",
    "exact_fit_spread",
    "expected_deviation",
    "expected_square",
    "extension_from_hf",
    "extrapolation_bound",
    "first_span_below",
    "first_wrong",
    "fit_score",
    "grid_constant",
    "interpolation_bound",
    "largest_worst_case",
    "layer_extensions",
    "local_grid_constant",
    "minimal_base",
    "mixed_base_bound",
    "output_shift",
    "paper_bound_threshold",
    "partial_sums",
    "phase_error",
    "preset",
    "ratio_readings",
    "required_margin",
    "scheme_profile",
    "score_coefficients",
    "smallest_abel_sum",
    "theta_square_sum",
    "worst_case_bound",
    "worst_case_contrast",
    "worst_case_score",
]
