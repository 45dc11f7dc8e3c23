r"""Extension schemes: a specification and a target window in, new frequencies out.

Scaling positions and scaling frequencies are one act: :math:`f(x, m L / L')` of Eq. 4
(arXiv:2306.15595) turns pair j at :math:`m \theta_j L / L'`, so an extension is stated by the
frequencies :math:`\theta'_j` that replace :math:`\theta_j`, and by a factor on cos and sin.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from pianalysis import _phases, _validate
from pianalysis._validate import FloatArray
from pianalysis.rope import LARGEST_WINDOW, RopeSpec


@dataclass(frozen=True, slots=True)
class _Extension:
    """A pretrained specification to be used on ``target`` tokens."""

    spec: RopeSpec
    target: int

    def __post_init__(self) -> None:
        if not isinstance(self.spec, RopeSpec):
            raise TypeError(f"spec must be a RopeSpec, got {self.spec!r}")
        target = _validate.whole("target", self.target, at_most=LARGEST_WINDOW)
        if target < self.spec.context_window:
            raise ValueError(
                "target must be at least the pretrained context window "
                f"{self.spec.context_window}, got {target}"
            )
        object.__setattr__(self, "target", target)

    @property
    def factor(self) -> float:
        """The extension factor L' / L."""
        return self.target / self.spec.context_window

    @property
    def attention_factor(self) -> float:
        """Factor on cos and sin; a score changes by its square."""
        return 1.0


@dataclass(frozen=True, slots=True)
class Unscaled(_Extension):
    """No change at all: positions beyond the window are extrapolated.

    Examples
    --------
    >>> spec = RopeSpec(128, 10_000.0, 2048)
    >>> Unscaled(spec, 8192).frequencies[0]
    np.float64(1.0)
    """

    @property
    def frequencies(self) -> FloatArray:
        """theta_j, float64 (d/2,), radians per token."""
        return self.spec.frequencies

    @property
    def frequencies_tail(self) -> FloatArray:
        """What rounding the frequencies to float64 dropped."""
        return self.spec.frequencies_tail


@dataclass(frozen=True, slots=True)
class PositionInterpolation(_Extension):
    r"""Position Interpolation (Eq. 4, arXiv:2306.15595): :math:`\theta'_j = \theta_j L / L'`.

    Positions in [0, L') are scaled linearly into [0, L); nothing else in the model changes. At
    L' = L it is the identity. Hugging Face calls it ``rope_type: linear``.

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
    def frequencies(self) -> FloatArray:
        """theta_j L / L', float64 (d/2,), radians per token."""
        return self._both()[0]

    @property
    def frequencies_tail(self) -> FloatArray:
        """What rounding the frequencies to float64 dropped."""
        return self._both()[1]

    def _both(self) -> tuple[FloatArray, FloatArray]:
        scale = Fraction(self.spec.context_window, self.target)
        return _phases.geometric_frequencies(self.spec.base, self.spec.rotary_dim, scale)


@dataclass(frozen=True, slots=True)
class NTKAware(_Extension):
    r"""NTK-aware scaling: the base grows, :math:`c' = c\,(L'/L)^{d/(d-2)}`.

    The slowest pair then turns exactly as under Position Interpolation,
    :math:`\theta'_{d/2-1} = \theta_{d/2-1} L / L'`, and the fastest not slower at all. This is the
    static form, one base for every length; the base enters as a float64, as model code computes it.

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
    >>> round(float(scaled.frequencies[-1] / spec.frequencies[-1]), 12)
    0.25
    """

    def __post_init__(self) -> None:
        _Extension.__post_init__(self)
        if self.spec.rotary_dim <= 2:
            raise ValueError(
                "spec must have a rotary dimension above 2 for NTK-aware scaling, "
                f"got {self.spec.rotary_dim}"
            )

    @property
    def base(self) -> float:
        """The new base c'."""
        dim = self.spec.rotary_dim
        return float(self.spec.base * self.factor ** (dim / (dim - 2)))

    @property
    def frequencies(self) -> FloatArray:
        """theta'_j = c'^(-2j/d), float64 (d/2,), radians per token."""
        return _phases.geometric_frequencies(self.base, self.spec.rotary_dim)[0]

    @property
    def frequencies_tail(self) -> FloatArray:
        """What rounding the frequencies to float64 dropped."""
        return _phases.geometric_frequencies(self.base, self.spec.rotary_dim)[1]
