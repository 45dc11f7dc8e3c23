"""Every causal model type of transformers: its default config, read by both readers."""

import contextlib
import importlib.util
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
# Default configs that are refused, and why; those of no model cannot be built in transformers.
REFUSED = {
    "blt": "must number its layers",
    "cohere_compass_text": "must build a model in transformers",
    "dbrx": "must build a model in transformers",
    "doge": "num_experts must be at most",
    "dots1": "must build a model in transformers",
    "emu3": "must build a model in transformers",
    "gemma4_assistant": "validate_architecture",
    "gemma4_unified_assistant": "must build a model in transformers",
    "glm4_moe": "must be what the model's code rotates",
    "hrm_text": "must hold one list of its",
    "hunyuan_v1_moe": "must build a model in transformers",
    "lfm2_moe": "must build a model in transformers",
    "ministral": "must build a model in transformers",
    "mllama": "must run so far as its attention",
    "musicgen": "must build a model in transformers",
    "musicgen_melody": "must build a model in transformers",
    "qwen4_exp": "must build a model in transformers",
    "qwen4_exp_text": "must build a model in transformers",
    "recurrent_gemma": "max_position_embeddings (or original_length) must be given",
}
NO_ROPE = [
    *("bamba", "bart", "bert", "bert-generation", "big_bird", "bigbird_pegasus", "biogpt"),
    *("blenderbot", "blenderbot-small", "bloom", "camembert", "cpmant", "ctrl", "data2vec-text"),
    *("electra", "ernie", "falcon_mamba", "git", "gpt-sw3", "gpt2", "gpt_bigcode"),
    *(
        "gpt_neo",
        "granitemoehybrid",
        "inkling2_text",
        "inkling_text",
        "jamba",
        "kimi_linear",
        "mamba",
    ),
    *("mamba2", "marian", "mbart", "megatron-bert", "mpt", "mvp", "nemotron_h"),
    *("openai-gpt", "opt", "pegasus", "plbart", "prophetnet", "reformer", "rembert"),
    *("roberta", "roberta-prelayernorm", "roc_bert", "rwkv", "trocr", "whisper", "xglm"),
    *("xlm", "xlm-roberta", "xlm-roberta-xl", "xlnet", "xlstm", "xmod", "zamba"),
    "zamba2",
]


# Layers of a default config: as many as any family's pattern is long, and few enough to be built.
LAYERS = 8
WHOLE = ("blt", "gemma3n_text", "reformer")  # whose other keys name layers by number


def default_config(model_type):
    """The default config with few layers, or with its own where these do not go together."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers.logging.set_verbosity(50)
        cls = CONFIG_MAPPING[model_type]
        if model_type not in WHOLE:
            with contextlib.suppress(Exception):
                return cls(num_hidden_layers=LAYERS), None
        try:
            return cls(), None
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
    if importlib.util.find_spec(name) is None:  # a config of its own, for another family's model
        name = transformers.AutoModelForCausalLM._model_mapping[type(config)].__module__
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
