"""What the wider spaces share: how near recipes are, and spaces of any size."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from search.merging.recipe import Recipe
from search.merging.space.contract import MainSpace
from search.merging.space.grid import Axis
from search.merging.space.wider import nearest, suggested
from tests.search.merging.space.test_contract import FORMS, L, at, space


def test_near_in_a_wider_space_is_near_among_swaps() -> None:
    plain, *wider = (space(form, L, "space.pairs=[[0,0]]") for form in FORMS)
    zones = (
        {"b": 2, "u": 1, "t_b": 1, "t_u": 2, "w_lang": 0.5},
        {"b": 1, "u": 3, "t_b": 0, "t_u": 0},
    )
    recipes = [at(plain, {"pair": "0-0", **zone})[0] for zone in zones]
    wanted = _apart(plain, recipes)
    for within in wider:
        assert _apart(within, recipes) == pytest.approx(wanted)


def _apart(within: MainSpace, recipes: list[Recipe]) -> list[float]:
    """Squared distance of two recipes in each group of features."""
    points = [within.point(recipe) for recipe in recipes]
    assert None not in points
    codes = np.array([within.grid.code(point) for point in points if point])
    return [float(((one - other) ** 2).sum()) for one, other in within.grid.features(codes)]


def test_a_space_of_any_size_has_its_recipes_once() -> None:
    within = space("layerwise", 12, "space.w_lang={low: 0, high: 1, step: 0.01}")
    codes = within.grid.sample(np.random.default_rng(0), 50)
    assert len(within.grid.unique(np.concatenate([codes, codes]))) == len(codes) == 50


def test_an_axis_of_one_value_and_the_nearest_of_several() -> None:
    trial = optuna.create_study().ask()
    assert suggested(trial, Axis("share", (0.5,), 0, "amount")) == 0.5
    assert nearest(Axis("share", (0.0, 0.25, 0.5), 0, "amount"), 0.3) == 0.25
