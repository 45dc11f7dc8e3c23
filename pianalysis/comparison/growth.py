r"""Extension schemes on the same axes: what each may do at worst, and what it still resolves.

*Growth*: the largest score a scheme can produce somewhere in [0, L') although every trained score
is moderate, |a(n)| <= 1 for n < L and |h_j| <= H. *Contrast*: the largest difference it leaves
between the scores of adjacent spans. Extrapolation keeps the contrast and grows; Position
Interpolation does not grow and loses it; the others lie between.
"""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.bounds.interpolation import adjacent_contrast
from pianalysis.bounds.worst_case.case import (
    WorstCase,
    holds,
    worst_case_contrast,
    worst_case_score,
)
from pianalysis.bounds.worst_case.supremum import largest_worst_case
from pianalysis.extension import Extension
from pianalysis.records import Record
from pianalysis.rope.spec import RopeSpec, check_spec

LIMITS = (0.3, 1.0, 10.0)
# Where growth is tried, as a share of the way from L to L' - 1. Beyond the window the worst case
# rises to a plateau and then ripples, by some 10% within a few hundred tokens.
_TRIED = (1.0, 0.95, 0.75)


@dataclass(frozen=True, slots=True)
class SchemeComparison(Record):
    """Growth and contrast, a row for each scheme and limit H on the coefficients.

    ``growth`` is the largest worst-case score at the spans tried, with both proved sides at its
    span (``growth_span``); the maximum over all spans of [0, L') is at least ``growth_lower`` and
    at most ``largest_upper``. The supremum of the bound over all spans, an upper bound of every
    score, lies between ``largest_lower`` and ``largest_upper`` (:func:`~.largest_worst_case`).
    ``contrast`` is the worst-case adjacent contrast at ``contrast_span``, ``contrast_termwise`` the
    bound 2 H f^2 sum_j sin(theta'_j / 2) that holds at every span. Both include the attention
    factor, whose square is ``score_multiplier``; ``fastest_ratio`` is theta'_0 / theta_0.
    """

    spec: RopeSpec
    target: int
    contrast_span: float
    scheme: tuple[str, ...]
    max_coefficient: FloatArray
    growth: FloatArray
    growth_lower: FloatArray
    growth_upper: FloatArray
    growth_span: FloatArray
    largest_lower: FloatArray
    largest_upper: FloatArray
    contrast: FloatArray
    contrast_lower: FloatArray
    contrast_upper: FloatArray
    contrast_termwise: FloatArray
    score_multiplier: FloatArray
    fastest_ratio: FloatArray


def compare_schemes(
    spec: RopeSpec,
    extensions: Mapping[str, Extension],
    *,
    max_coefficients: Sequence[float] = LIMITS,
    workers: int = 1,
    every_span: bool = True,
) -> SchemeComparison:
    r"""Return growth and contrast of each extension, for each limit H on the coefficients.

    Parameters
    ----------
    spec : RopeSpec
        The pretrained model; L d at most 2**24 and d at most 256. Up to 2**22 the programmes of
        ``worst_case_score`` are solved; beyond, the bound over all spans stands alone.
    extensions : mapping
        Label -> extension of ``spec``; all with one target L'.
    max_coefficients : sequence of float
        The values of H.
    workers : int
        Processes. Above 1 they are started afresh, so a script needs its
        ``if __name__ == "__main__"``.
    every_span : bool
        Whether to bound the scores at every span of the target too; NaN otherwise.

    Returns
    -------
    SchemeComparison. Growth is the largest worst case at three spans: L' - 1, and 95% and 75% of
    the way there from L. Contrast is solved at the middle of the pretrained window; inside the
    window it hardly depends on the span, but at the very first spans, which have trained neighbours
    on one side only, it is up to 1.6 times larger.

    Raises
    ------
    ValueError, TypeError
        Naming the argument: an extension of another spec, targets that differ, H not above 0.

    Notes
    -----
    Each number is the value of a convex programme with both sides proved (``worst_case_score``,
    ``worst_case_contrast``). Other spans may be worse: growth is a lower bound of the maximum over
    spans, ``largest_upper`` an upper one. At d = 128 the maximum over 24 to 200 spans exceeded it
    by at most 13%; with only 8 pairs the worst case ripples more, and it did so by up to a half.
    For the unscaled model the contrast is about 2 sin(theta_0 / 2), the most a bounded function of
    rate theta_0 changes in one token.

    Examples
    --------
    >>> from pianalysis.extension.named import comparable_extensions
    >>> spec = RopeSpec(16, 100.0, 64)
    >>> schemes = comparable_extensions(spec, 256, ["default", "linear"])
    >>> comparison = compare_schemes(spec, schemes, max_coefficients=[1.0])
    >>> comparison.growth.round(3).tolist(), comparison.contrast.round(3).tolist()
    ([5.496, 1.883], [0.962, 0.262])
    """
    check_spec(spec)
    targets = {extension.target for extension in extensions.values()}
    if len(targets) != 1:
        raise ValueError(f"extensions must share one target, got {sorted(targets)}")
    for label, extension in extensions.items():
        if extension.spec != spec:
            raise ValueError(f"extensions must extend {spec}, got {label}: {extension.spec}")
    values = [checks.real("max_coefficients", value, above=0.0) for value in max_coefficients]
    if not values:
        raise ValueError("max_coefficients must hold at least one value, got none")
    checks.whole("workers", workers, at_most=64)
    cases = [(label, scheme, value) for label, scheme in extensions.items() for value in values]
    with ExitStack() as stack:
        spread: Callable[..., Iterable[Any]] = map
        if workers > 1:
            stack.enter_context(_one_thread_each())
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=context))
            spread = pool.map
        points = spread(
            _point,
            [case[1] for case in cases],
            [case[2] for case in cases],
            [bool(every_span)] * len(cases),
        )
        rows = list(tqdm(points, total=len(cases), unit="case", disable=None, leave=False))
    table = np.array(rows).T
    return SchemeComparison(
        spec, targets.pop(), _middle(spec), tuple(case[0] for case in cases), *table
    )


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes started meanwhile keep to one thread of linear algebra each."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _middle(spec: RopeSpec) -> float:
    return float(spec.context_window // 2)


def _point(
    extension: Extension, max_coefficient: float, every_span: bool = True
) -> tuple[float, ...]:
    spec = extension.spec
    growth = contrast = (math.nan,) * 3
    span, largest = math.nan, (math.nan,) * 2
    if holds(spec):
        grown = _growth(extension, max_coefficient)
        growth, span = (grown.value, grown.lower, grown.upper), grown.span
        step = worst_case_contrast(
            spec, _middle(spec), max_coefficient=max_coefficient, extension=extension
        )
        contrast = (step.value, step.lower, step.upper)
    if every_span:
        found = largest_worst_case(extension, max_coefficient=max_coefficient)
        largest = (found.lower, found.upper)
    return (
        max_coefficient,
        *growth,
        span,
        *largest,
        *contrast,
        float(adjacent_contrast(extension, max_coefficient)),
        extension.attention_factor**2,
        float(extension.ratios[0]),
    )


def _growth(extension: Extension, max_coefficient: float) -> WorstCase:
    """Return the largest worst case at the spans tried."""
    first, last = extension.spec.context_window, extension.target - 1
    spans = {float(round(last - (1.0 - share) * max(last - first, 0))) for share in _TRIED}
    cases = [
        worst_case_score(extension.spec, span, max_coefficient=max_coefficient, extension=extension)
        for span in sorted(spans)
    ]
    return max(cases, key=lambda case: case.lower)
