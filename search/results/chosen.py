"""What choosing among so many recipes did: to the best one's score, and who might as well be it.

Owns which trials are compared for that; the statistics are `search.results.selection`'s. Reads the
answers of every swap that was scored, one trial after another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from objectives import targets
from search.common.errors import StudyError
from search.records.reader import RecordsReader
from search.records.record import Record
from search.results.choose import Choice, is_swap, scored
from search.results.selection import alike, corrected


@dataclass(frozen=True)
class Chosen:
    """What a choice did.

    Attributes:
        swaps: recipes that it was made among.
        corrected: the share of items to expect of the best one on other items of the kind.
        alike: search trials that cannot be told from the best one, the best scores first.
    """

    swaps: int
    corrected: float
    alike: tuple[Record, ...]


def examine(records: RecordsReader, choice: Choice | None, n_layers: int) -> Chosen | None:
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
    rows = alike(right, [r.key for r in same].index(choice.record.key))
    return Chosen(len(same), corrected(right), tuple(same[row] for row in rows))
