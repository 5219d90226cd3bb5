"""What scoring a recipe is worth."""

from __future__ import annotations

import numpy as np
import pytest

from search.study.proposing.acquisition import expected_improvement, hypervolume_gain


def test_expected_improvement_is_the_mean_of_what_lies_above() -> None:
    rng = np.random.default_rng(0)
    mean, deviation = np.array([0.2, 0.5, 0.9]), np.array([0.3, 0.1, 0.2])
    drawn = mean + deviation * rng.standard_normal((400_000, 3))
    above = np.maximum(drawn - 0.6, 0.0).mean(axis=0)
    assert expected_improvement(mean, deviation, 0.6) == pytest.approx(above, abs=1e-3)


def test_what_is_known_to_be_worse_is_worth_nothing() -> None:
    found = expected_improvement(np.array([0.1, 0.7]), np.array([1e-6, 1e-6]), 0.5)
    assert found == pytest.approx([0.0, 0.2])


POINTS = [(1.0, 1.0), (0.5, 0.5), (2.0, 2.0), (1.5, 0.8), (0.2, 2.9), (2.9, 0.1)]


@pytest.mark.parametrize("point", POINTS)
def test_hypervolume_gain_is_the_added_area(point: tuple[float, float]) -> None:
    known = [(1.0, 1.0), (0.5, 1.5), (2.0, 0.5), (0.0, 0.0)]
    found = hypervolume_gain(np.array(known), np.array(point).reshape(2, 1, 1))
    assert found == pytest.approx([_area([*known, point]) - _area(known)], abs=0.01)


def test_hypervolume_gain_is_a_mean_over_draws() -> None:
    known, one, other = np.array([[1.0, 1.0], [0.0, 0.0]]), (2.0, 1.0), (0.5, 0.5)
    draws = np.array([one, other]).T.reshape(2, 2, 1)
    assert hypervolume_gain(known, draws) == pytest.approx([0.5], abs=0.01)


def _area(points: list[tuple[float, ...]], cells: int = 3000) -> float:
    """Dominated area above the origin, counted column by column."""
    columns = (np.arange(cells) + 0.5) * 3.0 / cells
    heights = [max((y for x, y in points if x >= column), default=0.0) for column in columns]
    return float(np.sum(heights)) * 3.0 / cells
