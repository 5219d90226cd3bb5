"""A recipe read layer by layer."""

from __future__ import annotations

import pytest

from search.common.errors import RecipeError
from search.merging.layers import in_words, layers_of
from search.merging.mix import linear
from search.merging.recipe import LayerSwap, Recipe, Single, soup


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (
            LayerSwap(0, 1, 1, 1, 2, 0, 0.4, 0.6),
            "layer 0: lang/1; layers 1 to 2: 0.4 task/0 + 0.6 lang/1; layers 3 to 4: task/0; "
            "layer 5: lang/1; embeddings, final norm and head: 0.5 task/0 + 0.5 lang/1",
        ),
        (Single("base"), "layers 0 to 5: base; embeddings, final norm and head: base"),
        (
            soup(0, 0, 6),
            "layers 0 to 5: 0.5 task/0 + 0.5 lang/0; embeddings, final norm and head: "
            "0.5 task/0 + 0.5 lang/0",
        ),
    ],
)
def test_runs_of_layers(recipe: Recipe, words: str) -> None:
    layers = layers_of(recipe, 6)
    assert layers.in_words() == words and len(layers.each) == 6


def test_a_recipe_that_does_not_fit() -> None:
    with pytest.raises(RecipeError, match="exceeds the model's 3 layers"):
        layers_of(LayerSwap(0, 0, 2, 2, 0, 0), 3)


def test_a_mix_in_words() -> None:
    assert in_words(linear([("task/0", 0.25), ("lang/1", 0.75)])) == "0.25 task/0 + 0.75 lang/1"
