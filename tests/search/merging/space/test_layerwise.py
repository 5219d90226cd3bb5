"""The space of shares by blocks: how many there are, where it begins, what its numbers mean."""

from __future__ import annotations

import numpy as np
import pytest

from search.merging.methods.layerwise import layers_of_blocks
from search.merging.plan import plan
from search.merging.space.layerwise import LayerwiseForm, blocks_of
from search.merging.space.swap import make_space
from search.merging.space.wider import WiderSpace


def space(n_layers: int, blocks: int, start: tuple[float, ...] = ()) -> WiderSpace:
    swaps = make_space(lang="te", n_layers=n_layers, n_task=1, n_lang=1, shares=(0.0, 1.0, 0.25))
    return WiderSpace(LayerwiseForm(swaps, blocks, start))


@pytest.mark.parametrize(
    ("n_layers", "blocks"),
    [(1, 1), (7, 7), (8, 8), (10, 10), (13, 10), (24, 8), (28, 10), (32, 8), (36, 9), (80, 10)],
)
def test_how_many_blocks(n_layers: int, blocks: int) -> None:
    assert blocks_of(n_layers) == blocks
    layers = layers_of_blocks(blocks, n_layers)
    assert [layer for own in layers for layer in own] == list(range(n_layers))


def test_it_begins_with_the_default_recipe_and_what_is_given() -> None:
    default, given = space(8, 4, (0.9, 0.3, 0.1, 0.6)).default_points()
    assert [default[f"block_{i}"] for i in range(4)] == [0.75, 0.0, 0.0, 0.75]
    assert [given[f"block_{i}"] for i in range(4)] == [1.0, 0.25, 0.0, 0.5]


def test_features_are_the_shares_that_layers_get() -> None:
    within, n_layers = space(6, 4), 6
    codes = within.grid.sample(np.random.default_rng(1), 40)
    names = [f"model.layers.{i}.mlp.up_proj.weight" for i in range(n_layers)]
    for code, own in zip(codes, within.grid.features(codes)[0], strict=True):
        mixes = plan(within.form.recipe(within.grid.point(code)), names, n_layers)
        wanted = [dict(mixes[name].terms).get("lang/0", 0.0) for name in names]
        assert own * np.sqrt(n_layers) == pytest.approx(wanted)
