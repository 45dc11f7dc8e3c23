"""Schemes that state each pair's frequency: LongRoPE's searched factors, proportional RoPE."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.extension.base import BY_RULE, FACTOR_LIMITS, Extension, Scaled


@dataclass(frozen=True, slots=True)
class LongRoPE(Scaled):
    r"""LongRoPE (Ding et al. 2024, arXiv:2402.13753): a searched factor for each pair.

    .. math:: \theta'_j = \theta_j / f_j, \qquad
              \text{attention factor } \sqrt{1 + \ln k / \ln L}

    with the long factors f beyond the pretrained window L and the short ones up to it.

    Parameters
    ----------
    spec : RopeSpec
        The pretrained model.
    target : int
        L': the length in use; it decides between the two lists.
    short_factor, long_factor : sequence of float
        f_j, from 1e-6 to 1e6, one a pair (d/2).
    factor : float, optional
        k, which enters the attention factor alone; L' / L unless given.
    attention_factor : float, optional
        An explicit value instead of the rule's (1 for k = 1), from 1e-6 to 1e6.

    Notes
    -----
    The attention factor is the one of Phi-3's published code, which transformers follows.

    Examples
    --------
    >>> from pianalysis import RopeSpec
    >>> spec = RopeSpec(4, 10_000.0, 4096)
    >>> scaled = LongRoPE(spec, 131072, short_factor=[1.0, 1.0], long_factor=[1.0, 64.0])
    >>> scaled.ratios, round(scaled.attention_factor, 6)
    (array([1.      , 0.015625]), 1.190238)
    """

    short_factor: Sequence[float] = field(kw_only=True)
    long_factor: Sequence[float] = field(kw_only=True)
    attention_factor: float = field(default=BY_RULE, kw_only=True)

    def __post_init__(self) -> None:
        Scaled.__post_init__(self)
        for name in ("short_factor", "long_factor"):
            object.__setattr__(self, name, self._factors(name))
        given = self.attention_factor
        attention = self._ruled_attention() if given is None else given
        attention = checks.real("attention_factor", attention, **FACTOR_LIMITS)
        object.__setattr__(self, "attention_factor", attention)

    @property
    def ratios(self) -> FloatArray:
        """1 / f_j, float64 (d/2,)."""
        beyond = self.target > self.spec.context_window
        ratios: FloatArray = 1.0 / np.array(self.long_factor if beyond else self.short_factor)
        return ratios

    def _factors(self, name: str) -> tuple[float, ...]:
        values, pairs = getattr(self, name), self.spec.pairs
        if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
            raise TypeError(f"{name} must be a list of {pairs} numbers, got {values!r}")
        if len(values) != pairs:
            raise ValueError(f"{name} must have one value a pair, {pairs}, got {len(values)}")
        return tuple(checks.real(f"{name}[{j}]", v, **FACTOR_LIMITS) for j, v in enumerate(values))

    def _ruled_attention(self) -> float:
        if self.factor == 1.0:
            return 1.0
        if self.spec.context_window < 2:
            raise ValueError(
                "context_window must be at least 2 for LongRoPE's attention factor, "
                f"got {self.spec.context_window}"
            )
        return math.sqrt(1.0 + math.log(self.factor) / math.log(self.spec.context_window))

    def _hf_keys(self) -> dict[str, Any]:
        keys = {
            "rope_type": "longrope",
            "factor": self.factor,
            "short_factor": list(self.short_factor),
            "long_factor": list(self.long_factor),
            "original_max_position_embeddings": self.spec.context_window,
        }
        if self.attention_factor != self._ruled_attention():
            keys["attention_factor"] = self.attention_factor
        return keys


@dataclass(frozen=True, slots=True)
class Proportional(Scaled):
    r"""Proportional RoPE (``rope_type: proportional``): only the fastest pairs turn.

    .. math:: \theta'_j = \theta_j / k \text{ for } j < \lfloor p d / 2 \rfloor,
              \qquad 0 \text{ otherwise}

    Unlike a rotary fraction, which spreads all frequencies over fewer pairs, the exponent still
    runs over the whole dimension d; the slow pairs stand still, so they see content alone.

    Parameters
    ----------
    spec : RopeSpec
        The model, with rotary_fraction 1.
    target : int
        L', in tokens.
    proportion : float
        p, the share of pairs that turn, in (0, 1].
    factor : float, optional
        k; L' / L unless given.

    Examples
    --------
    >>> from pianalysis import RopeSpec
    >>> Proportional(RopeSpec(8, 10_000.0, 4096), 8192, proportion=0.5).frequencies.tolist()
    [0.5, 0.05, 0.0, 0.0]
    """

    proportion: float = field(kw_only=True)

    def __post_init__(self) -> None:
        Scaled.__post_init__(self)
        proportion = checks.real("proportion", self.proportion, above=0.0, at_most=1.0)
        object.__setattr__(self, "proportion", proportion)
        if self.spec.rotary_fraction != 1.0:
            raise ValueError(
                "rotary_fraction must be 1 for proportional RoPE, whose exponent runs over the "
                f"whole head, got {self.spec.rotary_fraction}"
            )
        if self._turning() == 0:
            raise ValueError(
                f"proportion must leave a turning pair of {self.spec.pairs}, got {proportion}"
            )

    @property
    def ratios(self) -> FloatArray:
        """1/k for the pairs that turn, 0 for the others, float64 (d/2,)."""
        ratios: FloatArray = (np.arange(self.spec.pairs) < self._turning()) / self.factor
        return ratios

    def _turning(self) -> int:
        return int(self.proportion * self.spec.head_dim // 2)

    def to_hf(self) -> dict[str, Any]:
        """Return the keys of a Hugging Face config; ``partial_rotary_factor`` is p."""
        config = Extension.to_hf(self)
        keys = {"rope_type": "proportional", "factor": self.factor}
        config["rope_parameters"] |= keys | {"partial_rotary_factor": self.proportion}
        return config
