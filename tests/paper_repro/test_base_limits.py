"""What the ledger says of published limits on the base, by mpmath from their formulas."""

import mpmath as mp
import numpy as np
import pytest

from paper_repro import committed, ledger
from paper_repro.items import base_limits as item


@pytest.fixture(scope="module")
def table():
    columns = committed.columns("base_limits")
    keys = zip(columns["condition"], columns["length"].astype(int), strict=True)
    return dict(zip(keys, columns["limit"], strict=True))


@pytest.fixture(scope="module")
def ours():
    return {c.key: c for c in ledger.read(committed.FOLDER) if c.item == "base_limits"}


def test_the_committed_limits_are_the_formulas(table):
    with mp.workdps(40):
        for length in item.TARGETS:
            expected = {
                "aliasing": length / (2 * mp.pi),
                "DC stability": length / mp.acos(0.5),
                "N layers": length / mp.acos(mp.mpf(0.5) ** (mp.mpf(1) / 32)),
                "critical base": mp.mpf(10_000)
                ** (mp.log(length / (2 * mp.pi)) / mp.log(2048 / (2 * mp.pi))),
                "precision": 2**7,
            }
            for condition, value in expected.items():
                assert table[condition, length] == pytest.approx(float(value), rel=1e-12)


def test_what_the_slowest_pair_does_at_the_published_limits(ours):
    """A rotation of the slowest pair, term by term, at the longest length."""
    longest = max(item.TARGETS)
    with mp.workdps(40):
        turns = longest * (longest / (2 * mp.pi)) ** (-mp.mpf(126) / 128) / (2 * mp.pi)
        base = longest / mp.acos(0.5)
        one = mp.re(mp.expjpi(longest * base ** (-mp.mpf(126) / 128) / mp.pi))
    assert ours["base-aliasing"].ours.startswith(ledger.number(float(turns), 5))
    assert ours["base-dc-stability"].ours.startswith(ledger.number(float(one), 5))
    assert 10_000.0 ** (126 / 128) * 2 * np.pi == pytest.approx(54410.14, abs=0.01)
    assert "54410.14" in ours["base-aliasing"].ours


def test_the_smallest_base_serves_and_the_trend_is_off_by_a_third(table, ours):
    length = 4096
    base, m = table["cosine sum", length], np.arange(float(length))
    sums = np.cos(np.outer(m, base ** (-np.arange(0, 128, 2) / 128))).sum(axis=1)
    assert sums.min() >= -1e-9
    smaller = (base * (1 - 1e-4)) ** (-np.arange(0, 128, 2) / 128)
    assert np.cos(np.outer(m, smaller)).sum(axis=1).min() < 0
    assert f"{base / (0.0424 * length**1.628):.4f} of it" in ours["base-cosine-sum"].ours
