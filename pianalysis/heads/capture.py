r"""Queries and keys of every layer, caught where the model itself rotates them.

The families differ in what they do before the rotation (biases, norms over heads or over the whole
projection, fused projections, half a head), but in transformers nearly all hand the finished
vectors to one function of their module, ``apply_rotary_pos_emb(q, k, cos, sin)``. It is replaced
while a pass runs: its arguments are the vectors wanted, whatever came before. Which entries form a
pair is not taken from a table of families but measured, by comparing what the function returned
with both layouts.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pianalysis import checks
from pianalysis.arrays import ComplexArray
from pianalysis.checkpoints.checkpoint import Checkpoint, ropes_differ
from pianalysis.evaluation.forward import device_of
from pianalysis.heads.agreement import Attended, Rotated, disagreement
from pianalysis.rope.configs import model_facts
from pianalysis.rope.spec import RopeSpec

_ROTATION = "apply_rotary_pos_emb"
# The replaced function belongs to a module that every model of the family shares.
_ONE_PASS = threading.RLock()


@dataclass(frozen=True, slots=True)
class LayerHeads:
    r"""Queries and keys of one layer before rotation, pairs as complex numbers.

    ``queries`` has shape (heads, tokens, d/2), ``keys`` (key-value heads, tokens, d/2): the rotary
    part as the model rotates it, after biases and norms. The logit of query m and key n is
    ``scaling`` times a(m - n), plus ``scaling`` times the product of the parts that do not rotate;
    where ``softcap`` is a number c, it then becomes c tanh(logit / c).
    """

    layer: int
    queries: ComplexArray
    keys: ComplexArray
    spec: RopeSpec
    scaling: float
    softcap: float | None

    def coefficients(self, head: int, query: npt.ArrayLike, key: npt.ArrayLike) -> ComplexArray:
        r"""Return :math:`h_j = q_j \bar k_j` (Eq. 3) of a head for positions of a query and a key.

        Parameters
        ----------
        head : int
            Query head; its key head follows by grouping.
        query, key : int or integer array
            Positions in the text; they broadcast.

        Returns
        -------
        complex128 array (..., d/2)
        """
        heads, tokens, _ = self.queries.shape
        head = checks.whole("head", head, at_least=0, at_most=heads - 1)
        at_query, at_key = _positions("query", query, tokens), _positions("key", key, tokens)
        group = heads // self.keys.shape[0]
        out: ComplexArray = self.queries[head, at_query] * self.keys[head // group, at_key].conj()
        return out


def visit_layers(
    checkpoint: Checkpoint,
    tokens: Sequence[int] | npt.NDArray[np.integer[Any]],
    visit: Callable[[LayerHeads], object],
    *,
    layers: Iterable[int] | None = None,
) -> None:
    """Run one forward pass over a text and hand each layer's queries and keys to ``visit``.

    Parameters
    ----------
    checkpoint : Checkpoint
        From ``open_checkpoint``.
    tokens : sequence of int
        At least two token ids; they stand at positions 0, 1, ...
    visit : callable
        Called with a ``LayerHeads`` as each layer has run, in order; one layer is kept at a time.
    layers : iterable of int, optional
        Which layers; by default all that rotate. The pass stops after the last of them.

    Raises
    ------
    ValueError
        A token id or layer that is not there; a layer asked for that does not rotate; a family that
        rotates in another way than ``apply_rotary_pos_emb(q, k, cos, sin)``, or whose pairs are in
        neither layout; a layer whose own logits are not ``scaling`` times a(m - n), by the last
        query of the text; queries or keys that are not finite.

    Notes
    -----
    The base model runs without its output head, so logits over the vocabulary are never made. One
    pass at a time in a process: a second thread waits.
    """
    ids = _token_ids(checkpoint, tokens)
    attention = _attention_modules(checkpoint)
    wanted = _wanted(layers, len(attention))
    run = _Pass(checkpoint, ids.shape[1], visit, wanted, chosen=layers is not None)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ONE_PASS)
        for name in {type(module).__module__ for module in attention.values()}:
            stack.enter_context(_replaced_rotation(checkpoint, name, run))
        for layer, module in attention.items():
            before = module.register_forward_pre_hook(run.enter(layer))
            after = module.register_forward_hook(run.leave(layer))
            stack.callback(before.remove)
            stack.callback(after.remove)
        run.forward(ids)
    if not run.visited:
        raise ValueError(
            f"layers must rotate their queries through {_ROTATION}, "
            f"got none in a {checkpoint.config.get('model_type')!r} model"
        )


class _FinishedError(Exception):
    """Ends a pass after the last layer asked for."""


class _Pass:
    """One forward pass: which layer runs, and what its rotation was given."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        tokens: int,
        visit: Callable[[LayerHeads], object],
        wanted: Sequence[int],
        *,
        chosen: bool,
    ) -> None:
        self.checkpoint, self.tokens, self.visit = checkpoint, tokens, visit
        self.wanted, self.chosen = wanted, chosen
        self.visited = 0
        self.visiting = False
        self.running: int | None = None
        self.caught: tuple[ComplexArray, ComplexArray] | None = None
        self.rotated: Rotated | None = None
        self.attended = Attended()

    def forward(self, ids: Any) -> None:
        import torch

        with torch.no_grad(), contextlib.suppress(_FinishedError), self.attended:
            self.checkpoint.model.base_model(input_ids=ids, use_cache=False)

    def enter(self, layer: int) -> Callable[..., None]:
        def hook(module: Any, inputs: Any) -> None:
            # A visitor may run a pass of its own, through the same modules.
            if not self.visiting:
                self.running = layer if layer in self.wanted else None
                self.attended.clear()

        return hook

    def leave(self, layer: int) -> Callable[..., None]:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            if self.running is None:
                return
            caught, self.running, self.caught = self.caught, None, None
            if caught is not None:
                self.visited += 1
                self.visiting = True
                heads = self._heads(layer, module, *caught)
                assert self.rotated is not None
                reason = disagreement(
                    self.attended, self.rotated, *caught, heads.scaling, heads.softcap
                )
                if reason is not None:
                    family = self.checkpoint.config.get("model_type")
                    raise ValueError(
                        f"a layer's logits must be its scaling times a(m - n), got layer {layer} "
                        f"of a {family!r} model: {reason}"
                    )
                self.visit(heads)
                self.visiting = False
            elif self.chosen:
                raise ValueError(
                    f"layers must rotate their queries through {_ROTATION}, got layer {layer}"
                )
            if layer == self.wanted[-1]:
                raise _FinishedError

        return hook

    def catch(self, q: Any, k: Any, cos: Any, sin: Any, turned: Any, token_axis: int) -> None:
        """Keep the arguments of the rotation of the layer that runs."""
        if self.running is None:
            return
        if self.caught is not None:
            raise ValueError(f"a layer must rotate once, got twice in layer {self.running}")
        family = self.checkpoint.config.get("model_type")
        for name, value in (("q", q), ("k", k)):
            if value.ndim != 4 or value.shape[0] != 1 or value.shape[token_axis] != self.tokens:
                raise ValueError(
                    f"{name} must have shape (1, heads, {self.tokens}, head_dim) at its rotation, "
                    f"got {tuple(value.shape)} in a {family!r} model"
                )
            if not bool(value.isfinite().all()):
                raise ValueError(
                    f"queries and keys must be finite, got NaN or infinity in layer {self.running}"
                )
        if token_axis == 1:
            q, k = q.transpose(1, 2), k.transpose(1, 2)
            turned = tuple(x.transpose(1, 2) for x in turned)
        found = _measured_layout(q, cos, sin, turned[0])
        if found is None:
            raise ValueError(
                f"{_ROTATION} must turn pairs in the split-half or the interleaved layout, "
                f"got neither in a {family!r} model"
            )
        layout, dim, columns = found
        self.caught = _paired(q, dim, layout), _paired(k, dim, layout)
        turn = (cos[0, :, columns].double() + 1j * sin[0, :, columns].double()).cpu().numpy()
        self.rotated = Rotated(
            turned[0][0], turned[1][0], np.angle(turn), float(np.abs(turn).max()), dim
        )

    def _heads(self, layer: int, module: Any, q: ComplexArray, k: ComplexArray) -> LayerHeads:
        spec = _layer_spec(self.checkpoint, layer)
        scaling = getattr(module, "scaling", None)
        if not isinstance(scaling, (int, float)) or not math.isfinite(scaling):
            raise ValueError(f"an attention layer must have a finite scaling, got {scaling!r}")
        if q.shape[-1] != spec.pairs or q.shape[0] % k.shape[0]:
            raise ValueError(
                f"layer {layer} must rotate {spec.pairs} pairs of a multiple of its key heads, "
                f"got q {q.shape} and k {k.shape}"
            )
        softcap = getattr(module, "attn_logit_softcapping", None)
        return LayerHeads(
            layer, q, k, spec, float(scaling), None if softcap is None else float(softcap)
        )


@contextlib.contextmanager
def _replaced_rotation(checkpoint: Checkpoint, module_name: str, run: _Pass) -> Iterator[None]:
    module = sys.modules[module_name]
    # DeepSeek's files choose between two functions of one signature, by the order of their pairs.
    found = {
        name: value
        for name, value in vars(module).items()
        if name.startswith(_ROTATION)
        and callable(value)
        and list(inspect.signature(value).parameters)[:4] == ["q", "k", "cos", "sin"]
    }
    if not found:
        raise ValueError(
            f"the model's module must rotate through {_ROTATION}(q, k, cos, sin), "
            f"got none in {module_name} for a {checkpoint.config.get('model_type')!r} model"
        )
    for name, rotation in found.items():
        setattr(module, name, _observed(rotation, run))
    try:
        yield
    finally:
        for name, rotation in found.items():
            setattr(module, name, rotation)


def _observed(rotation: Callable[..., Any], run: _Pass) -> Callable[..., Any]:
    def observed(q: Any, k: Any, cos: Any, sin: Any, *rest: Any, **options: Any) -> Any:
        turned = rotation(q, k, cos, sin, *rest, **options)
        # unsqueeze_dim is where heads stand in cos and sin: the token axis is the other one.
        heads_axis = options.get("unsqueeze_dim", rest[-1] if rest else 1)
        run.catch(q, k, cos, sin, turned, 2 if heads_axis == 1 else 1)
        return turned

    return observed


def _measured_layout(q: Any, cos: Any, sin: Any, turned: Any) -> tuple[str, int, slice] | None:
    """Return which layout turns ``q`` into ``turned``, its d, and where cos holds a frequency once.

    From the last tokens of the text.
    """
    width = cos.shape[-1]
    tail = slice(-min(16, q.shape[2]), None)
    before, after = q[:, :, tail], turned[:, :, tail]
    scale = float(before.abs().max())
    room = (3e-2 if q.element_size() < 4 else 1e-4) * scale
    # DeepSeek's interleaved pairs come out in halves.
    for layout, after_it in (
        ("half", "half"),
        ("interleaved", "interleaved"),
        ("interleaved", "half"),
    ):
        # cos and sin hold each frequency twice, in halves or side by side; in gpt-oss once.
        for dim, columns in (
            (width, slice(0, width // 2)),
            (width, slice(0, width, 2)),
            (2 * width, slice(0, width)),
        ):
            if dim > q.shape[-1]:
                continue
            given, wanted = _paired(before, dim, layout), _paired(after, dim, after_it)
            turn = cos[0, tail, columns].float().cpu() + 1j * sin[0, tail, columns].float().cpu()
            if np.abs(given * turn.numpy() - wanted).max() <= room:
                return layout, dim, columns
    return None


def _paired(x: Any, dim: int, layout: str) -> ComplexArray:
    """Return the first ``dim`` entries of (1, heads, tokens, head_dim) as complex pairs."""
    values = x[0, ..., :dim].detach().float().cpu().numpy()
    if layout == "half":
        real, imaginary = values[..., : dim // 2], values[..., dim // 2 :]
    else:
        real, imaginary = values[..., 0::2], values[..., 1::2]
    out = np.empty(real.shape, dtype=np.complex128)
    out.real, out.imag = real, imaginary
    return out


def _attention_modules(checkpoint: Checkpoint) -> dict[int, Any]:
    """Return layer -> attention module, as the family's own classes number them."""
    attention: dict[int, Any] = {}
    for module in checkpoint.model.base_model.modules():
        layer = getattr(module, "layer_idx", None)
        if not isinstance(layer, int) or "Attention" not in type(module).__name__:
            continue
        if layer in attention:
            raise ValueError(f"a layer must have one attention, got two in layer {layer}")
        attention[layer] = module
    if not attention:
        raise ValueError(
            "the model must have numbered attention layers, "
            f"got none in a {checkpoint.config.get('model_type')!r} model"
        )
    return dict(sorted(attention.items()))


def _layer_spec(checkpoint: Checkpoint, layer: int) -> RopeSpec:
    """Return the pretrained RoPE of a layer, which differs by layer type in Gemma 3."""
    if not ropes_differ(checkpoint.model.config):
        return checkpoint.spec
    facts = model_facts(checkpoint.config, checkpoint.spec.context_window)
    rope = facts.layers[layer].rope
    return checkpoint.spec if rope is None else RopeSpec.from_facts(rope)


def _wanted(layers: Iterable[int] | None, count: int) -> list[int]:
    if layers is None:
        return list(range(count))
    chosen = {checks.whole("layers", n, at_least=0, at_most=count - 1) for n in layers}
    if not chosen:
        raise ValueError("layers must name at least one layer, got none")
    return sorted(chosen)


def _token_ids(checkpoint: Checkpoint, tokens: Any) -> Any:
    import torch

    ids = np.asarray(tokens)
    if ids.ndim != 1 or ids.dtype.kind not in "iu" or ids.size < 2:
        raise ValueError(
            "tokens must be at least two integers in one dimension, "
            f"got shape {ids.shape} of {ids.dtype}"
        )
    embedding: Any = checkpoint.model.get_input_embeddings()
    vocabulary = int(embedding.num_embeddings)
    if ids.min() < 0 or ids.max() >= vocabulary:
        worst = int(ids.min() if ids.min() < 0 else ids.max())
        raise ValueError(f"tokens must lie in [0, {vocabulary}), got {worst}")
    return torch.from_numpy(ids.astype(np.int64))[None].to(device_of(checkpoint.model))


def _positions(name: str, value: npt.ArrayLike, tokens: int) -> npt.NDArray[np.int64]:
    out = np.asarray(value)
    if out.dtype.kind not in "iu" or (out.size and not 0 <= out.min() <= out.max() < tokens):
        raise ValueError(f"{name} must hold token positions in [0, {tokens}), got {value!r}")
    return out.astype(np.int64)
