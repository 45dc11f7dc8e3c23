r"""What a scheme keeps and what it gives up, pair by pair: wavelengths, unseen phases, resolution.

Three ideas that the literature uses to choose a base or a scheme, on the same record: the critical
dimension of Liu et al. 2023 (arXiv:2310.05209), the cosine sum of Men et al. 2024
(arXiv:2405.14591), and the phases that training never showed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.bounds.interpolation import adjacent_contrast
from pianalysis.extension import Extension
from pianalysis.extension.minimal_base import cosine_length
from pianalysis.records import Record
from pianalysis.rope.spec import LARGEST_WINDOW, RopeSpec, check_spec

_KEPT = 0.99  # a pair at 99% of its rate or more counts as preserved
_ROUNDING = 1e-12
_LONGEST_COSINE = 1 << 20


@dataclass(frozen=True, slots=True)
class SchemeProfile(Record):
    """One extension pair by pair, and in sum.

    Columns, (d/2,): ``pair``; ``wavelength`` and ``wavelength_extended`` in tokens, 2 pi / theta_j
    and 2 pi / theta'_j; ``ratio`` theta'_j / theta_j; ``turns_trained`` and ``turns_target``, turns
    made in L and in L' tokens; ``unseen`` 1 where the pair meets phases at the target that it never
    met in training: it did not complete a turn there, and goes further now.

    ``score_multiplier`` is the attention factor squared, on every score; ``temperature`` its
    inverse, that of a softmax with the same weights. ``kept_pairs`` turn at 99% of their rate or
    more (high-frequency preservation), ``fastest_ratio`` is that of the fastest pair.
    ``beyond_window`` counts wavelengths above L before, ``beyond_target`` those above L' after.
    ``termwise_contrast`` is 2 f^2 sum_j sin(theta'_j / 2), ``contrast_kept`` its share of the
    unextended one. ``critical_dimension`` is that of the pretrained model; ``served_length`` the
    first span with a negative cosine sum, None beyond the target.
    """

    spec: RopeSpec
    extension: Extension
    target: int
    score_multiplier: float
    temperature: float
    fastest_ratio: float
    kept_pairs: int
    beyond_window: int
    beyond_target: int
    unseen_pairs: int
    termwise_contrast: float
    contrast_kept: float
    critical_dimension: int
    served_length: int | None
    pair: FloatArray
    wavelength: FloatArray
    wavelength_extended: FloatArray
    ratio: FloatArray
    turns_trained: FloatArray
    turns_target: FloatArray
    unseen: FloatArray


def critical_dimension(spec: RopeSpec) -> int:
    r"""Return how many dimensions complete a turn in training (Liu et al. 2023).

    .. math:: d_\mathrm{extra} = 2 \left\lceil \frac d2
              \log_c \frac{L}{2\pi} \right\rceil, \qquad 0 \le d_\mathrm{extra} \le d

    The dimensions from there on have a wavelength of at least L: training showed them a part of a
    turn only, and their phases beyond L are new.

    Notes
    -----
    Liu et al. 2023, "Scaling Laws of RoPE-based Extrapolation" (arXiv:2310.05209), section 3; the
    number of the theorem was taken from secondary sources.

    Examples
    --------
    >>> critical_dimension(RopeSpec(128, 10_000.0, 4096))  # LLaMA 2
    92
    """
    check_spec(spec)
    turning = spec.rotary_dim / 2.0 * _log_turns(spec.context_window) / math.log(spec.base)
    return min(max(2 * math.ceil(turning), 0), spec.rotary_dim)


def critical_base(spec: RopeSpec, target: int) -> float:
    r"""Return the base that lets the same dimensions complete a turn in ``target`` tokens.

    .. math:: c_0 = c^{\ln(L'/2\pi) / \ln(L/2\pi)}

    Beyond it, Liu et al. 2023 (arXiv:2310.05209, section 3; number of the theorem from secondary
    sources) expect a model tuned on L tokens to reach L': the critical dimension's wavelength
    then covers the target.

    Raises
    ------
    ValueError, TypeError
        A window of 6 tokens or fewer, in which no pair completes a turn; a target below the window;
        a base beyond float64 (short windows with long targets), with its logarithm.

    Examples
    --------
    >>> round(critical_base(RopeSpec(128, 10_000.0, 4096), 32768))
    192144
    """
    check_spec(spec)
    target = checks.whole("target", target, at_most=LARGEST_WINDOW)
    if spec.context_window <= 2.0 * math.pi:
        raise ValueError(
            "context_window must exceed 2 pi, or no pair completes a turn, "
            f"got {spec.context_window}"
        )
    if target < spec.context_window:
        raise ValueError(
            f"target must be at least the context window {spec.context_window}, got {target}"
        )
    log_base = _log_turns(target) / _log_turns(spec.context_window) * math.log(spec.base)
    if log_base >= math.log(np.finfo(float).max):
        raise ValueError(f"target must have a critical base within float64, got e^{log_base:.6g}")
    return math.exp(log_base)


def scheme_profile(extension: Extension) -> SchemeProfile:
    r"""Return what an extension does to each pair, and the sums that people compare schemes by.

    Parameters
    ----------
    extension : extension

    Raises
    ------
    TypeError
        ``extension`` is not one of the package's schemes.

    Notes
    -----
    The attention factor f multiplies every score by f^2, so the logarithm of the ratio of two
    attention weights grows by the factor f^2 too: a softmax at temperature 1/f^2. A pair that
    turned fully in training has met every phase; one that did not has met [0, L theta_j). A scheme
    adds none where it slows each such pair by L'/L or more: Position Interpolation always, YaRN,
    NTK-by-parts and Llama 3 where their ramp ends at one turn or above; NTK-aware scaling does so
    for the slowest pair alone.
    ``served_length`` is sought up to the target, at most 2**20.

    Examples
    --------
    >>> from pianalysis import NTKAware, PositionInterpolation, Unscaled, YaRN
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> [scheme_profile(scheme(spec, 8192)).unseen_pairs
    ...  for scheme in (Unscaled, NTKAware, PositionInterpolation)]
    [23, 22, 0]
    >>> scheme_profile(YaRN(spec, 8192)).unseen_pairs
    0
    """
    if not isinstance(extension, Extension):
        raise TypeError(f"extension must be an extension of a RopeSpec, got {extension!r}")
    spec, target = extension.spec, extension.target
    theta, ratio = extension.frequencies, extension.ratios
    still = theta == 0.0  # pairs that a scheme stops
    extended = np.where(still, np.inf, 2.0 * np.pi / np.where(still, 1.0, theta))
    trained = spec.context_window / spec.wavelengths
    reached = target * theta / (2.0 * np.pi)
    unseen = (trained < 1.0) & (reached > trained * (1.0 + _ROUNDING))
    multiplier = extension.attention_factor**2
    contrast = float(adjacent_contrast(extension))
    return SchemeProfile(
        spec=spec,
        extension=extension,
        target=target,
        score_multiplier=multiplier,
        temperature=1.0 / multiplier,
        fastest_ratio=float(ratio[0]),
        kept_pairs=int((ratio >= _KEPT).sum()),
        beyond_window=int((spec.wavelengths > spec.context_window).sum()),
        beyond_target=int((extended > target).sum()),
        unseen_pairs=int(unseen.sum()),
        termwise_contrast=contrast,
        contrast_kept=contrast / float(adjacent_contrast(spec)),
        critical_dimension=critical_dimension(spec),
        served_length=cosine_length(extension, stop=min(target, _LONGEST_COSINE)),
        pair=np.arange(spec.pairs, dtype=float),
        wavelength=spec.wavelengths,
        wavelength_extended=extended,
        ratio=ratio,
        turns_trained=trained,
        turns_target=reached,
        unseen=unseen.astype(float),
    )


def _log_turns(length: int) -> float:
    return math.log(length / (2.0 * math.pi))
