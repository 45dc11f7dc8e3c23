"""Cached keys under dynamic NTK: the tabulated change is attained by rotated vectors."""

import numpy as np
import panels
import perturb
import pytest

from paper_repro import committed, ledger
from paper_repro.items import schemes as item


@pytest.fixture(scope="module")
def record():
    return item.mixed_bases()


def frequencies(length):
    """Dynamic NTK's own formula at a length, factor 1, for LLaMA 7B."""
    base = 10_000.0 * max(1.0, length / 2048) ** (128 / 126)
    return base ** (-np.arange(0, 128, 2) / 128)


def rotated(vector, theta, position):
    cosine, sine = np.cos(position * theta), np.sin(position * theta)
    first, second = vector[0::2], vector[1::2]
    return np.stack([first * cosine - second * sine, first * sine + second * cosine])


def test_a_key_and_a_query_attain_the_change(record, rng):
    assert record.spec.pairs == 64
    for index in rng.choice(record.position.size, 12, replace=False):
        length, n = record.length[index], record.position[index]
        old, new = frequencies(n + 1), frequencies(length)
        # The key has modulus 1 in each pair; the query turns every term to one direction.
        key = np.tile([1.0, 0.0], 64)
        before, after = rotated(key, old, n), rotated(key, new, n)
        gap = before - after
        size = np.linalg.norm(gap, axis=0)
        query = gap / np.where(size > 0, size, 1.0)  # already rotated, wherever it stands
        change = (query * before).sum() - (query * after).sum()
        assert change == pytest.approx(record.change[index], rel=1e-9, abs=1e-10)
    assert (record.change <= record.most).all()
    newest = record.position == record.length - 1
    assert record.change[newest] == pytest.approx(0.0, abs=1e-9)


def test_the_claim_and_the_picture_follow_from_the_record(record, root):
    kept = committed.columns("schemes_mixed_bases")
    np.testing.assert_allclose(kept["change"], record.change, rtol=1e-9, atol=1e-10)
    records = {"schemes": item.read_committed(), "schemes_mixed_bases": record}
    claims = item.claims(records)
    recorded = [c for c in ledger.read(root / "figures") if c.item == "schemes"]
    assert [(c.key, c.verdict, c.statement) for c in claims] == [
        (c.key, c.verdict, c.statement) for c in recorded
    ]
    assert perturb.unmoved(item, {"schemes_mixed_bases": record}, claims) == set()
    for stem, figure in item.plot(records).items():
        assert panels.differences(stem, figure) == []
