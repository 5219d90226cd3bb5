"""What choosing the best of many does to its score, and which others might as well be the best.

Owns both statistics, on which items each recipe has right. Pure: knows no records.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from objectives.stats import mcnemar

Bits = NDArray[np.bool_]
"""Whether each recipe has each item right, of shape (recipes, items)."""
DRAWS = 1000
LEVEL = 0.05
"""Two recipes with a lower p-value are told apart."""


def corrected(right: Bits, seed: int = 0) -> float:
    """Accuracy to expect of the best recipe on other items of the kind.

    The choice is made again on items drawn with replacement, and what it chose is scored on the
    items that were not drawn; the mean over `DRAWS` of that (the out-of-bag estimate).

    Args:
        right: of all recipes that the choice was made from; at least one recipe and two items.
        seed: of the draws.
    """
    n = right.shape[1]
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, np.full(n, 1.0 / n), DRAWS)
    best = (drawn @ right.T.astype(np.int64)).argmax(axis=1)
    outside = drawn == 0
    hits = (right[best] & outside).sum(axis=1)
    return float(np.mean(hits / np.maximum(outside.sum(axis=1), 1)))


def alike(right: Bits, best: int) -> list[int]:
    """Rows of the recipes that cannot be told from the best one, the best scores first.

    By McNemar's exact test on the items that only one of the two has right, not corrected for the
    number of recipes: it may find too many different, never too few.

    Args:
        right: of all recipes.
        best: row of the best one, which is left out.
    """
    only_best = (right[best] & ~right).sum(axis=1)
    only_other = (~right[best] & right).sum(axis=1)
    found = [
        row
        for row, counts in enumerate(zip(only_best.tolist(), only_other.tolist(), strict=True))
        if row != best and mcnemar(*counts) >= LEVEL
    ]
    return sorted(found, key=lambda row: (-int(right[row].sum()), row))
