"""Published config.json files as facts, layer by layer, against transformers' own frequencies.

``published_layers.jsonl`` holds a line a repository: the keys of its config.json that bear on RoPE
(nothing else of the file), as it is published.
"""

import importlib
import inspect
import json
from pathlib import Path

import every_model
import numpy as np
import pytest
import torch
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

import pianalysis as pia
from pianalysis.extension.registry import extension_of
from pianalysis.rope.families import FAMILIES
from pianalysis.rope.plain import plain_facts

HERE = Path(__file__).parent
LINES = (HERE / "published_layers.jsonl").read_text().splitlines()
PUBLISHED = {line["repository"]: line["config"] for line in map(json.loads, LINES)}
# Following a model takes time by the layer. Where all layers are made alike the first stand for
# all, but in one file of each type: the deepest is followed whole.
FOLLOWED = 6
UNLIKE = ("layer_types", "no_rope_layers", "sliding_window_pattern", "max_window_layers")
REFUSED = {
    "ai21labs/Jamba-v0.1": "has no RoPE",
    "bigscience/bloom": "ALiBi",
    "mosaicml/mpt-7b": "ALiBi",
    "openai-community/gpt2": "learned positions",
    "facebook/opt-125m": "learned positions",
    "state-spaces/mamba-130m-hf": "no attention",
    "tiiuae/falcon-rw-1b": "alibi",
}
TABLES = ("gptj", "codegen")  # they turn by a table of base 10,000
READ = [name for name in PUBLISHED if name not in REFUSED]


def depth(config):
    """The number of decoder layers, by its key."""
    key = "num_hidden_layers" if "num_hidden_layers" in config else "n_layer"
    return key, config[key]


def followed(name):
    """The file as it is published, or with fewer layers."""
    saved = PUBLISHED[name]
    key, layers = depth(saved)
    alike = [other for other in READ if PUBLISHED[other]["model_type"] == saved["model_type"]]
    deepest = max(alike, key=lambda other: depth(PUBLISHED[other])[1])
    if name == deepest or any(saved.get(key) for key in UNLIKE):
        return saved
    return saved | {key: min(layers, FOLLOWED)}


def original_length(config):
    """The window of a linear scheme, which no file holds: that of the model it was made from."""
    return 4096 if (config.get("rope_scaling") or {}).get("type") == "linear" else None


def theirs(saved, length):
    """{layer type or None: (inv_freq, factor)} of transformers' config and functions."""
    if saved["model_type"] in TABLES:
        dim = saved["rotary_dim"]
        return {None: (1.0 / 10000.0 ** (np.arange(0, dim, 2) / dim), 1.0)}
    config = CONFIG_MAPPING[saved["model_type"]].from_dict(json.loads(json.dumps(saved)))
    module = importlib.import_module(type(config).__module__.replace("configuration_", "modeling_"))
    [cls] = [
        x
        for name, x in vars(module).items()
        if inspect.isclass(x)
        and name.endswith("RotaryEmbedding")
        and x.__module__ == module.__name__
    ]
    parameters = config.rope_parameters
    kinds = [k for k, v in parameters.items() if isinstance(v, dict)]
    out = {}
    for kind in kinds or [None]:
        rope_type = (parameters[kind] if kind else parameters)["rope_type"]
        if rope_type == "default":
            buffers = dict(cls(config).named_buffers())
            out[kind] = (buffers[f"{kind}_inv_freq" if kind else "inv_freq"].double().numpy(), 1.0)
        else:
            options = {"layer_type": kind} if kind else {}
            found = ROPE_INIT_FUNCTIONS[rope_type](config, "cpu", seq_len=length, **options)
            out[kind] = (found[0].to(torch.float64).numpy(), float(found[1]))
    return out


def test_there_are_at_least_150():
    older = json.loads((HERE / "published_configs.json").read_text())
    assert len(PUBLISHED) + len(older) >= 150
    assert not set(PUBLISHED) & set(older)


@pytest.mark.parametrize("name", READ)
def test_layers_turn_as_in_transformers(name):
    saved = followed(name)
    layers = pia.layer_extensions(saved, original_length=original_length(saved))
    assert len(layers) == depth(saved)[1]
    rotating = [layer for layer in layers if layer is not None]
    unrotated = [1 - turns for turns in saved.get("no_rope_layers", [])]
    assert layers.count(None) == sum(unrotated)
    oracle = theirs(saved, rotating[0].target)
    kinds = saved.get("layer_types") or [None] * len(layers)
    for kind, layer in zip(kinds, layers, strict=True):
        if layer is None:
            continue
        options = [oracle[kind]] if kind in oracle else list(oracle.values())
        assert any(
            layer.frequencies.shape == frequencies.shape
            and np.allclose(layer.frequencies, frequencies, 3e-6, 0.0)
            and layer.attention_factor == pytest.approx(factor, rel=3e-6)
            for frequencies, factor in options
        )


@pytest.mark.parametrize("name", READ)
def test_the_plain_reader_says_the_same_or_refuses(name):
    saved = followed(name)
    length = original_length(saved)
    layers = pia.layer_extensions(saved, original_length=length)
    if saved["model_type"] not in FAMILIES:
        with pytest.raises(ValueError, match="model_type must be one that"):
            plain_facts(saved, length)
        return
    if saved["model_type"] == "falcon":  # its files hold no window
        with pytest.raises(ValueError, match="max_position_embeddings"):
            plain_facts(saved, length)
        return
    facts = plain_facts(saved, length)
    plain = [None if x.rope is None else extension_of(x.rope) for x in facts.layers]
    if len(plain) == len(layers):
        assert every_model.equal(every_model.seen(plain), every_model.seen(layers))
    else:  # a file that lists no layers: each kind stands once
        seen = every_model.seen(layers)
        assert all(
            any(every_model.equal([one], [other]) for other in seen)
            for one in every_model.seen(plain)
        )


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_say_why(name):
    with pytest.raises(ValueError, match=REFUSED[name]) as error:
        pia.layer_extensions(PUBLISHED[name])
    assert "rope_theta" not in str(error.value)


@pytest.mark.parametrize("name", [n for n in READ if original_length(PUBLISHED[n])])
def test_linear_files_ask_for_their_window(name):
    with pytest.raises(ValueError, match="original_length must be given"):
        pia.layer_extensions(PUBLISHED[name])
