"""What every space of the main search holds to: layer swaps, components, shares by blocks."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import example, given, settings

from search.config.compose import load
from search.config.searched import space_of
from search.merging.recipe import (
    Components,
    Layered,
    Recipe,
    Single,
    from_dict,
    key,
    to_dict,
    validate,
)
from search.merging.space.contract import MainSpace
from search.merging.space.proposal import BASELINE
from search.study.proposing.model import FlatSampler
from tests.examples import examples
from tests.search import any_recipes

L = 10
FORMS = ("swap", "components", "layerwise")


def space(form: str, n_layers: int = L, *more: str) -> MainSpace:
    few = (
        ()
        if any(text.startswith("space.pairs") for text in more)
        else ("space.pairs=[[0,0],[1,1]]",)
    )
    shares = () if form == "layerwise" else ("space.w_lang={low: 0.1, high: 0.9, step: 0.1}",)
    given = ["objective=demo", f"space={FILES[form]}", *few, *shares, *more]
    return space_of(load(given, {"lang": "te"}), n_layers)


FILES = {"swap": "whole_model", "components": "components", "layerwise": "layerwise"}


def at(within: MainSpace, point: dict[str, Any]) -> tuple[Recipe, optuna.Trial]:
    """What is proposed at some parameters."""
    study = optuna.create_study()
    study.enqueue_trial(point)
    trial = study.ask()
    return from_dict(json.loads(within(trial)["recipe"])), trial


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_layers", [1, 2, 10, 33])
def test_every_proposal_is_a_valid_recipe_with_parameters_of_its_own(
    form: str, n_layers: int
) -> None:
    within = space(form, n_layers)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    for _ in range(60):
        trial = study.ask()
        told = within(trial)
        recipe = from_dict(json.loads(told["recipe"]))
        validate(recipe, n_layers)
        assert isinstance(recipe, Layered) and told["origin"] == "search"
        assert told["key"] == key(recipe, n_layers) == trial.user_attrs["key"]
        point = within.point(recipe)
        assert point is not None and key(at(within, point)[0], n_layers) == told["key"]


@pytest.mark.parametrize("form", FORMS)
def test_a_code_means_what_is_proposed_at_its_point(form: str) -> None:
    within = space(form)
    for code in within.grid.sample(np.random.default_rng(0), 40):
        point = within.grid.point(code)
        recipe, _ = at(within, point)
        assert within.key_of(point) == key(recipe, L)
        assert within.grid.code(point) == tuple(code)


@pytest.mark.parametrize("form", FORMS)
def test_optuna_is_asked_for_the_distributions_that_the_sampler_gives(form: str) -> None:
    within = space(form)
    study = optuna.create_study()
    given = FlatSampler.infer_relative_search_space(
        _Sampler(within.grid, 0), study, study.ask()._cached_frozen_trial
    )
    for code in within.grid.sample(np.random.default_rng(1), 10):
        _, trial = at(within, within.grid.point(code))
        assert trial.distributions.items() <= given.items()


class _Sampler(FlatSampler):
    def proposed(self, study: Any, trial: Any) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize("form", FORMS)
def test_the_first_proposals_are_the_default_recipes(form: str) -> None:
    within = space(form)
    found = [key(at(within, point)[0], L) for point in within.default_points()]
    assert found == [key(within.default_recipe(pair), L) for pair in within.pairs]
    assert within.pairs == ((0, 0), (1, 1))


@pytest.mark.parametrize("form", FORMS)
def test_a_fixed_recipe_is_asked_for_outside_of_the_space(form: str) -> None:
    within = space(form)
    trial = optuna.trial.FixedTrial({})
    trial.set_user_attr(BASELINE, json.dumps(to_dict(Single("base"))))
    assert within(trial)["origin"] == "baseline"
    assert within.point(Single("base")) is None


SMALL = {
    "swap": ("space.w_lang={low: 0, high: 1, step: 0.5}",),
    "components": ("space.w_lang={low: 0, high: 1, step: 0.5}",),
    "layerwise": ("space.w_lang={low: 0, high: 1, step: 0.5}",),
}
SMALLS = {form: space(form, any_recipes.L, *more) for form, more in SMALL.items()}
KEYS = {
    form: {within.key_of(within.grid.point(code)) for code in within.grid.all()}
    for form, within in SMALLS.items()
}


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=examples(150))
@given(recipe=any_recipes.recipes)
@example(Components(0, 0, 0, 0, 1, 0, 0, 3, 0.0, 0.25))  # the upper transitions are a language's
@example(Components(0, 0, 0, 3, 4, 0, 0, 0))
@example(Components(1, 0, 2, 1, 1, 0, 1, 0, 1.0, 0.0))
def test_a_recipe_without_a_point_is_not_in_the_space(form: str, recipe: Recipe) -> None:
    within, wanted = SMALLS[form], key(recipe, any_recipes.L)
    point = within.point(recipe)
    assert (point is not None) == (wanted in KEYS[form])
    assert point is None or key(at(within, point)[0], any_recipes.L) == wanted


@pytest.mark.parametrize("form", FORMS)
def test_the_point_of_a_recipe_is_one_that_the_sampler_knows(form: str) -> None:
    """Of the spellings of a recipe: the model would take another for a recipe of its own."""
    within = SMALLS[form]
    known = set(map(tuple, within.grid.all().tolist()))
    for code in known:
        recipe, _ = at(within, within.grid.point(code))
        point = within.point(recipe)
        assert point is not None and within.grid.code(point) in known


@pytest.mark.parametrize("form", FORMS)
def test_unseen_finds_the_last_recipe_and_then_none(form: str) -> None:
    within = pickle.loads(pickle.dumps(SMALLS[form]))
    last = sorted(KEYS[form])[7]
    within.seen.update(KEYS[form] - {last})
    point = within.unseen(0)
    assert point is not None and within.key_of(point) == last
    within.seen.add(last)
    assert within.unseen(0) is None
