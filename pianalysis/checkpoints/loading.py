"""What transformers is given, and how: checked files alone, no foreign code, no noise."""

from __future__ import annotations

import contextlib
import copy
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pianalysis.checkpoints.files import WeightFiles, refuse
from pianalysis.rope import library

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Buffers (masks, tables of positions) are not in the files: they get a limit of their own.
MOST_BUFFER_ELEMENTS = 2**27
# Files from this size on may take seconds to open: then progress is shown.
SLOW_BYTES = 32 * 2**20


def check_size(path: Path, config: Any, weights: WeightFiles) -> None:
    """Refuse a config that declares more weights than the files hold, before they are allocated."""
    import torch
    import transformers

    # transformers types its factories in part only.
    factory: Any = transformers.AutoModelForCausalLM
    with as_refusal(path), torch.device("meta"):
        model = factory.from_config(copy.deepcopy(config), trust_remote_code=False)
        model.tie_weights()
    declared = sum(parameter.numel() for parameter in model.parameters())
    if declared > weights.elements:
        refuse(
            path,
            f"the config must declare at most the {weights.elements} weights of the files",
            declared,
        )
    buffers = sum(buffer.numel() for buffer in model.buffers())
    if buffers > MOST_BUFFER_ELEMENTS:
        refuse(path, f"buffers must hold at most {MOST_BUFFER_ELEMENTS} numbers", buffers)


def linked(files: list[Path], links: contextlib.ExitStack) -> str:
    """Return a directory, removed with ``links``, that links to the checked files alone."""
    directory = Path(tempfile.mkdtemp(prefix="pianalysis-"))
    links.callback(shutil.rmtree, directory, ignore_errors=True)
    for path in files:
        (directory / path.name).symlink_to(path.resolve())
    return str(directory)


def keep(links: contextlib.ExitStack, model: PreTrainedModel) -> None:
    """Keep the links as long as the model, which reads them at every pass if it is on disk."""
    weakref.finalize(model, links.pop_all().close)


def load(path: Path, directory: str, config: Any, options: Mapping[str, Any]) -> PreTrainedModel:
    """Load the weights from safetensors alone; what is missing or not finite is refused."""
    import torch
    import transformers

    factory: Any = transformers.AutoModelForCausalLM
    with as_refusal(path):
        loaded: tuple[PreTrainedModel, dict[str, Any]] = factory.from_pretrained(
            directory,
            config=config,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    model, report = loaded
    if report["missing_keys"]:
        refuse(path, "every weight of the model must be in the files", min(report["missing_keys"]))
    for name, weight in model.named_parameters():
        if weight.device.type != "meta" and not bool(torch.isfinite(weight).all()):
            refuse(path, f"weights must be finite, {name}", "NaN or infinity")
    return model


def load_tokenizer(
    path: Path, directory: str, config: Any, options: Mapping[str, Any]
) -> PreTrainedTokenizerBase:
    """Load the tokenizer that lies beside the weights."""
    from transformers import AutoTokenizer

    with as_refusal(path):
        return AutoTokenizer.from_pretrained(
            directory, config=config, trust_remote_code=False, local_files_only=True, **options
        )


@contextlib.contextmanager
def as_refusal(path: Path) -> Iterator[None]:
    """Turn whatever transformers raises over a file's content into one ValueError naming it."""
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = " ".join(lines)[:300] or "no reason"
        raise ValueError(
            f"{path}: must be a causal language model that transformers can open, "
            f"got {type(error).__name__}: {reason}"
        ) from None


@contextlib.contextmanager
def quiet(path: Path) -> Iterator[None]:
    """Keep transformers' log to errors and its progress bars to large files."""
    import transformers

    logging: Any = transformers.utils.logging
    files = [path] if path.is_file() else path.glob("*.safetensors")
    quick = sum(file.stat().st_size for file in files) <= SLOW_BYTES
    bars = logging.is_progress_bar_enabled()
    if quick:
        logging.disable_progress_bar()
    try:
        with library.quiet(logging.ERROR):
            yield
    finally:
        if bars:
            logging.enable_progress_bar()
