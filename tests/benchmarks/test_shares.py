"""Searches with other shares than even ones replayed: only what was recorded is proposed."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.landscape import design, packed
from benchmarks.landscape.design import N_LAYERS
from benchmarks.search_quality.replay import EXPERTS
from benchmarks.search_quality.shares import SPACES, Task, field, run, table, tasks
from search.config.compose import load
from search.merging.recipe import LayerSwap, from_dict, key


def test_the_shares_of_telugu_are_recorded_with_its_zones_and_those_of_swahili_alone() -> None:
    shares = {lang: design.share_recipes(load([], {"lang": lang})) for lang in EXPERTS}
    assert {lang: len(found) for lang, found in shares.items()} == {"te": 3008, "sw": 2004}
    whole = {key(r, N_LAYERS): r for r in design.recipes(load([], {"lang": "te"}))}
    assert {key(recipe, N_LAYERS) for recipe in shares["te"]} <= whole.keys()
    shipped = [from_dict(recipe) for recipe in packed.shipped("te").recipes]
    assert [whole[key(recipe, N_LAYERS)] for recipe in shipped] == shipped
    swaps = [r for r in shares["sw"] if isinstance(r, LayerSwap)]
    assert {r.w_lang for r in swaps} == {0.1, 0.3, 0.7, 0.9} and len(swaps) == 2004


@pytest.mark.slow
@pytest.mark.parametrize("lang", EXPERTS)
def test_spaces_hold_what_was_recorded(lang: str) -> None:
    even, five, drawn_even, drawn_five = (set(field(lang, n).in_space) for n in SPACES)
    assert drawn_even < even < five and drawn_even < drawn_five < five
    others = [field(lang, SPACES[1]).recipes[row] for row in five - even]
    assert {round(r.w_lang, 1) for r in others if isinstance(r, LayerSwap)} == {0.1, 0.3, 0.7, 0.9}


@pytest.mark.slow
def test_a_table_of_both_languages() -> None:
    found = {task: run(task, trials=12) for task in tasks(range(2))}
    for trajectory in found.values():
        assert trajectory.held_out.shape == (12,)
        assert trajectory.marks.default <= trajectory.marks.best
    lines = list(table(found))
    assert sum(line.startswith("| ") and "all scored" in line for line in lines) == 8
    assert sum(name in line for line in lines for name in SPACES[2:]) >= 6
    once = run(Task("te", SPACES[0], 0), trials=12).held_out
    assert np.array_equal(once, found[Task("te", SPACES[0], 0)].held_out)
