"""Kill runs at random moments; given again, each must end as if nothing had happened.

    python tests/hostile/interrupt.py --kills 50 --seed 0

Four runs take turns: `python -m paper_repro run`, `pianalysis heads`, `evaluate` and `finetune`, on
tiny models. Each is first left alone, for its files and its duration; then it is killed (SIGKILL)
once or twice at moments drawn from that duration, and given again. Its folder must then hold the
same files with the same bytes, and nothing else. Seconds and speeds alone may differ: they are no
result of the run. A difference is one line and exit status 1.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import preloaded
import tiny
from tqdm import tqdm

from pianalysis.finetune.recipe import Recipe

ROOT = pathlib.Path(__file__).parents[2]
TEXT = "It was a bright cold day in April, and the clocks were striking thirteen.\n" * 20
ITEMS = ("fig1", "fig5", "tables")
RECIPE = Recipe(
    scheme="linear",
    target=64,
    steps=6,
    sequence_length=32,
    gap=True,
    batch=2,
    micro_batch=2,
    learning_rate=1e-2,
)
# Of finetune: what its clock says, and what follows from that.
CLOCK = "seconds.jsonl"
SPEEDS = ("tokens_per_second", "matrix_product_peak", "share_of_peak")
RUNS = ("paper_repro", "heads", "evaluate", "finetune")


def prepare(folder):
    """Write the tiny model, its text and a recipe."""
    tiny.llama(max_position_embeddings=64).save_pretrained(folder / "model")
    tiny.letters().save_pretrained(folder / "model")
    (folder / "text.txt").write_text(TEXT)
    (folder / "recipe.json").write_text(RECIPE.json())


def command(name, inputs, out):
    """Return the module of a run and its arguments."""
    if name == "paper_repro":
        return "paper_repro", ["run", *ITEMS, "--fresh", "--out", out]
    line = [name, inputs / "model", "--text", inputs / "text.txt", "--out", out]
    if name == "finetune":
        return "pianalysis", [*line, "--recipe", inputs / "recipe.json", "--save-every", "2"]
    line += ["--tokens", "96", "--trials", "2", "--scheme", "linear", "--factor", "2"]
    if name == "evaluate":
        line += ["--perplexity", "--passkeys", "--likelihood", "--window", "32,64"]
        line += ["--stride", "32", "--tokens", "300", "--distances", "1"]
        line[line.index("--factor") + 1] = "8"
    return "pianalysis", line


def alone(line):
    """Run to the end, undisturbed; return the seconds, the start of a process left out."""
    with preloaded.command(*line) as run:
        begun = time.perf_counter()
        run.join(600)
        seconds = time.perf_counter() - begun
    if run.exitcode:
        raise RuntimeError(f"status {run.exitcode} of {line}, undisturbed")
    return seconds


def finish(line):
    """Run to the end, in an interpreter of its own: sets have another order in it."""
    module, arguments = line
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    here = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    started = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(started, env=here, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"status {done.returncode}: {' '.join(done.stderr[-600:].split())}")


def kill(line, seconds):
    """Start a run and kill it after so many seconds; return whether it was still running."""
    with preloaded.command(*line) as run:
        run.join(seconds)
        run.kill()
    return run.exitcode == -signal.SIGKILL


def contents(folder):
    """Return path -> bytes of every file below a folder, speeds taken out."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if not p.is_dir()):
        name = path.relative_to(folder).as_posix()
        data = path.read_bytes()
        if name == CLOCK:
            data = b""
        elif name == "record.json":
            body = json.loads(data)
            data = json.dumps({k: v for k, v in body.items() if k not in SPEEDS}).encode()
        found[name] = data
    return found


def differences(whole, found):
    """Return what a folder has too much, lacks or holds otherwise, in words."""
    return [
        *(f"{name} left behind" for name in sorted(found.keys() - whole.keys())),
        *(f"{name} missing" for name in sorted(whole.keys() - found.keys())),
        *(
            f"{name} differs"
            for name in sorted(whole.keys() & found.keys())
            if whole[name] != found[name]
        ),
    ]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", nargs="+", default=RUNS, choices=RUNS, metavar="RUN")
    options = parser.parse_args(arguments)
    rng = random.Random(options.seed)
    begun = time.perf_counter()
    counts, failures = collections.Counter(), []
    with (
        tempfile.TemporaryDirectory() as name,
        tqdm(total=options.kills, unit="kill", disable=None) as bar,
    ):
        root = pathlib.Path(name)
        prepare(root)
        whole, seconds = {}, {}
        turn = done = 0
        while done < options.kills:
            turn += 1
            run = options.runs[turn % len(options.runs)]
            bar.set_description(run)
            out = root / f"{run}-{turn}"
            line = command(run, root, out)
            if run not in whole:
                (root / run).mkdir()
                seconds[run] = alone(command(run, root, root / run))
                whole[run] = contents(root / run)
            out.mkdir()
            moments = [rng.uniform(0.1, 1.0) for _ in range(rng.choice([1, 1, 2]))]
            for moment in moments[: options.kills - done]:
                killed = kill(line, moment * seconds[run])
                counts[f"{run} {'killed' if killed else 'had ended'}"] += 1
                done += 1
                bar.update()
            place = f"--seed {options.seed}, turn {turn}: {run} killed at {moments}"
            try:
                finish(line)
            except RuntimeError as error:
                failures.append(f"{place}: {error}")
                bar.write(failures[-1], file=sys.stderr)
                continue
            for words in differences(whole[run], contents(out)):
                failures.append(f"{place}: {words}")
                bar.write(failures[-1], file=sys.stderr)
    took = round(time.perf_counter() - begun, 1)
    each = {run: round(value, 1) for run, value in seconds.items()}
    print(json.dumps({"failures": len(failures), "seconds": took, "undisturbed": each, **counts}))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
