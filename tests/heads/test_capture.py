"""Captured queries and keys against the attention that transformers computes from them."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_models
import torch

import pianalysis as pia
from pianalysis.heads import open_checkpoint, visit_layers

FAMILIES = [name for name in tiny_models.FAMILIES if name != "cohere"]


@pytest.fixture
def opened(tmp_path):
    def make(family, *, dtype="float32", **changes):
        return open_checkpoint(tiny_models.save(family, tmp_path / family, **changes), dtype=dtype)

    return make


def captured(checkpoint, ids, layers=None):
    out = []
    visit_layers(checkpoint, ids, out.append, layers=layers)
    return out


def attention(checkpoint, ids):
    """Probabilities (layer, head, query, key), by transformers' eager attention, in float64."""
    model = checkpoint.model
    model.set_attn_implementation("eager")
    with torch.no_grad():
        out = model(torch.from_numpy(ids)[None], output_attentions=True)
    return [layer[0].double().numpy() for layer in out.attentions]


def unrotated_products(checkpoint, ids, rotary_dim):
    """The part of q . k that does not rotate, per layer and head, from the fused projections."""
    projections = []

    def keep(module, inputs, output):
        projections.append(output[0].detach().double().numpy())

    model = checkpoint.model
    names = ("query_key_value", "qkv_proj")
    fused = [m for n, m in model.named_modules() if n.endswith(names)]
    handles = [module.register_forward_hook(keep) for module in fused]
    with torch.no_grad():
        model.base_model(torch.from_numpy(ids)[None])
    for handle in handles:
        handle.remove()
    heads = tiny_models.HEADS
    dim = checkpoint.spec.head_dim
    products = []
    for rows in projections:
        if checkpoint.config["model_type"] == "gpt_neox":
            q, k, _ = np.split(rows.reshape(len(ids), heads, 3 * dim), 3, axis=-1)
        else:
            q = rows[:, : heads * dim].reshape(len(ids), heads, dim)
            k = rows[:, heads * dim :][:, : 2 * dim].reshape(len(ids), 2, dim).repeat(2, axis=1)
        products.append(np.einsum("qhd,khd->hqk", q[..., rotary_dim:], k[..., rotary_dim:]))
    return products


def our_logits(checkpoint, layers, ids):
    """Logits from the captured coefficients through a(s), one array (head, query, key) a layer."""
    scheme = pia.extension_from_hf(checkpoint.config)
    rest = [0.0] * len(layers)
    if checkpoint.spec.rotary_fraction < 1:
        rest = unrotated_products(checkpoint, ids, checkpoint.spec.rotary_dim)
    n = np.arange(len(ids))
    span = n[:, None] - n
    turn = np.exp(1j * span[..., None] * scheme.frequencies) * scheme.attention_factor**2
    out = []
    for layer, constant in zip(layers, rest, strict=True):
        heads = range(layer.queries.shape[0])
        h = np.array([layer.coefficients(head, n[:, None], n[None]) for head in heads])
        logits = layer.scaling * ((h * turn).real.sum(axis=-1) + constant)
        out.append(
            logits if layer.softcap is None else layer.softcap * np.tanh(logits / layer.softcap)
        )
    return out


def worst_difference(ours, theirs):
    """Largest difference of log-probabilities where attention is allowed; and their spread."""
    worst, spread, pairs = 0.0, 0.0, 0
    for logits, weights in zip(ours, theirs, strict=True):
        allowed = weights > 0
        masked = np.where(allowed, logits, -np.inf)
        expected = masked - np.logaddexp.reduce(masked, axis=-1, keepdims=True)
        difference = expected[allowed] - np.log(weights[allowed])
        worst = max(worst, np.abs(difference).max())
        spread = max(spread, np.ptp(np.log(weights[allowed])))
        pairs += int(allowed.sum())
    return worst, spread, pairs


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_logits_are_those_of_transformers(opened, family):
    checkpoint = opened(family)
    ids = tiny_models.text()
    layers = captured(checkpoint, ids)
    config = checkpoint.model.config
    assert [layer.layer for layer in layers] == list(range(config.num_hidden_layers))
    worst, spread, pairs = worst_difference(
        our_logits(checkpoint, layers, ids), attention(checkpoint, ids)
    )
    assert worst < 1e-5 * max(1.0, spread)
    # Not vacuous: attention is far from uniform, and most causal pairs were compared.
    assert spread > 3
    assert pairs > 0.5 * len(layers) * tiny_models.HEADS * len(ids) ** 2 / 3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_wrong_pairing_is_seen(opened, family):
    # The comparison above can fail: with the other layout of the pairs it does.
    checkpoint = opened(family)
    ids = tiny_models.text()
    shuffled = [
        replace(layer, queries=other_layout(layer.queries), keys=other_layout(layer.keys))
        for layer in captured(checkpoint, ids)
    ]
    worst, _, _ = worst_difference(
        our_logits(checkpoint, shuffled, ids), attention(checkpoint, ids)
    )
    assert worst > 1e-2


def other_layout(pairs):
    halves = np.concatenate([pairs.real, pairs.imag], axis=-1)
    return halves[..., 0::2] + 1j * halves[..., 1::2]


def test_shapes_and_grouping(opened):
    (layer,) = captured(opened("qwen3"), tiny_models.text(), layers=[1])
    assert layer.layer == 1
    assert layer.queries.shape == (4, 24, 6)
    assert layer.keys.shape == (2, 24, 6)
    assert layer.queries.dtype == layer.keys.dtype == np.complex128
    h = layer.coefficients(3, 5, 2)
    np.testing.assert_array_equal(h, layer.queries[3, 5] * layer.keys[1, 2].conj())
    assert layer.coefficients(0, [[1], [2]], [0, 1, 2]).shape == (2, 3, 6)


def test_gemma2_scaling_and_softcap(opened):
    layers = captured(opened("gemma2"), tiny_models.text())
    assert {layer.scaling for layer in layers} == {24.0**-0.5}
    assert {layer.softcap for layer in layers} == {5.0}


def test_layers_of_two_ropes_have_two_specs(opened):
    ropes = {
        "full_attention": {"rope_type": "default", "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    changes = {"rope_parameters": ropes, "sliding_window_pattern": 2}
    changes |= {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
    checkpoint = opened("gemma3", **changes)
    assert checkpoint.spec.base == 1e6
    layers = captured(checkpoint, tiny_models.text())
    assert [layer.spec.base for layer in layers] == [1e4, 1e6, 1e4]


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_weights(opened, family):
    ids = tiny_models.text()
    (exact,) = captured(opened(family), ids, layers=[0])
    (rounded,) = captured(opened(family, dtype="bfloat16"), ids, layers=[0])
    scale = np.abs(exact.queries).max()
    assert 0 < np.abs(exact.queries - rounded.queries).max() < 0.05 * scale


def test_the_pass_stops_after_the_last_layer(opened):
    checkpoint = opened("llama")
    ran = []
    for number, layer in enumerate(checkpoint.model.model.layers):
        layer.mlp.register_forward_hook(lambda *_, number=number: ran.append(number))
    captured(checkpoint, tiny_models.text(), layers=[0, 1])
    assert ran == [0]


def test_nothing_stays_replaced(opened):
    from transformers.models.llama import modeling_llama

    before = modeling_llama.apply_rotary_pos_emb
    checkpoint = opened("llama")

    def fail(layer):
        raise KeyError("from the visitor")

    with pytest.raises(KeyError, match="from the visitor"):
        visit_layers(checkpoint, tiny_models.text(), fail)
    assert modeling_llama.apply_rotary_pos_emb is before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in checkpoint.model.modules())


def test_a_pass_within_a_pass(opened):
    checkpoint, ids = opened("llama"), tiny_models.text()
    alone = captured(checkpoint, ids)
    nested = []

    def visit(layer):
        nested.append((layer, captured(checkpoint, ids, layers=[2])[0]))

    visit_layers(checkpoint, ids, visit)
    for (outer, inner), expected in zip(nested, alone, strict=True):
        np.testing.assert_array_equal(outer.queries, expected.queries)
        np.testing.assert_array_equal(inner.queries, alone[2].queries)


@pytest.mark.parametrize("placement", ["disk", "mixed"])
def test_offloaded_layers_give_the_same_bits(opened, tmp_path, placement):
    ids = tiny_models.text()
    checkpoint = opened("llama", shards="20KB")
    ordinary = captured(checkpoint, ids)
    device_map = {"": "disk"}
    if placement == "mixed":
        device_map = {
            "model.embed_tokens": "cpu",
            "model.layers.0": "cpu",
            "model.layers.1": "disk",
        }
        device_map |= {"model.layers.2": "disk", "model.norm": "disk", "model.rotary_emb": "cpu"}
        device_map["lm_head"] = "disk"
    away = open_checkpoint(
        checkpoint.name, device_map=device_map, offload_folder=tmp_path / "offload"
    )
    assert any(weight.device.type == "meta" for weight in away.model.parameters())
    for _ in range(2):
        offloaded = captured(away, ids)
        for ours, theirs in zip(offloaded, ordinary, strict=True):
            np.testing.assert_array_equal(ours.queries, theirs.queries)
            np.testing.assert_array_equal(ours.keys, theirs.keys)
    assert any(weight.device.type == "meta" for weight in away.model.parameters())


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([5], r"tokens must be at least two integers.*got shape \(1,\)"),
        ([[1, 2]], "tokens must be at least two integers"),
        ([1.5, 2.0], "tokens must be at least two integers"),
        ([1, 96], r"tokens must lie in \[0, 96\), got 96"),
        ([1, -1], r"tokens must lie in \[0, 96\), got -1"),
    ],
)
def test_refused_tokens(opened, tokens, message):
    with pytest.raises(ValueError, match=message):
        captured(opened("llama"), tokens)


def test_refused_layers_and_positions(opened):
    checkpoint, ids = opened("llama"), tiny_models.text()
    with pytest.raises(ValueError, match="layers must be an integer from 0 to 2, got 3"):
        captured(checkpoint, ids, layers=[3])
    with pytest.raises(ValueError, match="layers must name at least one layer"):
        captured(checkpoint, ids, layers=[])
    (layer,) = captured(checkpoint, ids, layers=[0])
    with pytest.raises(ValueError, match="head must be an integer from 0 to 3, got 4"):
        layer.coefficients(4, 0, 0)
    with pytest.raises(ValueError, match=r"query must hold token positions in \[0, 24\), got -1"):
        layer.coefficients(0, -1, 0)


def test_a_layer_that_does_not_rotate(opened):
    checkpoint, ids = opened("smollm3", no_rope_layers=[1, 0, 1]), tiny_models.text()
    assert [layer.layer for layer in captured(checkpoint, ids)] == [0, 2]
    with pytest.raises(ValueError, match=r"layers must rotate .* got layer 1"):
        captured(checkpoint, ids, layers=[1])


def test_a_family_that_rotates_otherwise(opened):
    checkpoint = opened("gptj", rotary_dim=4)
    with pytest.raises(ValueError, match=r"got none in .*modeling_gptj for a 'gptj' model"):
        captured(checkpoint, tiny_models.text())


def test_infinite_queries_are_refused(opened):
    checkpoint = opened("llama")
    with torch.no_grad():
        checkpoint.model.model.layers[1].self_attn.q_proj.weight[0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"queries and keys must be finite.*layer 1"):
        captured(checkpoint, tiny_models.text())
