"""Checkpoints that are there whole or not at all, with the optimiser's state and without pickle.

A checkpoint of step k is a folder ``step-00000k`` that any tool opens; below it, ``training``
holds the tensors of AdamW. Nothing else needs saving: the learning rate, the order of the text and
the seed of every step follow from the step's number.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor

from pianalysis.finetune import distributed
from pianalysis.records import write_atomic

OPTIMISER = Path("training", "optimizer.safetensors")
_NAME = "step-{:06d}"
# Whole tensors on the CPU of the first process: the same file however many processes there are.
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Return where the checkpoint of a step lies."""
    return folder / _NAME.format(step)


def saved_steps(folder: Path) -> list[int]:
    """Return the steps that have a checkpoint, increasing."""
    names = (re.fullmatch(r"step-(\d{6,})", path.name) for path in folder.glob("step-*"))
    return sorted(int(match[1]) for match in names if match)


def resumable_step(folder: Path) -> int | None:
    """Return the last step whose checkpoint holds the optimiser's state, or None."""
    steps = [s for s in saved_steps(folder) if (checkpoint_folder(folder, s) / OPTIMISER).exists()]
    return steps[-1] if steps else None


def save_checkpoint(
    folder: Path,
    step: int,
    model: Any,
    optimizer: Any,
    *,
    shell: Any,
    tokenizer: Any,
    writes: bool,
) -> None:
    """Write the checkpoint of a step; then drop the optimiser's state of earlier ones.

    Every process takes part, because parts of the weights may lie on each; the one that
    ``writes`` writes. ``shell`` is the model without weights, whose config is saved.

    Raises
    ------
    OSError
        The files could not be written, as on a full disk: nothing is left of them, and earlier
        checkpoints are untouched.
    """
    weights = get_model_state_dict(model, options=_WHOLE)
    # Parts put together no longer share memory, by which a tied weight is known and saved once.
    for name, source in (getattr(model, "all_tied_weights_keys", None) or {}).items():
        if source in weights:
            weights.pop(name, None)
    # Before the first step there are no moments; asking for them would count as a step.
    # torch types what it returns by every form that an optimiser's state can have.
    moments: Any = get_optimizer_state_dict(model, optimizer, options=_WHOLE) if step else {}
    if not writes:
        return
    final = checkpoint_folder(folder, step)
    partial = folder / f".{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        (partial / OPTIMISER.parent if step else partial).mkdir(parents=True)
        shell.save_pretrained(partial, state_dict=weights)
        if tokenizer is not None:
            tokenizer.save_pretrained(partial)
        if step:
            state = moments["state"].items()
            tensors = {f"{weight}/{name}": t for weight, of in state for name, t in of.items()}
            save_file(tensors, partial / OPTIMISER)
        _settle(partial)
        os.rename(partial, final)
        _settle(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        number = error.errno if isinstance(error, OSError) else None
        kept = saved_steps(folder)
        last = f"the last is {_NAME.format(kept[-1])}" if kept else "there is none"
        raise OSError(
            number, f"checkpoint of step {step} could not be written: {error}; {last}", str(final)
        ) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    for earlier in saved_steps(folder):
        if earlier < step:
            shutil.rmtree((checkpoint_folder(folder, earlier) / OPTIMISER).parent, True)


def read_tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of a safetensors file, one in memory at a time.

    Raises
    ------
    ValueError
        A file that is cut short, by name, before the first tensor.
    """
    with _opened(path) as file:
        for name in file.offset_keys():  # in the file's own order, as a disk likes it
            yield name, file.get_tensor(name)


def load_optimizer(path: Path, model: Any, optimizer: Any) -> None:
    """Put the saved moments into an optimiser; its rates and groups stay its own.

    The first process alone reads the file; of several each receives the rows of its own weights.

    Raises
    ------
    ValueError
        Tensors that are not those of this model.
    """
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    # This makes the state, which an optimiser has from its first step on; no weight changes.
    get_optimizer_state_dict(model, optimizer)
    with contextlib.ExitStack() as open_files:
        file: Any = None

        def first() -> dict[str, float]:
            nonlocal file
            file = open_files.enter_context(_opened(path))
            return _counters(path, file, optimizer, weights)

        counters = distributed.from_first(first)
        for name, weight in weights.items():
            for part, value in optimizer.state[weight].items():
                key = f"{name}/{part}"
                if key in counters:
                    value.fill_(counters[key])
                    continue
                whole = None if file is None else file.get_tensor(key)
                if isinstance(value, DTensor):
                    whole = distributed.received(value, whole, value.device)
                    value = value.to_local()
                value.copy_(whole)


def _counters(
    path: Path, file: Any, optimizer: Any, weights: Mapping[str, torch.Tensor]
) -> dict[str, float]:
    """Return the scalars of a saved state, after holding all of it against the optimiser's."""
    saved = set(file.keys())
    named = {key.rpartition("/")[0] for key in saved}
    wanted = {
        f"{name}/{part}": value
        for name, weight in weights.items()
        for part, value in optimizer.state[weight].items()
    }
    if saved != wanted.keys():
        odd = min(named ^ weights.keys() or saved ^ wanted.keys())
        raise ValueError(f"{path}: must hold the moments of every weight and no other, got {odd!r}")
    for key, value in wanted.items():
        shape = tuple(file.get_slice(key).get_shape())
        if shape != tuple(value.shape):
            raise ValueError(f"{path}: {key} must have the shape {tuple(value.shape)}, got {shape}")
    return {key: file.get_tensor(key).item() for key, value in wanted.items() if value.ndim == 0}


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file, whose tensors are read when asked for."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path}: must be a whole safetensors file, got {error}") from None


def _settle(folder: Path) -> None:
    """Wait until files and names are on the disk, so that a rename cannot come before them."""
    for path in [*(p for p in folder.rglob("*") if ".partial" in str(p)), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# What a step saw is the same in every run of a recipe; what it took is not, so it lies apart.
LOG = "log.jsonl"
TIMES = "seconds.jsonl"


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line."""
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")


def cut(path: Path, step: int) -> None:
    """Keep the lines up to a step: what came after it is done again."""
    rows = [row for row in read(path) if row["step"] <= step]
    if [row["step"] for row in rows] != list(range(1, step + 1)):
        raise ValueError(f"{path}: must hold a line for each step up to {step}, got {len(rows)}")
    write_atomic(path, "".join(json.dumps(row) + "\n" for row in rows))


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a log; one that was cut short by a kill is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
