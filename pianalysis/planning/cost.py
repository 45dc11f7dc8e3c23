r"""What a training step costs: bytes on each GPU, and floating-point operations.

Bytes are those of bfloat16 mixed precision under full sharding (FSDP): weights, gradients and AdamW
states in float32, split over the GPUs; computation and activations in bfloat16. They are estimates:
allocator fragmentation, communication buffers and kernel workspaces are not in them.
"""

from __future__ import annotations

from dataclasses import dataclass

from pianalysis import checks
from pianalysis.planning.architecture import Architecture

COMPUTE = 2  # bytes of a bfloat16 number
MASTER = 4  # bytes of a float32 number


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one GPU at the highest point of a step, by part.

    ``loss`` and ``layer`` are alive at different times: the larger one counts.
    """

    weights: float
    gradients: float
    optimizer: float
    gathered: float
    activations: float
    loss: float
    layer: float

    @property
    def total(self) -> float:
        """What is alive together at the highest point."""
        states = self.weights + self.gradients + self.optimizer
        return states + self.gathered + self.activations + max(self.loss, self.layer)


@dataclass(frozen=True, slots=True)
class Operations:
    """Floating-point operations for one token, forward and backward."""

    matrices: float
    attention: float
    recomputed: float

    @property
    def model(self) -> float:
        """What the model needs, recomputation left out."""
        return self.matrices + self.attention

    @property
    def total(self) -> float:
        """What the hardware does."""
        return self.model + self.recomputed


def training_memory(
    sizes: Architecture, length: int, *, micro_batch: int, gpus: int, checkpointing: bool
) -> Memory:
    r"""Return the bytes on each of ``gpus`` GPUs for ``micro_batch`` sequences of ``length``.

    .. math::
        \text{states} = (4 + 4 + 8) N / g, \qquad
        \text{gathered} = 2 (2 N_\text{outer} + 3 N_\text{layer}) \text{ for } g > 1,
        \; 2 N \text{ for } g = 1

    With T = micro_batch * length tokens, a step peaks either at the loss, over all logits, or in
    a layer's backward pass, on top of the activations K that are kept for it:

    .. math::
        \text{loss} = \text{norm} + (12 + 2) T V, \qquad
        \text{layer} = 2 T (3 f + h) \; [\, + S \text{ with checkpointing} ]

    S is ``layer_activations``. Without checkpointing K = l S; with it each layer's input alone is
    kept, K = 2 T h l (4 T h l for g = 1), and S is computed again, a layer at a time.

    Parameters
    ----------
    length : int
        Sequence length in tokens.
    micro_batch : int
        Sequences in one pass on one GPU.
    gpus : int
        g, the GPUs that share the states.
    checkpointing : bool
        Whether each layer is recomputed in the backward pass.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the rule and the value.

    Notes
    -----
    Assumes scaled_dot_product_attention by a fused kernel (no length x length matrix), the loss in
    float32 over all logits at once (12 bytes a logit: log-softmax, its gradient, the gradient of
    the loss; 2 bytes: the logits), sharding that splits evenly, one layer's weights fetched
    while another computes, and one layer's gradients on their way. On one GPU autocast keeps
    bfloat16 copies of all weights, and float32 between the layers. Measured on a small model on a
    CPU, the peak at the loss is exact; the one in a layer is up to 25% too high with checkpointing
    (some of S is released before the largest gradients appear) and 3% too low without.

    Examples
    --------
    >>> llama = Architecture(32000, 4096, 11008, 32, 32, 32, 128)
    >>> memory = training_memory(llama, 8192, micro_batch=1, gpus=32, checkpointing=True)
    >>> round(memory.total / 2**30, 1)
    10.9
    """
    tokens = checks.whole("micro_batch", micro_batch) * checks.whole("length", length)
    shard = sizes.parameters / checks.whole("gpus", gpus)
    if gpus == 1:
        gathered = COMPUTE * sizes.parameters
    else:
        gathered = COMPUTE * (2 * sizes.outer_parameters + 3 * sizes.layer_parameters)
    saved = layer_activations(sizes, tokens)
    stream = MASTER if gpus == 1 else COMPUTE  # bytes of a number between the layers
    kept = stream * tokens * sizes.hidden if checkpointing else saved
    working = COMPUTE * tokens * (3 * sizes.intermediate + sizes.hidden)
    return Memory(
        weights=MASTER * shard,
        gradients=MASTER * shard,
        optimizer=2 * MASTER * shard,
        gathered=gathered,
        activations=sizes.layers * kept + shared_activations(sizes, tokens),
        loss=norm_activations(sizes, tokens) + (3 * MASTER + COMPUTE) * tokens * sizes.vocabulary,
        layer=working + (saved if checkpointing else 0),
    )


def loading_memory(sizes: Architecture, *, gpus: int, on_host: int) -> float:
    r"""Return the host bytes that opening a checkpoint takes on the host of the first process.

    .. math::
        4 N \left(1 + \frac{p}{g}\right) \text{ for } g > 1, \qquad 4 N \text{ for } g = 1

    The first process reads one whole copy in float32; each of the g processes receives its part,
    and p of them run on that host. With one process the copy itself is trained.

    Parameters
    ----------
    gpus : int
        g, the processes that share the weights.
    on_host : int
        p, those on the host of the first, at most g.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the rule and the value.

    Notes
    -----
    A ceiling: the copy is given up weight by weight as the parts grow, and on GPUs the parts are
    not in the host's memory. Other hosts hold their parts alone. Not in it: libraries (some 0.3 GB
    a process), mapped files (page cache, which the system takes back when it needs it), and
    saving, for which the first process gathers weights and moments, 12 N bytes.

    Examples
    --------
    >>> llama = Architecture(32000, 8192, 22016, 80, 64, 64, 128)
    >>> round(loading_memory(llama, gpus=128, on_host=8) / 1e9)
    277
    """
    checks.whole("gpus", gpus)
    checks.whole("on_host", on_host, at_most=gpus)
    copy = float(MASTER * sizes.parameters)
    return copy if gpus == 1 else copy * (1.0 + on_host / gpus)


def layer_activations(sizes: Architecture, tokens: int, *, width: int = COMPUTE) -> int:
    r"""Return the bytes that one layer's forward pass saves for its backward pass.

    .. math::
        S = T \, [\, 2 ((4 + 2 b) h + 4) + b (2 a d + 2 k d) + 4 a + 4 b f \,]

    Two norms; q, k, v and the attention's output; one float32 logarithm a head; and the gate before
    and after its activation, the other branch and their product. b is ``width``, bytes a number.

    Notes
    -----
    Tensors that share storage count once. Exact for transformers' Llama with fused attention.
    """
    attention = width * 2 * (sizes.query_width + sizes.key_width) + MASTER * sizes.heads
    perceptron = 4 * width * sizes.intermediate
    norms = 2 * norm_activations(sizes, 1, width=width)
    return tokens * (norms + attention + perceptron)


def norm_activations(sizes: Architecture, tokens: int, *, width: int = COMPUTE) -> int:
    """Return the bytes of one RMSNorm: a float32 input and scale; normed and weighted output."""
    return tokens * ((MASTER + 2 * width) * sizes.hidden + MASTER)


def shared_activations(sizes: Architecture, tokens: int, *, width: int = COMPUTE) -> int:
    """Return the bytes all layers share: cos and sin of RoPE, token ids and labels of 8 bytes."""
    return tokens * (2 * width * sizes.head_dim + 16)


def training_operations(sizes: Architecture, length: int, *, checkpointing: bool) -> Operations:
    r"""Return the floating-point operations for one token of a sequence of ``length``.

    As ``token_operations`` counts them; with ``checkpointing`` all layers are computed again.

    Notes
    -----
    Left out: norms, RoPE, softmax, the optimiser, and the scores that a fused kernel computes
    once more backward (l a d s). Sliding-window attention is counted as full causal attention.

    Examples
    --------
    >>> llama = Architecture(32000, 4096, 11008, 32, 32, 32, 128)
    >>> training_operations(llama, 8192, checkpointing=False).model / llama.parameters
    6.83...
    """
    return token_operations(
        sizes.matrices,
        sizes.layers * sizes.query_width,
        length,
        recomputed=sizes.layers * sizes.layer_matrices if checkpointing else 0,
    )


def token_operations(weights: int, width: int, length: int, *, recomputed: int = 0) -> Operations:
    r"""Return the floating-point operations that training one token needs, backward pass included.

    .. math::
        \underbrace{6 M}_\text{matrices} + \underbrace{6 \, l \, a d \, s}_\text{attention}
        + \underbrace{2 M_\text{layers} + 2 \, l \, a d \, s}_\text{recomputed}

    Two operations a weight forward, four backward. Attention's two products cost 4 a d operations
    for each pair of tokens, a query sees s/2 keys on average under the causal mask: half of the
    12 l a d s that counts the full square.

    Parameters
    ----------
    weights : int
        M, the weights that multiply every token: no embedding, no norms.
    width : int
        l a d, the width of the queries of all layers.
    length : int
        s, tokens of a sequence.
    recomputed : int
        M_layers, the weights of the layers whose forward pass is done twice; 0 for none.
    """
    score = width * checks.whole("length", length)
    return Operations(
        matrices=6 * weights,
        attention=6 * score,
        recomputed=2 * recomputed + 2 * score if recomputed else 0,
    )
