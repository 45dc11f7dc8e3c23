"""`pianalysis finetune` and `-m pianalysis.finetune`: one definition of the arguments, one run."""

import json

import pytest
import tiny

from pianalysis.commands import finetune, main
from pianalysis.finetune.recipe import Recipe

CONFIG = {
    "model_type": "llama",
    "hidden_size": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "vocab_size": 260,
    "max_position_embeddings": 32,
}
RECIPE = Recipe(
    scheme="linear",
    target=64,
    steps=2,
    sequence_length=32,
    gap=True,
    batch=2,
    micro_batch=2,
    learning_rate=1e-2,
)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "recipe.json").write_text(RECIPE.json())
    (tmp_path / "text.txt").write_text("The quick brown fox jumps over the lazy dog. " * 60)
    tiny.letters().save_pretrained(tmp_path / "tokenizer")
    return tmp_path


def arguments(files, out):
    given = [str(files / "config.json"), "--recipe", str(files / "recipe.json")]
    given += ["--text", str(files / "text.txt"), "--tokenizer", str(files / "tokenizer")]
    return [*given, "--out", str(files / out)]


def subcommand(given):
    return main.main(["finetune", *given])


def test_both_doors_make_the_same_run(files, capsys):
    losses, printed = [], []
    for door, out in ((subcommand, "one"), (finetune.main, "two")):
        assert door(arguments(files, out)) == 0
        printed.append(capsys.readouterr().out)
        losses.append((files / out / "log.jsonl").read_text())
        assert (files / out / "loss.png").read_bytes().startswith(b"\x89PNG")
        assert (files / out / "record.csv").is_file()
    assert losses[0] == losses[1]
    assert printed[0].startswith("linear: 2 steps, loss ")
    assert printed[1].count("written to") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--recipe", "nowhere.json"], "nowhere.json"),
        (["--save-every", "0"], "--save-every must be at least 1, got 0"),
        (["--tokenizer", "nowhere"], "--tokenizer must hold a tokenizer.json, got nowhere"),
        (["--text", "nowhere"], "path must be a text file, got 'nowhere'"),
    ],
)
@pytest.mark.parametrize("door", [subcommand, finetune.main])
def test_wrong_input_is_one_line_and_status_2(door, change, message, files, capsys):
    with pytest.raises(SystemExit) as caught:
        door([*arguments(files, "out"), *change])
    assert caught.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    prog = "pianalysis" if door is subcommand else "python -m pianalysis.finetune"
    assert error.startswith(f"{prog}: error: ")
    assert message in error


def test_only_the_first_process_prints(files, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("pianalysis.finetune.train.finetune", lambda *_, **__: None)
    assert subcommand(arguments(files, "run")) == 0
    assert capsys.readouterr().out == ""


def test_the_recipe_in_the_help_is_one(capsys):
    with pytest.raises(SystemExit):
        main.main(["finetune", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    recipe = Recipe.from_json(text[text.index("{") : text.index("}") + 1])
    assert (recipe.scheme, recipe.target, recipe.gap) == ("linear", 16384, True)
