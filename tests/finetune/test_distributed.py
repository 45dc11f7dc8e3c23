"""One process reads and the others receive: the same weights, buffers, ties, bytes and refusals."""

import shutil
import signal
from dataclasses import replace

import joined
import pytest
import tiny
import torch
import transformers
from safetensors.torch import load_file, save_file

from pianalysis.finetune import saving, train
from pianalysis.finetune.corpus import pack
from pianalysis.finetune.distributed import RefusedByFirst
from pianalysis.finetune.model import prepare
from pianalysis.finetune.recipe import Recipe
from pianalysis.finetune.train import finetune

TEXT = "The quick brown fox jumps over the lazy dog, and nobody minds. " * 60
PLAN = Recipe(
    scheme="yarn",
    target=64,
    steps=6,
    sequence_length=32,
    gap=True,
    batch=4,
    learning_rate=1e-2,
)
TOLERANCE = 1e-4  # of a tensor's largest change, as in test_train.py: sums in another order
# A process that waits for one that is gone would wait two hours; seconds, on a slow machine.
SOON = 60.0
# 49 rows are not split evenly over two processes, nor are 262 over four.
SHAPES = {"untied": {"intermediate_size": 49, "vocab_size": 262}, "tied": {}}
SHAPES["tied"] = SHAPES["untied"] | {"tie_word_embeddings": True}


@pytest.fixture(scope="module", params=SHAPES)
def source(request, tmp_path_factory):
    """A saved checkpoint with a tokenizer, as wide as a fresh model's weights are."""
    folder = tmp_path_factory.mktemp("source")
    config = tiny.llama(**SHAPES[request.param]).config
    torch.manual_seed(0)
    # Sharp attention, as of tiny.llama itself, would enlarge differences of rounding in training.
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tiny.letters().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def corpus():
    return pack(tiny.letters(), [TEXT])


@pytest.mark.parametrize("processes", [2, 4])
def test_every_process_has_its_part_of_the_weights_and_all_buffers(source, processes, tmp_path):
    alone = prepare(source, PLAN)
    weights = dict(alone.model.named_parameters())
    buffers = dict(alone.model.named_buffers())
    tied = alone.model.lm_head.weight is alone.model.model.embed_tokens.weight
    assert buffers.keys() >= {"model.rotary_emb.inv_freq"}
    answers = joined.together(joined.loaded, source, PLAN, tmp_path, processes=processes)
    for answer in answers:
        assert isinstance(answer, dict), answer
        assert answer["weights"].keys() == weights.keys()
        assert all(torch.equal(answer["weights"][name], weights[name]) for name in weights)
        assert answer["buffers"].keys() == buffers.keys()
        assert all(torch.equal(answer["buffers"][name], buffers[name]) for name in buffers)
        assert answer["tied"] == tied
        assert answer["left"] == 0  # the copy is given up
        assert answer["facts"] == (alone.name, alone.spec, alone.extension, alone.digest)
        assert answer["tokenizer"] == type(alone.tokenizer).__name__
    assert sum(answer["parts"] for answer in answers) == sum(w.numel() for w in weights.values())


@pytest.fixture(scope="module")
def straight(source, corpus, tmp_path_factory):
    """The folder of a run of two processes that nothing stopped."""
    folder = tmp_path_factory.mktemp("straight")
    losses = joined.together(joined.trained, source, PLAN, folder, corpus, (3,))
    assert (losses[0] == losses[1]).all()
    return folder


def weights(folder, step):
    return load_file(saving.checkpoint_folder(folder, step) / "model.safetensors")


def test_the_weights_at_the_end_are_those_of_one_process(source, corpus, straight, tmp_path):
    finetune(source, PLAN, tmp_path, corpus=lambda _: corpus, save_at=(3,))
    one, two, start = weights(tmp_path, 6), weights(straight, 6), weights(tmp_path, 3)
    assert one.keys() == two.keys()
    for name in one:
        moved = (one[name] - start[name]).abs().max()
        assert moved > 0.0
        assert (one[name] - two[name]).abs().max() < TOLERANCE * moved, name


def test_a_killed_run_of_two_goes_on_to_the_same_bytes(source, corpus, straight, tmp_path):
    ended = joined.together(joined.trained, source, PLAN, tmp_path, corpus, (3,), 5)
    assert ended[0] == -signal.SIGKILL
    assert saving.saved_steps(tmp_path) == [3]
    resumed = joined.together(joined.trained, source, PLAN, tmp_path, corpus, (3,))
    assert (resumed[0] == resumed[1]).all()
    names = [train.LOG, *(f"step-{n:06d}/model.safetensors" for n in (3, 6))]
    for name in [*names, f"step-000006/{saving.OPTIMISER}"]:
        assert (straight / name).read_bytes() == (tmp_path / name).read_bytes(), name


@pytest.mark.parametrize("source", ["untied"], indirect=True)
@pytest.mark.parametrize("wrong", ["cut short", "NaN", "missing"])
def test_what_the_first_refuses_ends_all(source, wrong, tmp_path):
    folder = tmp_path / "hostile"
    shutil.copytree(source, folder)
    file = folder / "model.safetensors"
    if wrong == "NaN":
        spoiled = load_file(file)
        spoiled["model.norm.weight"][3] = float("nan")
        save_file(spoiled, file, {"format": "pt"})
    elif wrong == "missing":
        shutil.rmtree(folder)
    else:
        file.write_bytes(file.read_bytes()[:-100])
    first, other = joined.together(joined.loaded, folder, PLAN, tmp_path, seconds=SOON)
    assert type(first) is (FileNotFoundError if wrong == "missing" else ValueError)
    assert type(other) is RefusedByFirst
    assert str(first) == str(other)
    assert "hostile" in str(first)


@pytest.mark.parametrize("source", ["untied"], indirect=True)
@pytest.mark.parametrize("name", ["model.safetensors", str(saving.OPTIMISER)])
def test_a_saved_file_that_was_cut_short_ends_all(source, corpus, straight, name, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    shutil.rmtree(folder / "step-000003")
    known = (folder / train.RUN).read_text()
    (folder / train.RUN).write_text(known.replace('"steps": 6', '"steps": 9'))
    file = folder / "step-000006" / name
    file.write_bytes(file.read_bytes()[:-100])
    plan = replace(PLAN, steps=9)
    first, other = joined.together(joined.trained, source, plan, folder, corpus, seconds=SOON)
    assert type(other) is RefusedByFirst
    assert str(first) == str(other)
    assert "must be a whole safetensors file" in str(first)


def test_the_command_says_it_once(tmp_path):
    (tmp_path / "recipe.json").write_text(PLAN.json())
    given = [str(tmp_path / "nowhere"), "--recipe", str(tmp_path / "recipe.json"), "--out"]
    (status, lines), silent = joined.together(joined.commanded, [*given, str(tmp_path / "out")])
    assert status == 2
    assert "source must be a directory" in lines[-1]
    assert silent == (2, [])
