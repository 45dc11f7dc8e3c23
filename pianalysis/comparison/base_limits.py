r"""Published conditions on the base for a context length, side by side, and what is proved of each.

Each source turns an argument about one quantity into a limit on the base c. The table prints the
limit as published, whether a model meets it, and that quantity as this package computes it for the
model's true frequencies :math:`\theta_j = c^{-2j/d}`: the slowest pair turns at
:math:`c^{-(d-2)/d}`, not at 1/c.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.comparison.profile import critical_base, critical_dimension
from pianalysis.extension.minimal_base import LONGEST, cosine_length, minimal_base
from pianalysis.precision.errors import first_wrong
from pianalysis.precision.formats import PIPELINES, UNIT_ROUNDOFF
from pianalysis.records import Record, columns
from pianalysis.rope.spec import RopeSpec, check_spec

_MOST_LAYERS = 10_000
_LONGEST_SEARCH = 2**14  # positions of a pipeline that are checked one by one
_WRONG = 0.1  # radians


@dataclass(frozen=True, slots=True)
class BaseLimits(Record):
    """A row a published condition on the base, for ``target`` tokens.

    ``side`` says how the base must lie to ``limit``: "at least", "above", "at most" or "below";
    ``met`` is "yes" or "no". ``formula`` as published, ``finding`` the quantity behind it for the
    model's own frequencies.
    """

    spec: RopeSpec
    target: int
    epsilon: float
    layers: int | None
    pipeline: str | None
    condition: tuple[str, ...]
    source: tuple[str, ...]
    formula: tuple[str, ...]
    side: tuple[str, ...]
    limit: FloatArray
    met: tuple[str, ...]
    finding: tuple[str, ...]


def base_limits(
    spec: RopeSpec,
    target: int,
    *,
    epsilon: float = 0.5,
    layers: int | None = None,
    pipeline: str | None = None,
) -> BaseLimits:
    r"""Return the published conditions on the base for a context length, with what is proved.

    ============== ==================================== =======================================
    condition      source                               formula
    ============== ==================================== =======================================
    cosine sum     Men et al. 2024 (arXiv:2405.14591)   :math:`\sum_j \cos(m \theta_j) \ge 0`
                                                        for m < L'
    critical base  Liu et al. 2023 (arXiv:2310.05209)   :math:`c \ge c_0^{\ln(L'/2\pi) /
                                                        \ln(L/2\pi)}`
    aliasing       F. Liu 2026 (arXiv:2602.10959)       :math:`L' < 2 \pi c`
    DC stability   the same                             :math:`c \ge L' / \arccos \epsilon`
    N layers       the same                             :math:`c \ge L' / \arccos \epsilon^{1/N}`
    precision      the same                             :math:`c < 1 / \epsilon_\mathrm{mach}`
    unseen phases  the pretrained window, here          :math:`2 \pi c^{(d-2)/d} \le L`
    ============== ==================================== =======================================

    Parameters
    ----------
    spec : RopeSpec
        Its base c and pretrained window L, of at least 7 tokens; d at least 4.
    target : int
        L', from L to 2**22.
    epsilon : float
        Share of the DC component that must be left, above 0 and below 1.
    layers : int, optional
        N; without it the row is left out.
    pipeline : str, optional
        A number format of :func:`~pianalysis.phase_error`; without it the row is left out.

    Returns
    -------
    BaseLimits

    Raises
    ------
    ValueError, TypeError
        Naming the argument, rule and value.

    Notes
    -----
    The conditions of F. Liu 2026 are stated for a slowest frequency 1/c; for d = 128 the true one
    is faster by c^(2/d), 1.15 at c = 10000. With the true one a limit x becomes x^(d/(d-2)): the
    findings print the phase of the slowest pair, which decides. Its precision condition compares a
    frequency with a rounding error of 1; what rounding does to phases is proved position by
    position (:func:`~pianalysis.first_wrong`, searched to at most 2**14) and bites much earlier.
    "cosine sum": the limit is an upper end of the proved enclosure of
    :func:`~pianalysis.extension.minimal_base.minimal_base`; the sums of larger bases are not all
    non-negative by that alone, so ``met`` is decided by the model's own sums. Meeting a condition
    proves nothing about a trained model; each speaks of its own argument.

    Examples
    --------
    >>> limits = base_limits(RopeSpec(128, 10_000.0, 2048), 8192)
    >>> for name, side, limit, met in zip(limits.condition, limits.side, limits.limit, limits.met):
    ...     print(f"{name}: {side} {limit:.0f}, {met}")
    cosine sum: at least 83764, no
    critical base: at least 90835, no
    aliasing: above 1304, yes
    DC stability: at least 7823, yes
    unseen phases: at most 357, no
    """
    check_spec(spec)
    if spec.rotary_dim < 4:
        raise ValueError(f"spec must have a rotary dimension of at least 4, got {spec.rotary_dim}")
    target = checks.whole("target", target, at_least=spec.context_window, at_most=LONGEST)
    epsilon = checks.real("epsilon", epsilon, above=0.0)
    if epsilon >= 1.0:
        raise ValueError(f"epsilon must be a finite number above 0 and below 1, got {epsilon!r}")
    if layers is not None:
        layers = checks.whole("layers", layers, at_most=_MOST_LAYERS)
    if pipeline is not None:
        checks.choice("pipeline", pipeline, PIPELINES)
    critical = critical_base(spec, target)  # refuses windows of 6 tokens or fewer
    if target == spec.context_window:
        critical = spec.base  # without the rounding of its logarithm
    rows = list(_rows(spec, target, epsilon, layers, pipeline, critical))
    return BaseLimits(
        spec=spec,
        target=target,
        epsilon=epsilon,
        layers=layers,
        pipeline=pipeline,
        **columns(rows),
    )


def _rows(
    spec: RopeSpec,
    target: int,
    epsilon: float,
    layers: int | None,
    pipeline: str | None,
    critical: float,
) -> Iterator[dict[str, str | float]]:
    dim, slowest = spec.rotary_dim, float(spec.frequencies[-1])
    phase = target * slowest
    stretch = dim / (dim - 2)

    def row(
        condition: str, source: str, formula: str, side: str, limit: float, finding: str
    ) -> dict[str, str | float]:
        met = {
            "at least": spec.base >= limit,
            "above": spec.base > limit,
            "at most": spec.base <= limit,
            "below": spec.base < limit,
        }[side]
        return {
            "condition": condition,
            "source": source,
            "formula": formula,
            "side": side,
            "limit": limit,
            "met": "yes" if met else "no",
            "finding": finding,
        }

    first = cosine_length(spec, stop=target)
    said = f"first negative sum at m = {first}" if first is not None else "no negative sum"
    served = row(
        "cosine sum",
        "Men et al. 2024, arXiv:2405.14591",
        "sum_j cos(m theta_j) >= 0 for m < L'",
        "at least",
        minimal_base(target, dim).base,
        said,
    )
    yield served | {"met": "no" if first is not None else "yes"}
    turning = critical_dimension(spec)
    yield row(
        "critical base",
        "Liu et al. 2023, arXiv:2310.05209",
        "c >= c0^(ln(L'/2pi) / ln(L/2pi))",
        "at least",
        critical,
        f"{turning} of {dim} dimensions complete a turn in {spec.context_window} tokens; for every "
        "L' > L the condition asks for more than the model's own base",
    )
    theory = "F. Liu 2026, arXiv:2602.10959"
    yield row(
        "aliasing",
        theory,
        "L' < 2 pi c",
        "above",
        target / (2.0 * math.pi),
        f"the slowest pair makes {phase / (2.0 * math.pi):.4g} turns in L'; below one needs "
        f"c > {(target / (2.0 * math.pi)) ** stretch:.6g}",
    )
    angle = math.acos(epsilon)
    yield row(
        "DC stability",
        theory,
        "c >= L' / arccos(epsilon)",
        "at least",
        target / angle,
        f"cos(L' theta_slowest) = {math.cos(phase):.4f} at a phase of {phase:.4g}; "
        f"arccos({epsilon:g}) needs c >= {(target / angle) ** stretch:.6g}",
    )
    if layers is not None:
        kept = epsilon ** (1.0 / layers)
        if kept == 1.0:
            raise ValueError(
                f"epsilon must be told from 1 after its {layers}th root, got {epsilon!r}"
            )
        angle = math.acos(kept)
        left = f"{math.cos(phase) ** layers:.4g}" if phase < math.pi / 2 else "none"
        yield row(
            "N layers",
            theory,
            "c >= L' / arccos(epsilon^(1/N))",
            "at least",
            target / angle,
            f"cos(L' theta_slowest)^{layers} leaves {left}; "
            f"{epsilon:g} needs c >= {(target / angle) ** stretch:.6g}",
        )
    if pipeline is not None:
        form = PIPELINES[pipeline].phases
        search = min(target, _LONGEST_SEARCH)
        wrong = first_wrong(spec, pipeline=pipeline, tolerance=_WRONG, stop=search).first
        where = f"first at position {wrong}" if wrong is not None else f"nowhere below {search}"
        yield row(
            "precision",
            theory,
            f"c < 1 / eps_mach of {form}",
            "below",
            0.5 / UNIT_ROUNDOFF[form],
            f"a phase wrong by more than {_WRONG:g} rad: {where} (proved)",
        )
    unseen = int((spec.wavelengths > spec.context_window).sum())
    with np.errstate(over="ignore"):
        largest = float((spec.context_window / (2.0 * np.pi)) ** np.float64(stretch))
    yield row(
        "unseen phases",
        "the pretrained window",
        "2 pi c^((d-2)/d) <= L",
        "at most",
        largest,
        f"{unseen} of {spec.pairs} pairs complete no turn in L: longer spans show them new phases",
    )
