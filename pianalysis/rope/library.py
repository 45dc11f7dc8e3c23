"""A config read by transformers' own classes: standardised parameters, frequencies, layers.

Nothing here knows a family. The config class of the ``model_type`` fills in what a file leaves
out; which rotary embedding each layer uses comes from the family's own model
(:mod:`pianalysis.rope.traced`), and the frequencies from that embedding. No remote code is loaded.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from pianalysis.arrays import FloatArray
from pianalysis.rope.config_keys import LARGEST_HEAD_DIM, MOST_REPEATS

if TYPE_CHECKING:
    from pianalysis.rope.traced import Source, TracedLayer

# Names of what lists, modules and frequencies are made for, and how many there may be.
_MOST = {
    r"(^|_)(n|num)_(\w+_)?(layers?|experts|blocks)$": MOST_REPEATS,
    "head_dim|head_size|kv_channels|d_kv|rotary_dim|rotary_ndims": LARGEST_HEAD_DIM,
    "^(hidden_size|d_model|n_embd|dim)$": 2**20,  # over the heads it is a head's width
}
# No decision on what rotates depends on them: configs that differ in these alone are traced once.
_SIZES = frozenset(
    {
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "vocab_size",
        "max_position_embeddings",
        "rope_theta",
        "original_max_position_embeddings",
        "query_pre_attn_scalar",
        "attention_multiplier",
    }
)


class UnreadableError(ValueError):
    """transformers refuses a config, cannot build its model, or the layers cannot be followed."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """A rotary embedding of a transformers model, as its module has it."""

    source: Source
    label: str | None  # the key of nested rope_parameters that it answers to
    parameters: Mapping[str, Any]  # standardised, flat
    rotary_dim: int
    name: str  # of the class

    def at(self, length: int) -> tuple[FloatArray, float]:
        """Return frequencies (float64 of float32, d/2) and factor at a sequence of ``length``."""
        import torch

        from pianalysis.rope import traced

        module, label = self.source.module, self.source.layer_type
        x = torch.zeros((1, 1, 2))
        options = {} if label is None else {"layer_type": label}
        factor = traced.attention_scaling(self.source)
        # Forward is what makes length-dependent embeddings follow; others need not be run.
        with torch.no_grad():
            if self.parameters.get("rope_type") in ("dynamic", "longrope"):
                turned = module(x, torch.tensor([[0, length - 1]]), **options)
                if isinstance(turned, tuple):  # cos and sin: at position 0 the factor alone
                    factor = float(turned[0].flatten()[0])
        found = traced.frequencies(self.source).to(torch.float64).numpy()
        return np.array(found), factor


@dataclass(frozen=True, slots=True)
class LibraryLayer:
    """A decoder layer: its embedding (None: it does not rotate), window and softmax scale."""

    embedding: Embedding | None
    layer_type: str | None
    sliding_window: int | None
    scale: float | None


def version() -> str | None:
    """Return the version of transformers, None where it is not installed."""
    if find_spec("transformers") is None:
        return None
    import transformers

    return str(transformers.__version__)


def knows(model_type: Any) -> bool:
    """Return whether transformers has classes of its own for a model_type."""
    if not isinstance(model_type, str) or find_spec("transformers") is None:
        return False
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return model_type in CONFIG_MAPPING


def config_of(saved: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return transformers' config of a saved one, and the part that describes the decoder.

    Raises
    ------
    UnreadableError
        What the config class refuses, in its words.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    _check_sizes(saved)
    cls = CONFIG_MAPPING[str(saved["model_type"])]
    try:
        with quiet():
            # Files hold infinities as objects of one key.
            whole = cls.from_dict(cls._decode_special_floats(copy.deepcopy(dict(saved))))
            text = whole.get_text_config(decoder=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UnreadableError(
            f"config must be one that {cls.__name__} of transformers accepts, "
            f"got {type(error).__name__}: {reason}"
        ) from None
    if not hasattr(text, "to_dict"):  # a key of the file took the place of a config
        raise UnreadableError(
            f"config must hold its decoder as a config of {cls.__name__}, got {text!r}"
        )
    return whole, text


def _check_sizes(saved: Mapping[str, Any]) -> None:
    """Refuse counts that classes make lists, modules or frequencies of."""
    for name, number in saved.items():
        if isinstance(number, Mapping):
            _check_sizes(number)
        elif isinstance(number, (int, float)):
            for names, most in _MOST.items():
                if re.search(names, str(name)) and number > most:
                    raise UnreadableError(f"{name} must be at most {most}, got {number}")


def value(config: Any, name: str) -> Any:
    """Return an attribute of a config, None where it has none, or another for every layer."""
    try:
        return getattr(config, name, None)
    except Exception:  # of configs whose layers differ: transformers names the class, not a type
        return None


def holds(config: Any, name: str) -> bool:
    """Return whether a config has an attribute, whatever its value."""
    try:
        getattr(config, name)
    except AttributeError:
        return False
    except Exception:  # one value for every layer
        return True
    return True


def own_keys(config: Any) -> frozenset[str]:
    """Return the keys that a config's class reads."""
    config_class: Any = type(config)
    return _class_keys(config_class)


@functools.cache
def _class_keys(config_class: Any) -> frozenset[str]:
    keys = {name for cls in config_class.__mro__ for name in getattr(cls, "__annotations__", {})}
    keys |= set(getattr(config_class, "attribute_map", {}))
    with quiet(), contextlib.suppress(Exception):  # a class may need arguments to be made
        keys |= set(vars(config_class()))
    return frozenset(keys)


def layers_of(whole: Any, text: Any) -> tuple[LibraryLayer, ...]:
    """Return the layers of a config's decoder; ``whole`` is the config that holds it, or itself.

    Raises
    ------
    UnreadableError
        A model that transformers cannot build, or whose layers cannot be followed.
    """
    key = _key(text)
    with quiet():
        if key in _STRUCTURES:
            layers = _parts(text, _STRUCTURES[key])
            if layers is not None:
                return layers
        found = _traced(_built(whole, text), text)
        layers, entries = _read(text, found), _structure(text, found)
        # Where a family makes parts from more than its config, the whole model is made each time.
        if _alike(_parts(text, entries), layers):
            _STRUCTURES[key] = entries
            if len(_STRUCTURES) > MOST_STRUCTURES:
                del _STRUCTURES[next(iter(_STRUCTURES))]
    return layers


def _alike(ours: tuple[LibraryLayer, ...] | None, theirs: tuple[LibraryLayer, ...]) -> bool:
    """Return whether layers put together from parts are those of the whole model."""

    def seen(layer: LibraryLayer) -> list[Any]:
        turning = [] if layer.embedding is None else layer.embedding.at(1)[0].tolist()
        return [turning, layer.layer_type, layer.sliding_window, layer.scale]

    return ours is not None and list(map(seen, ours)) == list(map(seen, theirs))


@dataclass(frozen=True, slots=True)
class _Entry:
    """A layer of a traced structure: the classes of its parts, and the layer it is alike to."""

    rotary: type | None
    layer_type: str | None  # that its rotary embedding is asked for
    attention: type | None
    like: int


# Config without sizes -> its traced structure: the same file is often read several times over.
_STRUCTURES: dict[str, tuple[_Entry, ...]] = {}
MOST_STRUCTURES = 256


def _built(whole: Any, text: Any) -> Any:
    from pianalysis.rope import traced

    try:
        return traced.build(text)
    except traced.UntraceableError as error:
        if whole is not text:  # some decoders have no class of their own to build
            with contextlib.suppress(traced.UntraceableError):
                return traced.build(whole)
        raise UnreadableError(str(error)) from None


def _traced(model: Any, text: Any) -> list[TracedLayer]:
    from pianalysis.rope import traced

    count = value(text, "num_hidden_layers")
    if not any(traced.rotary_modules(model)):
        return [traced.TracedLayer(None, None)] * (count if isinstance(count, int) else 1)
    if not isinstance(count, int):
        raise UnreadableError(
            f"a decoder must number its layers in num_hidden_layers, got {count!r} "
            f"in a {text.model_type!r} config"
        )
    try:
        return traced.trace(model, count)
    except traced.UntraceableError as error:
        raise UnreadableError(str(error)) from None


def _structure(text: Any, found: list[TracedLayer]) -> tuple[_Entry, ...]:
    first: dict[tuple[Any, ...], int] = {}
    entries = []
    for index, layer in enumerate(found):
        source, attention = layer.source, layer.attention
        alike = (
            None if source is None else (id(source.module), source.layer_type),
            type(attention),
            _kind(text, index),
            getattr(attention, "sliding_window", None),
            getattr(attention, "scaling", None),
        )
        entries.append(
            _Entry(
                None if source is None else type(source.module),
                None if source is None else source.layer_type,
                None if attention is None else type(attention),
                first.setdefault(alike, index),
            )
        )
    return tuple(entries)


def _parts(text: Any, entries: tuple[_Entry, ...]) -> tuple[LibraryLayer, ...] | None:
    """Make one rotary embedding and one attention of each kind, and no whole model.

    None where a part cannot be made from the config alone.
    """
    import torch
    from transformers.initialization import no_init_weights

    from pianalysis.rope import traced

    kinds = {entry.like: entry for entry in entries}
    rotaries = {entry.rotary for entry in entries if entry.rotary is not None}
    made: dict[int, TracedLayer] = {}
    try:
        modules = {rotary: rotary(text) for rotary in rotaries}
        for index, entry in kinds.items():
            attention = None
            if entry.attention is not None:
                with torch.device("meta"), no_init_weights():
                    attention = entry.attention(text, layer_idx=index)
            source = None
            if entry.rotary is not None:
                source = traced.Source(modules[entry.rotary], entry.layer_type)
            made[index] = traced.TracedLayer(source, attention)
    except Exception:  # whatever a constructor asks for beyond its config
        return None
    return _read(text, [made[entry.like] for entry in entries])


def _read(text: Any, found: list[TracedLayer]) -> tuple[LibraryLayer, ...]:
    made: dict[Source, Embedding] = {}
    layers = []
    for index, layer in enumerate(found):
        kind, attention = _kind(text, index), layer.attention
        window = getattr(attention, "sliding_window", None)
        if window is None and kind and "sliding" in kind:
            window = value(text, "sliding_window")
        if layer.source is not None and layer.source not in made:
            made[layer.source] = _embedding(layer.source)
        layers.append(
            LibraryLayer(
                None if layer.source is None else made[layer.source],
                kind,
                window if isinstance(window, int) else None,
                _scale(attention),
            )
        )
    return tuple(layers)


def _kind(text: Any, index: int) -> str | None:
    """Return the layer type that the config names."""
    named = value(text, "layer_types")
    return str(named[index]) if named and index < len(named) else None


def _key(config: Any) -> str:
    """Return what decides which layers rotate: the config without sizes and frequencies."""
    kept = {k: v for k, v in config.to_dict().items() if k not in _SIZES}
    parameters = kept.pop("rope_parameters", None) or {}
    entries = {k: v for k, v in parameters.items() if isinstance(v, Mapping)} or {"": parameters}
    # A model may not run with every type of scheme and every share.
    deciding = "rope_type", "partial_rotary_factor"
    kept["schemes"] = {k: [v.get(name) for name in deciding] for k, v in entries.items()}
    return json.dumps(kept, sort_keys=True, default=str)


def _embedding(source: Source) -> Embedding:
    from pianalysis.rope import traced

    # A module's own config: a family may give each base an embedding of its own.
    config = getattr(source.module, "config", None)
    parameters = getattr(config, "rope_parameters", None) or {}
    if source.layer_type is not None and isinstance(parameters.get(source.layer_type), Mapping):
        parameters = parameters[source.layer_type]
    return Embedding(
        source=source,
        label=source.layer_type,
        parameters=dict(parameters),
        rotary_dim=2 * traced.frequencies(source).numel(),
        name=type(source.module).__name__,
    )


def _scale(attention: Any) -> float | None:
    """Return what an attention multiplies its scores by before the softmax, where it says so."""
    for name in ("scaling", "inv_norm_factor"):  # the second is Falcon's
        value = getattr(attention, name, None)
        if isinstance(value, (int, float)):
            return float(value)
    return None


@contextlib.contextmanager
def quiet(level: int = 50) -> Iterator[None]:
    """Keep what transformers logs below a level, and what it warns of, to itself.

    By default all of it: what matters of its remarks on a config is refused here.
    """
    import transformers

    logging: Any = transformers.utils.logging
    before = logging.get_verbosity()
    logging.set_verbosity(level)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
