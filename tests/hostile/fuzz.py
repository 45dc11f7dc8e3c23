"""Throw random and mutated inputs at every public surface: a finite answer or a refusal.

    python tests/hostile/fuzz.py --inputs 100000 --seed 0
    python tests/hostile/fuzz.py --seed 0 --replay 4711

Each input follows from the seed and its number alone. Allowed is a finite answer, ValueError or
TypeError with a message; for the command line an answer, or status 2 and one line. Whatever else
happens (another exception, a number that is not finite, a warning, more than 5 seconds of
computing, memory beyond 4 GiB) is one line of the failures file, and exit status 1. A hundredth of
the inputs are mutated checkpoints, in a process of their own (tests/checkpoints).
"""

import argparse
import collections
import dataclasses
import faulthandler
import json
import math
import os
import pathlib
import random
import resource
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Mapping

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a name of no model is looked for nowhere
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "checkpoints"))

import numpy as np
import torch
from records_and_commands import commands, records
from surfaces import configs, constructors, functions
from tqdm import tqdm

HERE = pathlib.Path(__file__).parent
SURFACES = {configs: 30, constructors: 30, functions: 30, records: 6, commands: 4}
SECONDS, STUCK, GIB = 5.0, 120.0, 2**30


class Slow(BaseException):
    """An input that computes for too long; no ``except Exception`` may swallow it."""


def finite(value):
    """Whether an answer holds no number that is not finite, however deep."""
    if value is None or isinstance(value, (str, bytes, bool, int)):
        return True
    if isinstance(value, (float, complex)):
        return math.isfinite(abs(value))
    if isinstance(value, torch.Tensor):
        return bool(torch.isfinite(value).all())
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.kind not in "fc" or bool(np.isfinite(value).all())
    if isinstance(value, Mapping):
        return all(map(finite, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(finite, value))
    if dataclasses.is_dataclass(value):
        return all(finite(getattr(value, field.name)) for field in dataclasses.fields(value))
    return True


def draw(seed, number):
    """Return the surface, the words and the call of one input."""
    rng = random.Random(f"{seed}/{number}")
    surface = rng.choices(list(SURFACES), list(SURFACES.values()))[0]
    return (surface.__name__, *surface(rng))


def attempt(call):
    """Return the outcome of a call: 'answer', 'refusal', or what is wrong with it."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        answer = call()
    except (ValueError, TypeError) as error:
        if not str(error).strip():
            return f"an empty {type(error).__name__} {_where(error)}"
        return "refusal"
    except Slow:
        return "slow"
    except Exception as error:  # what the run is after
        return f"{type(error).__name__}: {error} {_where(error)}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return "answer" if finite(answer) else "an answer that is not finite"


def _where(error):
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "pianalysis" in f.filename or "paper_repro" in f.filename]
    last = (ours or frames)[-1]
    return f"at {pathlib.Path(last.filename).name}:{last.lineno}"


def guard():
    """Bound time and memory."""

    def slow(*_):
        raise Slow

    signal.signal(signal.SIGPROF, slow)
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    room = pages * resource.getpagesize() + 4 * GIB
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    warnings.simplefilter("error")


def line(seed, number, surface, words, outcome):
    """Return a failure in one line; ``--seed S --replay N`` does it again."""
    found = f"--seed {seed} --replay {number}: {surface}: {words}: {outcome}"
    return " ".join(found.split()).encode("ascii", "backslashreplace").decode()


def run(inputs, seed, *, first=0, quiet=False, failures_file=None):
    """Try inputs; return the counts of outcomes by surface and the lines of failures."""
    counts, failures = collections.defaultdict(collections.Counter), []
    for number in tqdm(range(first, first + inputs), unit="input", disable=quiet or None):
        surface, words, call = draw(seed, number)
        faulthandler.dump_traceback_later(STUCK, exit=True)
        outcome = attempt(call)
        known = outcome in ("answer", "refusal")
        counts[surface][outcome if known else "failure"] += 1
        if not known:
            failures.append(line(seed, number, surface, words, outcome))
            if failures_file is not None:  # at once: a crash takes the process with it
                with open(failures_file, "a", encoding="utf-8") as out:
                    out.write(f"{failures[-1]}\n")
    faulthandler.cancel_dump_traceback_later()
    return counts, failures


def checkpoints(mutations, seed):
    """Run the mutations of checkpoints; return their counts and the lines of failures."""
    script = HERE.parent / "checkpoints" / "fuzz_checkpoints.py"
    paths = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, script, str(mutations), str(seed)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    found = json.loads(done.stdout)
    return found["outcomes"], [f"checkpoints {mutations} {seed}: {bad}" for bad in found["bad"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--replay", type=int, metavar="N", help="one input, with its traceback")
    parser.add_argument("--failures", default="fuzz-failures.txt", metavar="FILE")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args()
    guard()
    if options.replay is not None:
        surface, words, call = draw(options.seed, options.replay)
        print(f"{surface}: {words}", flush=True)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        answer = call()
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(answer)
        return 0 if finite(answer) else 1
    begun = time.perf_counter()
    path = pathlib.Path(options.failures)
    path.write_text("")
    mutations = options.inputs // 100
    counts, failures = run(
        options.inputs - mutations,
        options.seed,
        first=options.first,
        quiet=options.quiet,
        failures_file=path,
    )
    if mutations >= 100:  # fewer are below one a file
        counts["checkpoints"], more = checkpoints(mutations, options.seed)
        failures += more
        with path.open("a", encoding="utf-8") as out:
            out.writelines(f"{text}\n" for text in more)
    if not failures:
        path.unlink()
    summary = {name: dict(count) for name, count in sorted(counts.items())}
    seconds = round(time.perf_counter() - begun, 1)
    print(json.dumps({"failures": len(failures), "seconds": seconds, "outcomes": summary}))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
