"""Which rotary embedding each decoder layer of a transformers model uses, found by running it.

Families decide in their own code whether and how a layer rotates (a list of NoPE layers, a sliding
window, a base for each layer). No table of families is kept here: the family's own model is built
on the meta device, without weights or memory, and passed two tokens; what the rotary modules
return is followed to the layers whose attention takes it.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

_BUFFER = "inv_freq"
# Frequencies are made of these: their values are kept, if they are few.
_ON_CPU = ("arange", "tensor", "linspace", "zeros", "ones")
_FEW = 2**16
_ATTENTION = re.compile("Attention|MLA")  # how every class of attention is called
_VALUES: dict[str, Any] = {"item": 0, "__int__": 0, "__float__": 0.0, "__index__": 0}
_VALUES |= {"__bool__": False}


@dataclass(frozen=True, slots=True)
class Source:
    """A rotary module of the built model, and the layer type it is asked for (or None)."""

    module: Any
    layer_type: str | None

    @property
    def prefix(self) -> str:
        """What stands before ``inv_freq`` in the names of the module's buffers."""
        return "" if self.layer_type is None else f"{self.layer_type}_"


@dataclass(frozen=True, slots=True)
class TracedLayer:
    """One decoder layer: its rotary embedding (None: it does not rotate) and its attention."""

    source: Source | None
    attention: Any  # the attention module, or None


class UntraceableError(ValueError):
    """The model could not be built, or a layer could not be run so far as its attention."""


def build(config: Any) -> Any:
    """Build the decoder of a transformers config on the meta device, frequencies with values."""
    from transformers import AutoModel, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    # transformers types its factories in part only.
    factory: Any = AutoModel
    if type(config) not in AutoModel._model_mapping:
        factory = AutoModelForCausalLM
    try:
        with (
            warnings.catch_warnings(),
            torch.device("meta"),
            _FrequenciesOnCpu(),
            no_init_weights(),
        ):
            warnings.simplefilter("ignore")
            # Some experts' matrix products exist in bfloat16 alone.
            model = factory.from_config(config, trust_remote_code=False, dtype=torch.bfloat16)
    except Exception as error:
        raise UntraceableError(
            f"config must build a model in transformers, got {type(error).__name__}: "
            f"{_one_line(error)}"
        ) from None
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            setattr(module, name, torch.nn.Parameter(weight.to("meta"), requires_grad=False))
        for name, buffer in module.named_buffers(recurse=False):
            if not name.endswith(_BUFFER):
                setattr(module, name, buffer.to("meta"))
    return model.eval()


def rotary_modules(model: Any) -> Iterator[Any]:
    """Yield every module that holds frequencies."""
    for module in model.modules():
        if any(name.endswith(_BUFFER) for name, _ in module.named_buffers(recurse=False)):
            yield module


def trace(model: Any, layers: int) -> list[TracedLayer]:
    """Run a built model on two tokens and return what each of its decoder layers uses.

    Of each layer nothing is run behind its attention, unless the model needs what it returns.
    """
    found_blocks = blocks(model, layers)
    failure: Exception | None = None
    for whole in (False, True):
        run = _Run()
        with contextlib.ExitStack() as watched:
            for module in rotary_modules(model):
                for handle in (
                    module.register_forward_pre_hook(run.turn, with_kwargs=True),
                    module.register_forward_hook(run.turned, with_kwargs=True),
                ):
                    watched.callback(handle.remove)
            for index, block in enumerate(found_blocks):
                watched.callback(_watch(run, index, block, whole=whole))
            ids = torch.zeros((1, 2), dtype=torch.long, device="meta")
            try:
                with warnings.catch_warnings(), torch.no_grad(), torch.device("meta"), run:
                    warnings.simplefilter("ignore")
                    model(input_ids=ids, use_cache=False)
            except Exception as error:  # what comes after the last attention is of no interest
                failure = error
        missing = sorted(set(range(len(found_blocks))) - run.finished)
        if not missing:
            break
    if missing:
        cause = run.failures.get(missing[0], failure)
        block = type(found_blocks[missing[0]]).__name__
        reason = (
            f"a {block} that text alone passes over"
            if cause is None
            else f"{type(cause).__name__}: {_one_line(cause)}"
        )
        raise UntraceableError(
            f"every layer must run so far as its attention, layer {missing[0]} does not, "
            f"got {reason}"
        )
    for module in rotary_modules(model):
        for name, kept in list(vars(module).items()):
            if isinstance(kept, torch.Tensor) and kept.device.type == "meta":
                delattr(module, name)  # kept on the way, without values
    return [
        TracedLayer(_one_source(run, index), attention_of(block))
        for index, block in enumerate(found_blocks)
    ]


def blocks(model: Any, layers: int) -> list[Any]:
    """Return the decoder's layers: the list of modules that has as many as the config says."""
    lists = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList)]
    for found in lists:
        if len(found) == layers and layers:
            return list(found)
    # A family may count its attentions instead: then the one list whose blocks all have some.
    lists = [found for found in lists if len(found) and all(map(_outermost, found))]
    lists = [found for found in lists if len(found) == max(map(len, lists))]
    if len(lists) == 1:
        return list(lists[0])
    raise UntraceableError(
        f"the model must hold one list of its {layers} layers, "
        f"got lists of {', '.join(str(len(found)) for found in lists) or 'none'}"
    )


def _outermost(block: Any) -> list[Any]:
    """Return the attention modules of a layer that lie in no other attention module."""
    found: list[tuple[str, Any]] = []
    for name, module in block.named_modules():
        inside = any(name.startswith(f"{outer}.") or not outer for outer, _ in found)
        if _ATTENTION.search(type(module).__name__) and not inside:
            found.append((name, module))
    return [module for _, module in found]


def attention_of(block: Any) -> Any:
    """Return the attention module of a layer, its first, or None."""
    return next(iter(_outermost(block)), None)


class _EnoughError(Exception):
    """A layer's attention has run: the rest of it is of no interest."""


class _FrequenciesOnCpu(TorchFunctionMode):
    """Inside ``torch.device("meta")``: the tensors that frequencies are made of keep values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if (
            getattr(func, "__name__", "") in _ON_CPU
            and kwargs.get("device") is None
            and _count(args) * _count([kwargs.get("size", ())]) <= _FEW
        ):
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


class _Run(TorchFunctionMode):
    """Follows what rotary modules return to the layer that multiplies by it."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: dict[int, Source] = {}
        self.kept: list[Any] = []  # marked by id: they must not be collected
        self.turning = 0
        self.layer: int | None = None
        self.used: dict[int, list[Source]] = {}
        self.finished: set[int] = set()
        self.failures: dict[int, Exception] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "tolist" and args[0].device.type == "meta":
            return np.zeros(tuple(args[0].shape), int).tolist()
        if name == "nonzero" and args[0].device.type == "meta":
            return torch.empty((0, args[0].ndim), dtype=torch.long)
        if name == "split" and isinstance(args[1], list) and not any(args[1]):
            # Tokens split among experts by numbers that a meta tensor does not have.
            dim = kwargs.get("dim", args[2] if len(args) > 2 else 0)
            args = (args[0], [args[0].shape[dim], *args[1][1:]], *args[2:])
        if name in _VALUES and args[0].device.type == "meta":
            return _VALUES[name]  # a meta tensor has no values: masks ask for some
        if name == "copy_" and args[1].device.type == "meta" != args[0].device.type:
            return args[0]  # LongRoPE chooses frequencies by a length that has no value here
        if name == "scaled_dot_product_attention" and self.layer is not None:
            return torch.empty((*args[0].shape[:-1], args[2].shape[-1]), dtype=args[0].dtype)
        out = func(*args, **kwargs)
        if self.turning:
            return out
        given = list(_tensors((args, kwargs)))
        sources = [self.marks[id(x)] for x in given if id(x) in self.marks]
        if sources and len(sources) == len(given):
            self.mark(out, sources[0])  # cos[..., :n] and the like are still cos
        elif sources and self.layer is not None:
            self.used.setdefault(self.layer, []).extend(sources)
        return out

    def mark(self, value: Any, source: Source) -> None:
        for tensor in _tensors(value):
            self.marks[id(tensor)] = source
            self.kept.append(tensor)

    def turn(self, module: Any, args: Any, kwargs: Any) -> None:
        self.turning += 1

    def turned(self, module: Any, args: Any, kwargs: Any, out: Any) -> None:
        self.turning -= 1
        named = [x for x in (*args, *kwargs.values()) if isinstance(x, str)]
        self.mark(out, Source(module, named[0] if named else None))


def _watch(run: _Run, index: int, block: Any, *, whole: bool) -> Callable[[], None]:
    """Note what a layer uses and how far it comes; returns what takes the watching away again."""
    inner, modules = block.forward, _outermost(block)

    def forward(*args: Any, **kwargs: Any) -> Any:
        # A layer may be passed more than once (recurrent depth): the first pass is enough.
        run.layer = None if index in run.finished else index
        out = args[0] if args else kwargs["hidden_states"]
        try:
            if whole:
                out = inner(*args, **kwargs)
            elif modules:
                inner(*args, **kwargs)
            run.finished.add(index)
        except _EnoughError:
            run.finished.add(index)
        except Exception as error:
            # What fails behind the rotation (heads that do not divide, in a shortened file) is no
            # matter here.
            if index in run.used and not whole:
                run.finished.add(index)
            run.failures.setdefault(index, error)
            if whole:
                raise
        finally:
            run.layer = None
        return out

    def done(*_: Any) -> None:
        run.finished.add(index)
        if not whole:
            raise _EnoughError

    handle = (
        None if not modules or modules[-1] is block else modules[-1].register_forward_hook(done)
    )
    # The class may be called through machinery of its own: the instance's forward is what runs.
    block.forward = forward

    def undo() -> None:
        block.forward = inner
        if handle is not None:
            handle.remove()

    return undo


def _one_source(run: _Run, index: int) -> Source | None:
    """Return the one rotary embedding that a layer uses; several must turn alike."""
    found: list[Source] = []
    for source in run.used.get(index, ()):
        if source not in found:
            found.append(source)
    if not found:
        return None
    first = frequencies(found[0])
    for other in found[1:]:
        if not torch.equal(first, frequencies(other)):
            raise UntraceableError(
                f"a layer must rotate by one set of frequencies, got several in layer {index}"
            )
    return found[0]


def frequencies(source: Source) -> Any:
    """Return a rotary module's own frequencies, a float32 tensor of d/2."""
    return getattr(source.module, source.prefix + _BUFFER).detach()


def attention_scaling(source: Source) -> float:
    """Return the factor that a rotary module puts on cos and sin."""
    name = source.prefix + "attention_scaling"
    return float(getattr(source.module, name, getattr(source.module, "attention_scaling", 1.0)))


def _count(sizes: Any) -> int:
    """Return the product of the whole numbers in arguments, nested or not."""
    out = 1
    for size in sizes:
        if isinstance(size, (tuple, list)):
            out *= _count(size)
        elif isinstance(size, int):
            out *= max(1, abs(size))
    return out


def _tensors(value: Any) -> Iterator[Any]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)


def _one_line(error: Exception | None) -> str:
    return " ".join(str(error).split())[:200]
