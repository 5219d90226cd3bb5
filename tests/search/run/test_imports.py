"""Recipes fitted to another model: counts scale, pairs are found, what does not fit is left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from search.merging.recipe import Components, LayerSwap, Layerwise, Recipe, key
from search.merging.space.components import ComponentsForm
from search.merging.space.contract import MainSpace
from search.merging.space.layerwise import LayerwiseForm
from search.merging.space.swap import Space, make_space
from search.merging.space.wider import WiderSpace
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


def wider(form: str, n_layers: int) -> WiderSpace:
    swaps = space(n_layers, shares=(0.0, 1.0, 0.25))
    forms = {"components": ComponentsForm(swaps), "layerwise": LayerwiseForm(swaps, n_layers)}
    return WiderSpace(forms[form])


SWAP = LayerSwap(1, 0, 2, 1, 1, 0)
BY_HALF = Components(1, 0, 2, 1, 1, 0, 0, 1, 0.25, 0.75)
SHARES = Layerwise(1, 0, (1.0, 0.25, *[0.0] * 5, 0.5))


@pytest.mark.parametrize(
    ("recipe", "target", "expected"),
    [
        (SWAP, wider("components", 8), SWAP),
        (SWAP, wider("layerwise", 8), SWAP),
        (BY_HALF, wider("components", 8), BY_HALF),
        (replace(BY_HALF, task=5), wider("components", 8), replace(BY_HALF, task=0)),
        (SHARES, wider("layerwise", 8), SHARES),
        (SHARES, wider("components", 8), None),
        (BY_HALF, space(8), None),
        (BY_HALF, wider("components", 16), None),
    ],
)
def test_wider_forms_fit(recipe: Recipe, target: MainSpace, expected: Recipe | None) -> None:
    found = fitted_to(recipe, 8, target)
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert key(found, 8) == key(expected, 8)
        assert target.point(found) is not None
