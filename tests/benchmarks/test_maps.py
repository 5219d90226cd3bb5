"""A map of both objectives: its recipes, its front, its tables."""

from __future__ import annotations

from typing import Any

from benchmarks.landscape import maps
from benchmarks.landscape.design import N_LAYERS, map_recipes, zone
from benchmarks.landscape.maps import Point
from search.config import compose
from search.merging.recipe import Recipe, Single, key, soup, to_dict

CONFIG = compose.load(["family=demo_confused"], {"lang": "te"})


def line(recipe: Recipe, accuracy: float, lcpr: float) -> dict[str, Any]:
    scores = {"search.accuracy": accuracy, "search.lcpr": lcpr, "search.in_language": lcpr}
    return {"key": key(recipe, N_LAYERS), "recipe": to_dict(recipe), "scores": scores}


def test_a_map_has_every_checkpoint_soup_and_the_default_once() -> None:
    recipes = map_recipes(CONFIG)
    keys = {key(recipe, N_LAYERS) for recipe in recipes}
    assert len(keys) == len(recipes)
    for wanted in (Single("base"), Single("task/0"), soup(0, 2, N_LAYERS), zone(0, 2, 1, 1, 1)):
        assert key(wanted, N_LAYERS) in keys


def test_the_front_is_what_nothing_beats_in_both() -> None:
    found = {
        "a": Point(0.8, 0.0, 0.0),
        "b": Point(0.7, 0.9, 1.0),
        "beaten": Point(0.6, 0.8, 1.0),
        "as accurate": Point(0.7, 0.5, 1.0),
        "c": Point(0.5, 1.0, 1.0),
    }
    assert maps.front(found) == ["a", "b", "c"]


def test_tables_show_what_is_recorded() -> None:
    text = maps.markdown(
        CONFIG, [line(zone(0, 2, 1, 2, 0), 0.76, 1.0), line(Single("base"), 0.15, 1)]
    )
    assert "- te base: 15/100/100" in text
    assert "| pair | t_b=t_u | b | u=0 | u=1 | u=2 | u=3 | u=4 |" in text
    assert "| confused-0 + telugu-2 | 0 | 1 | - | - | 76/100/100 | - | - |" in text


def test_an_infeasible_recipe_has_no_point() -> None:
    shown = line(Single("base"), 0.1, 1.0) | {"infeasible": "too few answers"}
    assert maps.points([shown]) == {}
