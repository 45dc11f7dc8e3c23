"""Stand-ins for real models: a tokenizer of one token a byte, a Llama of two small layers."""

from types import SimpleNamespace

import pianalysis as pia

HEADS = pia.RopeSpec(6, 50.0, 13)  # of synthetic heads
SCALING = 0.4


def letters(*, bos=False):
    """A tokenizer of one token a byte, which opens a text with <s> or does not."""
    import tokenizers
    import transformers

    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<s>", *alphabet])}
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    if bos:
        inner.post_processor = tokenizers.processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>")


def llama(**config):
    """A random Llama whose attention is far from uniform, so that positions matter."""
    import torch
    import transformers

    shape = {
        **{"hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1},
        **{"num_hidden_layers": 2, "intermediate_size": 48, "vocab_size": 260},
        "max_position_embeddings": 32,
    }
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape | config)).eval()
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.q_proj.weight *= 30.0
            layer.self_attn.k_proj.weight *= 30.0
    return model


def checkpoint(model, tokenizer, spec=None):
    """The attributes of checkpoints.checkpoint.Checkpoint that measurements use."""
    spec = pia.RopeSpec(16, 10_000.0, 32) if spec is None else spec
    return SimpleNamespace(
        name="tiny", model=model, tokenizer=tokenizer, config={}, spec=spec, digest="0" * 64
    )


def synthetic(rng, *, spec=HEADS, heads=4, groups=2, tokens=7, layer=3, softcap=None, size=2.0):
    """Queries and keys drawn at random, as one captured layer holds them."""

    def draw(*shape):
        return size * (rng.normal(size=shape) + 1j * rng.normal(size=shape))

    return SimpleNamespace(
        layer=layer,
        queries=draw(heads, tokens, spec.pairs),
        keys=draw(groups, tokens, spec.pairs),
        spec=spec,
        scaling=SCALING,
        softcap=softcap,
    )
