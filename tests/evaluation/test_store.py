"""Stored units: exact numbers back, damaged files taken as absent, nothing half written."""

import os

import numpy as np
import pytest

from pianalysis.evaluation.store import FolderStore


def test_what_is_stored_comes_back_exactly(tmp_path, rng):
    store = FolderStore(tmp_path / "parts")
    values = rng.normal(size=100) * 10.0 ** rng.integers(-300, 300, 100)
    store["a"] = {"values": values, "count": np.int64(3)}
    store["b/../c"] = {"text": "x"}
    again = FolderStore(tmp_path / "parts")
    assert again["a"] == {"values": values.tolist(), "count": 3}
    assert sorted(again) == ["a", "b/../c"]
    assert len(again) == 2
    del again["a"]
    assert "a" not in store


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"key": "other", "unit": {}}', '{"key": "a"}'])
def test_damaged_units_are_absent(tmp_path, damage):
    store = FolderStore(tmp_path)
    store["a"] = {"x": 1}
    (file,) = tmp_path.glob("*.json")
    file.write_text(damage)
    assert "a" not in store
    with pytest.raises(KeyError):
        store["a"]
    store["a"] = {"x": 2}
    assert store["a"] == {"x": 2}


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    store = FolderStore(tmp_path)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        store["a"] = {"x": 1}
    assert list(tmp_path.iterdir()) == []


def test_an_empty_store_needs_no_folder(tmp_path):
    assert list(FolderStore(tmp_path / "absent")) == []
