"""Recipes fitted to another model: counts scale, pairs are found, what does not fit is left out."""

from __future__ import annotations

from typing import Any

import pytest

from search.merging.recipe import LayerSwap
from search.merging.space.swap import Space, make_space
from search.run.imports import fitted_to


def space(n_layers: int, **kwargs: Any) -> Space:
    return make_space(**({"lang": "sw", "n_layers": n_layers, "n_task": 2, "n_lang": 2} | kwargs))


CASES = [
    # layers there, recipe, space, the same here
    (32, LayerSwap(1, 0, 4, 1, 1, 1), space(32), LayerSwap(1, 0, 4, 1, 1, 1)),
    (32, LayerSwap(1, 0, 4, 2, 2, 0), space(16), LayerSwap(1, 0, 2, 1, 1, 0)),
    (32, LayerSwap(1, 0, 4, 1, 1, 0), space(10), LayerSwap(1, 0, 1, 1, 1, 0)),
    (16, LayerSwap(0, 1, 2, 0, 1, 0, 0.3, 0.7), space(32), LayerSwap(0, 1, 4, 0, 2, 0, 0.3, 0.7)),
    (8, LayerSwap(1, 1, 2, 1, 0, 0), space(8, n_lang=1), LayerSwap(1, 0, 2, 1, 0, 0)),
    (8, LayerSwap(5, 5, 2, 1, 0, 0), space(8), LayerSwap(0, 0, 2, 1, 0, 0)),
    (8, LayerSwap(0, 0, 2, 1, 1, 0, 0.52, 0.48), space(8), LayerSwap(0, 0, 2, 1, 1, 0)),
    (8, LayerSwap(0, 0, 4, 4, 0, 0), space(3, b=(0, 2), u=(0, 1)), LayerSwap(0, 0, 2, 1, 0, 0)),
    (8, LayerSwap(0, 0, 2, 1, 0, 0), space(8, b=(3, 4)), None),
]


@pytest.mark.parametrize(("n_layers", "recipe", "target", "expected"), CASES)
def test_fit(n_layers: int, recipe: LayerSwap, target: Space, expected: LayerSwap | None) -> None:
    found = fitted_to(recipe, n_layers, target)
    if expected is None:
        assert found is None
        return
    assert found is not None and target.point(found) is not None
    names = ("task", "lang", "b", "u", "t_b", "t_u")
    assert [getattr(found, n) for n in names] == [getattr(expected, n) for n in names]
    if found.t_b + found.t_u:
        assert found.share == pytest.approx(expected.share)
