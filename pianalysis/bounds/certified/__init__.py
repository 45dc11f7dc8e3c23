"""Constants enclosed in balls: what is printed with these digits is proved."""

from pianalysis.bounds.certified.abel import smallest_at_integers
from pianalysis.bounds.certified.constants import (
    abel_sum,
    cell_bound_ball,
    grid_constant,
    interpolation_bound,
    paper_bound_threshold,
    theta_square_sum,
)
from pianalysis.bounds.certified.first import CertifiedSpanBelow, first_span_below
from pianalysis.bounds.certified.minimum import (
    BALL_TERMS,
    MOST_BALL_TERMS,
    THINNEST,
    cell_floor,
    exactly,
    first_points,
    halve,
    on_cell,
    smallest_abel_sum,
    sums_at,
    worth_halving,
)
from pianalysis.bounds.certified.ratio import CertifiedReadings, bound_ratio, ratio_readings

__all__ = [
    "BALL_TERMS",
    "MOST_BALL_TERMS",
    "THINNEST",
    "CertifiedReadings",
    "CertifiedSpanBelow",
    "abel_sum",
    "bound_ratio",
    "cell_bound_ball",
    "cell_floor",
    "exactly",
    "first_points",
    "first_span_below",
    "grid_constant",
    "halve",
    "interpolation_bound",
    "on_cell",
    "paper_bound_threshold",
    "ratio_readings",
    "smallest_abel_sum",
    "smallest_at_integers",
    "sums_at",
    "theta_square_sum",
    "worth_halving",
]
