"""Stratified gaps: even in every block, at the edge as often as stated; and what that covers."""

import re
from dataclasses import replace

import numpy as np
import pytest
import tiny

from pianalysis.finetune.corpus import Sequences, gap_positions, pack
from pianalysis.finetune.reach import BLOCK, coverage, edge_count, stratified_gap
from pianalysis.finetune.recipe import Recipe

TEXT = "It was a dark and stormy night; the rain fell in torrents. " * 60
PLAN = Recipe("linear", 4096, 64, sequence_length=256, gap=True, edge_share=0.125)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("block", [0, 1, 7])
def test_every_block_is_even(seed, block):
    """Four at the edge, and one in each of 28 equal parts of 0 .. largest."""
    largest = 2799
    numbers = range(BLOCK * block, BLOCK * (block + 1))
    gaps = [stratified_gap(i, largest, seed=seed, edge_share=0.125) for i in numbers]
    at_edge = [gap for gap in gaps if gap == largest]
    assert 4 <= len(at_edge) <= 5  # the last part holds the edge, too
    parts = sorted(gap // 100 for gap in gaps)
    assert parts[:28] == list(range(28))
    assert parts[28:] == [27] * 4
    again = [stratified_gap(i, largest, seed=seed, edge_share=0.125) for i in numbers]
    assert gaps == again


def test_order_and_place_differ_from_block_to_block_and_seed_to_seed():
    def gaps(block, seed):
        first = BLOCK * block
        return [
            stratified_gap(i, 10**6, seed=seed, edge_share=0.0) for i in range(first, first + BLOCK)
        ]

    assert np.argsort(gaps(0, 0)).tolist() != np.argsort(gaps(1, 0)).tolist()
    assert sorted(gaps(0, 0)) != sorted(gaps(1, 0))
    assert gaps(0, 0) != gaps(0, 1)
    assert abs(np.corrcoef(gaps(0, 0), np.arange(BLOCK))[0, 1]) < 0.6


def test_shares_of_the_edge():
    assert [edge_count(share) for share in (0.0, 1 / 32, 0.25, 1.0)] == [0, 1, 8, 32]
    assert {stratified_gap(i, 77, seed=0, edge_share=1.0) for i in range(40)} == {77}
    with pytest.raises(ValueError, match=r"edge_share must be a multiple of 1/32, got 0.1"):
        replace(PLAN, edge_share=0.1)
    with pytest.raises(ValueError, match=r"edge_share must be a finite number .* got 2.0"):
        replace(PLAN, edge_share=2.0)
    with pytest.raises(ValueError, match=r"edge_share must go with gaps, got 0.125 without"):
        replace(PLAN, gap=False, sequence_length=4096)
    with pytest.raises(ValueError, match="gap must be an integer from 0 to 94, got 95"):
        gap_positions(6, 100, np.random.default_rng(0), gap=95)
    assert Recipe.from_json(PLAN.json()) == PLAN


def test_sequences_of_a_run_reach_the_edge_recall_documents_too():
    sequences = Sequences(pack(tiny.letters(), [TEXT]), replace(PLAN, recall_share=0.6))
    read = [sequences[i] for i in range(64)]
    ends = np.array([positions[-1] for _, positions in read])
    assert (ends == 4095).sum() >= 8
    assert ends.max() == 4095
    recalled = []
    for tokens, positions in read:
        words = sequences.corpus.tokenizer.decode(tokens)
        if code := re.search(r"(\d+)\.\n$", words):
            recalled.append(positions[-2] - positions[words.index(code[1])])
    assert len(recalled) > 25
    # Stated within the first half: within 128 of the longest distance, and some much nearer.
    assert sum(distance > 4095 - 160 for distance in recalled) >= 3
    same = Sequences(pack(tiny.letters(), [TEXT]), replace(PLAN, scheme="default", steps=2000))
    for i in (0, 5, 31):  # neither the scheme nor the number of steps changes a sequence
        plain = Sequences(sequences.corpus, PLAN)[i]
        for a, b in zip(plain, same[i], strict=True):
            assert (a == b).all()


def test_coverage_counts_sequences_that_hold_a_distance():
    found = coverage(400, 256, 32768, edge_share=0.125)
    assert (found.uniform[0], found.stratified[0]) == (1.0, 1.0)
    assert found.distance[-1] == 32767
    gaps = [stratified_gap(i, 32768 - 256, seed=0, edge_share=0.125) for i in range(400)]
    for x, share in zip(found.distance, found.stratified, strict=True):
        assert share == pytest.approx(np.mean([255 + gap >= x for gap in gaps]))
    assert 0.12 <= found.stratified[-1] < 0.14
    assert found.uniform[-1] < 0.01
    assert np.abs(found.uniform - np.clip(1 - (found.distance - 255) / 32513, 0, 1)).max() < 0.1
    expected = 0.125 + 0.875 * np.clip(1 - (found.distance - 255) / 32513, 0, 1)
    assert np.abs(found.stratified - expected).max() < 0.02
