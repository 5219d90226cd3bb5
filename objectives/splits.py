"""Which items a recipe is chosen on and which it is judged on.

Owns the seeded, disjoint, stratified split, its hash and the seed of each item. Knows no benchmark.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from objectives.errors import DataError, SettingError
from objectives.types import Split
from objectives.words import counted


class Item(Protocol):
    """What a split has to know of an item."""

    @property
    def id(self) -> str:
        """Unique name."""
        ...

    @property
    def stratum(self) -> str:
        """The source whose share is kept equal in both parts."""
        ...


ItemT = TypeVar("ItemT", bound=Item)


@dataclass(frozen=True)
class Parts(Generic[ItemT]):
    """Two disjoint parts of a data set, each in a fixed, shuffled order.

    Attributes:
        search: items that recipes are chosen on.
        held_out: items that the chosen recipe is judged on.
    """

    search: tuple[ItemT, ...]
    held_out: tuple[ItemT, ...]

    def of(self, split: Split) -> tuple[ItemT, ...]:
        """Return the items of a split."""
        return self.search if split == "search" else self.held_out

    @property
    def hash(self) -> str:
        """16 hex digits that change with any item, its text, its part or the order."""
        return hashlib.sha256(repr((self.search, self.held_out)).encode()).hexdigest()[:16]


def split_items(
    items: Sequence[ItemT], search_items: int, held_out_items: int, seed: int | None, where: str
) -> Parts[ItemT]:
    """Split items, keeping the share of each stratum in every prefix of both parts.

    Each stratum is shuffled, if there is a seed, and spread evenly over [0, 1); all strata are then
    merged by that position. So the first n items hold every stratum in proportion, for any n, and
    asking for more held-out items never changes the search items.

    Args:
        items: all items.
        search_items: how many to search on, at least 1.
        held_out_items: how many to hold out, at least 1.
        seed: seed of the shuffling; None keeps the order of the file.
        where: the file or folder they come from, for the error.

    Raises:
        SettingError: A number of items is below 1.
        DataError: there are fewer items than asked for.
    """
    _at_least_one(search_items, held_out_items)
    asked = search_items + held_out_items
    if asked > len(items):
        raise DataError(
            f"{where} has {counted(len(items), 'item')}; search_items {search_items} + "
            f"held_out_items {held_out_items} = {asked} are asked for. Ask for fewer"
        )
    ordered = _ordered(items, seed)
    return Parts(tuple(ordered[:search_items]), tuple(ordered[search_items:asked]))


def split_apart(
    search: Sequence[ItemT],
    held_out: Sequence[ItemT],
    search_items: int,
    held_out_items: int,
    seed: int | None,
    where: tuple[str, str],
) -> Parts[ItemT]:
    """The first items of two data sets, each in the order of `split_items`.

    Args:
        search: all items to search on.
        held_out: all items to hold out.
        search_items: how many of the former, at least 1.
        held_out_items: how many of the latter, at least 1.
        seed: seed of the shuffling; None keeps the order of the files.
        where: the files or folders that they come from, for the error.

    Raises:
        SettingError: A number of items is below 1.
        DataError: there are fewer items than asked for.
    """
    _at_least_one(search_items, held_out_items)
    names = ("search_items", "held_out_items")
    for own, asked, place, name in zip(
        (search, held_out), (search_items, held_out_items), where, names, strict=True
    ):
        if asked > len(own):
            raise DataError(
                f"{place} has {counted(len(own), 'item')}; {name} is {asked}. Ask for fewer"
            )
    first, rest = _ordered(search, seed)[:search_items], _ordered(held_out, seed)[:held_out_items]
    return Parts(tuple(first), tuple(rest))


def _at_least_one(search_items: int, held_out_items: int) -> None:
    for name, number in (("search_items", search_items), ("held_out_items", held_out_items)):
        if number < 1:
            raise SettingError(f"{name} is {number}: at least 1 is needed")


def _ordered(items: Sequence[ItemT], seed: int | None) -> list[ItemT]:
    """All items, each stratum in proportion in every prefix."""
    strata: dict[str, list[ItemT]] = {}
    for item in items:
        strata.setdefault(item.stratum, []).append(item)
    placed: list[tuple[float, str, ItemT]] = []
    for name, members in sorted(strata.items()):
        if seed is not None:
            random.Random(f"{seed}:{name}").shuffle(members)
        placed += [((k + 0.5) / len(members), name, item) for k, item in enumerate(members)]
    return [item for _, _, item in sorted(placed, key=lambda entry: entry[:2])]


def item_seed(seed: int, item_id: str) -> int:
    """Return a seed in [0, 2**31) for one item, the same in every run and on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{item_id}".encode()).digest()[:4], "big") >> 1
