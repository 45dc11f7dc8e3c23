"""Phase errors in bfloat16, float16 and float32, with proved positions."""

from pianalysis.precision.errors import (
    LONGEST_SEARCH,
    FirstWrong,
    PhaseError,
    first_wrong,
    phase_error,
)

__all__ = ["LONGEST_SEARCH", "FirstWrong", "PhaseError", "first_wrong", "phase_error"]
