"""Searches of the wider spaces replayed: only what was recorded is proposed, all on equal items."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.landscape import design
from benchmarks.landscape.design import N_LAYERS
from benchmarks.search_quality.wider import SPACES, Task, Trajectory, field, run, table
from search.config.compose import load
from search.merging.recipe import LayerSwap, canonical, key


def test_what_is_recorded_is_fixed_and_holds_the_plain_swaps() -> None:
    config = load([], {"lang": "te"})
    keys = [key(recipe, N_LAYERS) for recipe in design.wider_recipes(config)]
    assert len(keys) == len(set(keys)) == 396
    assert keys == [key(recipe, N_LAYERS) for recipe in design.wider_recipes(config)]
    plain = {
        key(recipe, N_LAYERS)
        for recipe in design.components()
        if isinstance(canonical(recipe, N_LAYERS), LayerSwap)
    }
    assert len(design.components()) == 162 and len(plain) == 18
    assert len(design.layerwise()) == 243


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
def test_every_recipe_of_a_space_was_recorded(name: str) -> None:
    land = field(name)
    space, names = land.space(), set(land.row)
    keys = {space.key_of(space.grid.point(code)) for code in space.grid.all()}
    assert keys <= names and len(keys) == len(land.in_space) >= 18
    for seed in range(3):
        point = space.unseen(seed)
        assert point is not None and space.key_of(point) in names
    space.seen.update(keys)
    assert space.unseen(0) is None


@pytest.mark.slow
def test_plain_swaps_lie_in_the_wider_spaces() -> None:
    near, components, shares, swaps = (
        set(field(name).in_space)
        for name in ("swaps, ranges of components", "components", "layerwise", "swaps")
    )
    assert near < components and swaps < shares


@pytest.mark.slow
@pytest.mark.parametrize("name", ["components", "layerwise"])
def test_a_replayed_search_finds_something(name: str) -> None:
    trajectory = run(Task(name, 0), trials=12)
    assert trajectory.held_out.shape == (12,)
    assert trajectory.held_out[-1] >= 0.6 and trajectory.marks.whole <= trajectory.marks.best


@pytest.mark.slow
def test_the_table_compares_with_plain_swaps_and_says_nothing_of_fewer_recipes() -> None:
    marks = run(Task("swaps, ranges of components", 0), trials=1).marks
    lengths = {name: 18 if "ranges" in name else 100 for name in SPACES}
    found = {
        Task(name, seed): Trajectory(np.full(n, 0.8 + 0.01 * ("comp" in name)), marks)
        for name, n in lengths.items()
        for seed in range(2)
    }
    rows = list(table(found))
    (plain,) = (row for row in rows if row.startswith("| swaps |"))
    assert plain.count("80.0 (80.0 to 80.0)") == 4
    wider, more = (row for row in rows if row.startswith("| components |"))
    assert "81.0" in wider and more.count("+1.0 (+1.0 to +1.0)") == 4
    near = next(row for row in rows if row.startswith("| swaps, ranges"))
    assert near.count("81.0 (81.0 to 81.0)") == 1
