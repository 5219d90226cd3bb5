"""The sampler that knows recipes, with real Optuna and records; only scores are made up."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from objectives.types import Score
from search.merging.layers import layers_of
from search.merging.recipe import Layered, LayerSwap, Recipe, Single, key
from search.merging.space.components import ComponentsForm
from search.merging.space.contract import MainSpace
from search.merging.space.layerwise import LayerwiseForm
from search.merging.space.rivals import RivalSpace
from search.merging.space.swap import make_space
from search.merging.space.wider import WiderSpace
from search.records.folder import JOURNAL
from search.records.head import StudyHead
from search.records.record import Record, State
from search.records.writer import RecordsWriter
from search.study.order import Candidate, Order
from search.study.proposing import model
from search.study.proposing.optuna_study import phase
from tests.schedules import schedule

L = 8
BASELINES = (Single("base"), Single("lang/0"), Single("lang/1"))
ITEMS = 100

Scores = Callable[[Recipe], tuple[float, float, State]]
"""Recipe -> accuracy, LCPR, state."""


def hill(recipe: Recipe) -> tuple[float, float, State]:
    """Best at b = 3, u = 1 without transitions, with the second language expert."""
    if not isinstance(recipe, LayerSwap):
        return 0.3, 0.9, "scored"
    away = abs(recipe.b - 3) + abs(recipe.u - 1) + 0.5 * (recipe.t_b + recipe.t_u)
    return max(0.05, 0.9 - 0.12 * away - 0.1 * (recipe.lang == 0)), 0.9, "scored"


class Search:
    """One driver's run on a study's folder: hands out and takes back, no engine."""

    def __init__(
        self,
        folder: Path,
        scores: Scores = hill,
        rival: str = "",
        space: MainSpace | None = None,
        **plan: Any,
    ) -> None:
        self.scores = scores
        there = (folder / "study.yaml").exists()
        self.records = (
            RecordsWriter.open(folder)
            if there
            else RecordsWriter.create(folder, StudyHead("s", {}))
        )
        self.schedule = schedule(**{"sampler": "gp", "trials": 30, "seed": 5, **plan})
        space = space or make_space(lang="te", n_layers=L, n_task=1, n_lang=2)
        within = RivalSpace(rival, "te", L, space.pairs, space.seen) if rival else space
        origin = rival or "search"
        first = () if rival else BASELINES
        phases = [phase(self.schedule, origin, self.schedule.trials, within, self.records, first)]
        self.study, self.within = phases[0].study, within
        self.order = Order(phases, self.records.trials, L, lambda: (), lag=self.schedule.lag)
        self.out: list[Candidate] = []
        self.proposed: dict[int, str] = {}

    def run(self, ends: int = 10**6, order: int = 0) -> dict[int, str]:
        """Let so many trials end, in an order that a seed draws; place -> key proposed there."""
        rng = random.Random(order)
        while True:
            while len(self.out) < (self.schedule.engines or 1):
                candidate = self.order.next()
                if candidate is None:
                    break
                assert candidate.place is not None
                self.proposed[candidate.place] = candidate.key
                self.out.append(candidate)
            if not self.out or ends == 0:
                return self.proposed
            self.end(self.out.pop(rng.randrange(len(self.out))))
            ends -= 1

    def end(self, candidate: Candidate) -> None:
        accuracy, lcpr, state = self.scores(candidate.recipe)
        shares = {"accuracy": accuracy, "lcpr": lcpr} if state == "scored" else {}
        record = Record(
            0,
            candidate.key,
            "search",
            state,
            candidate.origin,
            "",
            candidate.recipe,
            scores={n: Score(v, v, v, ITEMS, ITEMS) for n, v in shares.items()},
            place=candidate.place,
        )
        self.order.ended(candidate, self.records.append(record))

    def best(self) -> float:
        return max(r.value("accuracy") or 0.0 for r in self.records.trials)


@pytest.mark.slow
def test_it_climbs_the_hill(tmp_path: Path) -> None:
    search = Search(tmp_path / "s", trials=40)
    assert len(search.within.grid.all()) > 1000
    search.run()
    by_chance = Search(tmp_path / "random", trials=40, sampler="random")
    by_chance.run()
    assert search.best() >= 0.78 > by_chance.best() - 0.05


@pytest.mark.slow
def test_few_candidates_are_climbed_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a space too large to look at whole, it proposes what a look at the whole would."""
    monkeypatch.setattr(model, "MAX_ENUMERATED", 0)
    monkeypatch.setattr(model, "N_CANDIDATES", 20)
    monkeypatch.setattr(model, "N_INCUMBENTS", 1)
    found = []
    for climbs in (6, 0):
        monkeypatch.setattr(model, "MAX_CLIMBS", climbs)
        search = Search(tmp_path / str(climbs), trials=30)
        search.run()
        found.append(search.best())
    assert found[0] >= 0.78 > found[1]


@pytest.mark.slow
@pytest.mark.parametrize("engines", [1, 2])
@pytest.mark.parametrize("harm", ["", "journal"])
@pytest.mark.parametrize("cuts", [(9, 6, 1), (1, 0, 1, 1, 2, 1)], ids=["in it", "at its start"])
def test_a_resumed_study_proposes_what_an_undisturbed_one_would_have(
    tmp_path: Path, engines: int, harm: str, cuts: tuple[int, ...]
) -> None:
    whole = Search(tmp_path / "whole", engines=engines, trials=18).run(order=1)
    found: dict[int, str] = {}
    for number, ends in enumerate((*cuts, 10**6)):
        search = Search(tmp_path / "cut", engines=engines, trials=18)
        found |= search.run(ends, order=10 + number)  # what is out then is lost
        search.records.close()
        if harm:
            (tmp_path / "cut" / JOURNAL).unlink()
    assert found == whole
    assert len(set(whole.values())) == len(whole) == len(BASELINES) + 18


def test_a_proposal_is_made_on_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[int] = set()
    inner = model.ModelSampler._proposed

    def watched(self: Any, study: Any, trial: Any) -> dict[str, Any]:
        seen.update(p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas")
        return inner(self, study, trial)

    monkeypatch.setattr(model.ModelSampler, "_proposed", watched)
    model._libraries.cache_clear()  # other tests have loaded libraries since
    with threadpool_limits(limits=2, user_api="blas"):
        Search(tmp_path / "s", trials=3).run()
        after = {p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"}
    assert seen == {1} and after == {2}


@pytest.mark.slow
def test_the_order_of_ends_does_not_matter(tmp_path: Path) -> None:
    plan = {"engines": 3, "trials": 16}
    runs = [Search(tmp_path / str(i), **plan).run(order=i) for i in range(3)]
    assert runs[0] == runs[1] == runs[2]
    other = Search(tmp_path / "seed", **plan, seed=6).run()
    assert other != runs[0]


@pytest.mark.slow
def test_what_cannot_keep_its_language_is_left_alone(tmp_path: Path) -> None:
    def confused(recipe: Recipe) -> tuple[float, float, State]:
        accuracy, lcpr, state = hill(recipe)
        far = isinstance(recipe, LayerSwap) and recipe.u + recipe.t_u < 2
        return accuracy, 0.2 if far else lcpr, state

    search = Search(tmp_path / "s", confused, trials=40)
    search.run()
    swaps = [r for r in search.records.trials if isinstance(r.recipe, LayerSwap)]
    late = swaps[20:]
    kept = [r for r in late if (r.value("lcpr") or 0) > 0.8]
    assert len(kept) > 0.75 * len(late)
    best = max(
        (r for r in swaps if (r.value("lcpr") or 0) > 0.8), key=lambda r: r.value("accuracy") or 0
    )
    assert best.value("accuracy") == pytest.approx(0.9 - 0.12 * 1, abs=0.07)


@pytest.mark.slow
def test_infeasible_and_failed_recipes_are_no_scores(tmp_path: Path) -> None:
    def broken(recipe: Recipe) -> tuple[float, float, State]:
        if isinstance(recipe, LayerSwap) and recipe.b > 3:
            return 0.0, 0.0, "infeasible"
        if isinstance(recipe, LayerSwap) and recipe.t_b == 1 and recipe.t_u == 1:
            return 0.0, 0.0, "failed"
        return hill(recipe)

    search = Search(tmp_path / "s", broken, trials=40)
    search.run()
    late = [r for r in search.records.trials if isinstance(r.recipe, LayerSwap)][15:]
    assert sum(r.state == "infeasible" for r in late) < 0.3 * len(late)
    assert search.best() >= 0.78


@pytest.mark.slow
def test_both_targets_where_the_front_is_wanted(tmp_path: Path) -> None:
    def trade(recipe: Recipe) -> tuple[float, float, State]:
        if not isinstance(recipe, LayerSwap):
            return 0.1, 0.5, "scored"
        return 0.9 - 0.1 * recipe.b, 0.3 + 0.1 * recipe.b, "scored"

    search = Search(tmp_path / "s", trade, trials=25, sampler="gp_pareto")
    search.run()
    swaps = [r.recipe for r in search.records.trials if isinstance(r.recipe, LayerSwap)]
    assert {swap.b for swap in swaps} == {0, 1, 2, 3, 4}


def test_a_rival_is_searched_in_the_same_way(tmp_path: Path) -> None:
    def dense(recipe: Recipe) -> tuple[float, float, State]:
        density, scale = getattr(recipe, "density", 0), getattr(recipe, "scale", 0)
        return 0.8 - 0.5 * abs(density - 0.7) - 0.3 * abs(scale - 1.0), 0.1, "scored"

    search = Search(tmp_path / "s", dense, rival="ties", trials=30)
    search.run()
    assert search.best() > 0.78


def test_no_recipe_twice_and_an_end_where_all_are_known(tmp_path: Path) -> None:
    search = Search(tmp_path / "s", rival="soup", trials=100)
    found = search.run()
    assert len(found) == len(set(found.values())) == 2 * 9


def test_a_long_study_is_known_by_its_best_and_its_latest() -> None:
    recipes = [LayerSwap(0, 0, i % 4, i % 3, 0, 0) for i in range(1000)]
    records = [
        Record(i, key(r, L), "search", "scored", "search", "", r, place=i,
               scores={"accuracy": Score(i % 97 / 97, 0, 1, 50, 50)})
        for i, r in enumerate(recipes)
    ]  # fmt: skip
    codes = np.arange(1000)[:, None]
    kept = model.subsample(model.Observations(codes, records), model.targets.TARGETS[0])
    places = [r.place for r in kept.records]
    assert len(places) == model.MAX_OBSERVATIONS
    latest = 1000 - model.MAX_OBSERVATIONS // 2
    assert places == sorted(places) and places[-model.MAX_OBSERVATIONS // 2 :] == list(
        range(latest, 1000)
    )
    older = kept.records[: -model.MAX_OBSERVATIONS // 2]
    left = [r for r in records[:latest] if r not in older]
    assert min(r.value("accuracy") or 0 for r in older) >= max(
        r.value("accuracy") or 0 for r in left
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["components", "layerwise"])
def test_it_searches_a_wider_form(tmp_path: Path, form: str) -> None:
    search = Search(tmp_path / "s", taken, space=wider(form), trials=30)
    search.run()
    by_chance = Search(tmp_path / "r", taken, space=wider(form), trials=30, sampler="random")
    by_chance.run()
    own = [r for r in search.records.trials if r.origin == "search"]
    assert len({record.key for record in own}) == 30
    assert search.best() > by_chance.best()


def wider(form: str) -> MainSpace:
    swaps = make_space(lang="te", n_layers=L, n_task=1, n_lang=2, shares=(0.0, 1.0, 0.5))
    forms = {"components": ComponentsForm(swaps), "layerwise": LayerwiseForm(swaps, L)}
    return WiderSpace(forms[form])


def taken(recipe: Recipe) -> tuple[float, float, State]:
    """Best where the lowest two layers and nothing else are the language expert's."""
    if not isinstance(recipe, Layered):
        return 0.3, 0.9, "scored"
    layers = layers_of(recipe, L)
    shares = [
        sum(term.coefficient for term in mix.terms if term.source.startswith("lang"))
        for mixes in (layers.each, layers.attention)
        for mix in mixes
    ]
    away = sum(abs(share - (i % L < 2)) for i, share in enumerate(shares)) / len(shares)
    return max(0.05, 0.95 - 2 * away), 0.9, "scored"
