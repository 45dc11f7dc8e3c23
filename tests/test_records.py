"""Records: tables, JSON, atomic writing."""

import dataclasses
import json
import os

import numpy as np
import pytest

import pianalysis as pia
from pianalysis import records


@dataclasses.dataclass(frozen=True, slots=True)
class Sample(records.Record):
    spec: pia.RopeSpec
    name: tuple[str, ...]
    x: np.ndarray
    h: np.ndarray


@pytest.fixture
def sample(llama):
    return Sample(llama, ("a", "b"), np.array([0.1, 1e-300]), np.array([1 + 2j, 3 - 4j]))


def test_csv_reads_back_exactly(sample):
    lines = sample.csv().splitlines()
    assert lines[0] == "name,x,h_re,h_im"
    assert [float(line.split(",")[1]) for line in lines[1:]] == [0.1, 1e-300]


def test_json_holds_inputs_and_provenance(sample):
    body = json.loads(sample.json({"seed": 3}))
    assert body["record"] == "Sample"
    assert body["spec"]["base"] == 10000.0
    assert body["provenance"] == {"seed": 3}
    assert "x" not in body


def test_columns_must_have_one_length(llama):
    broken = Sample(llama, ("a",), np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError, match="columns of Sample differ in length"):
        broken.csv()


def test_records_are_frozen(sample):
    with pytest.raises(AttributeError):
        sample.x = 1


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "figure.csv"
    records.write_atomic(path, "old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        records.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_rows_are_chosen_by_their_columns(llama):
    x, h = np.array([1.0, 1.0, 2.0]), np.array([1j, 2j, 3j])
    table = Sample(llama, ("a", "b", "a"), x, h)
    some = table.where(name="a")
    assert (some.name, some.x.tolist(), some.h.tolist()) == (("a", "a"), [1.0, 2.0], [1j, 3j])
    assert some.spec == llama
    assert table.only(name="a", x=2.0)["h_im"] == 3.0
    with pytest.raises(ValueError, match="only must find one row of Sample, got 2 for"):
        table.only(name="a")
    with pytest.raises(ValueError, match="only must find one row of Sample, got 0 for"):
        table.only(name="a", x=9.0)
    with pytest.raises(ValueError, match=r"where must name columns \(.*\), got 'nme'"):
        table.where(nme="a")
