"""Tests of a changed copy of the tree, each in a fork of a server that has loaded the libraries.

A fresh interpreter spends seconds on importing torch and transformers before it runs a test of
milliseconds. The server imports what is not ours, once; a child of it takes the copy's packages.
"""

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback

# What a run of a copy needs: one thread each, and no compiled files of a changed source.
SURROUNDINGS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
# pytest would rewrite assertions of its plugins' modules, some of which are loaded by then.
LOADED = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
LIBRARIES = [
    *("numpy", "scipy.linalg", "scipy.optimize", "scipy.sparse", "scipy.special", "sympy"),
    *("mpmath", "flint", "clarabel", "numba", "torch", "transformers", "matplotlib.pyplot"),
    *("hypothesis", "hypothesis.strategies", "pytest", "tokenizers"),
    *("transformers.models.llama.modeling_llama", "transformers.models.auto.modeling_auto"),
]


class Server:
    """The server as a context manager; ``run`` gives pytest's status and what it printed."""

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **SURROUNDINGS, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def run(self, folder, arguments, seconds=600.0, each=0):
        """Run pytest in ``folder`` on its packages; status None where the time ran out.

        A single test that takes longer than ``each`` seconds (0: any time) ends the run as failed.
        """
        request = {"folder": str(folder), "arguments": list(arguments), "seconds": seconds}
        request["each"] = each
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        return answer["status"], answer["output"]


class Patience:
    """A pytest plugin: the signal ends the process when a test takes too long."""

    def __init__(self, each):
        self.each = each

    def pytest_runtest_setup(self):
        signal.alarm(self.each)


def child(folder, arguments, each, output):
    """Run pytest on the packages in the folder; never returns."""
    os.setsid()
    for stream in (1, 2):
        os.dup2(output, stream)
    os.chdir(folder)
    os.environ["PYTHONPATH"] = folder
    sys.path[0] = folder  # in place of the server's own
    status = 3
    try:
        package = importlib.import_module("pianalysis")
        assert package.__file__.startswith(folder), package.__file__
        pytest = importlib.import_module("pytest")
        status = int(pytest.main([*LOADED, *arguments], [Patience(each)]))
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(status)


def answer(folder, arguments, seconds, each):
    """Run them in a child, which is killed with its own children when the time is out."""
    with tempfile.TemporaryFile() as output:
        number = os.fork()
        if not number:
            child(folder, arguments, each, output.fileno())
        end, done, status = time.monotonic() + seconds, 0, 0
        while not done and time.monotonic() < end:
            time.sleep(0.01)
            done, status = os.waitpid(number, os.WNOHANG)
        if not done:
            os.killpg(number, signal.SIGKILL)
            os.waitpid(number, 0)
        output.seek(0)
        text = output.read().decode(errors="replace")
    return {"status": os.waitstatus_to_exitcode(status) if done else None, "output": text[-6000:]}


def serve():
    """Answer requests, a line each, until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # what is loaded is nobody's garbage
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    serve()
