"""What choosing the best of many does to its score."""

from __future__ import annotations

import numpy as np
import pytest

from search.results.selection import alike, corrected


def test_the_best_of_equals_is_not_better_than_they_are() -> None:
    raw, honest = [], []
    for seed in range(20):
        right = np.random.default_rng(seed).random((60, 150)) < 0.5
        raw.append(right.mean(axis=1).max())
        honest.append(corrected(right, seed))
    assert np.mean(raw) > 0.58
    assert np.mean(honest) == pytest.approx(0.5, abs=0.012)


def test_one_that_stands_out_keeps_its_score() -> None:
    rng = np.random.default_rng(0)
    right = rng.random((40, 200)) < np.where(np.arange(40) == 7, 0.9, 0.4)[:, None]
    assert corrected(right) == pytest.approx(right[7].mean(), abs=0.01)


def test_a_single_recipe_is_not_chosen() -> None:
    right = np.random.default_rng(1).random((1, 100)) < 0.7
    assert corrected(right) == pytest.approx(right.mean(), abs=0.01)


def test_the_same_seed_the_same_number() -> None:
    right = np.random.default_rng(2).random((10, 50)) < 0.5
    assert corrected(right, 3) == corrected(right, 3)


def test_alike_are_those_that_a_paired_test_does_not_tell_apart() -> None:
    best = np.array([True] * 30 + [False] * 10)
    five_less, six_less = best.copy(), best.copy()
    five_less[:5] = False  # p = 2 / 2^5
    six_less[:6] = False  # p = 2 / 2^6
    swapped = np.roll(best, 8)
    right = np.array([six_less, best, five_less, swapped, ~best])
    assert alike(right, 1) == [3, 2]
