"""Scores as a function of the span (Eq. 3): expansion, fast kernels, and the fits of Fig. 2."""

from pianalysis.scores.exact_fits import (
    DesignCondition,
    ExactFitSpread,
    design_condition,
    exact_fit_spread,
    normal_blocks,
)
from pianalysis.scores.expansion import LAYOUTS, attention_score, score_coefficients
from pianalysis.scores.fits import LARGEST_DESIGN, METHODS, FittedScore, fit_score

__all__ = [
    "LARGEST_DESIGN",
    "LAYOUTS",
    "METHODS",
    "DesignCondition",
    "ExactFitSpread",
    "FittedScore",
    "attention_score",
    "design_condition",
    "exact_fit_spread",
    "fit_score",
    "normal_blocks",
    "score_coefficients",
]
