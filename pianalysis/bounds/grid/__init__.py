"""The local grid theorem: what a score bounded on the integers may do between them."""

from pianalysis.bounds.grid.theorem import (
    MOST_NEIGHBOURS,
    SMALLEST_TOLERANCE,
    LocalGridConstant,
    local_grid_constant,
)

__all__ = ["MOST_NEIGHBOURS", "SMALLEST_TOLERANCE", "LocalGridConstant", "local_grid_constant"]
