"""A head's largest score just beyond the window, and the closed-form ceiling of its own limits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pianalysis.arrays import ComplexArray, FloatArray
from pianalysis.bounds.worst_case.head_limits import ceiling
from pianalysis.heads import sweep
from pianalysis.rope.spec import RopeSpec


def largest(
    spec: RopeSpec, h: ComplexArray, table: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """Return span and value of the largest a(s) with L <= s < 2L of each row, and its ceiling.

    ``h`` (heads, d/2) holds the draw of each head that goes furthest; ``table`` its limits.
    """
    window = spec.context_window
    spans = np.arange(window, 2.0 * window)
    scores = sweep.scores(spec, h, spans)
    at = scores.argmax(axis=1)
    size = np.maximum(-table["dip_1_min"], table["peak_1_max"])
    heads = zip(spans[at], table["coefficient_max"], size, strict=True)
    return {
        "beyond_span": spans[at],
        "beyond_score": scores[np.arange(len(h)), at],
        "ceiling": np.array([ceiling(spec, span, most, limit) for span, most, limit in heads]),
    }
