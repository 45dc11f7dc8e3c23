"""Several processes over gloo in one test: what starts them, and what they run.

Each joins the others as under torchrun, by the environment, and what it returns or raises is handed
back.
"""

import contextlib
import io
import os
import pickle
import signal
import socket
import tempfile
import time
from pathlib import Path

import preloaded

from pianalysis.commands import finetune as command
from pianalysis.finetune import settings, train
from pianalysis.finetune.model import prepare


def together(function, *arguments, processes=2, seconds=90.0):
    """Return what each process returned or raised; one that did not, by its exit status.

    Processes that are left when the time is out, or five seconds after one was killed, are ended.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(rank)) for rank in range(processes)]
        started = [
            preloaded.process(_run, file, rank, processes, port, function, arguments)
            for rank, file in enumerate(files)
        ]
        for process in started:
            process.start()
        end = time.monotonic() + seconds
        while any(process.is_alive() for process in started) and time.monotonic() < end:
            if any((process.exitcode or 0) < 0 for process in started):
                end = min(end, time.monotonic() + 5.0)
            time.sleep(0.02)
        for process in started:
            process.kill()
            process.join()
        return [
            pickle.loads(file.read_bytes()) if file.exists() else process.exitcode
            for file, process in zip(files, started, strict=True)
        ]


def _run(file, rank, processes, port, function, arguments):
    import torch

    torch.set_num_threads(1)
    names = {"RANK": rank, "LOCAL_RANK": rank, "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1"}
    names |= {"OMP_NUM_THREADS": 1}  # where it is unset, accelerate says that it sets it
    names |= {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    os.environ.update({name: str(value) for name, value in names.items()})
    try:
        result = function(*arguments)
    except Exception as error:
        result = error
    file.with_suffix(".part").write_bytes(pickle.dumps(result))
    file.with_suffix(".part").rename(file)


def loaded(source, recipe, folder):
    """Load, and return what this process then knows; weights are put together from all parts."""
    device = settings.arguments(recipe, folder).device
    prepared = prepare(source, recipe)
    model = prepared.split(device)
    return {
        "weights": {name: w.full_tensor().detach() for name, w in model.named_parameters()},
        "parts": sum(weight.to_local().numel() for weight in model.parameters()),
        "buffers": dict(model.named_buffers()),
        "tied": model.get_output_embeddings().weight is model.get_input_embeddings().weight,
        "left": sum(w.numel() for w in prepared.model.parameters() if not w.is_meta),
        "facts": (prepared.name, prepared.spec, prepared.extension, prepared.digest),
        "tokenizer": type(prepared.tokenizer).__name__,
    }


def trained(source, recipe, folder, corpus, save_at=(), kill_at=None):
    """Train, and return the losses; every process is killed in the step after ``kill_at``."""
    append = train.append

    def kill(path, line):
        append(path, line)
        if line["step"] == kill_at and path.name == train.LOG:
            os.kill(os.getpid(), signal.SIGKILL)

    train.append = kill
    record = train.finetune(source, recipe, folder, corpus=lambda _: corpus, save_at=save_at)
    return record.loss


def commanded(arguments):
    """Run the command; return its status and the lines it wrote to stderr."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        try:
            status = command.main(arguments)
        except SystemExit as end:
            status = end.code
    return status, errors.getvalue().strip().splitlines()
