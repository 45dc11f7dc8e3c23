"""What the readings of a model share: their record's base, the schemes, the loop over units."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from pianalysis import checks
from pianalysis.checkpoints.extended import extended
from pianalysis.extension import Extension
from pianalysis.extension.registry import AS_LOADED, described
from pianalysis.records import Record
from pianalysis.rope.spec import RopeSpec
from pianalysis.version import __version__

if TYPE_CHECKING:
    from pianalysis.checkpoints.checkpoint import Checkpoint

Store = MutableMapping[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Measured(Record):
    """Base of every reading of a model: what was read, as loaded and under which extensions."""

    checkpoint: str
    digest: str
    spec: RopeSpec
    extensions: dict[str, Any]


def run(
    checkpoint: Checkpoint,
    schemes: Mapping[str, Extension | None],
    cases: Mapping[Any, Mapping[str, Any]],
    measure: Callable[[Any], dict[str, Any]],
    store: Store | None,
) -> Iterator[dict[str, Any]]:
    """Yield the result of each case under each scheme, from the store where it is known.

    ``cases`` maps what ``measure`` takes to all that the result depends on besides checkpoint and
    scheme.
    """
    alone = [[case] for case in cases]
    return run_groups(
        checkpoint, schemes, cases, alone, lambda group: [measure(case) for case in group], store
    )


def run_groups(
    checkpoint: Checkpoint,
    schemes: Mapping[str, Extension | None],
    cases: Mapping[Any, Mapping[str, Any]],
    groups: Sequence[Sequence[Any]],
    measure: Callable[[list[Any]], list[dict[str, Any]]],
    store: Store | None,
) -> Iterator[dict[str, Any]]:
    """As ``run``, for cases that are measured together, a group at a time.

    Each case is a unit of its own in the store; results come group by group. A group is measured
    whole where any of it is missing: the last digits of a batch depend on who is in it, and must
    not depend on where a run was stopped.
    """
    known = {} if store is None else store
    model = checkpoint.model
    with tqdm(total=len(schemes) * len(cases), unit="unit", disable=None, leave=False) as bar:
        for label, extension in schemes.items():
            bar.set_description(label)
            scheme = [__version__, checkpoint.digest, str(model.dtype), described(extension)]
            for group in groups:
                keys = {case: _key([*scheme, cases[case]]) for case in group}
                if any(key not in known for key in keys.values()):
                    with nullcontext() if extension is None else extended(model, extension):
                        results = measure(list(group))
                    for key, result in zip(keys.values(), results, strict=True):
                        known[key] = result
                for key in keys.values():
                    yield known[key]
                    bar.update()


def _key(inputs: Any) -> str:
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def schemes(
    checkpoint: Checkpoint, extensions: Mapping[str, Extension] | None
) -> dict[str, Extension | None]:
    """Return label -> extension, the model as loaded first."""
    schemes: dict[str, Extension | None] = {AS_LOADED: None}
    for label, extension in (extensions or {}).items():
        if label == AS_LOADED:
            raise ValueError(f"extensions must not use the label {AS_LOADED!r}, which is taken")
        if not isinstance(extension, Extension):
            raise TypeError(f"extensions must hold extensions, got {label}: {extension!r}")
        if extension.spec != checkpoint.spec:
            raise ValueError(
                f"extensions must extend {checkpoint.spec}, got {label}: {extension.spec}"
            )
        schemes[label] = extension
    return schemes


def about(checkpoint: Checkpoint, schemes: Mapping[str, Extension | None]) -> dict[str, Any]:
    """Return the fields of ``Measured``, by name."""
    return {
        "checkpoint": checkpoint.name,
        "digest": checkpoint.digest,
        "spec": checkpoint.spec,
        "extensions": {label: described(e) for label, e in schemes.items() if e is not None},
    }


def sha256(tokens: Sequence[Any]) -> str:
    """Return what names tokens, or several texts of them, in records and in the store's keys."""
    return hashlib.sha256(json.dumps(list(tokens)).encode()).hexdigest()


def vocabulary_ids(checkpoint: Checkpoint, tokens: Sequence[int]) -> list[int]:
    """Return tokens as ints of the model's vocabulary."""
    last = checkpoint.model.config.get_text_config().vocab_size - 1
    return [checks.whole("tokens", token, at_least=0, at_most=last) for token in tokens]


def listed(name: str, values: Sequence[int], *, at_least: int, at_most: int) -> list[int]:
    """Return whole numbers, increasing, at least one."""
    out = [checks.whole(name, value, at_least=at_least, at_most=at_most) for value in values]
    if not out or out != sorted(set(out)):
        raise ValueError(f"{name} must be increasing whole numbers, at least one, got {out}")
    return out
