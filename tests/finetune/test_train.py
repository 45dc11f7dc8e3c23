"""A run end to end: tiny models, killed and resumed, sharded over two processes, every error."""

import errno
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import preloaded
import pytest
import tiny
import torch
import transformers
from safetensors.torch import load_file

import pianalysis as pia
from pianalysis.finetune import saving, train
from pianalysis.finetune.corpus import Sequences, pack
from pianalysis.finetune.recipe import Recipe
from pianalysis.finetune.speed import flops_per_token
from pianalysis.finetune.train import finetune
from pianalysis.heads import extended, open_checkpoint
from pianalysis.pictures import frame
from pianalysis.pictures.training import loss_curve, save_loss_curve
from pianalysis.planning.architecture import Architecture
from pianalysis.planning.cost import training_operations

pytestmark = pytest.mark.usefixtures("little_matrix")
ROOT = Path(__file__).parents[2]
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
TEXT = "The quick brown fox jumps over the lazy dog, and nobody minds. " * 60


def recipe(**changes):
    plan = Recipe(scheme="linear", target=64, steps=6, sequence_length=32, gap=True)
    return replace(plan, **{"batch": 4, "micro_batch": 2, "learning_rate": 1e-2} | changes)


@pytest.fixture(scope="module")
def corpus():
    return pack(tiny.letters(), [TEXT])


@pytest.fixture
def run(corpus, tmp_path):
    def start(recipe, folder=tmp_path / "run", source=CONFIG, **options):
        return finetune(source, recipe, folder, corpus=lambda tokenizer: corpus, **options)

    return start


def weights(folder):
    return load_file(folder / "model.safetensors")


def test_loss_is_that_of_a_plain_loop(run, corpus):
    """An independent loop: model, AdamW and schedule written out, no Trainer."""
    plan = recipe(batch=3, micro_batch=1)
    record = run(plan)
    extension = plan.extension(record.spec)
    torch.manual_seed(plan.seed)
    values = {k: v for k, v in CONFIG.items() if k != "model_type"} | extension.to_hf()
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**values))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-2, betas=(0.9, 0.95), weight_decay=0.0, foreach=False
    )
    sequences, losses = Sequences(corpus, plan), []
    for step in range(plan.steps):
        optimizer.param_groups[0]["lr"] = 1e-2 * (0.1 + 0.9 * step / 20)
        items = [sequences[3 * step + i] for i in range(3)]
        tokens, positions = (torch.tensor(np.array(part)) for part in zip(*items, strict=True))
        logits = model(
            input_ids=tokens, position_ids=positions, attention_mask=torch.ones_like(tokens)
        ).logits
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].reshape(-1, 260), tokens[:, 1:].reshape(-1)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert record.loss == pytest.approx(losses, rel=2e-6)
    assert record.loss[-1] < record.loss[0]
    assert record.learning_rate == pytest.approx([1e-2 * plan.rate(k) for k in range(6)])


@pytest.mark.parametrize("scheme", ["default", "linear", "ntk", "yarn", "dynamic"])
def test_a_checkpoint_opens_anywhere_with_its_scheme(run, tmp_path, scheme):
    run(recipe(scheme=scheme, steps=1), save_at=(0,))
    folder = tmp_path / "run" / "step-000000"
    opened = open_checkpoint(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    assert opened.model.config.use_cache
    assert opened.tokenizer is not None
    torch.manual_seed(0)
    plain = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**{k: v for k, v in CONFIG.items() if k != "model_type"})
    ).eval()
    with torch.no_grad():
        for theirs, ours in ((plain, model), (plain, opened.model)):
            ours.load_state_dict(theirs.state_dict())
            for layer in [*theirs.model.layers, *ours.model.layers]:
                layer.self_attn.q_proj.weight.copy_(30 * torch.eye(32))  # positions must matter
    ids = torch.arange(1, 65)[None]
    spec = pia.RopeSpec(16, 10_000.0, 32)
    with torch.no_grad(), extended(plain, recipe(scheme=scheme).extension(spec)):
        expected = plain(ids).logits
    with torch.no_grad():
        assert torch.allclose(model(ids).logits, expected, atol=2e-5)
        assert torch.allclose(opened.model(ids).logits, expected, atol=2e-5)
        if scheme != "default":
            assert not torch.allclose(plain(ids).logits, expected, atol=1e-3)
    kept = json.loads((folder / "config.json").read_text())
    assert pia.RopeSpec.from_hf(kept).context_window == 32


def test_fine_tuning_goes_on_from_a_checkpoint_of_any_tool(run, tmp_path):
    tiny.llama().save_pretrained(tmp_path / "source")
    tiny.letters().save_pretrained(tmp_path / "source")
    before = weights(tmp_path / "source")
    record = run(recipe(steps=2), source=tmp_path / "source", save_at=(0,))
    assert record.spec == pia.RopeSpec(16, 10_000.0, 32)
    start, end = (weights(tmp_path / "run" / f"step-{n:06d}") for n in (0, 2))
    assert all(torch.equal(start[name], before[name]) for name in before)
    assert all(not torch.equal(end[name], before[name]) for name in before)


TOLERANCE = 1e-4  # of the largest change of that tensor in three steps

CHILD = """
import os, signal, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/finetune"]
import test_train as t
from pianalysis.finetune import train
append = train.append
def kill(path, line):
    append(path, line)
    if line["step"] == 5 and path.name == train.LOG:
        with path.open("a") as out:
            out.write('{"step": 6, "lo')  # what a kill can leave
        os.kill(os.getpid(), signal.SIGKILL)
train.append = kill
corpus = t.pack(t.tiny.letters(), [t.TEXT])
plan = t.recipe(micro_batch=1)
train.finetune(t.CONFIG, plan, sys.argv[2], corpus=lambda _: corpus, save_at=(3,))
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder of a run that saved step 3 and was killed (SIGKILL) in its sixth."""
    folder = tmp_path_factory.mktemp("runs") / "killed"
    said = folder.with_suffix(".txt")
    with preloaded.code(CHILD, [ROOT / "tests", folder], said) as child:
        pass  # to its end
    assert child.exitcode == -signal.SIGKILL, said.read_text()
    assert saving.saved_steps(folder) == [3]
    return folder


def test_killed_and_resumed_is_the_same_to_the_last_byte(run, killed, tmp_path):
    plan = recipe(micro_batch=1)
    straight = run(plan, tmp_path / "straight", save_at=(3,))
    shutil.copytree(killed, tmp_path / "killed")
    resumed = run(plan, tmp_path / "killed", save_at=(3,))
    assert (resumed.loss == straight.loss).all()
    names = [train.LOG, "record.csv"]
    names += [f"step-{n:06d}/model.safetensors" for n in (3, 6)]
    names += [f"step-000006/{name}" for name in (saving.OPTIMISER, "config.json")]
    for name in names:
        one, other = ((tmp_path / run / name).read_bytes() for run in ("straight", "killed"))
        assert one == other, name
    again = run(plan, tmp_path / "killed", save_at=(3,))  # nothing is left to do
    assert (again.loss == straight.loss).all()


def test_a_run_in_parts_is_the_same_to_the_last_byte(run, tmp_path):
    """Stopped at steps 2 and 4 by order; each part leaves a checkpoint and a record so far."""
    plan = recipe()
    whole = run(plan, tmp_path / "whole")
    for until in (2, 4):
        part = run(plan, save_at=(0,), until=until)
        assert part.step.tolist() == list(range(1, until + 1))
        assert part.loss.tolist() == whole.loss[:until].tolist()
        assert (tmp_path / "run" / f"step-{until:06d}").is_dir()
    assert run(plan, until=3).step.tolist() == [1, 2, 3, 4]  # what is done stays
    assert run(plan).csv() == whole.csv()
    last = "step-000006/model.safetensors"
    assert (tmp_path / "run" / last).read_bytes() == (tmp_path / "whole" / last).read_bytes()
    with pytest.raises(ValueError, match="until must be an integer from 1 to 6, got 7"):
        run(plan, until=7)


def test_saving_changes_nothing(run, tmp_path):
    often = run(recipe(), tmp_path / "often", save_at=range(6))
    assert (often.loss == run(recipe(), tmp_path / "once").loss).all()
    assert saving.saved_steps(tmp_path / "often") == list(range(7))


def test_nothing_saved_is_a_pickle(run, tmp_path):
    run(recipe(steps=2), save_at=(1,))
    ends = {path.suffix for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert ends == {".safetensors", ".json", ".jsonl", ".csv"}
    assert not (tmp_path / "run/step-000001" / saving.OPTIMISER).exists()
    assert (tmp_path / "run/step-000002" / saving.OPTIMISER).exists()


def test_another_run_in_the_folder_is_refused(run):
    run(recipe(steps=1))
    with pytest.raises(ValueError, match=r"folder must be new .* got another recipe"):
        run(recipe(steps=2))


def test_settings_and_generators_are_left_as_they_were(run):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    run(recipe(steps=1))
    assert torch.rand(1) == expected
    assert not torch.are_deterministic_algorithms_enabled()


def test_activations_computed_twice_change_nothing(run, tmp_path):
    one = run(recipe(steps=3))
    two = run(recipe(steps=3, gradient_checkpointing=True), tmp_path / "twice")
    assert two.loss == pytest.approx(one.loss, rel=1e-6)


def test_an_infinite_loss_stops_the_run_and_spares_the_last_checkpoint(run, tmp_path, monkeypatch):
    compute = transformers.Trainer.compute_loss

    def spoiled(self, model, inputs, *args, **kwargs):
        loss = compute(self, model, inputs, *args, **kwargs)
        return loss * float("nan") if self.state.global_step == 4 else loss

    with monkeypatch.context() as patch:
        patch.setattr(transformers.Trainer, "compute_loss", spoiled)
        with pytest.raises(ValueError, match=r"loss must be finite, got nan at step 5.*-000004"):
            run(recipe(), save_at=(2, 4))
    assert saving.saved_steps(tmp_path / "run") == [2, 4]
    assert all(w.isfinite().all() for w in weights(tmp_path / "run/step-000004").values())
    assert (run(recipe(), save_at=(2, 4)).loss == run(recipe(), tmp_path / "clean").loss).all()


def test_a_full_disk_spares_the_last_checkpoint(run, tmp_path, monkeypatch):
    save, calls = saving.save_file, []

    def full(tensors, path, *args, **kwargs):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(tensors, path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(saving, "save_file", full)
        with pytest.raises(OSError, match=r"step 6 could not be written.*the last is step-000003"):
            run(recipe(), save_at=(3,))
    assert sorted(p.name for p in (tmp_path / "run").glob("*step-*")) == ["step-000003"]
    resumed = run(recipe(), save_at=(3,))
    assert (resumed.loss == run(recipe(), tmp_path / "clean").loss).all()


LIMITED = """
import resource, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/finetune"]
import test_train as t
from pianalysis.finetune.train import finetune
corpus = t.pack(t.tiny.letters(), [t.TEXT])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    finetune(t.CONFIG, t.recipe(steps=1), sys.argv[2], corpus=lambda _: corpus)
except OSError as error:
    print("OSError", error)
"""


def test_a_write_that_the_system_refuses(root, tmp_path):
    """No simulation: the kernel ends every file at 100 kB, the weights have 129 kB."""
    said = tmp_path / "said.txt"
    with preloaded.code(LIMITED, [root / "tests", tmp_path / "run"], said) as child:
        pass  # to its end
    assert child.exitcode == 0, said.read_text()
    told = [line for line in said.read_text().splitlines() if line.startswith("OSError ")]
    assert any("checkpoint of step 1 could not be written" in line for line in told)
    assert not list((tmp_path / "run").glob("*step-*"))


def test_broken_checkpoints_are_refused(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="source must be a directory"):
        run(recipe(), source=tmp_path / "nowhere")
    tiny.llama().save_pretrained(tmp_path / "source")
    file = tmp_path / "source" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        run(recipe(), source=tmp_path / "source")


@pytest.mark.parametrize("name", ["model.safetensors", str(saving.OPTIMISER)])
def test_a_truncated_checkpoint_of_the_run_is_refused(run, tmp_path, name):
    run(recipe(steps=3))
    known = json.loads((tmp_path / "run/run.json").read_text())
    known["recipe"]["steps"] = 6  # as if it had been stopped at step 3
    (tmp_path / "run/run.json").write_text(json.dumps(known))
    file = tmp_path / "run/step-000003" / name
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"safetensors: must be a whole safetensors file"):
        run(recipe())


def test_corpora_and_targets_that_do_not_fit(run):
    with pytest.raises(ValueError, match=r"target must be at least .* window 32, got 16"):
        run(recipe(target=16, sequence_length=8))
    short = pack(tiny.letters(), ["too short"])
    with pytest.raises(ValueError, match="at least one sequence of 32 tokens, got 9"):
        finetune(CONFIG, recipe(), "unused", corpus=lambda _: short)
    with pytest.raises(ValueError, match="tokenizer must be given for a model that has none"):
        finetune(CONFIG, recipe(), "unused")


def test_flops_agree_with_those_counted_by_torch():
    from torch.utils.flop_counter import FlopCounterMode

    model = tiny.llama()
    tokens = torch.zeros(1, 64, dtype=torch.long)
    # sdpa would be counted with the masked half; eager products have it too: twice our attention.
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        model(tokens, labels=tokens).loss.backward()
    attention = 6 * 2 * 32 * 64
    assert counter.get_total_flops() / 64 == flops_per_token(model, 64) + attention
    # The plan counts from the config what training counts from the weights.
    sizes = Architecture.from_hf(model.config.to_dict())
    assert training_operations(sizes, 64, checkpointing=False).model == flops_per_token(model, 64)


def test_the_record_holds_speed_and_draws_a_curve(run, tmp_path):
    record = run(recipe(steps=3))
    body = json.loads((tmp_path / "run/record.json").read_text())
    share = record.tokens_per_second * record.flops_per_token / record.matrix_product_peak
    assert body["share_of_peak"] == pytest.approx(share)
    assert body["threads"] == torch.get_num_threads()
    save_loss_curve(record, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").stat().st_size > 1000
    _, ax = frame.new_figure()
    line = loss_curve(record, ax=ax).lines[0]
    assert (line.get_ydata() == record.loss).all()
    assert ax.get_xlabel() == "step (128 tokens each)"


def launch(root, folder, out):
    """Two processes under torchrun."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "pianalysis.finetune", str(folder / "config.json")]
    command += ["--recipe", str(folder / "recipe.json"), "--text", str(folder / "text.txt")]
    command += ["--tokenizer", str(folder / "tokenizer"), "--save-every", "3", "--out", str(out)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("6 steps, loss") == 1
    assert (out / "loss.png").is_file()
    assert json.loads((out / "record.json").read_text())["processes"] == 2


def test_two_sharded_processes_go_on_from_what_one_left(run, root, killed, tmp_path):
    """By torchrun, from the checkpoint of one killed process; test_distributed.py has the rest."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "recipe.json").write_text(recipe(micro_batch=1).json())
    (tmp_path / "text.txt").write_text(TEXT)
    tiny.letters().save_pretrained(tmp_path / "tokenizer")
    alone = run(recipe(micro_batch=1), tmp_path / "alone", save_at=(3,))
    one, start = (weights(tmp_path / "alone" / f"step-{n:06d}") for n in (6, 3))
    out = tmp_path / "resumed"
    shutil.copytree(killed, out)
    launch(root, tmp_path, out)
    losses = [json.loads(x)["loss"] for x in (out / train.LOG).read_text().splitlines()]
    assert losses == pytest.approx(alone.loss, rel=1e-6)
    two = weights(out / "step-000006")
    assert one.keys() == two.keys()
    for name in one:
        # Gradients are summed in another order. That is float32 rounding, but AdamW divides by
        # the gradient's own size, so a weight whose gradient is near nothing may move by more.
        moved = (one[name] - start[name]).abs().max()
        assert (one[name] - two[name]).abs().max() < TOLERANCE * moved, name
