"""Opening a checkpoint in several processes: one reads and hands out, against each opening it.

The peer is what `finetune` did before: every process opens the whole checkpoint, then FSDP2 splits
it. Each process has one thread. The file holds bfloat16, as published ones do, so that each copy in
float32 is memory of its own; float32 files stay mapped, and the processes of a host share them. The
sides run in turn in fresh processes, and the sums of all weights are compared each time. Memory is
the anonymous memory of all processes together (Pss_Anon, read as often as the machine allows while
they load), less what they had before, of the round that needs most; mapped files are page cache and
stand apart; a peak shorter than the time between two readings may be missed. Ours above 1.3 times
one copy and the parts ends the script. Ours also builds the model a second time, with the scheme in
its config, which the peer leaves out.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import socket
import tempfile
import time
from operator import itemgetter
from pathlib import Path
from typing import Any

import common
import torch
import transformers
from transformers import initialization

from pianalysis.checkpoints.checkpoint import open_checkpoint
from pianalysis.finetune import distributed, settings
from pianalysis.finetune.model import prepare
from pianalysis.finetune.recipe import Recipe

LIMIT = 1.3
MODEL = {
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 18,
    "num_attention_heads": 16,
    "vocab_size": 16000,
    "max_position_embeddings": 2048,
}
RECIPE = Recipe(scheme="linear", target=8192, steps=1, sequence_length=8192, batch=4)
SIZES = {
    "full": {"model": MODEL, "processes": (1, 2, 4), "limit": LIMIT, "rounds": 3},
    "small": {
        "model": MODEL | {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 260},
        "processes": (2,),
        "limit": math.inf,  # next to so small a model what the libraries add is no small part
        "rounds": 1,
    },
}


def made(model: dict[str, Any], folder: str) -> None:
    """Save a random Llama, in a process of its own whose memory is gone afterwards."""
    with initialization.no_init_weights():
        llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(**model))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in llama.parameters():
            weight.uniform_(-0.02, 0.02)
    llama.to(torch.bfloat16).save_pretrained(folder)


def read_by_one(folder: str, device: torch.device) -> Any:
    """Load as `finetune` does now."""
    return prepare(folder, RECIPE).split(device)


def read_by_each(folder: str, device: torch.device) -> Any:
    """Load as `finetune` did: the whole checkpoint in every process, then its part."""
    model = open_checkpoint(folder).model
    return distributed.shard(model, torch.distributed.get_world_size()) if joined() else model


def joined() -> bool:
    return torch.distributed.is_initialized()


def work(how: Any, source: str, meeting: str, rank: int, processes: int, port: int) -> None:
    """Join the others, wait for the start, load, say so, and leave the sums of the own part."""
    torch.set_num_threads(1)
    if processes > 1:
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
        names |= {"MASTER_ADDR": "127.0.0.1", "LOCAL_WORLD_SIZE": processes}
        os.environ.update({name: str(value) for name, value in names.items()})
    device = settings.arguments(RECIPE, Path(meeting)).device
    Path(meeting, f"ready-{rank}").touch()
    wait(lambda: Path(meeting, "go").exists())
    took, model = common.seconds(lambda: how(source, device))
    Path(meeting, f"loaded-{rank}").touch()
    sums = {}
    for name, weight in model.named_parameters():
        own = weight.to_local() if hasattr(weight, "to_local") else weight
        sums[name] = float(own.detach().abs().sum(dtype=torch.float64))
    Path(meeting, f"result-{rank}.part").write_bytes(pickle.dumps((took, sums)))
    Path(meeting, f"result-{rank}.part").rename(Path(meeting, f"result-{rank}"))
    if joined():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def wait(until: Any, pause: float = 0.02, most: float = 900.0) -> None:
    end = time.monotonic() + most
    while not until():
        if time.monotonic() > end:
            raise TimeoutError("a process of the benchmark did not answer")
        time.sleep(pause)


def memory(pids: list[int]) -> tuple[int, int]:
    """Return the anonymous bytes of the processes together, and those of mapped files."""
    totals = {"Pss_Anon": 0, "Pss_File": 0}
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (ProcessLookupError, FileNotFoundError):
            continue  # it has ended
        for line in lines:
            name, _, rest = line.partition(":")
            if name in totals:
                totals[name] += 1024 * int(rest.split()[0])
    return totals["Pss_Anon"], totals["Pss_File"]


def run(how: Any, source: str, processes: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return the sums of all weights; and seconds, bytes at the start, the peak above it, files."""
    context = server()
    with socket.socket() as free, tempfile.TemporaryDirectory() as meeting:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        started = [
            context.Process(target=work, args=(how, source, meeting, rank, processes, port))
            for rank in range(processes)
        ]
        for process in started:
            process.start()
        pids = [process.pid for process in started if process.pid is not None]

        def count(what: str) -> int:
            return len(list(Path(meeting).glob(f"{what}-?")))

        try:
            wait(lambda: count("ready") == processes)
            start, peak, files, samples = memory(pids)[0], 0, 0, 0
            Path(meeting, "go").touch()

            def sampled() -> bool:
                nonlocal peak, files, samples
                anonymous, mapped = memory(pids)
                peak, files, samples = max(peak, anonymous), max(files, mapped), samples + 1
                if any(process.exitcode for process in started):
                    raise RuntimeError("a process of the benchmark ended with an error")
                return count("loaded") == processes

            wait(sampled, pause=0.01)
            wait(lambda: count("result") == processes)
        finally:
            for process in started:
                process.join(10.0)
                process.kill()
        answers = [pickle.loads(p.read_bytes()) for p in sorted(Path(meeting).glob("result-?"))]
    sums: dict[str, float] = {}
    for _, part in answers:
        for name, value in part.items():
            sums[name] = sums.get(name, 0.0) + value
    took = max(seconds for seconds, _ in answers)
    return sums, {
        "seconds": took,
        "start": start,
        "peak": peak - start,
        "files": files,
        "samples": samples,
    }


def server() -> Any:
    """Return what forks the processes, from one that has loaded the libraries once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["common", "pianalysis.finetune.train"])
    return context


def plain(source: str, processes: int) -> tuple[dict[str, float], dict[str, float]]:
    return run(read_by_each, source, processes)


def refuse_above(limit: float, share: float, processes: str) -> None:
    if share > limit:
        raise ValueError(
            f"{processes}: the peak must be at most {limit:g} times one copy and the parts, got "
            f"{share:.3g}"
        )


def measure(size: common.Size) -> common.Record:
    rows, numbers = [], {}
    with tempfile.TemporaryDirectory() as source:
        maker = server().Process(target=made, args=(size["model"], source))
        maker.start()
        maker.join()
        copy = 2 * sum(path.stat().st_size for path in Path(source).glob("*.safetensors"))
        numbers["GB, one copy in float32"] = copy / 1e9
        for n in size["processes"]:
            processes = "1 process" if n == 1 else f"{n} processes"
            rounds = []
            for _ in range(size["rounds"]):
                theirs, peer = plain(source, n)
                sums, ours = run(read_by_one, source, n)
                common.agree("weights", sums, theirs, 1e-9)
                rounds.append((ours, peer))
            # With one process the copy is what is trained; nothing is split off it.
            whole = copy if n == 1 else 2 * copy
            for name, sides in zip(("ours", "peer"), zip(*rounds, strict=True), strict=True):
                text, side = f"{processes}, {name}", max(sides, key=itemgetter("peak"))
                numbers[f"{text}: GB at the peak, above the start"] = side["peak"] / 1e9
                numbers[f"{text}: GB at the start (libraries)"] = side["start"] / 1e9
                numbers[f"{text}: GB of mapped files, at most"] = side["files"] / 1e9
                numbers[f"{text}: peak / (one copy + parts), limit {LIMIT}"] = side["peak"] / whole
                numbers[f"{text}: the same with the libraries"] = (
                    side["peak"] + side["start"]
                ) / whole
                numbers[f"{text}: readings of the memory"] = side["samples"]
                print(
                    f"{text}: {side}, {side['peak'] / whole:.3f} of the copy and the parts",
                    flush=True,
                )
                if name == "ours":
                    refuse_above(size["limit"], side["peak"] / whole, processes)
            times = [(ours["seconds"], peer["seconds"]) for ours, peer in rounds]
            rows.append(common.compared(processes, times, (1, 1)))
    return {
        "question": f"a checkpoint of {copy / 1e9:.2g} GB opened and split over processes on a CPU",
        "threads": 1,
        "processes": max(size["processes"]),
        "rows": rows,
        "growth": [],
        "numbers": numbers,
    }


if __name__ == "__main__":
    common.main(measure, SIZES)
