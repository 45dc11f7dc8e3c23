r"""The RoPE specification: what fixes the rotation of a model, and nothing more.

RoPE (Eq. 1-2, arXiv:2306.15595; Su et al. 2021, arXiv:2104.09864) multiplies pair j of a query or
key at position m by :math:`e^{i m \theta_j}` with :math:`\theta_j = c^{-2j/d}`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from pianalysis import checks
from pianalysis.arrays import FloatArray
from pianalysis.rope import phases
from pianalysis.rope.config_keys import LARGEST_HEAD_DIM
from pianalysis.rope.configs import read_config, rope_facts
from pianalysis.rope.facts import RopeFacts

LARGEST_WINDOW = 2**40


@dataclass(frozen=True, slots=True)
class RopeSpec:
    r"""A rotary position embedding: :math:`\theta_j = c^{-2j/d}`, j = 0..d/2-1 (below Eq. 1).

    Parameters
    ----------
    head_dim : int
        Dimension of one attention head; even, at most 8192.
    base : float
        The RoPE base c, above 1 (``rope_theta`` in Hugging Face configs).
    context_window : int
        The pretrained context window L, in tokens; never an extended one.
    rotary_fraction : float
        Share of the head that rotates, in (0, 1]; GPT-NeoX rotates a quarter.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the rule and the value.

    Notes
    -----
    The dimension d of every formula in this package is ``rotary_dim``, the even number
    ``int(head_dim * rotary_fraction)``. The part of the head that does not rotate adds a constant
    to the score, which no bound here includes.

    Examples
    --------
    >>> spec = RopeSpec(head_dim=128, base=10_000.0, context_window=2048)
    >>> spec.pairs, spec.frequencies[16]
    (64, np.float64(0.1))
    >>> RopeSpec(head_dim=7, base=10_000.0, context_window=2048)
    Traceback (most recent call last):
    ...
    ValueError: head_dim must be a positive even integer, got 7
    """

    head_dim: int
    base: float
    context_window: int
    rotary_fraction: float = 1.0

    def __post_init__(self) -> None:
        head_dim = _even_dim("head_dim", self.head_dim)
        base = checks.real("base", self.base, above=1.0)
        window = checks.whole("context_window", self.context_window, at_most=LARGEST_WINDOW)
        fraction = checks.real("rotary_fraction", self.rotary_fraction, above=0.0, at_most=1.0)
        rotary_dim = int(head_dim * fraction)
        if rotary_dim < 2 or rotary_dim % 2:
            raise ValueError(
                "rotary_fraction must leave a positive even rotary dimension "
                f"int(head_dim * rotary_fraction), got {rotary_dim} from {head_dim} * {fraction}"
            )
        for name, value in (
            ("head_dim", head_dim),
            ("base", base),
            ("context_window", window),
            ("rotary_fraction", fraction),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def from_hf(
        cls,
        config: str | os.PathLike[str] | Mapping[str, Any] | Any,
        *,
        original_length: int | None = None,
        layer_type: str | None = None,
    ) -> RopeSpec:
        """Read a Hugging Face config: a path, a directory, a dict or a transformers config.

        Both generations are accepted unchanged: ``rope_theta`` with ``rope_scaling`` (v4) and
        ``rope_parameters`` (v5). ``context_window`` is the pretrained window: for an extended
        model its ``original_max_position_embeddings``, never the extended length.

        Parameters
        ----------
        original_length : int, optional
            The pretrained window where the config does not hold it (``linear`` and ``dynamic``
            scaling do not), or holds another number in ``max_position_embeddings``.
        layer_type : str, optional
            Which RoPE to read when layers differ, e.g. ``"full_attention"`` for Gemma 3.

        Raises
        ------
        ValueError, TypeError
            Naming the key and the nearest known one; nothing is guessed.

        Examples
        --------
        >>> RopeSpec.from_hf({"model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32,
        ...                   "rope_theta": 10000.0, "max_position_embeddings": 4096})
        RopeSpec(head_dim=128, base=10000.0, context_window=4096, rotary_fraction=1.0)
        """
        return cls.from_facts(rope_facts(read_config(config), original_length, layer_type))

    @classmethod
    def from_facts(cls, facts: RopeFacts) -> RopeSpec:
        """Take the specification out of what a config says."""
        return cls(facts.head_dim, facts.base, facts.context_window, facts.rotary_fraction)

    @property
    def rotary_dim(self) -> int:
        """The d of every formula: the number of rotating dimensions."""
        return int(self.head_dim * self.rotary_fraction)

    @property
    def pairs(self) -> int:
        """Number of rotating pairs, d/2."""
        return self.rotary_dim // 2

    @property
    def frequencies(self) -> FloatArray:
        """theta_j in radians per token, float64 (d/2,), fastest first; read-only."""
        return phases.geometric_frequencies(self.base, self.rotary_dim)[0]

    @property
    def frequencies_tail(self) -> FloatArray:
        """What rounding theta_j to float64 dropped; the two together hold 106 bits."""
        return phases.geometric_frequencies(self.base, self.rotary_dim)[1]

    @property
    def wavelengths(self) -> FloatArray:
        """2 pi / theta_j, tokens a turn, float64 (d/2,)."""
        return 2.0 * np.pi / self.frequencies

    @property
    def attention_factor(self) -> float:
        """Factor on cos and sin; 1 for a model that is not extended."""
        return 1.0

    @property
    def geometric(self) -> tuple[float, Fraction]:
        """(base, scale) where theta_j = scale base^(-2j/d) exactly: the scale is 1."""
        return self.base, Fraction(1)

    @property
    def ratios(self) -> FloatArray:
        """theta_j by its own: ones, float64 (d/2,), as every extension has them."""
        return np.ones(self.pairs)


def check_spec(spec: Any) -> None:
    """Refuse, by name, what is not a RopeSpec."""
    if not isinstance(spec, RopeSpec):
        raise TypeError(f"spec must be a RopeSpec, got {spec!r}")


def _even_dim(name: str, value: Any) -> int:
    rule = f"{name} must be a positive even integer"
    try:
        number = checks.whole(name, value, at_least=-(10**30))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{rule}, got {value!r}") from None
    if number < 2 or number % 2:
        raise ValueError(f"{rule}, got {number}")
    if number > LARGEST_HEAD_DIM:
        raise ValueError(f"{rule} of at most {LARGEST_HEAD_DIM}, got {number}")
    return number
