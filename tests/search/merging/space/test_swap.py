"""The search space with Optuna's own trials."""

from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives.types import Decoding
from search.common.errors import ConfigError
from search.merging.recipe import LayerSwap, Single, from_dict, key, soup, to_dict, validate
from search.merging.space.pairs import Pair, all_pairs, pair_of
from search.merging.space.proposal import BASELINE
from search.merging.space.swap import Space, baselines, make_space


def space(n_layers: int = 10, **changes: Any) -> Space:
    return make_space(**({"lang": "te", "n_layers": n_layers, "n_task": 2, "n_lang": 3} | changes))


def asked(points: int, within: Space, seed: int = 0) -> list[tuple[LayerSwap, optuna.Trial]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    found = []
    for _ in range(points):
        trial = study.ask()
        found.append((from_dict(json.loads(within(trial)["recipe"])), trial))
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("n_layers", [1, 2, 10, 33])
def test_every_proposal_is_valid(n_layers: int) -> None:
    for recipe, _ in asked(200, space(n_layers)):
        validate(recipe, n_layers)


def test_weights_only_with_a_transition_layer() -> None:
    seen = set()
    for recipe, trial in asked(300, space()):
        has_transition = recipe.t_b + recipe.t_u > 0
        assert ("w_lang" in trial.params) == has_transition
        seen.add(has_transition)
    assert seen == {True, False}


def test_the_whole_model_is_reached() -> None:
    found = [recipe for recipe, _ in asked(600, space())]
    assert {r.b for r in found} == set(range(6)) and {r.u for r in found} == set(range(6))
    assert {(r.task, r.lang) for r in found} == {(t, g) for t in range(2) for g in range(3)}


def test_attributes_name_the_trial() -> None:
    within = space()
    (recipe, trial), *_ = asked(1, within)
    assert trial.user_attrs["key"] == key(recipe, 10)
    assert trial.user_attrs["repeated"] is False
    within.seen.add(key(recipe, 10))
    assert asked(1, within)[0][1].user_attrs["repeated"] is True


def test_baseline_is_asked_for_outside_of_the_bounds() -> None:
    study = optuna.create_study()
    study.enqueue_trial({}, user_attrs={BASELINE: json.dumps(to_dict(Single("base")))})
    trial = study.ask()
    config = space()(trial)
    assert (from_dict(json.loads(config["recipe"])), config["origin"]) == (
        Single("base"),
        "baseline",
    )
    assert trial.params == {}


@pytest.mark.parametrize(
    ("n_layers", "zones"), [(32, (4, 1, 1, 1)), (10, (1, 1, 1, 1)), (64, (8, 2, 2, 2))]
)
def test_default_recipe_is_the_papers_scaled(n_layers: int, zones: tuple[int, ...]) -> None:
    within = space(n_layers)
    recipe = within.default_recipe((1, 2))
    assert (recipe.b, recipe.u, recipe.t_b, recipe.t_u) == zones
    assert (recipe.task, recipe.lang, recipe.share) == (1, 2, 0.5)
    study = optuna.create_study()
    study.enqueue_trial(within.default_points()[-1])
    last = from_dict(json.loads(within(study.ask())["recipe"]))
    assert isinstance(last, LayerSwap)
    assert last == within.default_recipe((last.task, last.lang))


@pytest.mark.parametrize(
    ("pairs", "first"),
    [
        ([(0, 0), (0, 1), (1, 0), (1, 1)], [(0, 0), (1, 1)]),
        (list(all_pairs(3, 3)), [(0, 0), (1, 1), (2, 2)]),
        (list(all_pairs(3, 2)), [(0, 0), (1, 1), (2, 0)]),
        ([(0, 0), (0, 1), (0, 2)], [(0, 0), (0, 1), (0, 2)]),
        ([((0, 1), 0), (0, 0), (0, (0, 1))], [((0, 1), 0), (0, (0, 1))]),
        ([(2, 1)], [(2, 1)]),
    ],
)
def test_default_recipes_of_so_many_pairs_that_each_side_is_in_one(
    pairs: list[Pair], first: list[Pair]
) -> None:
    within = make_space(lang="te", n_layers=10, n_task=3, n_lang=3, pairs=pairs)
    assert [pair_of(point["pair"]) for point in within.default_points()] == first


DECODING: dict[str, Any] = {
    "decoding": {"temperature": (0.0, 0.3, 0.7), "beam_width": (4,)},
    "own_decoding": Decoding(temperature=0.3, top_p=0.75, beam_width=1, shots=0),
}


def test_decoding_is_searched_beside_its_own_values() -> None:
    within = space(**DECODING)
    found = {recipe.decoding for recipe, _ in asked(300, within)}
    temperatures = (None, 0.0, 0.7)
    beams = (None, 4)
    assert found == {
        None if t is None and w is None else Decoding(temperature=t, beam_width=w)
        for t in temperatures
        for w in beams
    }
    assert within.default_recipe((1, 2)).decoding is None
    study = optuna.create_study()
    study.enqueue_trial(within.default_points()[0])
    assert within(study.ask())["key"] == key(space().default_recipe((0, 0)), 10)


def test_exhausting_a_space_with_decoding() -> None:
    within = space(2, n_task=1, n_lang=1, shares=(0.5, 0.5, 0.1), **DECODING)
    keys = {key(recipe, 2) for recipe in within.recipes()}
    plain = {key(recipe, 2) for recipe in space(2, n_task=1, n_lang=1).recipes()}
    assert len(keys) > 2 * len({k for k in keys if k in plain}) > 0
    while (point := within.unseen(0)) is not None:
        study = optuna.create_study()
        study.enqueue_trial(point)
        within.seen.add(within(study.ask())["key"])
    assert within.seen == keys


@pytest.mark.slow
@given(st.integers(0, 5))
def test_unseen_finds_the_last_recipe(seed: int) -> None:
    within = space(3, n_task=1, n_lang=1, shares=(0.5, 0.5, 0.1))
    keys = {key(recipe, 3): recipe for recipe in within.recipes()}
    last = sorted(keys)[seed % len(keys)]
    within.seen.update(set(keys) - {last})
    point = within.unseen(seed)
    assert point is not None
    study = optuna.create_study()
    study.enqueue_trial(point)
    assert within(study.ask())["key"] == last
    within.seen.add(last)
    assert within.unseen(seed) is None


def test_baselines() -> None:
    found = baselines(space(), 2, 3, "all")
    assert found[:3] == [Single("base"), Single("task/0"), Single("task/1")]
    assert soup(1, 2, 10) in found and len(found) == 1 + 2 + 3 + 6
    assert len(baselines(space(), 2, 3, "first")) == 1 + 2 + 3 + 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"b": (0, 6), "u": (0, 5)},
            r"space.b up to 6 and space.u up to 5 reach 11 layers.* has 10",
        ),
        ({"t_b": (3, 4), "b": (0, 4), "u": (0, 4)}, r"space.t_b from 3 never fits"),
        ({"pairs": ((0, 0), (2, 0))}, r"space.pairs has \[2, 0\].* 2 task and 3 te experts"),
    ],
)
def test_bad_bounds(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        space(**changes)
