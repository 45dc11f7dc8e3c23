"""Short-task accuracy (Table 5, arXiv:2306.15595), by EleutherAI's lm-evaluation-harness.

Prompts, choices and scoring are the harness's own: each choice is scored by its log-likelihood
behind the prompt, without examples, and the highest wins. Only where the documents come from can be
changed, to a local file in the form of the data set, for machines that reach no hub.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pianalysis import checks
from pianalysis.arrays import FloatArray, IntArray
from pianalysis.evaluation import units
from pianalysis.evaluation.text import opening
from pianalysis.evaluation.units import Measured, Store
from pianalysis.extension import Extension

if TYPE_CHECKING:
    from pianalysis.checkpoints.checkpoint import Checkpoint

# Table 5's, in its order; the harness's race is RACE-high, and it has no RACE-middle.
TASKS = ("boolq", "piqa", "race", "winogrande")
# Where lm_eval defines each, and hellaswag: it reads thousands of files when it is not told.
FOLDERS = {
    "boolq": "super_glue/boolq",
    "piqa": "piqa",
    "race": "race",
    "winogrande": "winogrande",
    "hellaswag": "hellaswag",
}


@dataclass(frozen=True, slots=True)
class TaskAccuracy(Measured):
    """Accuracy on short tasks, a row for each scheme, task and metric.

    ``metric`` is the harness's: "acc", and where a task has it "acc_norm", by log-likelihood a
    character. ``value`` is the mean over ``count`` documents, of which ``cut`` were cut from the
    left to fit the pretrained window. ``bos`` tells whether prompts begin with the BOS token;
    ``data`` names what was read in place of the hub's documents, by sha256.
    """

    harness: str
    data: dict[str, str]
    bos: bool
    scheme: tuple[str, ...]
    task: tuple[str, ...]
    metric: tuple[str, ...]
    value: FloatArray
    standard_error: FloatArray
    count: IntArray
    cut: IntArray


def task_accuracy(
    checkpoint: Checkpoint,
    *,
    tasks: Sequence[str] = TASKS,
    data: Mapping[str, str | os.PathLike[str]] | None = None,
    limit: int | None = None,
    extensions: Mapping[str, Extension] | None = None,
    store: Store | None = None,
) -> TaskAccuracy:
    """Return the zero-shot accuracy on multiple-choice tasks, by scheme and task.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model; measured as loaded, and with each extension.
    tasks : sequence of str
        Of ``FOLDERS``: Table 5's, and hellaswag.
    data : mapping, optional
        Task -> JSON Lines file with documents in the form of the task's data set, read in place of
        its evaluation split. The others come from the hub.
    limit : int, optional
        The first so many documents of each task, at least 2; all by default.
    extensions : mapping, optional
        Label -> extension of ``checkpoint.spec``.
    store : mutable mapping, optional
        Results of single units, one a scheme and task, by a key that names all that enters; a unit
        found there is not computed again. Documents of the hub enter by their place there alone.

    Raises
    ------
    ModuleNotFoundError
        The harness is not installed; it is in the extra ``eval``.
    ValueError
        Naming the argument: another task, data for a task not asked for, a file of fewer than 2
        documents.

    Notes
    -----
    One document at a time, so no padding enters. The paper's numbers were made with another harness
    or version and are not comparable to the digit; compare schemes in one record. Chance is 50%, or
    25% for race. Prompts stay inside the pretrained window, so any loss against the model as loaded
    is what the scheme costs there.
    """
    files = task_files(tasks, data or {})
    if limit is not None:
        limit = checks.whole("limit", limit, at_least=2)
    schemes = units.schemes(checkpoint, extensions)
    digests = {task: hashlib.sha256(path.read_bytes()).hexdigest() for task, path in files.items()}
    with _quiet(), tempfile.TemporaryDirectory() as directory:
        definitions = {task: _definition(task, files.get(task), Path(directory)) for task in tasks}

        def measure(task: str) -> dict[str, Any]:
            return _evaluate(checkpoint, definitions[task], limit)

        cases = {
            task: {
                "kind": "task",
                "task": task,
                "harness": version("lm_eval"),
                "data": digests.get(task),
                "limit": limit,
            }
            for task in definitions
        }
        results = list(units.run(checkpoint, schemes, cases, measure, store))
    rows = [
        (label, task, metric, *numbers)
        for (label, task), unit in zip(
            ((label, task) for label in schemes for task in definitions), results, strict=True
        )
        for metric, numbers in unit.items()
    ]
    scheme, task, metric, value, error, count, cut = zip(*rows, strict=True)
    return TaskAccuracy(
        **units.about(checkpoint, schemes),
        harness=version("lm_eval"),
        data=digests,
        bos=bool(opening(checkpoint.tokenizer)),
        scheme=scheme,
        task=task,
        metric=metric,
        value=np.array(value),
        standard_error=np.array(error),
        count=np.array(count),
        cut=np.array(cut),
    )


def task_files(tasks: Sequence[str], data: Mapping[str, str | os.PathLike[str]]) -> dict[str, Path]:
    """Return the files that hold documents, by task; what cannot be read is refused at once.

    Raises
    ------
    ModuleNotFoundError, ValueError
        As ``task_accuracy``.
    """
    if find_spec("lm_eval") is None:
        raise ModuleNotFoundError(
            "task accuracy needs lm-evaluation-harness: pip install 'pianalysis[eval]'"
        )
    if isinstance(tasks, str) or not tasks or len(set(tasks)) != len(tasks):
        raise ValueError(f"tasks must be distinct names, at least one, got {tasks!r}")
    for task in tasks:
        checks.choice("tasks", task, FOLDERS)
    files = {}
    for task, name in data.items():
        if task not in tasks:
            raise ValueError(f"data must be for tasks that are asked for, got {task!r}")
        path = Path(name)
        if not path.is_file():
            raise ValueError(f"data must be a JSON Lines file, got {str(path)!r} for {task}")
        files[task] = path.resolve()
    return files


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the harness's log to errors; what it warns of is in the record."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@functools.cache
def _manager() -> Any:
    from lm_eval import tasks

    root = Path(tasks.__file__).parent
    folders = [str(root / folder) for folder in FOLDERS.values()]
    return tasks.TaskManager(include_path=folders, include_defaults=False)


def _definition(task: str, file: Path | None, directory: Path) -> str:
    """Return what the harness loads: a name, or a task file that puts other data into that task."""
    if file is None:
        return task
    entry = _manager().task_index[task]
    split = "test" if entry.cfg.get("test_split") else "validation"
    definition = {
        "include": str(entry.yaml_path),
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {
            "data_files": {split: str(file)},
            "cache_dir": str(directory / "cache"),
        },
        "training_split": None,
        "fewshot_split": None,
        f"{split}_split": split,
    }
    path = directory / f"{task}.yaml"
    # JSON is YAML.
    path.write_text(json.dumps(definition), encoding="utf-8")
    return str(path)


def _evaluate(checkpoint: Checkpoint, definition: str, limit: int | None) -> dict[str, list[float]]:
    """Return metric -> value, standard error, number of documents, how many of them were cut."""
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    loaded = _manager().load([definition])
    (name,) = loaded["tasks"]
    task = loaded["tasks"][name]
    task.set_config(key="num_fewshot", value=0)
    documents = len(task.eval_docs)
    if documents < 2:
        raise ValueError(f"data must hold at least 2 documents, got {documents} for {name}")
    window = checkpoint.spec.context_window
    # The harness gives a tokenizer without padding a token for it.
    tokenizer: Any = copy.deepcopy(checkpoint.tokenizer)
    model = HFLM(
        pretrained=checkpoint.model,
        backend="causal",
        tokenizer=tokenizer,
        batch_size=1,
        max_length=window,
    )
    with torch.inference_mode():
        samples = evaluate(lm=model, task_dict=loaded, limit=limit)["samples"][name]
    cut = sum(
        max(len(model.tok_encode(prompt + choice)) for prompt, choice in sample["arguments"])
        > window + 1
        for sample in samples
    )
    numbers = {}
    for metric in samples[0]["metrics"]:
        each = np.array([sample[metric] for sample in samples], dtype=float)
        error = each.std(ddof=1) / np.sqrt(each.size)
        numbers[metric] = [float(each.mean()), float(error), each.size, cut]
    return numbers
