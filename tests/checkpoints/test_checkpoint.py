"""Opening checkpoints: what is read, what is refused, what never runs."""

import json
import shutil
import tempfile

import numpy as np
import pytest
import tiny_models
import torch

import pianalysis as pia
from pianalysis.checkpoints import checkpoint as module
from pianalysis.heads import open_checkpoint, visit_layers


@pytest.fixture
def tiny(tmp_path):
    return tiny_models.save("llama", tmp_path / "tiny", tokenizer=True)


def edit(directory, **changes):
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return directory


def rewrite(directory, change):
    """Apply ``change`` to the dict of tensors of the safetensors file."""
    from safetensors.torch import load_file, save_file

    path = directory / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    return directory


def test_an_open_checkpoint(tiny):
    opened = open_checkpoint(str(tiny))
    assert opened.name == str(tiny)
    assert opened.config == json.loads((tiny / "config.json").read_text())
    assert opened.spec == pia.RopeSpec.from_hf(tiny)
    assert not opened.model.training
    assert opened.model.dtype == torch.float32
    assert opened.tokenizer("w5 w7")["input_ids"] == [5, 7]
    expected = tiny_models.build("llama").state_dict()
    for name, weight in opened.model.state_dict().items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=0)


def test_without_tokenizer_json_there_is_no_tokenizer(tiny):
    (tiny / "tokenizer.json").unlink()
    assert open_checkpoint(tiny).tokenizer is None


def test_digest_identifies_config_and_weights(tiny, tmp_path):
    digest = open_checkpoint(tiny).digest
    assert len(bytes.fromhex(digest)) == 32
    copy = shutil.copytree(tiny, tmp_path / "copy")
    assert open_checkpoint(copy).digest == digest

    def nudge(tensors):
        tensors["lm_head.weight"][0, 0] += 1

    assert open_checkpoint(rewrite(copy, nudge)).digest != digest
    assert open_checkpoint(edit(tiny, rope_theta=20_000.0)).digest != digest


def test_the_pretrained_window_is_asked_for_not_guessed(tiny):
    edit(tiny, rope_scaling={"rope_type": "linear", "factor": 2.0})
    with pytest.raises(ValueError, match=r"config.json: original_length must be given"):
        open_checkpoint(tiny)
    assert open_checkpoint(tiny, original_length=128).spec.context_window == 128


def test_gguf_and_safetensors_give_the_same_heads(tiny, tmp_path):
    path = tiny_models.save_gguf(tmp_path / "tiny.gguf")
    both = []
    for source in (tiny, path):
        layers = []
        opened = open_checkpoint(source)
        visit_layers(opened, tiny_models.text(), layers.append)
        both.append((opened, layers))
    (one, ours), (two, theirs) = both
    assert one.spec == two.spec
    assert two.config["model_type"] == "llama"
    assert two.tokenizer("a b")["input_ids"] == [64, 65]
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.queries, b.queries)
        np.testing.assert_array_equal(a.keys, b.keys)


def test_nothing_beside_the_checked_files_is_read(tiny, tmp_path):
    expected = open_checkpoint(tiny).digest
    mark = tmp_path / "ran"
    (tiny / "modeling_tiny.py").write_text(f"open({str(mark)!r}, 'w')")
    (tiny / "pytorch_model.bin").write_bytes(b"not a pickle")
    (tiny / "adapter_config.json").write_text('{"base_model_name_or_path": "nobody/nothing"}')
    (tiny / "generation_config.json").write_text("broken")
    (tiny / ".metadata").write_bytes(b"not a pickle either")
    (tiny / "custom_generate").mkdir()
    (tiny / "custom_generate" / "generate.py").write_text(f"open({str(mark)!r}, 'w')")
    assert open_checkpoint(tiny).digest == expected
    assert not mark.exists()


@pytest.mark.parametrize("source", ["config.json", "tokenizer_config.json"])
def test_code_of_the_checkpoint_is_refused(tiny, source):
    path = tiny / source
    config = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**config, "auto_map": {"AutoConfig": "x.Y"}}))
    with pytest.raises(ValueError, match=rf"{source}: auto_map must be absent: it asks for code"):
        open_checkpoint(tiny)


def test_an_unknown_model_type_is_refused(tiny):
    with pytest.raises(ValueError, match=r"model_type must be one that transformers knows.*'?tnt"):
        open_checkpoint(edit(tiny, model_type="tnt"))


def test_a_config_does_not_choose_software(tiny):
    edit(tiny, _attn_implementation="nobody/kernel", attn_implementation="flash_attention_2")
    assert open_checkpoint(tiny).model.config._attn_implementation in ("sdpa", "eager")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 10**12}, "must declare at most the"),
        ({"intermediate_size": 10**9}, "must declare at most the"),
        ({"hidden_size": 2**40}, "head_dim must be a positive even integer of at most 8192"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers must be at most 3"),
        ({"num_hidden_layers": 4}, "num_hidden_layers must be at most 3"),
        ({"num_attention_heads": 8, "head_dim": 4, "vocab_size": 80}, "must be a causal language"),
        ({"hidden_act": "nothing"}, "must be a causal language model that transformers can open"),
    ],
)
def test_a_config_that_contradicts_the_weights(tiny, changes, message):
    with pytest.raises(ValueError, match=message):
        open_checkpoint(edit(tiny, **changes))


def test_missing_weights_are_named(tiny):
    def move(tensors):
        tensors["unrelated.weight"] = tensors.pop("model.layers.1.mlp.up_proj.weight")

    with pytest.raises(ValueError, match=r"must be in the files, got model.layers.1.mlp.up_proj"):
        open_checkpoint(rewrite(tiny, move))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(tiny, value):
    def spoil(tensors):
        tensors["model.layers.2.mlp.down_proj.weight"][0, 0] = value

    with pytest.raises(ValueError, match=r"weights must be finite, model.layers.2.mlp.down_proj"):
        open_checkpoint(rewrite(tiny, spoil))


def test_a_model_without_rotary_positions(tmp_path):
    directory = tiny_models.save("gpt2", tmp_path / "gpt2")
    with pytest.raises(ValueError, match=r"config.json: config .* 'gpt2', which has no RoPE"):
        open_checkpoint(directory)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("no such place", FileNotFoundError, "source must be a directory, a .gguf file, a hub id"),
        (3, TypeError, "source must be a path, a hub id"),
    ],
)
def test_refused_sources(source, error, message):
    with pytest.raises(error, match=message):
        open_checkpoint(source)


def test_a_gguf_file_is_parsed_once_and_the_library_is_left_as_it_was(tmp_path, monkeypatch):
    import gguf

    parsed = []

    class Watched(gguf.GGUFReader):
        def __init__(self, *arguments):
            parsed.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(gguf, "GGUFReader", Watched)
    names = gguf.get_tensor_name_map
    open_checkpoint(tiny_models.save_gguf(tmp_path / "tiny.gguf"))
    assert len(parsed) == 1
    other = open_checkpoint(tiny_models.save_gguf(tmp_path / "other.gguf", seed=1))
    assert len(parsed) == 2
    assert other.digest != open_checkpoint(tmp_path / "tiny.gguf").digest
    assert (gguf.GGUFReader, gguf.get_tensor_name_map) == (Watched, names)


def test_a_single_file_must_be_gguf(tiny):
    with pytest.raises(ValueError, match=r"must end in .gguf; else give its directory"):
        open_checkpoint(tiny / "model.safetensors")


def test_refused_dtype(tiny):
    with pytest.raises(ValueError, match="dtype must be one of bfloat16, float32, got 'int8'"):
        open_checkpoint(tiny, dtype="int8")


def test_a_hub_id_is_downloaded_and_checked_like_a_directory(tiny, monkeypatch):
    import huggingface_hub

    asked = {}

    def download(repository, **options):
        asked[repository] = options["allow_patterns"]
        return str(tiny)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert open_checkpoint("owner/name").name == "owner/name"
    assert "config.json" in asked["owner/name"]
    assert not any(p.endswith((".bin", ".py", "*")) for p in asked["owner/name"])

    def fail(repository, **options):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(OSError, match=r"hub id that can be reached, got 'owner/name': no conn"):
        open_checkpoint("owner/name")


def test_the_embedded_model_names_its_remedy(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="run `make models`"):
        open_checkpoint("smollm2")


def test_links_go_with_the_model(tiny, tmp_path, monkeypatch):
    import gc

    place = tmp_path / "links"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    opened = open_checkpoint(tiny)
    assert len(list(place.iterdir())) == 1
    del opened
    gc.collect()
    assert not list(place.iterdir())
    with pytest.raises(ValueError, match="must be a causal language model"):
        open_checkpoint(edit(tiny, hidden_act="nothing"))
    (tiny / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer\.json: must be"):
        open_checkpoint(edit(tiny, hidden_act="silu"))
    assert not list(place.iterdir())


def test_importing_the_library_does_not_import_heads():
    import subprocess
    import sys

    code = "import sys, pianalysis; print([m for m in sys.modules if 'heads' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
