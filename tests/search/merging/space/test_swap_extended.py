"""The generalised space: averaged experts, sources outside the layers, ramps; and its inverse."""

from __future__ import annotations

import itertools
import json
import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from hypothesis import given, settings

from objectives.types import Score
from search.export.mergekit_yaml import mergekit_yaml
from search.export.model_card import Merge, model_card
from search.merging.methods.registry import rivals
from search.merging.plan import plan
from search.merging.recipe import (
    LayerSwap,
    Recipe,
    Single,
    Slerp,
    canonical,
    from_dict,
    key,
    label,
    validate,
)
from search.merging.space.pairs import pair_of
from search.merging.space.rivals import RivalSpace
from search.merging.space.swap import Space, make_space, uses_weights
from search.records.head import StudyHead
from search.records.record import Record
from search.records.writer import RecordsWriter
from search.results import comparison, figures
from search.results.choose import best_swap, final_rows
from tests.examples import examples
from tests.search import any_recipes
from tests.search.any_recipes import POLICIES
from tests.search.merging.test_plan import names

EXTENDED: dict[str, Any] = {
    "lang": "te",
    "n_task": 2,
    "n_lang": 3,
    "experts": "both",
    "non_layer": POLICIES,
    "ramp": ("constant", "linear"),
}


def proposed(within: Space, points: int) -> list[tuple[LayerSwap, dict[str, Any]]]:
    """Recipes of random trials with the parameters they were asked by."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    trials = [study.ask() for _ in range(points)]
    return [(from_dict(json.loads(within(t)["recipe"])), t.params) for t in trials]  # type: ignore[misc]


def at(within: Space | RivalSpace, point: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Key of what is proposed at some parameters, and those that were asked for."""
    study = optuna.create_study()
    study.enqueue_trial(point)
    trial = study.ask()
    return within(trial)["key"], trial.params


@pytest.mark.parametrize(
    ("sides", "tasks", "langs"),
    [
        ("each", {0, 1}, {0, 1, 2}),
        ("averaged", {(0, 1)}, {(0, 1, 2)}),
        ("both", {0, 1, (0, 1)}, {0, 1, 2, (0, 1, 2)}),
    ],
)
def test_sides_of_the_pairs(sides: Any, tasks: set[Any], langs: set[Any]) -> None:
    within = make_space(**EXTENDED | {"experts": sides}, n_layers=8)
    assert within.pairs == tuple(dict.fromkeys(within.pairs))
    assert set(within.pairs) == set(itertools.product(tasks, langs))
    assert {(r.task, r.lang) for r, _ in proposed(within, 300)} == set(within.pairs)


def test_an_only_expert_is_no_average() -> None:
    assert make_space(lang="te", n_layers=4, n_task=1, n_lang=1, experts="both").pairs == ((0, 0),)


def test_pairs_are_tidied() -> None:
    pairs: Any = (((1, 0), 2), ((0, 1), (2,)), (0, 0))
    assert make_space(**EXTENDED | {"experts": "each"}, n_layers=8, pairs=pairs).pairs == (
        ((0, 1), 2),
        (0, 0),
    )


@pytest.mark.slow
def test_a_parameter_is_asked_for_only_where_it_matters() -> None:
    within = pickle.loads(pickle.dumps(make_space(**EXTENDED, n_layers=12)))
    found = set()
    for recipe, params in proposed(within, 600):
        validate(recipe, 12)
        assert params["non_layer"] == recipe.non_layer
        assert ("ramp" in params) == (max(recipe.t_b, recipe.t_u) > 1)
        assert ("w_lang" in params) == uses_weights(recipe)
        assert params.get("ramp", "constant") == recipe.ramp
        found.add((recipe.non_layer, recipe.ramp, "w_lang" in params))
        if "w_lang" not in params:
            other = LayerSwap(**{**recipe.__dict__, "w_task": 0.25, "w_lang": 0.75})
            assert key(other, 12) == key(recipe, 12)
    free = {(policy, "linear", False) for policy in POLICIES if policy != "weighted"}
    assert found >= {(policy, "constant", True) for policy in POLICIES} | free
    assert ("weighted", "linear", True) in found and ("weighted", "linear", False) not in found


def test_default_recipes_are_the_papers_where_it_is_in_the_space() -> None:
    for recipe in map(make_space(**EXTENDED, n_layers=32).default_recipe, [(0, 0), ((0, 1), 2)]):
        assert (recipe.non_layer, recipe.ramp, recipe.share) == ("average", "constant", 0.5)
    other = make_space(
        **EXTENDED | {"non_layer": ("lang", "task"), "ramp": ("linear",)}, n_layers=64
    )
    recipe = other.default_recipe(((0, 1), 2))
    assert (recipe.task, recipe.non_layer, recipe.ramp) == ((0, 1), "lang", "linear")
    for within in (make_space(**EXTENDED, n_layers=64), other):
        for point in within.default_points():
            pair = pair_of(point["pair"])
            assert at(within, point)[0] == key(within.default_recipe(pair), 64)


SMALL: list[dict[str, Any]] = [
    {"n_layers": 1, "n_task": 2, "n_lang": 1},
    {"n_layers": 2, "n_task": 1, "n_lang": 3, "shares": (0.0, 1.0, 0.25)},
    {"n_layers": 3, "n_task": 1, "n_lang": 1, "b": (1, 2), "u": (0, 1), "t_b": (0, 2)},
    {"n_layers": 4, "n_task": 1, "n_lang": 2, "ramp": ("linear",), "shares": (0.5, 0.5, 0.1)},
    {
        "n_layers": 4,
        "n_task": 1,
        "n_lang": 1,
        "t_b": (1, 4),
        "b": (0, 1),
        "u": (0, 2),
        "shares": (0.0, 1.0, 0.25),
    },
    {
        "n_layers": 3,
        "n_task": 1,
        "n_lang": 1,
        "shares": (0.0, 1.0, 0.25),
        "decoding": {"temperature": (0.0,), "beam_width": (4,)},
    },
]


@pytest.mark.slow
@pytest.mark.parametrize("changes", SMALL)
def test_every_recipe_has_a_point(changes: dict[str, Any]) -> None:
    within = make_space(**EXTENDED | changes)
    for number, recipe in enumerate(within.recipes()):
        wanted = key(recipe, within.n_layers)
        point = within.point(recipe)
        assert point is not None and point == within.point(canonical(recipe, within.n_layers))
        assert key(within._recipe(point), within.n_layers) == wanted
        if number % 25 == 0:
            assert at(within, point) == (wanted, point)


ANY = make_space(**EXTENDED | {"n_layers": any_recipes.L, "n_lang": 2, "shares": (0.0, 1.0, 0.25)})
KEYS = {key(recipe, any_recipes.L) for recipe in ANY.recipes()}


@settings(max_examples=examples(300))
@given(any_recipes.recipes)
def test_a_recipe_without_a_point_is_not_in_the_space(recipe: Recipe) -> None:
    point = ANY.point(recipe)
    assert (point is not None) == (key(recipe, any_recipes.L) in KEYS)
    assert point is None or at(ANY, point) == (key(recipe, any_recipes.L), point)


@pytest.mark.parametrize("n_layers", [1, 4])
@pytest.mark.parametrize("method", rivals())
def test_rivals_take_averaged_experts(method: str, n_layers: int) -> None:
    pairs = ((0, 1), ((0, 1), (0, 2)))
    within = RivalSpace(method, "te", n_layers, pairs)
    axes = within.axes
    middle = {name: values[1] for name, values in axes.items()}
    found = [within.recipe(pair, middle) for pair in ("0-1", "0+1-0+2")[: len(within.pairs)]]
    for recipe in found if method != "slerp" else found[:1]:
        validate(recipe, n_layers)
    point = within.point(found[0])
    assert point is not None and at(within, point)[0] == key(found[0], n_layers)
    assert within.point(Single("reference/joint")) is None
    if method == "slerp":
        assert within.pairs == ((0, 1), (0, 0), (0, 2), (1, 0), (1, 2))
        assert isinstance(found[0], Slerp)
    else:
        mixes = [
            plan(r, ["model.layers.0.weight"], n_layers)["model.layers.0.weight"] for r in found
        ]
        assert {t.source for t in mixes[1].terms} == {"task/0", "task/1", "lang/0", "lang/2"}
        assert mixes[1].terms[0].coefficient == mixes[1].terms[1].coefficient
        one, total = (sum(term.coefficient for term in mix.terms) for mix in mixes)
        if method != "ties":  # its weights are relative to the largest
            assert total == pytest.approx(one, abs=1e-5)


@pytest.mark.slow
def test_unseen_ends_in_a_huge_space_with_few_models() -> None:
    """Without transition layers the weights' million values are one."""
    within = make_space(
        **EXTENDED | {"n_layers": 80, "non_layer": ("lang",)},
        b=(40, 40),
        u=(39, 40),
        t_b=(0, 0),
        t_u=(0, 0),
        shares=(0.0, 1.0, 1e-6),
    )
    found = 0
    while (point := within.unseen(found)) is not None:
        within.seen.add(at(within, point)[0])
        found += 1
    assert found == 12 + 4  # every pair with a task zone; every language side without one


@pytest.mark.slow
def test_a_study_of_such_recipes_is_reported_and_exported(tmp_path: Path) -> None:
    n_layers = 8
    within = make_space(**EXTENDED | {"n_lang": 2}, n_layers=n_layers)
    sources = ["base", *(f"{kind}/{i}" for kind in ("task", "lang") for i in range(2))]
    records = RecordsWriter.create(tmp_path / "s", StudyHead("s", {}))

    def run(recipe: Recipe, split: Any, accuracy: float) -> None:
        scores = {
            name: Score(value, value, value, 40, 40)
            for name, value in {"accuracy": accuracy, "lcpr": 0.9}.items()
        }
        name, told = key(recipe, n_layers), label(recipe, "te", n_layers)
        records.append(Record(0, name, split, "scored", "search", told, recipe, scores), [])

    for source in sources:
        run(Single(source), "search", 0.2)
    found = {key(r, n_layers): r for r, _ in proposed(within, 150)}
    found = {k: r for k, r in found.items() if isinstance(canonical(r, n_layers), LayerSwap)}
    for number, recipe in enumerate(found.values()):
        run(recipe, "search", 0.3 + number / 1000)
    best = max(
        (
            r
            for r in records.trials
            if isinstance(r.recipe, LayerSwap) and r.recipe.ramp == "linear"
        ),
        key=lambda r: isinstance(r.recipe.task, tuple) + isinstance(r.recipe.lang, tuple),
    )
    run(best.recipe, "search", 0.99)
    choice = best_swap(records.trials, n_layers, 0.02)
    assert choice is not None and choice.record.key == best.key
    rows = final_rows(records.trials, choice, within.default_recipe((0, 0)), sources, n_layers)
    for _, recipe in rows:
        run(recipe, "held_out", 0.5)
    told = comparison.build(records, rows, choice, family="f", lang="te", n_layers=n_layers)
    assert f"compared {len(found) + len(sources)} recipes" in " ".join(told.notes)
    assert any(line.record.label == choice.record.label for line in told.lines)
    drawn = figures.draw(
        records.trials,
        choice,
        within.default_recipe((0, 0)),
        tmp_path,
        family="f",
        lang="te",
        n_layers=n_layers,
    )
    assert [file.name for file in drawn] == ["pareto.png", "landscape.png"]
    labels = set()
    for recipe in found.values():
        labels.add(label(recipe, "te", n_layers))
        merged = plan(recipe, names(n_layers), n_layers)
        card = model_card(Merge("m", "f", "te", recipe, n_layers, merged, ()))
        assert label(recipe, "te", n_layers) in card
        models = {source: source for source in sources}
        text = mergekit_yaml(recipe, models, names(n_layers), n_layers, "BF16")
        used = {s for mix in merged.values() for s in mix.sources}
        assert all(f"model: {source}\n" in text for source in used)
        yaml.safe_load(text)
    assert len(labels) == len(found)
