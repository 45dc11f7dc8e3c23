r"""Schemes that treat fast and slow pairs apart: NTK-by-parts, YaRN, Llama 3.

A pair that turns often inside the pretrained window (fast) has shown every phase and is left
alone; one that turns less than once is interpolated by the whole factor; a ramp joins the two:

.. math:: \theta'_j = \theta_j \left(\gamma_j + \frac{1 - \gamma_j}{k}\right), \qquad
          0 \le \gamma_j \le 1.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.extension.base import BY_RULE, FACTOR_LIMITS, Scaled, turns_in_window
from pianalysis.rope.spec import RopeSpec


@dataclass(frozen=True, slots=True)
class NTKByParts(Scaled):
    r"""NTK-by-parts (Peng et al. 2023, arXiv:2309.00071, section 3.2): a ramp over turns.

    .. math:: \gamma_j = \mathrm{clip}\left(\frac{r_j - \alpha}{\beta - \alpha}, 0, 1\right),
              \qquad r_j = \frac{L \theta_j}{2\pi}

    with r_j the turns of pair j inside the pretrained window. No attention factor.

    Parameters
    ----------
    spec, target, factor
        As for PositionInterpolation; ``factor`` is k.
    alpha, beta : float, optional
        Turns below which a pair is interpolated by k, and above which it is left alone; the
        paper's 1 and 32.

    Notes
    -----
    The formula is quoted after secondary sources. YaRN's published code, and so transformers, lets
    the ramp run over the pair index instead: see YaRN. Hugging Face has the same curve under the
    name ``llama3``.

    Examples
    --------
    >>> ratios = NTKByParts(RopeSpec(128, 10_000.0, 2048), 8192).ratios
    >>> float(ratios[0]), float(ratios[-1]), int((ratios == 1.0).sum())
    (1.0, 0.25, 17)
    """

    alpha: float = field(default=1.0, kw_only=True)
    beta: float = field(default=32.0, kw_only=True)

    def __post_init__(self) -> None:
        Scaled.__post_init__(self)
        _check_ramp(self, "alpha", "beta")

    @property
    def ratios(self) -> FloatArray:
        """gamma_j + (1 - gamma_j) / k, float64 (d/2,)."""
        return _ramp_over_turns(self.spec, self.factor, self.alpha, self.beta)

    def _hf_keys(self) -> dict[str, Any]:
        return _llama3_keys(self, self.alpha, self.beta)


@dataclass(frozen=True, slots=True)
class Llama3(Scaled):
    r"""The scheme of Llama 3.1 (``rope_type: llama3``): NTK-by-parts with other limits.

    A wavelength above L/low_freq_factor is stretched by k, one below L/high_freq_factor left
    alone; between them :math:`\gamma_j = (L/\lambda_j - l)/(h - l)`, where
    :math:`L/\lambda_j` is the number of turns inside the pretrained window.

    Parameters
    ----------
    spec, target, factor
        As for PositionInterpolation. Llama 3.1 itself has factor 8 for L' = 16 L, Llama 3.2 32.
    low_freq_factor, high_freq_factor : float, optional
        l and h, in turns; the published 1 and 4.

    Notes
    -----
    Source: the published code and configs (no paper gives the formula).

    Examples
    --------
    >>> spec = RopeSpec(128, 500_000.0, 8192)
    >>> ratios = Llama3(spec, 131072, factor=8.0).ratios
    >>> int((ratios == 1.0).sum()), int((ratios == 0.125).sum())
    (29, 29)
    """

    low_freq_factor: float = field(default=1.0, kw_only=True)
    high_freq_factor: float = field(default=4.0, kw_only=True)

    def __post_init__(self) -> None:
        Scaled.__post_init__(self)
        _check_ramp(self, "low_freq_factor", "high_freq_factor")

    @property
    def ratios(self) -> FloatArray:
        """gamma_j + (1 - gamma_j) / k, float64 (d/2,)."""
        return _ramp_over_turns(self.spec, self.factor, self.low_freq_factor, self.high_freq_factor)

    def _hf_keys(self) -> dict[str, Any]:
        return _llama3_keys(self, self.low_freq_factor, self.high_freq_factor)


@dataclass(frozen=True, slots=True)
class YaRN(Scaled):
    r"""YaRN (Peng et al. 2023, arXiv:2309.00071): a ramp over pairs, and an attention factor.

    .. math:: \gamma_j = 1 - \mathrm{clip}\left(\frac{j - a}{b - a}, 0, 1\right), \qquad
              i(\beta) = \frac{d \ln(L / 2\pi\beta)}{2 \ln c}

    with a = max(floor i(beta_fast), 0) and b = min(ceil i(beta_slow), d - 1): i is the index of
    the pair that turns beta times inside the pretrained window. cos and sin are multiplied by
    :math:`0.1 \ln k + 1` (the paper's :math:`\sqrt{1/t}`), so every score by its square.

    Parameters
    ----------
    spec, target, factor
        As for PositionInterpolation; ``factor`` is k.
    beta_fast, beta_slow : float, optional
        Turns above which a pair is left alone and below which it is interpolated by k: 32 and 1.
    mscale, mscale_all_dim : float, optional
        Where both are given and not 0, the attention factor is
        (0.1 mscale ln k + 1) / (0.1 mscale_all_dim ln k + 1), as DeepSeek's configs ask.
    attention_factor : float, optional
        An explicit value from 1e-6 to 1e6, which wins over any rule.
    truncate : bool, optional
        Whether floor and ceil are applied; gpt-oss says no.

    Raises
    ------
    ValueError
        Besides what PositionInterpolation refuses: beta_slow not below beta_fast, and the two ends
        at which the published ramp means the opposite of what it says. In a window in which no
        pair could turn beta_slow times (L <= 2 pi beta_slow) it runs backwards and leaves every
        pair alone, or, where ceil i(beta_slow) is 0, interpolates all but the first. Where even the
        clipped end d - 1 lies before a (every pair turns far more than beta_fast times) it runs
        backwards too and would interpolate every pair.

    Notes
    -----
    This is the published code, which transformers follows. The paper's own ramp runs over turns
    (NTKByParts), and the two differ between their ends. b is clipped to d - 1 there, not to the
    last pair d/2 - 1; we keep that. DeepSeek's attention multiplies its logits once more by
    (0.1 mscale_all_dim ln k + 1)^2, outside RoPE and not included here.

    Examples
    --------
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> scaled = YaRN(spec, 8192)
    >>> round(scaled.attention_factor, 6), scaled.ratios[[0, 30, 63]].tolist()
    (1.138629, [1.0, 0.58, 0.25])
    """

    beta_fast: float = field(default=32.0, kw_only=True)
    beta_slow: float = field(default=1.0, kw_only=True)
    mscale: float | None = field(default=None, kw_only=True)
    mscale_all_dim: float | None = field(default=None, kw_only=True)
    truncate: bool = field(default=True, kw_only=True)
    attention_factor: float = field(default=BY_RULE, kw_only=True)

    def __post_init__(self) -> None:
        Scaled.__post_init__(self)
        _check_ramp(self, "beta_slow", "beta_fast")
        if self.spec.context_window <= 2.0 * math.pi * self.beta_slow:
            raise ValueError(
                "context_window must exceed 2 pi beta_slow for YaRN's ramp to exist, "
                f"got {self.spec.context_window} with beta_slow {self.beta_slow:g}"
            )
        for name in ("mscale", "mscale_all_dim"):
            if getattr(self, name) is not None:
                value = checks.real(name, getattr(self, name), at_least=0.0)
                object.__setattr__(self, name, value)
        if not isinstance(self.truncate, bool):
            raise TypeError(f"truncate must be True or False, got {self.truncate!r}")
        first, last = self._ends()
        if first > last:
            raise ValueError(
                "beta_fast must be a number of turns that some pair falls short of, or YaRN's ramp "
                f"runs backwards and interpolates every pair, got {self.beta_fast:g} with "
                f"context_window {self.spec.context_window} and base {self.spec.base:g}"
            )
        given = self.attention_factor
        attention = self._ruled_attention() if given is None else given
        attention = checks.real("attention_factor", attention, **FACTOR_LIMITS)
        object.__setattr__(self, "attention_factor", attention)

    @property
    def ratios(self) -> FloatArray:
        """gamma_j + (1 - gamma_j) / k, float64 (d/2,)."""
        first, last = self._ends()
        if first == last:
            last += 0.001
        ramp = np.clip((np.arange(self.spec.pairs) - first) / (last - first), 0.0, 1.0)
        return _between(1.0 - ramp, self.factor)

    def _ends(self) -> tuple[float, float]:
        """Return a and b, the first and the last pair of the ramp, clipped as published."""
        first, last = self._pair_turning(self.beta_fast), self._pair_turning(self.beta_slow)
        if self.truncate:
            first, last = math.floor(first), math.ceil(last)
        return max(first, 0.0), min(last, self.spec.rotary_dim - 1.0)

    def _pair_turning(self, turns: float) -> float:
        """Return the index of the pair, as a real number, that turns so often in the window."""
        spec = self.spec
        share = spec.context_window / (2.0 * math.pi * turns)
        length = math.log(min(max(share, sys.float_info.min), sys.float_info.max))
        return spec.rotary_dim * length / (2.0 * math.log(spec.base))

    def _ruled_attention(self) -> float:
        if self.mscale and self.mscale_all_dim:
            return _magnitude(self.factor, self.mscale) / _magnitude(
                self.factor, self.mscale_all_dim
            )
        return _magnitude(self.factor, 1.0)

    def _hf_keys(self) -> dict[str, Any]:
        keys = {
            "rope_type": "yarn",
            "factor": self.factor,
            "original_max_position_embeddings": self.spec.context_window,
            "beta_fast": self.beta_fast,
            "beta_slow": self.beta_slow,
            "mscale": self.mscale,
            "mscale_all_dim": self.mscale_all_dim,
            "truncate": self.truncate,
        }
        if self.attention_factor != self._ruled_attention():
            keys["attention_factor"] = self.attention_factor
        return {key: value for key, value in keys.items() if value is not None}


def _magnitude(factor: float, scale: float) -> float:
    return 0.1 * scale * math.log(factor) + 1.0


def _between(kept: FloatArray, factor: float) -> FloatArray:
    """Return gamma + (1 - gamma) / k; exactly 1 and 1/k at the ends of the ramp."""
    slowest = 1.0 / factor
    ratios: FloatArray = np.where(kept == 1.0, 1.0, slowest + kept * (1.0 - slowest))
    return ratios


def _ramp_over_turns(spec: RopeSpec, factor: float, low: float, high: float) -> FloatArray:
    turns = turns_in_window(spec)
    if (
        low == high
    ):  # the limit of the ramp, a step: as transformers, which interpolates at its foot
        return _between((turns >= low).astype(float), factor)
    return _between(np.clip((turns - low) / (high - low), 0.0, 1.0), factor)


def _check_ramp(scheme: Scaled, low_name: str, high_name: str) -> None:
    """Store both limits as floats; the lower must be positive and not above the upper."""
    low = checks.real(low_name, getattr(scheme, low_name), above=0.0)
    high = checks.real(high_name, getattr(scheme, high_name), above=0.0)
    if low > high:
        raise ValueError(f"{high_name} must not be below {low_name}, got {high:g} and {low:g}")
    object.__setattr__(scheme, low_name, low)
    object.__setattr__(scheme, high_name, high)


def _llama3_keys(scheme: Scaled, low: float, high: float) -> dict[str, Any]:
    return {
        "rope_type": "llama3",
        "factor": scheme.factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": scheme.spec.context_window,
    }
