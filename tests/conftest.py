"""Shared fixtures; the oracles live in oracles.py."""

import gc
import importlib
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

import pianalysis as pia

TESTS = Path(__file__).parent
SHARED = (
    "paper_repro",
    "checkpoints",
    "hostile",
    "rope",
)  # folders whose helpers tests import by name
sys.path[:0] = [str(folder) for folder in (TESTS, *(TESTS / room for room in SHARED))]
importlib.import_module("preloaded")  # before any test starts a process
# Where it is found, jsonschema compiles grammars of URIs for seconds, which no notebook holds.
sys.modules["rfc3987_syntax"] = None
mpl.use("agg")
collect_ignore = ["mutants"]  # runs the tests, with a tool that only `make mutate` installs

ROOT = Path(__file__).parents[1]


def pytest_collection_finish():
    """What is loaded by now is nobody's garbage: it need not be searched a thousand times."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def llama():
    return pia.preset("llama-7b")


@pytest.fixture
def rng():
    return np.random.default_rng(20231)


@pytest.fixture
def little_matrix(monkeypatch):
    """A large matrix product, the peak that training is held against, takes most of a small run."""
    monkeypatch.setitem(importlib.import_module("pianalysis.finetune.speed")._SIZES, "cpu", 64)


@pytest.fixture
def root():
    return ROOT
