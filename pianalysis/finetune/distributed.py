"""One reader, many receivers: the first process reads, each of the others receives its own part.

Nothing here asks which host a process is on: a checkpoint is needed where the first process runs
and nowhere else. With one process every function is the plain one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import distributed as dist
from torch.distributed.tensor import DTensor, Shard
from transformers.distributed.configuration_utils import DistributedConfig

T = TypeVar("T")


class RefusedByFirst(ValueError):  # noqa: N818
    """What the first process could not read, told to the others in its words."""


def several() -> bool:
    """Return whether this process is one of several that were joined."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def is_first() -> bool:
    """Return whether this is the process that reads: the only one, or the one of rank 0."""
    return not several() or dist.get_rank() == 0


def from_first(read: Callable[[], T]) -> T:
    """Return in every process what ``read`` returns in the first, the only one that calls it.

    Every process must call this at the same point. What is returned travels pickled, between
    processes of one run: it is to be small.

    Raises
    ------
    RefusedByFirst
        In all processes but the first, with its message, when ``read`` raised there; the first
        raises what it raised. Nobody is left waiting.
    """
    if not several():
        return read()
    told: list[Any] = [None, None]
    caught: Exception | None = None
    if is_first():
        try:
            told[0] = read()
        except Exception as error:
            caught = error
            told[1] = str(error) or type(error).__name__
    dist.broadcast_object_list(told, src=0)
    if caught is not None:
        raise caught
    if told[1] is not None:
        raise RefusedByFirst(told[1])
    value: T = told[0]
    return value


def shard(model: Any, processes: int) -> Any:
    """Split the weights over the processes (FSDP2), by transformers' own plan for the model.

    Weights that are tied stay one.

    Raises
    ------
    ValueError
        A weight that the plan leaves whole, or splits along another axis than the first.
    """
    # FSDP2 keeps weights tied within one of its groups alone, and transformers' plan puts them into
    # two (of which each would train its own). Without a rule both fall to the outermost group.
    tied = {id(module) for at in _places(model).values() if len(at) > 1 for module, _ in at}
    apart = {name for name, module in model.named_modules() if id(module) in tied}
    model.fsdp_plan = {rule: how for rule, how in model.fsdp_plan.items() if rule not in apart}
    plan = DistributedConfig(fsdp_size=processes)
    plan, _, mesh = type(model).prepare_distribute_model(plan, device_map=None)
    model = type(model).maybe_distribute_model(model, plan, mesh)
    for name, weight in model.named_parameters():
        if not isinstance(weight, DTensor):
            raise ValueError(f"every weight must be split over the processes, got {name} whole")
        if tuple(weight.placements) != (Shard(0),):
            raise ValueError(
                f"weights must be split by rows, got {name} split by {weight.placements}"
            )
    return model


def spread(shell: Any, source: Any, device: torch.device) -> Any:
    """Return a model split over the processes, with the weights that the first one holds.

    Parameters
    ----------
    shell : model
        Without weights (on the meta device); it becomes what is returned.
    source : model or None
        The same model whole, in the first process; None in the others. Weight by weight it is
        given up, so that copy and parts are never there together: it holds nothing afterwards.
    device : torch.device
        Where the parts go.

    Raises
    ------
    ValueError
        What ``shard`` refuses; a tensor of the model that is neither a weight nor a buffer, which
        would stay without values.

    Notes
    -----
    A tensor of n rows is cut as FSDP2 cuts it: ceil(n / processes) rows each, fewer in the last.
    Weights that are tied in the shell stay one tensor. Buffers, most of which are in no file, are
    those of the first process on all of them.
    """
    model = shard(shell, dist.get_world_size())
    weights = dict(source.named_parameters()) if is_first() else {}
    buffers = dict(source.named_buffers()) if is_first() else {}
    places = _places(model)
    for name, weight in list(model.named_parameters()):  # each tied weight once
        part = received(weight, weights[name].detach() if is_first() else None, device)
        if is_first():
            # This frees the memory, whoever else refers to the weight (a module it is tied to).
            weights[name].data = torch.empty(0, dtype=weight.dtype)
        split = DTensor.from_local(
            part,
            weight.device_mesh,
            weight.placements,
            run_check=False,
            shape=weight.shape,
            stride=weight.stride(),
        )
        filled = torch.nn.Parameter(split, requires_grad=weight.requires_grad)
        for module, key in places[id(weight)]:
            setattr(module, key, filled)
    for name, buffer in list(model.named_buffers()):
        whole = torch.empty_like(buffer, device=device)
        if is_first():
            whole.copy_(buffers[name])
        dist.broadcast(whole, src=0)
        for module, key in places[id(buffer)]:
            setattr(module, key, whole)
    left = [name for name, tensor in _tensors(model) if tensor.is_meta]
    if left:
        raise ValueError(
            f"every tensor of a model must be a weight or a buffer to be split, got {left[0]}"
        )
    return model


def _tensors(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield weights, buffers, and whatever other tensors the modules hold, by name."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                yield f"{name}.{key}", value


def received(target: Any, whole: torch.Tensor | None, device: torch.device) -> torch.Tensor:
    """Return this process's rows of a tensor that the first process holds.

    Parameters
    ----------
    target : DTensor (rows, ...)
        Split by rows over all processes; only its shape and type count.
    whole : tensor (rows, ...) or None
        The values, in the first process; None in the others.
    device : torch.device
        Where the rows are to be.
    """
    processes, rows = dist.get_world_size(), target.shape[0]
    most = -(-rows // processes)
    part = torch.empty((most, *target.shape[1:]), dtype=target.dtype, device=device)
    parts = None
    if whole is not None:
        whole = whole.to(device=device, dtype=target.dtype).contiguous()
        if most * processes != rows:  # a scatter needs parts of one size
            padding = whole.new_zeros((most * processes - rows, *whole.shape[1:]))
            whole = torch.cat([whole, padding])
        parts = list(torch.split(whole, most))
    dist.scatter(part, parts, src=0)
    own = min(max(rows - most * dist.get_rank(), 0), most)
    return part[:own]


def _places(model: Any) -> dict[int, list[tuple[Any, str]]]:
    """Return where each weight and buffer stands, by identity: a tied weight stands twice."""
    places: dict[int, list[tuple[Any, str]]] = {}
    for module in model.modules():
        own = (module.named_parameters, module.named_buffers)
        for named in own:
            for key, tensor in named(recurse=False, remove_duplicate=False):
                places.setdefault(id(tensor), []).append((module, key))
    return places
