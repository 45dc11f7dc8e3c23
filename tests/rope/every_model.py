"""Every causal model type of transformers: its default config, read by both readers.

``python tests/rope/every_model.py`` prints a line a type; the tests ask for what it returns.
"""

import functools
import importlib
import inspect
import json
import warnings

import numpy as np
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

import pianalysis as pia
from pianalysis.extension.registry import extension_of
from pianalysis.rope import configs
from pianalysis.rope.plain import plain_facts

TYPES = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def default_config(model_type):
    """The default config, or None and why it has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers.logging.set_verbosity(50)
        try:
            return CONFIG_MAPPING[model_type](), None
        except Exception as error:
            return None, f"{type(error).__name__}: {error}"


def seen(extensions):
    """What must agree, layer by layer: frequencies, factor, window, rotary dimension."""
    return [
        None
        if layer is None
        else (
            layer.frequencies.tolist(),
            layer.attention_factor,
            layer.spec.context_window,
            layer.spec.rotary_dim,
        )
        for layer in extensions
    ]


@functools.cache
def as_saved(model_type):
    """(what transformers' reading gives, or None), (why it refuses, or None)."""
    config, reason = default_config(model_type)
    if config is None:
        return None, reason
    saved = json.loads(config.to_json_string(use_diff=False))
    try:
        return seen(pia.layer_extensions(saved)), None
    except ValueError as error:
        return None, str(error)


def as_object(model_type):
    """The same of the config object."""
    config, reason = default_config(model_type)
    try:
        return (None, reason) if config is None else (seen(pia.layer_extensions(config)), None)
    except ValueError as error:
        return None, str(error)


def by_keys(model_type):
    """The same by the keys of the saved config alone."""
    config, reason = default_config(model_type)
    if config is None:
        return None, reason
    saved = configs.decoder_config(json.loads(config.to_json_string(use_diff=False)))
    try:
        facts = plain_facts(saved)
        facts.rotating(next((x.layer_type for x in facts.layers if x.rope), None))
        layers = [None if x.rope is None else extension_of(x.rope) for x in facts.layers]
        return seen(layers), None
    except ValueError as error:
        return None, str(error)


def library_frequencies(model_type):
    """{layer type or None: inv_freq} of the family's rotary classes, made from the config alone."""
    config = default_config(model_type)[0].get_text_config(decoder=True)
    name = type(config).__module__.replace("configuration_", "modeling_")
    found = {}
    for cls in vars(importlib.import_module(name)).values():
        if not inspect.isclass(cls) or not cls.__name__.endswith("RotaryEmbedding"):
            continue
        if cls.__module__ != name or "Vision" in cls.__name__ or "Audio" in cls.__name__:
            continue
        for buffer, value in cls(config).named_buffers():
            if buffer.endswith("inv_freq") and "original" not in buffer:
                kind = buffer.removesuffix("inv_freq").removesuffix("_")
                found[kind or None] = value.double().tolist()
    return found


def equal(one, other):
    """Whether two readings agree, layer by layer; one layer may stand for all that are alike."""
    if len(one) == 1 and len(other) > 1:
        one = one * len(other)
    return len(one) == len(other) and all(map(_equal_layers, one, other))


def _equal_layers(one, other):
    if one is None or other is None:
        return one is other
    close = len(one[0]) == len(other[0]) and np.allclose(one[0], other[0], 3e-6, 0.0)
    return close and abs(one[1] - other[1]) < 3e-6 and one[2:] == other[2:]


if __name__ == "__main__":
    for name in TYPES:
        ours, why = as_saved(name)
        keys, why_keys = by_keys(name)
        verdict = "refused" if ours is None else "read"
        plain = "refused" if keys is None else ("equal" if ours and equal(keys, ours) else "OTHER")
        print(f"{name}: {verdict} {why or ''} | plain {plain} {(why_keys or '')[:110]}", flush=True)
