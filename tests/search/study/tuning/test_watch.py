"""How long a trial may take, and where it may run; what Ray does with it is in tests/faults."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from ray.tune.experiment import Trial

from search.study.tuning.waiting import Waiting
from search.study.tuning.watch import (
    FLOOR_SECONDS,
    LONG,
    PATIENCE_SECONDS,
    Watch,
    Working,
    placement,
)
from tests.schedules import schedule
from tests.search.study.tuning.test_waiting import controller


def watch(
    trial_timeout: float | None = None, cpus_per_engine: float = 1, gpus_per_engine: float = 0
) -> Watch:
    return Watch(
        schedule(
            trial_timeout=trial_timeout,
            cpus_per_engine=cpus_per_engine,
            gpus_per_engine=gpus_per_engine,
        )
    )


@pytest.mark.parametrize(
    ("seconds", "timeout", "limit"),
    [
        ([], None, FLOOR_SECONDS),
        ([5.0, 60.0, 70.0], None, FLOOR_SECONDS),
        ([900.0, 1000.0, 4000.0], None, LONG * 1000.0),
        ([900.0, 1000.0, 4000.0], 77.0, 77.0),
    ],
)
def test_limit_follows_the_trials_before(
    seconds: list[float], timeout: float | None, limit: float
) -> None:
    found = watch(timeout)
    found._seconds.extend(seconds)
    assert found.limit() == limit


def test_new_trials_keep_off_nodes_that_are_left_out() -> None:
    found = watch()
    found.exclude("a")
    found.exclude("b")
    away = placement(2, 1, found.excluded_nodes)
    assert away == placement(2, 1, ("a", "b")) != placement(2, 1, ())
    selector = away._bound.kwargs["bundle_label_selector"]
    assert selector == [{"ray.io/node-id": "!in(a,b)"}]
    assert away.bundles == placement(2, 1, ()).bundles == [{"CPU": 2.0, "GPU": 1.0}]


def test_nothing_is_known_of_a_trial_that_never_began() -> None:
    assert watch().actor_exit("x", True).node is None


def test_the_clock_starts_when_the_experts_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node may take an hour to fetch them, while its other engines wait."""
    found, killed, ready = watch(trial_timeout=5.0), list[object](), list[object]()
    monkeypatch.setattr(
        "search.study.tuning.watch.resources", lambda excluded_nodes=(): [{"CPU": 4.0}]
    )
    monkeypatch.setattr(found, "dead", lambda: set())
    monkeypatch.setattr("ray.kill", killed.append)
    monkeypatch.setattr("ray.wait", lambda refs, timeout: ([r for r in refs if r in ready], []))
    long_ago = time.monotonic() - 4000
    found._working = {
        "fetching": Working(None, "a", None, "reference", long_ago),
        "working": Working(None, "b", None, None, long_ago),
    }
    found.on_step_begin(0, [])
    assert killed == ["b"]
    ready.append("reference")
    found._looked = 0.0
    found.on_step_begin(0, [])
    assert killed == ["b"] and found._working["fetching"].fetch is None
    found._working["fetching"].began -= 10
    found._looked = 0.0
    found.on_step_begin(0, [])
    assert killed == ["b", "a"]


def test_a_search_that_no_node_has_room_for_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    found = watch()
    monkeypatch.setattr("search.study.tuning.watch.resources", lambda excluded_nodes=(): [])
    monkeypatch.setattr(found, "dead", lambda: set())
    found.on_step_begin(0, [])
    assert not found.stopping
    found._busy -= PATIENCE_SECONDS + 1
    found._looked = 0.0
    found.on_step_begin(0, [])
    assert found.stopping and "no node has had room for an engine for 1800 s" in str(found.fault)


def test_places_are_engines_that_whole_nodes_have_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"CPU": 4.0, "GPU": 2.0}, {"CPU": 1.0}, {"CPU": 0.5, "GPU": 8.0}, {"GPU": 1.0}]
    monkeypatch.setattr("search.study.tuning.watch.resources", lambda excluded_nodes=(): nodes)
    assert watch().slots() == 5
    assert watch(gpus_per_engine=1).slots() == 2
    assert watch(gpus_per_engine=2).slots() == 1
    assert watch(cpus_per_engine=0.1).slots() == 55
    assert not watch(gpus_per_engine=4).has_room()


@pytest.mark.parametrize(("working", "takes"), [(0, "newest"), (1, "newest"), (2, "oldest")])
def test_a_free_engine_leaves_those_alone_that_are_about_to_get_one(
    working: int, takes: str
) -> None:
    """Of three slots, that of the free engine and those at work have one."""
    found = watch()
    found._slots = 3
    found._working = {str(number): Working(None, None, None) for number in range(working)}
    states = [Trial.RUNNING, Trial.PENDING, Trial.PENDING, Trial.PENDING, Trial.TERMINATED]
    trials = [SimpleNamespace(status=state) for state in states]
    chosen = Waiting(found).choose_trial_to_run(controller(trials))
    assert chosen is trials[{"oldest": 1, "newest": 3}[takes]]
    assert Waiting(found).choose_trial_to_run(controller(trials[:1])) is None


def test_of_an_ended_trial_tune_keeps_no_answer_and_no_average() -> None:
    trial = Trial("any", stub=True)
    trial.update_last_result({"outcome": "answers", "done": True, "time_total_s": 1.5})
    assert trial.metric_analysis
    trials = [trial]
    watch().on_trial_complete(0, trials, trial)
    assert not trials
    assert not trial.run_metadata.last_result and not trial.metric_analysis
    assert not trial.run_metadata.metric_n_steps


def test_the_state_of_each_engine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    found = Watch(schedule(engines=4), tell=told.append)
    monkeypatch.setattr(
        "search.study.tuning.watch.resources", lambda excluded_nodes=(): [{"CPU": 8.0}]
    )
    monkeypatch.setattr(found, "dead", lambda: set())
    monkeypatch.setattr("ray.wait", lambda refs, timeout: ([], []))
    monkeypatch.setattr("ray.get", lambda ref: ref)
    found._working = {"x": Working(None, "a", None), "y": Working(None, "b", None, "reference")}
    found.on_step_begin(0, [])
    assert told[-1] == {"fetching experts": 1, "starting": 1, "working": 0, "free": 2}
    found.actor_exit("x", reported=True)
    found._working["z"] = Working(None, "a", None)
    found._looked = 0.0
    found.on_step_begin(0, [])
    assert told[-1] == {"fetching experts": 1, "starting": 0, "working": 1, "free": 2}
