r"""What every scheme shares: a specification, a target, and the frequencies that follow.

Scaling positions and scaling frequencies are one act: :math:`f(x, m L / L')` of Eq. 4
(arXiv:2306.15595) turns pair j at :math:`m \theta_j L / L'`, so an extension is stated by the
frequencies :math:`\theta'_j` that replace :math:`\theta_j`, and by a factor on cos and sin.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.rope import phases
from pianalysis.rope.spec import LARGEST_WINDOW, RopeSpec, check_spec

LARGEST_FACTOR = 1e6
# Of what multiplies cosines and sines (float16 would hold next to nothing of less), and of what
# divides a frequency.
FACTOR_LIMITS = {"at_least": 1.0 / LARGEST_FACTOR, "at_most": LARGEST_FACTOR}
BY_RULE: Any = None  # the default of fields that __post_init__ fills in by the scheme's own rule


@dataclass(frozen=True, slots=True)
class Extension:
    """A pretrained specification to be used on ``target`` tokens; the base of every scheme."""

    spec: RopeSpec
    target: int

    def __post_init__(self) -> None:
        check_spec(self.spec)
        target = checks.whole("target", self.target, at_most=LARGEST_WINDOW)
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

    @property
    def geometric(self) -> tuple[float, Fraction] | None:
        """(base, scale) where theta'_j = scale base^(-2j/d) exactly; None for other schemes."""
        return None

    @property
    def frequencies(self) -> FloatArray:
        """theta'_j, float64 (d/2,), radians per token; read-only."""
        return self._head_and_tail()[0]

    @property
    def frequencies_tail(self) -> FloatArray:
        """What rounding the frequencies to float64 dropped."""
        return self._head_and_tail()[1]

    @property
    def ratios(self) -> FloatArray:
        """theta'_j / theta_j, float64 (d/2,): 1 for a pair left alone, L / L' as under PI."""
        return self.frequencies / self.spec.frequencies

    def to_hf(self) -> dict[str, Any]:
        """Return the keys of a Hugging Face config (v5) that make a model use this scheme.

        ``rope_parameters`` and ``max_position_embeddings``, to be merged into the model's own
        config. A scheme without a Hugging Face name is written as the one that has the same
        frequencies: NTK-aware as ``default`` with its base, NTK-by-parts as ``llama3``.
        """
        parameters = {"rope_type": "default", "rope_theta": self.spec.base, **self._hf_keys()}
        if self.spec.rotary_fraction != 1.0:
            parameters["partial_rotary_factor"] = self.spec.rotary_fraction
        return {"max_position_embeddings": self._hf_length(), "rope_parameters": parameters}

    def _head_and_tail(self) -> tuple[FloatArray, FloatArray]:
        if self.geometric is None:
            return phases.scaled_frequencies(self.spec, self.ratios)
        base, scale = self.geometric
        return phases.geometric_frequencies(base, self.spec.rotary_dim, scale)

    def _hf_keys(self) -> dict[str, Any]:
        return {}

    def _hf_length(self) -> int:
        return self.target


@dataclass(frozen=True, slots=True)
class Scaled(Extension):
    """A scheme with a factor of its own; L' / L unless given.

    Published configs may give another: Llama 3.1 has factor 8 for 16 times its pretrained window.
    """

    factor: float = field(default=BY_RULE, kw_only=True)

    def __post_init__(self) -> None:
        Extension.__post_init__(self)
        factor = self.target / self.spec.context_window if self.factor is None else self.factor
        factor = checks.real("factor", factor, at_least=1.0, at_most=LARGEST_FACTOR)
        object.__setattr__(self, "factor", factor)


def pretrained(model: RopeSpec | Extension) -> RopeSpec:
    """Return the specification that a model has, or that an extension extends."""
    return model if isinstance(model, RopeSpec) else model.spec


def turns_in_window(spec: RopeSpec) -> FloatArray:
    """Return L theta_j / (2 pi): how often each pair turns inside the pretrained window."""
    turns: FloatArray = spec.context_window * spec.frequencies / (2.0 * np.pi)
    return turns
