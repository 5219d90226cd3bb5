"""Pairs of experts: which there are, their names, what is wrong with them."""

from __future__ import annotations

import pytest

from search.merging.space.pairs import Pair, Sides, all_pairs, pair_faults, pair_name, pair_of, tidy


@pytest.mark.parametrize(
    ("n_task", "n_lang", "sides", "found"),
    [
        (2, 1, "each", ((0, 0), (1, 0))),
        (1, 1, "both", ((0, 0),)),
        (2, 1, "averaged", (((0, 1), 0),)),
        (2, 2, "averaged", (((0, 1), (0, 1)),)),
        (1, 2, "both", ((0, 0), (0, 1), (0, (0, 1)))),
    ],
)
def test_which_there_are(n_task: int, n_lang: int, sides: Sides, found: tuple[Pair, ...]) -> None:
    assert all_pairs(n_task, n_lang, sides) == found


@pytest.mark.parametrize(
    ("pair", "name"), [((0, 2), "0-2"), (((0, 1), 2), "0+1-2"), ((1, (0, 2)), "1-0+2")]
)
def test_name_and_back(pair: Pair, name: str) -> None:
    assert pair_name(pair) == name and pair_of(name) == pair


def test_tidied_pairs_stand_once_and_in_order() -> None:
    assert tidy([((1, 0), 2), ((0, 1), 2), ((3,), 0)]) == (((0, 1), 2), (3, 0))
    assert pair_of("1+0-2") == ((0, 1), 2)


@pytest.mark.parametrize(
    ("pair", "fault"),
    [
        ((0, 0), ""),
        ((2, 0), "has [2, 0], but the family has 2 task and 1 te experts"),
        ((0, 1), "but the family has 2 task and 1 te experts"),
        (((0, 0), 0), "has [[0, 0], 0], which names an expert twice"),
    ],
)
def test_faults(pair: Pair, fault: str) -> None:
    found = "; ".join(pair_faults(pair, 2, 1, "te"))
    assert fault in found and bool(found) == bool(fault)
