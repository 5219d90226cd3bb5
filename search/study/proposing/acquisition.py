"""What scoring a recipe is worth, from what a model expects of it.

Pure numerics; larger is better in every array.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from search.study.proposing.surrogate import Floats


def expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """How far above the best each recipe is expected to be; what lies below counts as 0."""
    gain = (mean - best) / deviation
    density = np.exp(-0.5 * gain**2) / np.sqrt(2 * np.pi)
    return np.asarray(deviation * (gain * ndtr(gain) + density))


def hypervolume_gain(points: Floats, draws: Floats) -> Floats:
    """Mean area that each of m further points adds to what others dominate.

    The area is counted from a little under the worst of each target.

    Args:
        points: two targets of the points that are known, of shape (n, 2).
        draws: two targets of the others as a model draws them, of shape (2, draws, m).

    Returns:
        Of shape (m,).
    """
    low = points.min(axis=0) - 1e-3
    order = points[np.lexsort((-points[:, 1], -points[:, 0]))]  # the first target falls
    highest = np.maximum.accumulate(order[:, 1])
    front = order[np.r_[True, highest[1:] > highest[:-1]]]  # the second rises
    first, second = draws
    gain = np.zeros(first.shape)
    # Between two neighbours of the front, a point adds what is above the lower right one.
    rights, lefts = np.r_[np.inf, front[:, 0]], np.r_[front[:, 0], low[0]]
    for right, left, under in zip(rights, lefts, np.r_[low[1], front[:, 1]], strict=True):
        width = np.clip(np.minimum(first, right) - left, 0, None)
        gain += width * np.clip(second - under, 0, None)
    return np.asarray(gain.mean(axis=0))
