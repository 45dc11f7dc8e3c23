"""Checkpoint files: each rule refuses by file, rule and value; no mutation does worse."""

import json
import os
import re
import struct
import subprocess
import sys
import tracemalloc

import pytest
import tiny_models

from pianalysis.checkpoints.files import (
    LARGEST_JSON,
    check_layers,
    read_checkpoint_config,
    read_weights,
    safetensors_shapes,
)
from pianalysis.checkpoints.gguf import read_gguf

MUTATIONS = 600


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_models.save("llama", tmp_path_factory.mktemp("tiny")) / "model.safetensors"


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory):
    return tiny_models.save_gguf(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


def write(path, header, body=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if length is None else length
    path.write_bytes(size.to_bytes(8, "little") + text + body)
    return path


def tensor(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_shapes_are_those_of_the_safetensors_library(tiny):
    from safetensors import safe_open

    with safe_open(tiny, framework="np") as file:
        theirs = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    assert safetensors_shapes(tiny) == theirs
    assert len(theirs) > 20


@pytest.mark.parametrize(
    ("header", "body", "length", "rule", "value"),
    [
        (b"{}", b"", None, "must hold at least one tensor", "none"),
        (b"{}", b"", 3, "header must be at most 2 bytes", "3"),
        (b"{}", b"", 2**63, "header must be at most 2 bytes", str(2**63)),
        (b"[]", b"", None, "must hold a JSON object", "list"),
        (b'{"a":', b"", None, "must be JSON text", "Expecting value"),
        (b'{"a": NaN}', b"", None, "numbers must be finite", "NaN"),
        (b'{"a": 1e999}', b"", None, "numbers must be finite", "1e999"),
        (b'{"a": 1, "a": 2}', b"", None, "keys must be distinct", "a"),
        (b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}", b"", None, "at most 32 levels", "more"),
        (b"[" * 10**6, b"", None, "at most 32 levels", "more"),
        (b'{"a": ' + b"9" * 5000 + b"}", b"", None, "at most 64 digits", "999"),
        ({"__metadata__": {"a": 1}}, b"", None, "must be a JSON object of strings", "{'a': 1}"),
        ({"a": 1}, b"", None, "must have dtype, shape and data_offsets", "1"),
        ({"a": tensor("F33")}, bytes(8), None, "dtype of tensor 'a' must be a known", "F33"),
        ({"a": tensor(dtype=[])}, bytes(8), None, "dtype of tensor 'a'", "[]"),
        ({"a": tensor(shape=(-2,))}, bytes(8), None, "shape of tensor 'a' must be", "[-2]"),
        ({"a": tensor(shape=(2.0,))}, bytes(8), None, "shape of tensor 'a' must be", "[2.0]"),
        ({"a": tensor(shape=(True,))}, bytes(8), None, "shape of tensor 'a' must be", "[True]"),
        ({"a": tensor(shape=(2**64,))}, bytes(8), None, "list of 64-bit sizes", str(2**64)),
        ({"a": tensor(shape=(2**40, 2**40))}, bytes(8), None, "must span the", "[0, 8]"),
        ({"a": tensor(shape=[1] * 9)}, bytes(8), None, "at most 8 axes", "[1, 1"),
        ({"a": tensor(offsets=(0, 8, 9))}, bytes(8), None, "must be two", "[0, 8, 9]"),
        ({"a": tensor(offsets=(8, 0))}, bytes(8), None, "must span the 8 bytes", "[8, 0]"),
        ({"a": tensor(offsets=(4, 12))}, bytes(12), None, "must start where", "4"),
        ({"a": tensor(), "b": tensor()}, bytes(8), None, "must start where", "0"),
        ({"a": tensor()}, bytes(7), None, "must fill the file", ""),
        ({"a": tensor()}, bytes(9), None, "must fill the file", ""),
    ],
)
def test_safetensors_rules(tmp_path, header, body, length, rule, value):
    path = write(tmp_path / "model.safetensors", header, body, length)
    pattern = f"{re.escape(str(path))}: .*{re.escape(rule)}.*got .*{re.escape(value)}"
    with pytest.raises(ValueError, match=pattern):
        safetensors_shapes(path)


def test_what_the_library_refuses_is_refused_here_too(tmp_path):
    from safetensors import SafetensorError, safe_open

    headers = [
        {"a": tensor(offsets=(4, 12))},
        {"a": tensor(shape=(3,))},
        {"a": tensor("F33")},
        {"a": tensor(), "b": tensor()},
    ]
    for header in headers:
        path = write(tmp_path / "model.safetensors", header, bytes(8))
        with pytest.raises(SafetensorError), safe_open(path, framework="np"):
            pass
        with pytest.raises(ValueError, match="got"):
            safetensors_shapes(path)


def sharded(directory, weight_map, files):
    for name, header in files.items():
        write(directory / name, header, bytes(8))
    index = directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


A, B = "one.safetensors", "two.safetensors"


@pytest.mark.parametrize(
    ("weight_map", "files", "rule"),
    [
        ({"a": "../one.safetensors"}, {}, "must name .safetensors files of its own directory"),
        ({"a": "/etc/one.safetensors"}, {}, "must name .safetensors files of its own directory"),
        ({"a": "sub/one.safetensors"}, {}, "must name .safetensors files of its own directory"),
        ({"a": "..\\one.safetensors"}, {}, "must name .safetensors files of its own directory"),
        ({"a": "one.bin"}, {}, "must name .safetensors files of its own directory"),
        ({"a": 3}, {}, "must name .safetensors files of its own directory"),
        ({"a": "x" * 300 + ".safetensors"}, {}, "must name .safetensors files"),
        ({}, {}, "must be a JSON object from tensors to files"),
        ([], {}, "must be a JSON object from tensors to files"),
        ({"a": A}, {}, "every shard of weight_map must be there, missing, got one.safetensors"),
        ({"a": A, "b": A}, {A: {"a": tensor()}}, "tensor 'b' of weight_map must be in one"),
        ({"a": A, "b": B}, {A: {"a": tensor()}, B: {"a": tensor()}}, "in one shard only, got a"),
        ({"b": A}, {A: {"a": tensor()}}, "weight_map must place 'a' in one.safetensors, got None"),
    ],
)
def test_index_rules(tmp_path, weight_map, files, rule):
    sharded(tmp_path, weight_map, files)
    with pytest.raises(ValueError, match=re.escape(rule)):
        read_weights(tmp_path)


def test_shards_may_be_links_as_in_the_cache_of_the_hub(tmp_path):
    store, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    store.mkdir()
    snapshot.mkdir()
    write(store / "0123", {"a": tensor()}, bytes(8))
    sharded(snapshot, {"a": A}, {})
    (snapshot / A).symlink_to(store / "0123")
    weights = read_weights(snapshot)
    assert weights.tensors == {"a": (2,)}
    assert weights.elements == 2


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl", "last.ckpt"])
def test_formats_that_may_run_code_are_refused_by_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=rf"weights must be safetensors or GGUF.* got {name}$"):
        read_weights(tmp_path)


def test_a_pipe_is_not_a_file(tmp_path):
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="must be a regular file"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"auto_map": {"AutoModel": "x.Y"}}, "auto_map must be absent"),
        ({"text_config": {"auto_map": {"AutoModel": "x.Y"}}}, "auto_map must be absent"),
        ({"parts": [{"auto_map": {"AutoModel": "x.Y"}}]}, "auto_map must be absent"),
        ({"quantization_config": {"bits": 4}}, "quantization_config must be absent"),
        ({"transformers_weights": "other.bin"}, "transformers_weights must be absent"),
        ({"model_type": 3}, "model_type must be a string"),
        ({"vocab_size": 10**30}, "vocab_size must be an integer within"),
        ({"num_experts": 10**9}, "num_experts must be at most 4096"),
    ],
)
def test_config_rules(tmp_path, change, rule):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "llama", **change}))
    with pytest.raises(ValueError, match=rule):
        read_checkpoint_config(path)


def test_config_size(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(b" " * (LARGEST_JSON + 1))
    with pytest.raises(ValueError, match="must be a file of at most"):
        read_checkpoint_config(path)


@pytest.mark.parametrize("value", [0, -1, 4, 10**9, True, 2.0, "3"])
def test_layers_must_be_in_the_files(tmp_path, value):
    names = [f"model.layers.{n}.mlp.weight" for n in range(3)]
    check_layers(tmp_path, {"num_hidden_layers": 3}, names)
    with pytest.raises(ValueError, match="num_hidden_layers must be"):
        check_layers(tmp_path, {"num_hidden_layers": value}, names)


def test_gguf_header_is_that_of_the_gguf_library(tiny_gguf):
    from gguf import GGUFReader

    ours, theirs = read_gguf(tiny_gguf), GGUFReader(tiny_gguf)
    shapes = {t.name: tuple(int(n) for n in t.shape[::-1]) for t in theirs.tensors}
    assert ours.weights.tensors == shapes
    for key, value in ours.metadata.items():
        assert theirs.fields[key].contents() == value
    for key, length in ours.lengths.items():
        assert len(theirs.fields[key].contents()) == length
    assert ours.lengths["tokenizer.ggml.tokens"] == tiny_models.VOCABULARY


@pytest.mark.parametrize(
    ("at", "layout", "value", "rule"),
    [
        (0, "<I", 0, "must begin with b'GGUF'"),
        (4, "<I", 1, "version must be 2 or 3"),
        (4, ">I", 3, "version must be 2 or 3"),
        (8, "<Q", 2**63, "the tensor count must fit"),
        (8, "<Q", 0, "at least one tensor"),
        (16, "<Q", 2**63, "the key count must fit"),
        (16, "<Q", 1000, ""),
        (24, "<Q", 2**63, "a metadata key must be at most 1048576 bytes long"),
        (24, "<Q", 2**20, "a metadata key must fit"),
    ],
)
def test_gguf_counts(tiny_gguf, tmp_path, at, layout, value, rule):
    data = bytearray(tiny_gguf.read_bytes())
    struct.pack_into(layout, data, at, value)
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}: .*{rule}"):
        read_gguf(path)


def replaced(path, tmp_path, old, new):
    data = path.read_bytes()
    assert data.count(old) == 1
    out = tmp_path / "bad.gguf"
    out.write_bytes(data.replace(old, new))
    return out


def tensor_entry(name, axes, kind, offset):
    out = struct.pack("<Q", len(name)) + name + struct.pack("<I", len(axes))
    return out + struct.pack(f"<{len(axes)}QIQ", *axes, kind, offset)


@pytest.mark.parametrize(
    ("axes", "kind", "offset", "rule"),
    [
        ((32, 96), 99, 0, "type of tensor 'output.weight' must be a known one, got 99"),
        ((32, 96), 0, 1, "offset of tensor 'output.weight' must be a multiple of 32, got 1"),
        ((32, 96), 0, 2**63, "'output.weight' must end within"),
        ((32, 2**50), 0, 0, "must end within|not in another"),
        ((32, 0), 0, 0, "none empty"),
        ((33, 1), 2, 0, "whole blocks of 32"),
        ((32, 96), 0, 32, "not in another"),
    ],
)
def test_gguf_tensors(tiny_gguf, tmp_path, axes, kind, offset, rule):
    from gguf import GGUFReader

    reader = GGUFReader(tiny_gguf)
    tensor = next(t for t in reader.tensors if t.name == "output.weight")
    relative = int(tensor.field.parts[-1][0])
    old = tensor_entry(b"output.weight", (32, 96), 0, relative)
    new = tensor_entry(b"output.weight", axes, kind, offset)
    assert len(old) == len(new)
    with pytest.raises(ValueError, match=rule):
        read_gguf(replaced(tiny_gguf, tmp_path, old, new))


def test_gguf_with_an_extended_rope_is_refused(tmp_path):
    import numpy as np
    from gguf import RopeScalingType

    path = tmp_path / "extended.gguf"
    tiny_models.save_gguf(path, extra=[("add_rope_scaling_type", RopeScalingType.LINEAR)])
    with pytest.raises(ValueError, match=r"llama.rope.scaling.type must be none.*got linear"):
        read_gguf(path)
    tiny_models.save_gguf(path, tensors=[("rope_freqs.weight", np.ones(4, np.float32))])
    with pytest.raises(ValueError, match=r"frequencies must come from the base.*rope_freqs"):
        read_gguf(path)


def test_headers_that_lie_cost_no_memory(tiny_gguf, tmp_path):
    data = bytearray(tiny_gguf.read_bytes())
    liars = []
    for at in range(4, 2000, 3):
        struct.pack_into("<Q", data, at, 2**40)
        liars.append(bytes(data))
        data[at : at + 8] = tiny_gguf.read_bytes()[at : at + 8]
    path = tmp_path / "liar.gguf"
    refused = 0
    tracemalloc.start()
    for liar in liars:
        path.write_bytes(liar)
        try:
            read_gguf(path)
        except ValueError:
            refused += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused > 400
    assert peak < 8 * 2**20


def test_mutated_checkpoints_open_or_are_refused(root):
    """Seeded mutations of safetensors, index, config and GGUF files, in a process of their own."""
    script = root / "tests" / "checkpoints" / "fuzz_checkpoints.py"
    done = subprocess.run(
        [sys.executable, script, str(MUTATIONS), "20231"],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads(done.stdout)
    assert summary["bad"] == []
    assert sum(summary["outcomes"].values()) == MUTATIONS
    # Not vacuous: many mutations pass, so the checks and transformers are both reached.
    assert summary["outcomes"]["opened"] > 50
    assert summary["outcomes"]["refused"] > 250
    assert summary["grown_kib"] < 64 * 2**10
    assert summary["slowest"] < 5.0
