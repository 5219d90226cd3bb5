"""What choosing the best of many does to its score, and which trials it is compared with."""

from __future__ import annotations

import numpy as np
import pytest

from search.merging.recipe import LayerSwap
from search.records.writer import RecordsWriter
from search.results.choose import best_swap
from search.results.selection_bias import indistinguishable, measure, out_of_bag
from tests.search.results.studies import BEST, L, add

CLOSE, FAR = LayerSwap(0, 0, 3, 2, 0, 0), LayerSwap(0, 0, 4, 2, 0, 0)


def test_the_close_ones_are_named_and_the_score_is_corrected(records: RecordsWriter) -> None:
    for recipe, share in ((BEST, 0.80), (CLOSE, 0.795), (FAR, 0.30)):
        add(records, recipe, share, "search")
    found = measure(records, best_swap(records.trials, L, 0.02), L)
    assert found is not None and found.swaps == 3
    assert [record.recipe for record in found.alike] == [CLOSE]
    assert 0.7 < found.corrected < 0.80


def test_where_it_cannot_be_said(records: RecordsWriter) -> None:
    assert measure(records, None, L) is None
    add(records, BEST, 0.8, "search")
    choice = best_swap(records.trials, L, 0.02)
    assert measure(records, choice, L) is None  # one recipe
    add(records, FAR, 0.3, "search")
    assert measure(records, choice, L) is not None
    (records.folder / records.trials[-1].items).unlink()
    assert measure(records, choice, L) is None


def test_the_best_of_equals_is_not_better_than_they_are() -> None:
    raw, honest = [], []
    for seed in range(20):
        right = np.random.default_rng(seed).random((60, 150)) < 0.5
        raw.append(right.mean(axis=1).max())
        honest.append(out_of_bag(right, seed))
    assert np.mean(raw) > 0.58
    assert np.mean(honest) == pytest.approx(0.5, abs=0.012)


def test_one_that_stands_out_keeps_its_score() -> None:
    rng = np.random.default_rng(0)
    right = rng.random((40, 200)) < np.where(np.arange(40) == 7, 0.9, 0.4)[:, None]
    assert out_of_bag(right) == pytest.approx(right[7].mean(), abs=0.01)


def test_a_single_recipe_is_not_chosen() -> None:
    right = np.random.default_rng(1).random((1, 100)) < 0.7
    assert out_of_bag(right) == pytest.approx(right.mean(), abs=0.01)


def test_the_same_seed_the_same_number() -> None:
    right = np.random.default_rng(2).random((10, 50)) < 0.5
    assert out_of_bag(right, 3) == out_of_bag(right, 3)


def test_alike_are_those_that_a_paired_test_does_not_tell_apart() -> None:
    best = np.array([True] * 30 + [False] * 10)
    five_less, six_less = best.copy(), best.copy()
    five_less[:5] = False  # p = 2 / 2^5
    six_less[:6] = False  # p = 2 / 2^6
    swapped = np.roll(best, 8)
    right = np.array([six_less, best, five_less, swapped, ~best])
    assert indistinguishable(right, 1) == [3, 2]
