"""A method is one module of fifty lines and one line of the registry: see `clipped`."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest
import torch

from search.common.errors import ConfigError, RecipeError
from search.config.compose import load
from search.export.mergekit_yaml import has_mergekit_form, mergekit_yaml
from search.export.model_card import Ingredient, Merge, model_card
from search.merging.arithmetic import combine, is_elementwise
from search.merging.methods.registry import METHODS
from search.merging.plan import Mix, plan
from search.merging.recipe import (
    canonical,
    from_dict,
    key,
    label,
    sources_of,
    to_dict,
    validate,
)
from search.merging.space.rivals import RivalSpace
from search.merging.space.swap import make_space
from search.records.record import Record
from search.results.choose import final_rows, rival_roles
from tests.search.merging.methods import clipped
from tests.search.merging.methods.clipped import Clipped
from tests.search.merging.test_plan import names
from tests.search.results.test_choose import trial

L = 4
PAIR = ("lang/1", "task/0")
RECIPE = Clipped(PAIR, 0.1)
BUDGET = ["search.baselines={clipped: 3}"]
FLAGS = {"lang": "te", "objective.lcpr.data_dir": "lcb", "objective.mgsm.data_dir": "mgsm"}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "clipped", clipped.METHOD)


def test_it_is_short() -> None:
    assert len(Path(clipped.__file__).read_text("utf-8").splitlines()) <= 50


def test_validated() -> None:
    validate(RECIPE, L)
    for limit in (-1.0, 0.0, float("nan"), float("inf")):
        message = rf"'base' is not task/<i> or lang/<i>; limit = {limit} is not in \[1e-06, 1\]"
        with pytest.raises(RecipeError, match=message):
            validate(Clipped(("base",), limit), L)


def test_canonical_form_key_and_label() -> None:
    assert canonical(Clipped(PAIR[::-1], 0.10000001), L) == RECIPE
    assert key(Clipped(PAIR[::-1], 0.1), L) == key(RECIPE, L) != key(Clipped(PAIR, 0.2), L)
    assert label(RECIPE, "te", L) == "te clipped lang/1 task/0 at.10"
    assert sources_of(RECIPE) == PAIR


def test_json_and_record() -> None:
    data = json.loads(json.dumps(to_dict(RECIPE)))
    assert data == {"kind": "clipped", "experts": list(PAIR), "limit": 0.1}
    assert from_dict(data) == RECIPE
    record = trial(RECIPE, 0.5, 0.9, origin="clipped")
    assert Record.from_json(record.to_json()) == record


def test_planned_and_merged() -> None:
    mix = plan(RECIPE, names(L), L)["model.norm.weight"]
    assert mix.sources == ("base", *PAIR) and Mix.of(list(mix.plain())) == mix
    assert not is_elementwise(mix)
    tensors = {"base": torch.ones(2), "lang/1": torch.tensor([1.02, 9.0]), "task/0": torch.zeros(2)}
    merged = combine(mix, tensors, "model.norm.weight")
    torch.testing.assert_close(merged, torch.tensor([0.92, 1.0]))


def test_exported_without_mergekit() -> None:
    merged = plan(RECIPE, names(L), L)
    parts = [Ingredient(source, "org/x", "", "mit", {}) for source in ("base", *PAIR)]
    card = model_card(Merge("out", "my", "te", RECIPE, L, merged, parts))
    assert "| 0 to 3 | clipped at 0.1 |" in card and "mergekit" not in card
    assert not has_mergekit_form(merged)
    with pytest.raises(RecipeError, match=r"clipped lang/1 .*: mergekit has no method 'clipped'"):
        mergekit_yaml(RECIPE, {}, names(L), L, "BF16")


def test_searched_as_a_rival() -> None:
    space = RivalSpace("clipped", "te", L, ((0, 1), (0, 0)))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    found = {space(study.ask())["key"] for _ in range(40)}
    assert found == {
        key(Clipped(("task/0", f"lang/{i}"), x), L) for i in (0, 1) for x in (0.01, 0.1)
    }
    assert space.point(RECIPE) == {"pair": "0-1", "limit": 0.1}


def test_given_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(BUDGET, FLAGS).search.baselines["clipped"] == 3
    monkeypatch.delitem(METHODS, "clipped")
    with pytest.raises(ConfigError, match=r"baselines.clipped.*allowed are 'soup', 'task_arith"):
        load(BUDGET, FLAGS)


def test_has_a_role_in_the_final_table() -> None:
    assert rival_roles()["clipped"] == "best clipped"
    records = [trial(Clipped(PAIR, x), x, 0.9, origin="clipped") for x in (0.2, 0.8, 0.5)]
    default = make_space(lang="te", n_layers=L, n_task=1, n_lang=1).default_recipe((0, 0))
    found = final_rows(records, None, default, ["base"], L)
    rows = {role: recipe for roles, recipe in found for role in roles}
    assert rows["best clipped"] == Clipped(PAIR, 0.8)
