r"""A base change together with a scheme, as one extension: both act on the pretrained model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.extension.base import Extension
from pianalysis.extension.geometric import BaseChange


@dataclass(frozen=True, slots=True)
class Rebased(Extension):
    r"""A scheme computed from another base: :math:`\theta'_j = \rho_j \, c'^{-2j/d}`.

    The base grows and a scheme is applied on top of it, as llama.cpp does with ``--rope-freq-base``
    beside ``--rope-scaling``; :math:`\rho_j` are the scheme's ratios under the new base c'.

    Parameters
    ----------
    spec, target
        As for PositionInterpolation; ``spec`` has the pretrained base.
    scheme : Extension
        The scheme, of the same specification with the new base and for the same target.

    Raises
    ------
    ValueError, TypeError
        A scheme of another specification or target.

    Examples
    --------
    >>> from pianalysis import PositionInterpolation, RopeSpec
    >>> both = rebased(PositionInterpolation(RopeSpec(4, 10_000.0, 4096), 8192), 1_000_000.0)
    >>> both.frequencies.tolist(), both.spec.base
    ([0.5, 0.0005], 10000.0)
    """

    scheme: Extension = field(kw_only=True)

    def __post_init__(self) -> None:
        Extension.__post_init__(self)
        if not isinstance(self.scheme, Extension):
            raise TypeError(f"scheme must be an Extension, got {self.scheme!r}")
        wanted = replace(self.spec, base=self.scheme.spec.base)
        if self.scheme.spec != wanted or self.scheme.target != self.target:
            raise ValueError(
                f"scheme must be of {wanted} and target {self.target}, "
                f"got {self.scheme.spec} and {self.scheme.target}"
            )

    @property
    def base(self) -> float:
        """The new base c'."""
        return self.scheme.spec.base

    @property
    def factor(self) -> float:
        """The factor of the scheme."""
        return self.scheme.factor

    @property
    def attention_factor(self) -> float:
        """That of the scheme."""
        return self.scheme.attention_factor

    @property
    def geometric(self) -> tuple[float, Fraction] | None:
        """That of the scheme."""
        return self.scheme.geometric

    def to_hf(self) -> dict[str, Any]:
        """Return the keys of a Hugging Face config: those of the scheme, with the new base."""
        return self.scheme.to_hf()

    def _head_and_tail(self) -> tuple[FloatArray, FloatArray]:
        return self.scheme.frequencies, self.scheme.frequencies_tail


def rebased(extension: Extension, base: float) -> Extension:
    """Return a scheme with another base: one extension of the pretrained model.

    A scheme that is itself a choice of base is left as it is.

    Raises
    ------
    ValueError, TypeError
        ``base`` not a finite number above 1.
    """
    base = checks.real("base", base, above=1.0)
    if isinstance(extension, BaseChange) or base == extension.spec.base:
        return extension
    scheme = replace(extension, spec=replace(extension.spec, base=base))
    return Rebased(extension.spec, extension.target, scheme=scheme)
