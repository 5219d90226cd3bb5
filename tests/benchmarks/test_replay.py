"""A replayed search, on a small made-up landscape and on those that are shipped."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import optuna
import pytest

from benchmarks.landscape.packed import Landscape
from benchmarks.search_quality.replay import CLOCKS, Clock, Field, replay
from benchmarks.search_quality.rows import as_tsv, from_tsv, rows
from benchmarks.search_quality.runs import Task, chosen, field, interval, run
from objectives.types import Split
from search.merging.recipe import key, to_dict
from search.merging.space.swap import make_space
from search.study.proposing.sampler import make_sampler
from search.study.race import Rules
from tests.schedules import schedule

optuna.logging.set_verbosity(optuna.logging.ERROR)


@functools.cache
def made_up(items: int = 60) -> Field:
    """Every zone of every Telugu pair; best at b = 2, u = 1 without transitions."""
    space = make_space(lang="te", n_layers=10, n_task=3, n_lang=3, shares=(0.5, 0.5, 0.1))
    recipes = list({key(r, 10): r for r in space.recipes()}.values())
    rng = np.random.default_rng(0)
    away = np.array([abs(r.b - 2) + abs(r.u - 1) + 0.3 * (r.t_b + r.t_u) for r in recipes])
    ability = np.clip(0.9 - 0.12 * away, 0.05, 1)[:, None]
    sizes = {"search": items, "held_out": 4 * items}
    verdicts = {
        f"mgsm.{split}.correct": rng.random((len(recipes), n)) < ability
        for split, n in sizes.items()
    }
    tokens = {
        f"mgsm.{split}": np.full((len(recipes), n), 50, dtype=np.uint16)
        for split, n in sizes.items()
    }
    keys = tuple(key(r, 10) for r in recipes)
    seconds = np.ones(len(recipes), dtype=np.float32)
    return Field(Landscape("te", keys, tuple(map(to_dict, recipes)), verdicts, tokens, seconds))


def make(schedule: Any, study: Any, space: Any, trials: Any) -> Any:
    return make_sampler(schedule, study, space, trials, ())


@pytest.mark.parametrize("sampler", ["gp", "tpe", "nsga2", "random"])
def test_every_trial_is_another_recorded_recipe(sampler: str) -> None:
    found = replay(made_up(), make, schedule(trials=25, sampler=sampler))
    assert len({record.key for record in found.trials}) == 25
    for record in found.trials:
        assert record.value("accuracy") == pytest.approx(
            made_up().search[made_up().row[record.key]]
        )
    assert found.items == [60 * (i + 1) for i in range(25)]


def test_several_engines_take_less_time_and_the_same_answers() -> None:
    one = replay(made_up(), make, schedule(trials=24, sampler="random"), CLOCKS["gpu"])
    eight = replay(made_up(), make, schedule(trials=24, sampler="random", engines=8), CLOCKS["gpu"])
    assert eight.items[-1] == one.items[-1]
    assert one.ends[-1] / 8 <= eight.ends[-1] < one.ends[-1] / 5
    assert eight.ends == sorted(eight.ends)


def test_the_clock_counts_steps_and_tokens() -> None:
    clock = Clock(step=1.0, token=0.01, start=5.0, batch=4)
    tokens = np.array([10, 10, 10, 30], dtype=np.uint16)
    assert clock.seconds(tokens) == pytest.approx(5 + 30 + 0.6)
    assert clock.seconds(np.tile(tokens, 2)) == pytest.approx(5 + 2 * 30 + 1.2)


@pytest.mark.slow
def test_a_race_stops_the_hopeless_and_recommends_none_of_them() -> None:
    rules = Rules((0.5, 0.75), 0.1)
    whole = replay(made_up(), make, schedule(trials=40, sampler="gp"))
    raced = replay(made_up(), make, schedule(trials=40, sampler="gp"), CLOCKS["laptop"], rules)
    stopped = [r for r in raced.trials if r.state == "stopped"]
    assert stopped and raced.items[-1] < 0.8 * whole.items[-1]
    for record in stopped:
        assert record.stopped is not None and record.stopped.chance < 0.1
        assert record.stopped.items == record.scores["accuracy"].n_total in (30, 45)
    assert set(chosen(raced.trials)).isdisjoint(record.key for record in stopped)


def test_a_search_is_the_same_again() -> None:
    plan = schedule(trials=20, sampler="gp", engines=2, seed=3)
    one, other = (replay(made_up(), make, plan) for _ in range(2))
    assert [r.key for r in one.trials] == [r.key for r in other.trials]
    assert one.ends == other.ends


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["te", "sw"])
def test_rows_of_a_table(lang: str) -> None:
    trajectories = [run(Task(lang, "random", "random", seed, 20, 1, "laptop")) for seed in range(3)]
    found = rows(trajectories)
    assert [(row[0], row[1], row[2]) for row in found] == [(lang, "random", n) for n in (10, 20)]
    head, *lines = as_tsv(found)
    assert head.split("\t") == ["lang", "sampler", "trials", "held_out", "low", "high"]
    for row, text in zip(found, lines, strict=True):
        assert from_tsv(text)[:3] == row[:3]
        mean, low, high = from_tsv(text)[3:]
        assert 0 < low <= mean <= high < 100


def test_the_interval_is_of_the_mean() -> None:
    drawn = np.random.default_rng(0).normal(0.8, 0.1, 100)
    mean, low, high = interval(drawn)
    assert mean == pytest.approx(drawn.mean())
    assert high - mean == pytest.approx(mean - low) == pytest.approx(0.0196, rel=0.2)


def test_items_are_drawn_anew_from_all_of_them() -> None:
    land = field("te")
    drawn = land.drawn(3)
    splits: tuple[Split, ...] = ("search", "held_out")
    for split in splits:
        assert drawn.recorded.right(split).shape == land.recorded.right(split).shape
    totals = [sum(f.recorded.right(s).sum(axis=1) for s in splits) for f in (land, drawn)]
    assert (totals[0] == totals[1]).all()
    assert (drawn.search == land.drawn(3).search).all()
    assert (drawn.search != land.search).any() and (drawn.search != land.drawn(4).search).any()
    assert drawn.pairs == land.pairs and drawn.best == drawn.held_out[drawn.in_space].max()
