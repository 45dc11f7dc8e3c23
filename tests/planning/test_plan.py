"""Plans held against transformers, torch's own counters and the bytes of real training steps."""

import contextlib
import json
import subprocess
import sys

import pytest
import torch
import transformers

import pianalysis as pia
from pianalysis.commands import main
from pianalysis.commands.plan import table
from pianalysis.planning import cost, dry_run, published
from pianalysis.planning.architecture import Architecture
from pianalysis.planning.plan import GIB, USABLE, plan

TINY = {
    "model_type": "llama",
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "rope_theta": 10000.0,
}
VARIANTS = {
    "plain": {},
    "grouped": {"num_key_value_heads": 2},
    "tied": {"tie_word_embeddings": True},
    "wide heads": {"head_dim": 24},
    "biased": {"attention_bias": True, "mlp_bias": True},
    "mistral": {"model_type": "mistral", "num_key_value_heads": 2},
    "qwen2": {"model_type": "qwen2", "num_key_value_heads": 2},
}


def model_of(config, *, dtype=torch.float32, attention="sdpa"):
    built = transformers.AutoConfig.for_model(**config)
    model = transformers.AutoModelForCausalLM.from_config(built, attn_implementation=attention)
    return model.to(dtype).train()


def ids_of(config, tokens, rows=1):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, config["vocab_size"], (rows, tokens), generator=generator)


# Parameters


@pytest.mark.parametrize("name", published.TESTED)
def test_parameters_of_llama_are_those_transformers_builds(name):
    config = published.llama_config(name)
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(transformers.AutoConfig.for_model(**config))
    counted = sum(weight.numel() for weight in model.parameters())
    assert Architecture.from_hf(config).parameters == counted


def test_parameters_round_to_the_published_ones():
    # Table 2 of arXiv:2302.13971 prints 6.7, 13.0, 32.5 and 65.2 billion.
    printed = {"llama-7b": 6.7, "llama-13b": 13.0, "llama-33b": 32.5, "llama-65b": 65.2}
    for name, billions in printed.items():
        ours = Architecture.from_hf(published.llama_config(name)).parameters / 1e9
        assert abs(ours - billions) < 0.1, name


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_parameters_of_every_variant(changes):
    config = {**TINY, **changes}
    model = model_of(config)
    assert Architecture.from_hf(config).parameters == sum(p.numel() for p in model.parameters())


def test_intermediate_sizes_follow_their_rule():
    for name in published.TESTED:
        config = published.llama_config(name)
        assert config["intermediate_size"] == -(-8 * config["hidden_size"] // 3 // 256) * 256
        spec = pia.preset(name)
        assert config["hidden_size"] == spec.head_dim * config["num_attention_heads"]


# Memory


def test_states_are_the_bytes_after_one_adamw_step():
    model = model_of(TINY)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0)
    ids = ids_of(TINY, 32)
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()

    def size(tensors):
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    parameters = list(model.parameters())
    states = [value for state in optimizer.state.values() for value in state.values()]
    counters = [value for value in states if value.ndim == 0]  # one step count a tensor
    memory = cost.training_memory(
        Architecture.from_hf(TINY), 32, micro_batch=1, gpus=1, checkpointing=False
    )
    assert len(counters) == len(parameters)
    assert memory.weights == size(parameters)
    assert memory.gradients == size(weight.grad for weight in parameters)
    assert memory.optimizer == size(states) - size(counters)


def test_states_are_shared_by_all_gpus():
    sizes = Architecture.from_hf(TINY)
    one, four = (
        cost.training_memory(sizes, 32, micro_batch=1, gpus=gpus, checkpointing=True)
        for gpus in (1, 4)
    )
    for part in ("weights", "gradients", "optimizer"):
        assert getattr(one, part) == 4 * getattr(four, part)
    two = cost.training_memory(sizes, 32, micro_batch=1, gpus=2, checkpointing=True)
    for part in ("gathered", "activations", "loss", "layer"):
        assert getattr(two, part) == getattr(four, part)


def saved_bytes(model, ids):
    """Bytes of every storage that autograd saves, weights aside, each counted once."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    sizes, alive = {}, []

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # or its address could be used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(input_ids=ids, labels=ids, use_cache=False)
    return sum(sizes.values())


def checkpointed(model):
    """The model, which computes its activations twice from now on."""
    enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
    enable({"use_reentrant": False})
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["plain", "grouped", "tied", "wide heads", "mistral", "qwen2"])
def test_saved_activations_are_exact(name, dtype):
    config = {**TINY, **VARIANTS[name]}
    sizes, rows, length = Architecture.from_hf(config), 2, 48
    tokens, width = rows * length, dtype.itemsize
    expected = sizes.layers * cost.layer_activations(sizes, tokens, width=width)
    expected += cost.norm_activations(sizes, tokens, width=width)
    # cos and sin are one for all rows where these share their positions.
    expected += cost.shared_activations(sizes, tokens, width=width)
    expected -= (rows - 1) * length * 2 * width * sizes.head_dim
    expected += cost.MASTER * tokens * sizes.vocabulary  # the log-softmax
    measured = saved_bytes(model_of(config, dtype=dtype), ids_of(config, length, rows))
    assert measured - expected == 4  # the loss's total weight


def test_saved_under_checkpointing_are_the_inputs_of_the_layers():
    model = checkpointed(model_of(TINY, dtype=torch.bfloat16))
    sizes, tokens = Architecture.from_hf(TINY), 48
    memory = cost.training_memory(sizes, tokens, micro_batch=1, gpus=2, checkpointing=True)
    expected = memory.activations - tokens * 2 * cost.COMPUTE * sizes.head_dim  # held by no graph
    expected += cost.norm_activations(sizes, tokens) + cost.MASTER * tokens * sizes.vocabulary
    # Besides: the loss's total weight, and the padding label, which a single row keeps alive.
    assert saved_bytes(model, ids_of(TINY, tokens)) - expected == 4 + 8


def test_saved_on_one_gpu_are_inputs_in_float32():
    model = checkpointed(model_of(TINY))
    sizes, tokens = Architecture.from_hf(TINY), 48
    memory = cost.training_memory(sizes, tokens, micro_batch=1, gpus=1, checkpointing=True)
    with torch.autocast("cpu", torch.bfloat16):
        measured = saved_bytes(model, ids_of(TINY, tokens))
    measured -= cost.COMPUTE * sizes.vocabulary * sizes.hidden  # the output matrix's copy
    expected = memory.activations - tokens * 2 * cost.COMPUTE * sizes.head_dim
    # The last norm: input and normed in float32, the weighted output's copy in bfloat16.
    expected += tokens * (10 * sizes.hidden + 4) + cost.MASTER * tokens * sizes.vocabulary
    assert measured - expected == 4 + 8


def peak_bytes(config, tokens, *, checkpointing):
    """Torch's own count of what is alive at the peak of a step, weights and gradients aside."""
    from torch.distributed._tools.mem_tracker import MemTracker

    model = model_of(config, dtype=torch.bfloat16)
    if checkpointing:
        checkpointed(model)
    ids, tracker = ids_of(config, tokens), MemTracker()
    tracker.track_external(model)
    with tracker:
        output = model(input_ids=ids, labels=ids, use_cache=False)
        output.loss.backward()
    snapshot = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]
    sizes = {str(getattr(key, "value", key)): value for key, value in snapshot.items()}
    return sizes["Total"] - sizes["Parameter"] - sizes["Gradient"]


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("vocabulary", "at_loss"), [(4000, True), (50, False)])
def test_the_peak_of_a_step(vocabulary, at_loss, checkpointing):
    config = {**TINY, "hidden_size": 256, "intermediate_size": 688, "vocab_size": vocabulary}
    # The estimate without checkpointing needs some layers that wait for the one in work.
    config["num_hidden_layers"] = 3 if at_loss or checkpointing else 6
    sizes, tokens = Architecture.from_hf(config), 256
    memory = cost.training_memory(sizes, tokens, micro_batch=1, gpus=2, checkpointing=checkpointing)
    estimate = memory.activations + max(memory.loss, memory.layer)
    ratio = estimate / peak_bytes(config, tokens, checkpointing=checkpointing)
    assert (memory.loss > memory.layer) == at_loss
    # The tolerances that training_memory states.
    if at_loss:
        assert ratio == pytest.approx(1.0, abs=0.001)
    else:
        assert (1.0 <= ratio <= 1.25) if checkpointing else (0.97 <= ratio <= 1.0)


# Operations


@pytest.mark.parametrize("name", VARIANTS)
def test_operations_are_those_torch_counts(name):
    from torch.utils.flop_counter import FlopCounterMode

    config, tokens = {**TINY, **VARIANTS[name]}, 48
    model, ids = model_of(config, attention="eager"), ids_of(TINY, tokens)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    operations = cost.training_operations(Architecture.from_hf(config), tokens, checkpointing=False)
    # Eager attention multiplies the full square: twice what the causal mask leaves.
    assert counter.get_total_flops() == tokens * (operations.matrices + 2 * operations.attention)


def test_operations_computed_again_are_those_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    tokens, counted = 48, []
    for checkpointing in (False, True):
        model, ids = model_of(TINY, attention="eager"), ids_of(TINY, tokens)
        if checkpointing:
            checkpointed(model)
        with FlopCounterMode(display=False) as counter:
            model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        counted.append(counter.get_total_flops())
    sizes = Architecture.from_hf(TINY)
    operations = cost.training_operations(sizes, tokens, checkpointing=True)
    square = 2 * sizes.layers * sizes.query_width * tokens  # the masked half, forward
    # Recomputation stops at the last tensor it needs: each layer's down projection is not redone.
    skipped = 2 * sizes.layers * sizes.hidden * sizes.intermediate
    assert counted[1] - counted[0] == tokens * (operations.recomputed + square - skipped)


# Recipes


def test_committed_recipes_are_the_table(root, tmp_path):
    def texts(folder):
        return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*.json")}

    published.write(tmp_path)
    assert texts(root / "paper_repro" / "recipes") == texts(tmp_path), (
        'run published.write("paper_repro/recipes")'
    )
    assert len(texts(tmp_path)) == 10 + 1 + 4


def test_recipes_hold_the_papers_settings():
    for name, target in published.RECIPES:
        recipe, source = published.recipe(name, target), published.source(name, target)
        small = name in ("llama-7b", "llama-13b")
        first = target == 8192 and name != "llama-65b"
        assert recipe["learning_rate"] == (2e-5 if small else 1e-5)
        assert (recipe["batch"], source["gpus"]) == ((64, 32) if first else (128, 128))
        assert (recipe["steps"], recipe["scheme"]) == (1000, "linear")
        assert (source["warmup_steps"], source["warmup_start"]) == (20, 0.1)
        assert (source["betas"], source["weight_decay"]) == ([0.9, 0.95], 0.0)
        assert source["result_in_the_paper"] == (target in published.TESTED[name])
        assert "section 3.1" in source["settings"]


def test_training_takes_the_recipes_as_they_are(root):
    from pianalysis.finetune import recipe as training

    sources = json.loads((root / "paper_repro" / "recipes" / "sources.json").read_text())
    for name, target in published.RECIPES:
        stem = published.recipe_name(name, target)
        recipe = training.Recipe.from_json(
            (root / "paper_repro" / "recipes" / f"{stem}.json").read_text()
        )
        sizes = Architecture.from_hf(published.llama_config(name))
        own = training.Recipe(scheme="linear", target=target, steps=1, sequence_length=target)
        assert own.peak_rate(sizes.parameters) == recipe.learning_rate
        assert recipe.extension(pia.preset(name)) == pia.PositionInterpolation(
            pia.preset(name), target
        )
        assert recipe.accumulation(sources[stem]["gpus"]) >= 1


def test_configs_of_the_recipes_can_be_planned(root):
    for name in published.TESTED:
        ours, own = plan(str(root / "paper_repro" / "recipes" / name), 8192), plan(name, 8192)
        assert (ours.architecture, ours.spec) == (own.architecture, own.spec)


def test_the_tested_targets_are_those_of_the_papers_tables(root):
    import csv

    with (root / "paper_repro" / "paper" / "table1_pg19_perplexity.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "PI"]
    tested = {}
    for row in rows:
        tested.setdefault(f"llama-{row['size'].lower()}", []).append(int(row["context_window"]))
    assert {name: tuple(targets) for name, targets in tested.items()} == published.TESTED


# Plans


def test_paper_runs_fit_on_the_papers_gpus():
    for name, targets in published.TESTED.items():
        for target in targets:
            gpus = published.source(name, target)["gpus"]
            assert plan(name, target, gpus=gpus).fits, (name, target)


def test_smallest_count_fits_and_the_one_below_does_not():
    short = plan("llama-65b", 8192)
    assert not short.fits
    best = plan("llama-65b", 8192, gpus=short.smallest_gpus)
    below = plan("llama-65b", 8192, gpus=short.smallest_gpus // 2)
    assert best.fits
    assert not below.fits
    assert best.memory_total <= USABLE * 80 * GIB < below.memory_total
    assert f"smallest count that does: {short.smallest_gpus} GPUs" in table(short)


def test_no_count_fits_where_activations_alone_do_not():
    short = plan("llama-33b", 131072, gpu_memory=40)
    assert short.smallest_gpus is None
    assert "on any number of GPUs" in table(short)


def test_time_is_work_over_speed():
    slow = plan("llama-7b", 32768)
    fast = plan("llama-7b", 32768, gpus=16, peak=989, utilisation=0.2, steps=500)
    assert slow.tokens == 1000 * 128 * 32768
    assert slow.hours == slow.total_operations / (8 * 312e12 * 0.4) / 3600
    assert fast.hours / slow.hours == pytest.approx(0.5 * 0.5 * (312 / 989) * 2)
    assert plan("llama-7b", 32768, gpus=16).accumulation == 8


def test_commands():
    one = plan("llama-7b", 8192).command
    assert one == (
        "torchrun --nproc-per-node 8 -m pianalysis.finetune DIR "
        "--recipe paper_repro/recipes/llama-7b-8192.json --text FILES --out DIR"
    )
    assert "--nnodes 4 --nproc-per-node 8 --rdzv" in plan("llama-7b", 8192, gpus=32).command
    # A committed recipe is named only for exactly its run.
    for changed in ({"steps": 10}, {"batch": 128}):
        assert " RECIPE.json " in plan("llama-7b", 8192, **changed).command


def test_the_command_is_one_torchrun_understands():
    from torch.distributed.run import get_args_parser

    for gpus in (1, 8, 32):
        words = plan("llama-7b", 8192, gpus=gpus).command.split()
        options = get_args_parser().parse_args(words[1:])
        hosts = int(options.nnodes.split(":")[0])
        assert hosts * int(options.nproc_per_node) == gpus
        assert options.module
        assert options.training_script == "pianalysis.finetune"


# Dry run


def test_dry_run_takes_no_memory():
    code = """
import resource, tracemalloc, torch, transformers
from pianalysis import PositionInterpolation, preset
from pianalysis.planning.dry_run import dry_run
from pianalysis.planning.published import llama_config
run = lambda name, target: dry_run(llama_config(name), PositionInterpolation(preset(name), target))
run("llama-7b", 2048)  # whatever imports cost
tracemalloc.start()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
last = run("llama-65b", 32768)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(last.parameters, after - before, tracemalloc.get_traced_memory()[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    parameters, resident_kib, traced = map(int, done.stdout.split())
    assert parameters == Architecture.from_hf(published.llama_config("llama-65b")).parameters
    # The weights alone would be 131 GB in bfloat16, the attention mask 1 GB.
    assert resident_kib < 64 * 1024
    assert traced < 64 * 2**20


@pytest.mark.parametrize("name", VARIANTS)
def test_dry_run_of_every_variant(name):
    config = {**TINY, **VARIANTS[name]}
    extension = pia.PositionInterpolation(pia.RopeSpec.from_hf(config), 512)
    built = dry_run.dry_run(config, extension)
    assert built.logits == (1, 512, TINY["vocab_size"])


@contextlib.contextmanager
def refused(message):
    with pytest.raises(ValueError, match=message):
        yield


def test_dry_run_sees_wrong_counts_shapes_and_frequencies(monkeypatch):
    spec = pia.RopeSpec.from_hf(TINY)
    extension = pia.PositionInterpolation(spec, 512)
    with monkeypatch.context() as patch:
        patch.setattr(Architecture, "parameters", property(lambda sizes: 1))
        with refused("parameters must be 1 by the formula"):
            dry_run.dry_run(TINY, extension)
    with monkeypatch.context() as patch:
        own = pia.PositionInterpolation(spec, 256).to_hf()
        patch.setattr(pia.PositionInterpolation, "to_hf", lambda scheme: own)
        with refused("frequencies must be the scheme's"):
            dry_run.dry_run(TINY, extension)
    with refused("config must build a model"):
        dry_run.dry_run({**TINY, "hidden_act": "no-such"}, extension)


# Command line


def run(capsys, *arguments):
    status = main.main(["plan", *arguments])
    return status, capsys.readouterr().out


def test_cli_table_and_json_agree(capsys):
    status, text = run(capsys, "llama-7b", "--target", "32768")
    assert status == 0
    status, out = run(capsys, "llama-7b", "--target", "32768", "--json")
    body = json.loads(out)
    assert status == 0
    assert f"{body['parameters']:,}" in text
    assert f"{body['hours']:.4g} hours" in text
    assert f"{body['memory_total'] / GIB:.2f}" in text
    assert body["command"] in text
    assert body["spec"]["context_window"] == 2048


def test_cli_options_reach_the_plan(capsys):
    options = "--gpus 16 --gpu-memory 40 --utilisation 0.5 --peak 989 --batch 32 --micro-batch 2"
    _, out = run(capsys, "llama-7b", "--target", "8192", "--steps", "5", "--json", *options.split())
    body = json.loads(out)
    expected = plan(
        "llama-7b",
        8192,
        gpus=16,
        gpu_memory=40,
        utilisation=0.5,
        peak=989,
        batch=32,
        micro_batch=2,
        steps=5,
    )
    assert body["hours"] == expected.hours
    assert body["memory_total"] == expected.memory_total
    assert (body["gpus"], body["batch"], body["accumulation"]) == (16, 32, 1)


def test_cli_config_file_directory_and_dry_run(capsys, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    _, first = run(capsys, str(tmp_path), "--target", "512", "--dry-run")
    _, second = run(capsys, str(tmp_path / "config.json"), "--target", "512", "--dry-run")
    assert first.splitlines()[1:] == second.splitlines()[1:]
    assert "dry run: LlamaForCausalLM" in first
    _, out = run(capsys, str(tmp_path), "--target", "512", "--dry-run", "--json")
    body = json.loads(out)
    assert body["dry_run"]["parameters"] == body["parameters"]
    # Only the config is read: no weights lie there.
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("llama-7b --target 1024", "target must be at least the pretrained context window 2048"),
        ("lama-7b --target 8192", "did you mean 'llama-7b'"),
        ("mistral-7b --target 32768", "a preset holds RoPE alone and no sizes, got 'mistral-7b'"),
        ("llama-7b --target 8192 --gpus 0", "gpus must be an integer of at least 1, got 0"),
        ("llama-7b --target 8192 --gpus 12", "a multiple of it (whole hosts), got 12"),
        ("llama-7b --target 8192 --batch 3", "multiple of gpus * micro_batch = 8, got 3"),
        ("llama-7b --target 8192 --batch 0", "batch must be an integer from 1 to"),
        ("llama-7b --target 8192 --batch 8000000000", "batch must be an integer from 1 to"),
        ("llama-7b --target 8192 --steps 0", "steps must be an integer of at least 1"),
        ("llama-7b --target 8192 --micro-batch 0", "micro_batch must be an integer"),
        ("llama-7b --target 8192 --utilisation 1.5", "utilisation must be a finite number"),
        ("llama-7b --target 8192 --gpu-memory nan", "gpu_memory must be a finite number"),
        ("llama-7b --target 8192 --peak 0", "peak must be a finite number above 0"),
        ("llama-7b", "--target"),
    ],
)
def test_cli_refuses_in_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main.main(["plan", *arguments.split()])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mystery"}, "model_type must be one that transformers has"),
        ({"vocab_size": None}, "vocab_size must be given"),
        ({"intermediate_size": 0}, "intermediate_size must be an integer from 1"),
        ({"num_key_value_heads": 3}, "key_heads must divide heads = 4, got 3"),
        ({"model_type": "mistral"}, "num_key_value_heads must be given"),
        ({"num_hidden_layers": "many"}, "num_hidden_layers must be an integer"),
    ],
)
def test_cli_refuses_configs(changes, message, capsys, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**TINY, **changes}))
    with pytest.raises(SystemExit):
        main.main(["plan", str(tmp_path), "--target", "512"])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_planning_loads_no_torch():
    code = (
        "import sys; from pianalysis.planning.plan import plan; plan('llama-7b', 8192);"
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_one_process_of_all_opens_the_checkpoint():
    one, host, hosts = (plan("llama-65b", 8192, gpus=gpus) for gpus in (1, 8, 32))
    copy = 4.0 * one.parameters
    assert one.host_memory == copy  # which is trained itself
    assert host.host_memory == 2 * copy  # and all parts of it
    assert hosts.host_memory == copy + copy / 4  # the other hosts have the other parts
    assert f"{hosts.host_memory / 2**30:.2f}" in table(hosts)
    with pytest.raises(ValueError, match="on_host must be an integer from 1 to 2, got 3"):
        cost.loading_memory(one.architecture, gpus=2, on_host=3)
