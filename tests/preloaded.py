"""Processes of their own, forked from a server that has loaded the libraries once.

A fresh interpreter spends seconds on importing torch and transformers before it does what a test
asks of it. How our commands start is tested with fresh ones, in test_faces.py and test_main.py.
"""

import contextlib
import multiprocessing
import os
import runpy
import sys
from pathlib import Path

SECONDS = 300.0  # then a run that does not end is killed, and its status tells
MODULES = [
    *("pianalysis.commands.finetune", "pianalysis.commands.main", "pianalysis.finetune.train"),
    *("matplotlib.pyplot", "paper_repro.runner", "transformers.models.llama.modeling_llama"),
    "tests.frozen",  # found from the root, where tests are run; elsewhere it is left out
]
# For those of paper_repro.beside, too. A server starts with the first process of a process.
multiprocessing.get_context("forkserver").set_forkserver_preload(MODULES)


def process(function, *arguments):
    """Return a process, not yet started, that calls the function."""
    return multiprocessing.get_context("forkserver").Process(target=function, args=arguments)


def command(module, arguments, said=os.devnull):
    """Return a context manager: ``python -m module`` runs in the block and ends with it.

    The block's value is the process: ``kill()``, ``is_alive()``, ``exitcode``; what the run says
    goes to the file ``said``.
    """
    return _running(_module, module, arguments, said)


def code(text, arguments, said=os.devnull):
    """As ``command``, for ``python -c text``."""
    return _running(_code, text, arguments, said)


@contextlib.contextmanager
def _running(target, what, arguments, said):
    import torch

    words = [str(word) for word in arguments]
    run = process(_child, target, what, words, str(said), torch.get_num_threads())
    run.start()
    try:
        yield run
        run.join(SECONDS)
    finally:
        run.kill()
        run.join()


def _child(target, what, arguments, said, threads):
    import torch

    torch.set_num_threads(threads)
    with Path(said).open("w") as out:
        for stream in (1, 2):
            os.dup2(out.fileno(), stream)
    sys.argv = ["", *arguments]
    target(what)


def _module(name):
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _code(text):
    exec(compile(text, "<string>", "exec"), {"__name__": "__main__"})
