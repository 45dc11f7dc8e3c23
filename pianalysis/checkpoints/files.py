"""Checkpoint files, checked before any library parses them: bounded reads, one sentence a refusal.

A header is read, never believed: every count, length and offset is compared with the size of the
file that holds it before anything of that size is made. What passes here may still be a model of
nonsense, but no longer a small file that asks for a terabyte.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

LARGEST_JSON = 16 * 2**20
LARGEST_TOKENIZER = 256 * 2**20
LARGEST_HEADER = 16 * 2**20
DEEPEST = 32
LARGEST_INTEGER = 2**53
MOST_EXPERTS = 4096

# Bytes of one element, as the safetensors format defines its types.
ELEMENT_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1}
ELEMENT_BYTES |= {"I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4}
ELEMENT_BYTES |= {"F64": 8, "I64": 8, "U64": 8}

# Keys of a config that would send transformers to other code, other files or other weights.
_REFUSED = {
    "auto_map": "it asks for code that comes with the checkpoint",
    "custom_pipelines": "it asks for code that comes with the checkpoint",
    "quantization_config": "q and k of quantised weights need them dequantised first",
    "transformers_weights": "it names other weight files",
    "fusion_config": "it changes the model's modules",
    "distributed_config": "it changes the model's modules",
    "kernel_config": "it asks for code from elsewhere",
}
_LAYER_COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt", "*.h5", "*.msgpack", "*.npz")


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The weight files of a checkpoint and what their headers declare."""

    paths: tuple[Path, ...]
    tensors: Mapping[str, tuple[int, ...]]  # name -> shape
    index: Path | None = None

    @property
    def elements(self) -> int:
        """Number of weights in all files."""
        return sum(math.prod(shape) for shape in self.tensors.values())


def refuse(path: Path, rule: str, value: Any) -> NoReturn:
    """Raise ValueError naming file, rule and value, the value cut to a readable length."""
    text = value if isinstance(value, str) else repr(value)
    if len(text) > 200:
        text = text[:200] + "..."
    raise ValueError(f"{path}: {rule}, got {text}") from None


def regular_file(path: Path, *, at_most: int | None = None) -> int:
    """Return the size of a regular file; links are followed, as the hub's cache is made of them."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: must exist, got no such file")
    if not path.is_file():
        refuse(path, "must be a regular file", "a directory or device")
    size = path.stat().st_size
    if at_most is not None and size > at_most:
        refuse(path, f"must be a file of at most {at_most} bytes", size)
    return size


def read_json(path: Path, *, at_most: int = LARGEST_JSON) -> dict[str, Any]:
    """Return a JSON object of bounded size and depth, its numbers finite and its keys distinct."""
    regular_file(path, at_most=at_most)
    return parse_json(path, path.read_bytes())


def parse_json(path: Path, data: bytes) -> dict[str, Any]:
    """Return the JSON object in ``data``; ``path`` is for messages."""

    def distinct(entries: list[tuple[str, Any]]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in entries:
            if key in out:
                refuse(path, "JSON keys must be distinct", key)
            out[key] = value
        return out

    def finite(text: str) -> float:
        if not math.isfinite(float(text)):
            refuse(path, "JSON numbers must be finite", text)
        return float(text)

    def whole(text: str) -> int:
        # Longer digits than these take quadratic time to read.
        if len(text) > 64:
            refuse(path, "JSON integers must have at most 64 digits", text)
        return int(text)

    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=distinct,
            parse_constant=lambda name: refuse(path, "JSON numbers must be finite", name),
            parse_float=finite,
            parse_int=whole,
        )
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        refuse(path, "must be JSON text in UTF-8", str(error))
    except RecursionError:
        refuse(path, f"JSON must nest at most {DEEPEST} levels deep", "more")
    if not isinstance(value, dict):
        refuse(path, "must hold a JSON object", type(value).__name__)
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
    if level:
        refuse(path, f"JSON must nest at most {DEEPEST} levels deep", "more")
    return value


def read_checkpoint_config(path: Path) -> dict[str, Any]:
    """Return config.json, refused where it asks for code or other files, or for absurd sizes."""
    config = read_json(path)
    refuse_keys(path, config)
    if not isinstance(config.get("model_type"), str):
        refuse(path, "model_type must be a string", config.get("model_type"))
    check_numbers(path, config)
    return config


def refuse_keys(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse, at any depth, the keys that lead transformers away from the checked files."""
    for key, value in config.items():
        if key in _REFUSED and value:
            refuse(path, f"{key} must be absent: {_REFUSED[key]}", value)
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, Mapping):
                refuse_keys(path, child)


def check_numbers(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse integers that no model has."""
    for key, value in config.items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, Mapping):
                check_numbers(path, number)
            elif isinstance(number, int) and abs(number) > LARGEST_INTEGER:
                refuse(path, f"{key} must be an integer within +-2**53", number)
        if "expert" in str(key) and isinstance(value, int) and value > MOST_EXPERTS:
            refuse(path, f"{key} must be at most {MOST_EXPERTS}", value)


def check_layers(path: Path, config: Mapping[str, Any], tensors: Iterable[str]) -> None:
    """Refuse a number of layers that the files cannot hold; a model is built layer by layer."""
    held = {int(part) for name in tensors for part in re.findall(r"\.(\d{1,6})\.", name)}
    for key in _LAYER_COUNTS:
        value = config.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            refuse(path, f"{key} must be a positive integer", value)
        if value > max(held, default=-1) + 1:
            rule = f"{key} must be at most {max(held, default=-1) + 1}, the layers of the weights"
            refuse(path, rule, value)


def safetensors_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of a safetensors file whose header and size agree to the byte."""
    size = regular_file(path)
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            refuse(path, "a safetensors file must be at least 8 bytes long", size)
        length = int.from_bytes(start, "little")
        if length > min(LARGEST_HEADER, size - 8):
            room = min(LARGEST_HEADER, size - 8)
            refuse(path, f"the safetensors header must be at most {room} bytes long", length)
        header = parse_json(path, file.read(length))
    notes = header.pop("__metadata__", {})
    if not isinstance(notes, dict) or not all(isinstance(note, str) for note in notes.values()):
        refuse(path, "__metadata__ must be a JSON object of strings", notes)
    if not header:
        refuse(path, "a safetensors file must hold at least one tensor", "none")
    spans = [(*_safetensors_span(path, name, entry), name) for name, entry in header.items()]
    end = 0
    for first, last, name in sorted(spans):
        if first != end:
            refuse(path, f"tensor {name!r} must start where the one before it ends, {end}", first)
        end = last
    if 8 + length + end != size:
        refuse(path, f"tensors must fill the file of {size} bytes", 8 + length + end)
    return {name: tuple(entry["shape"]) for name, entry in header.items()}


def _safetensors_span(path: Path, name: str, entry: Any) -> tuple[int, int]:
    keys = {"dtype", "shape", "data_offsets"}
    if not isinstance(entry, dict) or set(entry) != keys:
        refuse(path, f"tensor {name!r} must have dtype, shape and data_offsets", entry)
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in ELEMENT_BYTES:
        refuse(path, f"dtype of tensor {name!r} must be a known one", entry["dtype"])
    for key in ("shape", "data_offsets"):
        numbers = entry[key]
        if not isinstance(numbers, list) or not all(
            type(n) is int and 0 <= n < 2**63 for n in numbers
        ):
            refuse(path, f"{key} of tensor {name!r} must be a list of 64-bit sizes", numbers)
    if len(entry["data_offsets"]) != 2:
        refuse(path, f"data_offsets of tensor {name!r} must be two", entry["data_offsets"])
    if len(entry["shape"]) > 8:
        refuse(path, f"shape of tensor {name!r} must have at most 8 axes", entry["shape"])
    first, last = entry["data_offsets"]
    wanted = math.prod(entry["shape"]) * ELEMENT_BYTES[entry["dtype"]]
    if last - first != wanted:
        rule = f"data_offsets of tensor {name!r} must span the {wanted} bytes of its shape"
        refuse(path, rule, entry["data_offsets"])
    return first, last


def read_weights(directory: Path) -> WeightFiles:
    """Return the safetensors files of a directory, single or sharded, with every header checked."""
    single = directory / "model.safetensors"
    index = directory / "model.safetensors.index.json"
    if single.exists():
        return WeightFiles((single,), safetensors_shapes(single))
    if index.exists():
        return _read_shards(directory, index)
    for pattern in _PICKLED:
        for file in sorted(directory.glob(pattern)):
            refuse(file, "weights must be safetensors or GGUF: this format may run code", file.name)
    refuse(directory, "must hold model.safetensors or model.safetensors.index.json", "neither")


def _read_shards(directory: Path, index: Path) -> WeightFiles:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        refuse(index, "weight_map must be a JSON object from tensors to files", weight_map)
    for name in weight_map.values():
        # A plain name cannot leave the directory.
        plain = isinstance(name, str) and re.fullmatch(r"[\w][\w.\-]*\.safetensors", name)
        if not plain or len(name) > 255:
            refuse(index, "weight_map must name .safetensors files of its own directory", name)
    names = sorted(set(weight_map.values()))
    held: dict[str, tuple[int, ...]] = {}
    for name in names:
        path = directory / name
        if not path.exists():
            refuse(index, "every shard of weight_map must be there, missing", name)
        shapes = safetensors_shapes(path)
        for tensor in shapes:
            if tensor in held:
                refuse(path, "a tensor must be in one shard only", tensor)
            if weight_map.get(tensor) != name:
                refuse(index, f"weight_map must place {tensor!r} in {name}", weight_map.get(tensor))
        held |= shapes
    for tensor, name in weight_map.items():
        if tensor not in held:
            refuse(index, f"tensor {tensor!r} of weight_map must be in {name}", "no such tensor")
    return WeightFiles(tuple(directory / name for name in names), held, index)
