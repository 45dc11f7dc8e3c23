"""The exact worst case of a score that is bounded on the trained grid."""

from pianalysis.bounds.worst_case.case import (
    LARGEST_COEFFICIENT,
    LARGEST_DIM,
    LARGEST_GRID,
    DualWeights,
    WorstCase,
    worst_case_contrast,
    worst_case_score,
)
from pianalysis.bounds.worst_case.closed_form import worst_case_bound
from pianalysis.bounds.worst_case.supremum import LargestWorstCase, largest_worst_case

__all__ = [
    "LARGEST_COEFFICIENT",
    "LARGEST_DIM",
    "LARGEST_GRID",
    "DualWeights",
    "LargestWorstCase",
    "WorstCase",
    "largest_worst_case",
    "worst_case_bound",
    "worst_case_contrast",
    "worst_case_score",
]
