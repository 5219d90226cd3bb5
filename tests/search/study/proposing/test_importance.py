"""Which parameter decides a score, where it is known."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from objectives import targets
from objectives.types import Score
from search.merging.recipe import LayerSwap, Single
from search.records.record import Record
from search.study.proposing.importance import FEWEST, importance
from tests.search.records.samples import record

MAIN = targets.TARGETS[0]


def trial(recipe: LayerSwap | Single, accuracy: float) -> Record:
    share = Score(accuracy, 0.0, 1.0, 100, 100)
    return replace(record(str(recipe)), recipe=recipe, scores={"accuracy": share})


def swaps(count: int) -> list[Record]:
    """Only b decides the score; u and the share are drawn at random."""
    drawn = random.Random(0)
    recipes = [
        LayerSwap(0, 0, drawn.randint(0, 5), drawn.randint(0, 5), 1, 0, 0.5, drawn.random())
        for _ in range(count)
    ]
    return [trial(recipe, recipe.b / 10) for recipe in recipes]


def test_what_decides_comes_first() -> None:
    found = importance(swaps(200), MAIN)
    assert next(iter(found)) == "b" and found["b"] > 0.6
    assert sum(found.values()) == pytest.approx(1)
    assert found.keys() == {"b", "u", "share"}  # the others are the same in all


@pytest.mark.parametrize(
    "trials",
    [
        [],
        swaps(FEWEST - 1),
        [trial(LayerSwap(0, 0, 1, 1, 0, 0), 0.5)] * 20,
        [replace(r, scores={}) for r in swaps(20)],
        [trial(Single("base"), i / 20) for i in range(20)],
    ],
)
def test_where_it_cannot_be_said(trials: list[Record]) -> None:
    assert importance(trials, MAIN) == {}
