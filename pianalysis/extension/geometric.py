r"""Schemes that keep the frequencies geometric: one scale, or one new base, for all pairs.

Position Interpolation scales every frequency alike; NTK-aware scaling and a change of base keep
the fastest pair and slow the others down by growing powers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from pianalysis import checks
from pianalysis.extension.base import BY_RULE, Extension, Scaled
from pianalysis.rope.spec import LARGEST_WINDOW, RopeSpec


@dataclass(frozen=True, slots=True)
class Unscaled(Extension):
    """No change at all: positions beyond the window are extrapolated.

    Examples
    --------
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> Unscaled(spec, 8192).frequencies[0]
    np.float64(1.0)
    """

    @property
    def geometric(self) -> tuple[float, Fraction]:
        """The spec's own base."""
        return self.spec.base, Fraction(1)


@dataclass(frozen=True, slots=True)
class PositionInterpolation(Scaled):
    r"""Position Interpolation (Eq. 4, arXiv:2306.15595): :math:`\theta'_j = \theta_j L / L'`.

    Positions in [0, L') are scaled linearly into [0, L); nothing else in the model changes. At
    L' = L it is the identity. Hugging Face calls it ``rope_type: linear``.

    Parameters
    ----------
    spec : RopeSpec
        The pretrained model; its window is L.
    target : int
        L', in tokens; at least L.
    factor : float, optional
        What positions are divided by, at least 1; L' / L unless given.

    Examples
    --------
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> PositionInterpolation(spec, 8192).frequencies[0]
    np.float64(0.25)
    >>> PositionInterpolation(spec, 1024)
    Traceback (most recent call last):
    ...
    ValueError: target must be at least the pretrained context window 2048, got 1024
    """

    @property
    def geometric(self) -> tuple[float, Fraction]:
        """The spec's base, and L / L' as an exact fraction."""
        window, target = self.spec.context_window, self.target
        if self.factor == target / window:
            return self.spec.base, Fraction(window, target)
        return self.spec.base, 1 / Fraction(self.factor)

    def _hf_keys(self) -> dict[str, Any]:
        return {"rope_type": "linear", "factor": self.factor}


@dataclass(frozen=True, slots=True)
class NTKAware(Scaled):
    r"""NTK-aware scaling: the base grows, :math:`c' = c\,k^{d/(d-2)}`, k = L'/L.

    The slowest pair then turns exactly as under Position Interpolation,
    :math:`\theta'_{d/2-1} = \theta_{d/2-1} / k`, and the fastest not slower at all. This is the
    static form, one base for every length (u/bloc97, 2023; Peng et al. 2023, arXiv:2309.00071,
    section 3.1); the base enters as a float64, as model code computes it.

    Parameters
    ----------
    spec, target, factor
        As for PositionInterpolation; ``factor`` is k.

    Raises
    ------
    ValueError
        A rotary dimension of 2, whose exponent d/(d-2) does not exist; a target below the window.

    Examples
    --------
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> scaled = NTKAware(spec, 8192)
    >>> scaled.frequencies[0], round(scaled.base, 2)
    (np.float64(1.0), 40889.94)
    >>> round(float(scaled.ratios[-1]), 12)
    0.25
    """

    def __post_init__(self) -> None:
        Scaled.__post_init__(self)
        _refuse_two_dimensions(self.spec)

    @property
    def base(self) -> float:
        """The new base c'."""
        return _ntk_base(self.spec, self.factor)

    @property
    def geometric(self) -> tuple[float, Fraction]:
        """The new base."""
        return self.base, Fraction(1)

    def _hf_keys(self) -> dict[str, Any]:
        return {"rope_theta": self.base}


@dataclass(frozen=True, slots=True)
class DynamicNTK(Scaled):
    r"""Dynamic NTK scaling: the base follows the length n in use (``rope_type: dynamic``).

    .. math:: c' = c \left(k \frac{n}{M} - (k - 1)\right)^{d/(d-2)}, \qquad n = \max(L', M)

    with the factor k and the length M from which the base grows. Up to M nothing changes.

    Parameters
    ----------
    spec : RopeSpec
        The pretrained model.
    target : int
        L': the sequence length in use. Another length means other frequencies.
    factor : float, optional
        k, at least 1; L' / L unless given. k = 1 is NTKAware at n.
    reference_length : int, optional
        M: ``max_position_embeddings`` in a Hugging Face config; the pretrained window unless given.

    Notes
    -----
    The formula is that of transformers 5.23.0 and of u/emozilla (2023), who stated it without a
    paper; Peng et al. 2023 (arXiv:2309.00071, section 3.3) describe the case k = 1. Keys cached
    under one length and queries turned under another no longer give a(s): recompute the cache when
    the length grows.

    Examples
    --------
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> [round(DynamicNTK(spec, n, factor=4.0).base) for n in (2048, 4096, 8192)]
    [10000, 51294, 135402]
    """

    reference_length: int = field(default=BY_RULE, kw_only=True)

    def __post_init__(self) -> None:
        Scaled.__post_init__(self)
        _refuse_two_dimensions(self.spec)
        given = self.reference_length
        length = self.spec.context_window if given is None else given
        length = checks.whole("reference_length", length, at_most=LARGEST_WINDOW)
        object.__setattr__(self, "reference_length", length)

    @property
    def base(self) -> float:
        """The base c' at this length."""
        growth = self.factor * max(self.target, self.reference_length) / self.reference_length
        return _ntk_base(self.spec, growth - (self.factor - 1.0))

    @property
    def geometric(self) -> tuple[float, Fraction]:
        """The base at this length."""
        return self.base, Fraction(1)

    def _hf_keys(self) -> dict[str, Any]:
        return {"rope_type": "dynamic", "factor": self.factor}

    def _hf_length(self) -> int:
        return self.reference_length


@dataclass(frozen=True, slots=True)
class BaseChange(Extension):
    r"""Adjusted base frequency: another base, :math:`\theta'_j = c'^{-2j/d}`, chosen freely.

    Xiong et al. 2023 (arXiv:2309.16039) raise 10,000 to 500,000 before training on.
    ``minimal_base`` computes the smallest that serves a length in the sense of Men et al. 2024.

    Parameters
    ----------
    spec, target
        As for PositionInterpolation.
    base : float
        c', above 1.

    Examples
    --------
    >>> BaseChange(RopeSpec(128, 10_000.0, 4096), 32768, base=500_000.0).frequencies[-1]
    np.float64(2.455140791131609e-06)
    """

    base: float = field(kw_only=True)

    def __post_init__(self) -> None:
        Extension.__post_init__(self)
        object.__setattr__(self, "base", checks.real("base", self.base, above=1.0))

    @property
    def geometric(self) -> tuple[float, Fraction]:
        """The new base."""
        return self.base, Fraction(1)

    def _hf_keys(self) -> dict[str, Any]:
        return {"rope_theta": self.base}


def _ntk_base(spec: RopeSpec, growth: float) -> float:
    dim = spec.rotary_dim
    base = float(spec.base * growth ** (dim / (dim - 2)))
    return checks.real("the NTK-aware base", base, above=1.0)


def _refuse_two_dimensions(spec: RopeSpec) -> None:
    if spec.rotary_dim <= 2:
        raise ValueError(
            "spec must have a rotary dimension above 2 for NTK-aware scaling, "
            f"got {spec.rotary_dim}"
        )
