"""GGUF files, checked before any library parses them (the format of llama.cpp, versions 2 and 3).

Nothing is allocated from a count in the file: strings and arrays are walked over, and every length
is compared with the bytes that are left.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pianalysis.checkpoints.files import LARGEST_INTEGER, WeightFiles, refuse, regular_file

# Type number -> struct code; 8 is a string, 9 an array.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
_SCALARS |= {12: "d"}
_STRING, _ARRAY = 8, 9
LARGEST_STRING = 2**20
LARGEST_ALIGNMENT = 2**16
MOST_AXES = 4


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Scalars and strings of the metadata; of arrays the length alone."""

    metadata: Mapping[str, Any]
    lengths: Mapping[str, int]
    weights: WeightFiles


class _Walk:
    """A file read from front to back, never beyond its end."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.path, self.file, self.left = path, file, size

    def check_room(self, count: int, what: str, *, each: int = 1) -> None:
        if each * count > self.left:
            refuse(self.path, f"{what} must fit in the {self.left} bytes left", count)

    def take(self, count: int, what: str) -> bytes:
        self.check_room(count, what)
        self.left -= count
        return self.file.read(count)

    def skip(self, count: int, what: str) -> None:
        self.check_room(count, what)
        self.left -= count
        self.file.seek(count, 1)

    def number(self, code: str, what: str) -> Any:
        layout = struct.Struct("<" + code)
        return layout.unpack(self.take(layout.size, what))[0]

    def string(self, what: str) -> str:
        length = self.number("Q", what)
        if length > LARGEST_STRING:
            refuse(self.path, f"{what} must be at most {LARGEST_STRING} bytes long", length)
        try:
            return self.take(length, what).decode("utf-8")
        except UnicodeDecodeError as error:
            refuse(self.path, f"{what} must be UTF-8 text", str(error))

    def array(self, what: str) -> int:
        kind, length = self.number("I", what), self.number("Q", what)
        if kind in _SCALARS:
            self.skip(length * struct.calcsize("<" + _SCALARS[kind]), what)
        elif kind == _STRING:
            self.check_room(length, what, each=8)
            for _ in range(length):
                self.skip(self.number("Q", what), what)
        else:
            refuse(self.path, f"{what} must be an array of numbers or strings, type", kind)
        return int(length)


def read_gguf(path: Path) -> GgufHeader:
    """Return what a GGUF file's header declares, after checking all of it against the file."""
    size = regular_file(path)
    with path.open("rb") as file:
        walk = _Walk(path, file, size)
        magic = walk.take(4, "the magic number")
        if magic != b"GGUF":
            refuse(path, "a GGUF file must begin with b'GGUF'", magic)
        version = walk.number("I", "the version")
        if version not in (2, 3):
            refuse(path, "the GGUF version must be 2 or 3 (little-endian)", version)
        tensor_count = walk.number("Q", "the tensor count")
        key_count = walk.number("Q", "the key count")
        metadata, lengths = _read_metadata(walk, key_count)
        alignment = metadata.get("general.alignment", 32)
        if (
            type(alignment) is not int
            or not 8 <= alignment <= LARGEST_ALIGNMENT
            or alignment & (alignment - 1)
        ):
            rule = f"general.alignment must be a power of two from 8 to {LARGEST_ALIGNMENT}"
            refuse(path, rule, alignment)
        tensors = _read_tensors(walk, tensor_count)
        start = size - walk.left
        start += -start % alignment
    _check_offsets(path, tensors, size - start, alignment)
    _check_rope(path, metadata, tensors)
    shapes = {name: shape for name, (shape, _, _) in tensors.items()}
    return GgufHeader(metadata, lengths, WeightFiles((path,), shapes))


def _read_metadata(walk: _Walk, count: int) -> tuple[dict[str, Any], dict[str, int]]:
    metadata: dict[str, Any] = {}
    lengths: dict[str, int] = {}
    # The shortest entry is an empty name, a type and one byte.
    walk.check_room(count, "the key count", each=13)
    for _ in range(count):
        key = walk.string("a metadata key")
        if key in metadata or key in lengths:
            refuse(walk.path, "metadata keys must be distinct", key)
        kind = walk.number("I", f"the type of {key!r}")
        if kind == _ARRAY:
            lengths[key] = walk.array(f"the array {key!r}")
            continue
        if kind == _STRING:
            metadata[key] = walk.string(f"the string {key!r}")
            continue
        if kind not in _SCALARS:
            refuse(walk.path, f"the type of {key!r} must be from 0 to 12", kind)
        value = walk.number(_SCALARS[kind], f"the value of {key!r}")
        if not math.isfinite(value) or abs(value) > LARGEST_INTEGER:
            refuse(walk.path, f"{key} must be finite and within +-2**53", value)
        metadata[key] = value
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str):
        refuse(walk.path, "general.architecture must be a string", architecture)
    return metadata, lengths


def _read_tensors(walk: _Walk, count: int) -> dict[str, tuple[tuple[int, ...], int, int]]:
    """Return name -> shape (slowest axis first), offset, bytes."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    sizes = {kind.value: GGML_QUANT_SIZES[kind] for kind in GGMLQuantizationType}
    # The shortest entry is an empty name, one axis, a type and an offset.
    walk.check_room(count, "the tensor count", each=32)
    if not count:
        refuse(walk.path, "a GGUF file must hold at least one tensor", count)
    tensors: dict[str, tuple[tuple[int, ...], int, int]] = {}
    for _ in range(count):
        name = walk.string("a tensor name")
        if name in tensors:
            refuse(walk.path, "tensor names must be distinct", name)
        axes = walk.number("I", f"the axes of {name!r}")
        if not 1 <= axes <= MOST_AXES:
            refuse(walk.path, f"tensor {name!r} must have 1 to {MOST_AXES} axes", axes)
        shape = [walk.number("Q", f"the shape of {name!r}") for _ in range(axes)]
        kind = walk.number("I", f"the type of {name!r}")
        if kind not in sizes:
            refuse(walk.path, f"the type of tensor {name!r} must be a known one", kind)
        block, block_bytes = sizes[kind]
        if shape[0] % block or not all(shape):
            rule = f"the first axis of tensor {name!r} must be whole blocks of {block}, none empty"
            refuse(walk.path, rule, shape)
        offset = walk.number("Q", f"the offset of {name!r}")
        tensors[name] = (tuple(shape[::-1]), offset, math.prod(shape) // block * block_bytes)
    return tensors


def _check_offsets(
    path: Path, tensors: Mapping[str, tuple[tuple[int, ...], int, int]], room: int, alignment: int
) -> None:
    end = 0
    for name, (_, offset, size) in sorted(tensors.items(), key=lambda item: item[1][1]):
        if offset % alignment:
            refuse(path, f"the offset of tensor {name!r} must be a multiple of {alignment}", offset)
        if offset < end:
            refuse(path, f"tensor {name!r} must start at {end} or later, not in another", offset)
        end = offset + size
        if end > room:
            refuse(path, f"tensor {name!r} must end within the {room} bytes of data", end)


def _check_rope(path: Path, metadata: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Refuse an extended RoPE, which transformers leaves out when it reads most GGUF files."""
    for key, value in metadata.items():
        if key.endswith("rope.scaling.type") and value not in ("none", ""):
            refuse(path, f"{key} must be none: open the safetensors checkpoint instead", value)
        if key.endswith(("rope.scaling.factor", "rope.scale_linear")) and value not in (0, 1):
            refuse(path, f"{key} must be 1: open the safetensors checkpoint instead", value)
    for name in tensors:
        if name.startswith("rope_f"):
            rule = "frequencies must come from the base: open the safetensors checkpoint instead"
            refuse(path, rule, f"a tensor {name!r}")
