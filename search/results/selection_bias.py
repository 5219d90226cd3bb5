"""Selection bias: what choosing the best of many recipes does to its score; which others might do.

Owns both statistics, on which items each recipe has right, and which trials are compared for them.
Reads the answers of every swap that was scored, one trial after another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from objectives import targets
from objectives.stats import mcnemar
from search.common.errors import StudyError
from search.records.reader import RecordsReader
from search.records.record import Record
from search.results.choose import Choice, is_swap, scored

Bits = NDArray[np.bool_]
"""Whether each recipe has each item right, of shape (recipes, items)."""
DRAWS = 1000
LEVEL = 0.05
"""Two recipes with a lower p-value are told apart."""


@dataclass(frozen=True)
class SelectionBias:
    """What a choice did to its score.

    Attributes:
        swaps: recipes that it was made among.
        corrected: the share of items to expect of the best one on other items of the kind.
        alike: search trials that cannot be told from the best one, the best scores first.
    """

    swaps: int
    corrected: float
    alike: tuple[Record, ...]


def measure(records: RecordsReader, choice: Choice | None, n_layers: int) -> SelectionBias | None:
    """Compare the chosen recipe with all others that it might have been.

    Args:
        records: the study.
        choice: what was chosen.
        n_layers: the model's number of layers L.

    Returns:
        None where the first target is no share of items, where answers cannot be read, and where
        there are not two recipes with the same two items at least.
    """
    main = targets.TARGETS[0]
    if choice is None or main.won is None:
        return None
    swaps = [r for r in scored(records.trials) if is_swap(r.recipe, n_layers)]
    swaps.sort(key=lambda r: r.key)  # whatever engine ended first
    right_by_key: dict[str, dict[str, bool]] = {}
    for record in swaps:  # one after another: the answers of a whole search may be large
        try:
            right_by_key[record.key] = main.marks(records.items(record))
        except StudyError:
            return None
    names = list(right_by_key[choice.record.key])
    same = [r for r in swaps if right_by_key[r.key].keys() == set(names)]
    if len(same) < 2 or len(names) < 2:
        return None
    right = np.array([[right_by_key[r.key][name] for name in names] for r in same])
    rows = indistinguishable(right, [r.key for r in same].index(choice.record.key))
    return SelectionBias(len(same), out_of_bag(right), tuple(same[row] for row in rows))


def out_of_bag(right: Bits, seed: int = 0) -> float:
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


def indistinguishable(right: Bits, best: int) -> list[int]:
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
