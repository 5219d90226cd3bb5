"""LPR, WPR and LCPR from counts."""

from __future__ import annotations

import numpy as np
import pytest

from objectives.rates import Outcome, count_outcomes, harmonic_mean, pass_rates

U, L, W, P = Outcome


def test_outcomes_are_counted_by_stratum_in_sorted_order() -> None:
    counts = count_outcomes([P, L, P, U], ["b", "a", "b", "a"])
    assert counts.tolist() == [[1, 1, 0, 0], [0, 0, 0, 2]]


@pytest.mark.parametrize(
    ("counts", "lpr", "wpr", "lcpr"),
    [
        ([[0, 0, 0, 10]], 1.0, 1.0, 1.0),
        ([[0, 5, 0, 5]], 0.5, 1.0, 2 / 3),
        ([[0, 0, 5, 5]], 1.0, 0.5, 2 / 3),
        ([[0, 2, 4, 4]], 0.8, 0.5, 2 * 0.8 * 0.5 / 1.3),
        ([[0, 10, 0, 0]], 0.0, 1.0, 0.0),
        ([[7, 0, 0, 0]], 1.0, 1.0, 1.0),  # as published: nothing scored passes
        ([[0, 10, 0, 0], [0, 0, 0, 2]], 0.5, 1.0, 2 / 3),  # sources count alike
    ],
)
def test_rates(counts: list[list[int]], lpr: float, wpr: float, lcpr: float) -> None:
    found = pass_rates(np.array(counts), wpr_applies=True)
    assert [float(x) for x in found] == pytest.approx([lpr, wpr, lcpr])


def test_without_word_errors_lcpr_is_lpr() -> None:
    found = pass_rates(np.array([[0, 3, 0, 1]]), wpr_applies=False)
    assert float(found.lpr) == float(found.lcpr) == 0.25 and np.isnan(found.wpr)


def test_leading_axes_are_kept() -> None:
    counts = np.zeros((5, 3, 2, len(Outcome)), dtype=np.int64)
    assert pass_rates(counts, True).lcpr.shape == (5, 3)


def test_the_mean_of_two_zeros_is_zero() -> None:
    assert harmonic_mean([0.0, 0.5, 1.0], [0.0, 0.5, 0.0]).tolist() == [0.0, 0.5, 0.0]
