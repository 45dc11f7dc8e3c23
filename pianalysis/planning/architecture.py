r"""The sizes of a decoder, and its exact number of parameters.

A block is attention and a perceptron, each after a norm: its weights, saved activations and matrix
products are what this package's plans count. Three families are served by their keys alone; of
others the model itself is asked (:mod:`pianalysis.planning.measured`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pianalysis import checks

# model_type -> whether q, k and v have biases that no key of the config switches on or off.
FAMILIES = {"llama": False, "mistral": False, "qwen2": True}
LARGEST_SIZE = 2**24


@dataclass(frozen=True, slots=True)
class Architecture:
    r"""Sizes of a decoder with l layers of width h, a heads of dimension d (k of them for keys).

    .. math::
        N = V h (2 - \text{tied}) + h + l \, (2 h a d + 2 h k d + p h f + 2 h + \text{biases}) + e

    Parameters
    ----------
    vocabulary, hidden, intermediate, layers, heads, key_heads, head_dim : int
        V, h, f, l, a, k, d.
    tied : bool
        Whether the output matrix is the embedding.
    attention_biases, output_bias, perceptron_biases : bool
        Which linear maps have a bias: q, k and v; the attention's output; the perceptron's three.
    perceptron_matrices : int
        p: 3 for a gated perceptron, 2 for a plain one.
    layer_extra, outer_extra : int
        Whatever else one layer holds (norms of queries and keys, further biases), and what stands
        outside the layers; e is their sum over the model.

    Raises
    ------
    ValueError, TypeError
        A size that is no positive integer, or heads that key_heads does not divide.

    Examples
    --------
    >>> Architecture(32000, 4096, 11008, 32, 32, 32, 128).parameters
    6738415616
    """

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_heads: int
    head_dim: int
    tied: bool = False
    attention_biases: bool = False
    output_bias: bool = False
    perceptron_biases: bool = False
    perceptron_matrices: int = 3
    layer_extra: int = 0
    outer_extra: int = 0

    def __post_init__(self) -> None:
        for name in ("vocabulary", "hidden", "intermediate", "layers", "heads", "key_heads"):
            checks.whole(name, getattr(self, name), at_most=LARGEST_SIZE)
        checks.whole("head_dim", self.head_dim, at_most=LARGEST_SIZE)
        if self.heads % self.key_heads:
            raise ValueError(f"key_heads must divide heads = {self.heads}, got {self.key_heads}")

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Architecture:
        """Read the sizes from a Hugging Face config.

        Raises
        ------
        ValueError
            A family that is not served, or a size the config lacks.
        """
        family = config.get("model_type")
        if family not in FAMILIES:
            raise ValueError(
                f"model_type must be one of {', '.join(FAMILIES)} to be planned, got {family!r}"
            )
        hidden, heads = _size(config, "hidden_size"), _size(config, "num_attention_heads")
        if config.get("head_dim") is None and hidden % heads:
            raise ValueError(
                f"hidden_size must be a multiple of num_attention_heads, got {hidden} and {heads}"
            )
        # transformers fills in a number of key heads of its own where these files leave it out.
        own = family == "llama" or "num_key_value_heads" in config
        biases = bool(config.get("attention_bias", False))
        return cls(
            vocabulary=_size(config, "vocab_size"),
            hidden=hidden,
            intermediate=_size(config, "intermediate_size"),
            layers=_size(config, "num_hidden_layers"),
            heads=heads,
            key_heads=_size(config, "num_key_value_heads", heads if own else None),
            head_dim=_size(config, "head_dim", hidden // heads),
            tied=bool(config.get("tie_word_embeddings", False)),
            attention_biases=FAMILIES[family] or (family == "llama" and biases),
            output_bias=family == "llama" and biases,
            perceptron_biases=family == "llama" and bool(config.get("mlp_bias", False)),
        )

    @property
    def query_width(self) -> int:
        """Width of all queries, a d."""
        return self.heads * self.head_dim

    @property
    def key_width(self) -> int:
        """Width of all keys, or of all values, k d."""
        return self.key_heads * self.head_dim

    @property
    def layer_matrices(self) -> int:
        """Weights of one layer's matrices: 2 h a d + 2 h k d + p h f."""
        attention = 2 * self.hidden * (self.query_width + self.key_width)
        return attention + self.perceptron_matrices * self.hidden * self.intermediate

    @property
    def layer_parameters(self) -> int:
        """All parameters of one layer: its matrices, two norms and what biases there are."""
        biases = self.attention_biases * (self.query_width + 2 * self.key_width)
        biases += self.output_bias * self.hidden
        biases += self.perceptron_biases * (2 * self.intermediate + self.hidden)
        return self.layer_matrices + 2 * self.hidden + biases + self.layer_extra

    @property
    def outer_parameters(self) -> int:
        """Parameters outside the layers: embedding, output matrix unless tied, last norm."""
        matrices = (1 if self.tied else 2) * self.vocabulary * self.hidden
        return matrices + self.hidden + self.outer_extra

    @property
    def parameters(self) -> int:
        """The number of parameters N, exactly."""
        return self.layers * self.layer_parameters + self.outer_parameters

    @property
    def matrices(self) -> int:
        """Weights that multiply every token: all layers' matrices and the output matrix."""
        return self.layers * self.layer_matrices + self.vocabulary * self.hidden


def _size(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key)
    if value is None:
        value = default
    if value is None:
        raise ValueError(f"{key} must be given in the config, got none")
    return checks.whole(key, value, at_most=LARGEST_SIZE)
