"""What a config says about RoPE, in one form whoever read it: layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pianalysis import checks

if TYPE_CHECKING:
    from pianalysis.rope.library import Embedding

PLAIN = "plain keys"


@dataclass(frozen=True, slots=True)
class RopeFacts:
    """What a config says about one RoPE: the specification and the scheme on top of it."""

    head_dim: int
    base: float
    context_window: int
    rotary_fraction: float
    rope_type: str
    parameters: Mapping[str, Any]
    proportion: float  # of the pairs that turn under proportional RoPE, else 1
    longest: int | None  # max_position_embeddings, extended or not
    logit_scale: float  # what the model multiplies scores by before its softmax
    reader: str = PLAIN  # or the version of transformers that read it
    notices: tuple[str, ...] = ()
    # transformers' own embedding, which the frequencies of an extension are compared with.
    embedding: Embedding | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """One decoder layer: its kind by name, its RoPE (None: it does not rotate), its window.

    ``refusal`` says why the layer's RoPE cannot be given, though it rotates.
    """

    layer_type: str | None
    rope: RopeFacts | None
    sliding_window: int | None = None
    refusal: str | None = None
    label: str | None = None  # the key of nested rope_parameters, where it is no layer type


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """All decoder layers of a config, and who read it."""

    layers: tuple[LayerFacts, ...]
    reader: str
    model_type: str | None

    def rotating(self, layer_type: str | None = None) -> RopeFacts:
        """Return the one RoPE of the layers that rotate, or of those of a type.

        Raises
        ------
        ValueError
            Layers that differ where no type is given; a type that no layer has, that does not
            rotate, or whose RoPE cannot be given.
        """
        names = list(dict.fromkeys(x.layer_type for x in self.layers if x.layer_type))
        labels = list(dict.fromkeys(x.label for x in self.layers if x.label))
        if layer_type is not None:
            layer_type = checks.text("layer_type", layer_type)
            if not names and not labels:
                raise ValueError(
                    f"layer_type must be None: all layers share one RoPE, got {layer_type!r}"
                )
            checks.choice("layer_type", layer_type, dict.fromkeys([*names, *labels]))
        chosen = [x for x in self.layers if layer_type in (None, x.layer_type, x.label)]
        if layer_type is None and all(x.rope is None and not x.refusal for x in chosen):
            raise ValueError(without_rope(self.model_type, "no layer of this config rotates"))
        refusals = [x.refusal for x in chosen if x.refusal]
        if refusals:
            raise ValueError(refusals[0])
        found: list[RopeFacts] = []
        for layer in chosen:
            if layer.rope is not None and layer.rope not in found:
                found.append(layer.rope)
        if not found:
            raise ValueError(
                f"layer_type must name layers that rotate, got {layer_type!r}: these have no RoPE"
            )
        if len(found) > 1:
            turning = sorted({str(x.label or x.layer_type) for x in chosen if x.rope is not None})
            what = "base differs" if len({x.base for x in found}) > 1 else "RoPE differs"
            raise ValueError(
                f"layer_type must name one of {', '.join(turning)}: their {what}, got {layer_type}"
            )
        return found[0]


def without_rope(model_type: str | None, why: str) -> str:
    """Return the sentence that refuses a model without rotary positions."""
    return (
        f"config must be of a model with rotary positions, got model_type {model_type!r}, "
        f"which has no RoPE: {why}"
    )
