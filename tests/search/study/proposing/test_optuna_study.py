"""Optuna's storage is not the truth: whatever became of it, it knows at the start what is recorded.

Real Optuna, driven by hand as in `test_searcher`.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from search.merging.recipe import LayerSwap, Recipe, Single, clip, key, to_dict
from search.merging.space.proposal import BASELINE
from search.merging.space.rivals import RivalSpace
from search.merging.space.swap import Space, make_space
from search.records.folder import JOURNAL
from search.records.head import StudyHead
from search.records.reader import RecordsReader
from search.records.record import Record
from search.records.writer import RecordsWriter
from search.study.proposing.optuna_study import phase
from search.study.proposing.phase import Phase
from tests.schedules import schedule
from tests.search.study.test_dispatcher import Bench, L, outcome

BASELINES = (Single("base"), Single("task/0"))
RIVALS = {"ties": 3}


class Study(Bench):
    """A searcher whose phases are those of the main job."""

    def __init__(self, folder: Path, storage: str | None = None, **kwargs: Any) -> None:
        self.storage = storage
        space = make_space(lang="te", n_layers=L, n_task=1, n_lang=1)
        super().__init__(folder, **({"baselines": (), "space": space, "rivals": RIVALS} | kwargs))

    def phase(self, origin: str, space: Space | RivalSpace, trials: int) -> Phase:
        return make_phase(self.records, origin, space, trials, self.storage)

    def end(self, n: int) -> list[Recipe]:
        """Let so many trials end, some of them not scored."""
        found = []
        for number in range(n):
            name, recipe, _ = self.ask() or pytest.fail("nothing proposed")
            found.append(recipe)
            bad = outcome(state="infeasible", reason="NaN", scores={})
            ended = bad if number % 5 == 4 else outcome(number / 100)
            self.searcher.on_trial_complete(name, {"outcome": ended})
        return found


def make_phase(
    records: RecordsWriter,
    origin: str,
    space: Space | RivalSpace,
    trials: int = 10,
    storage: str | None = None,
    sampler: str = "random",
) -> Phase:
    plan = schedule(trials=trials, sampler=sampler, startup_trials=5, storage=storage)
    return phase(plan, origin, trials, space, records, BASELINES if origin == "search" else ())


def ended(study: optuna.Study) -> dict[str, tuple[TrialState, list[float] | None]]:
    """Key -> how it ended for Optuna; repetitions left out."""
    return {
        trial.user_attrs["key"]: (trial.state, trial.values)
        for trial in study.get_trials(states=(TrialState.COMPLETE, TrialState.FAIL))
        if not trial.user_attrs["repeated"]
    }


def recorded(
    records: RecordsReader, *origins: str
) -> dict[str, tuple[TrialState, list[float] | None]]:
    found: dict[str, tuple[TrialState, list[float] | None]] = {}
    for record in records.ended("search").values():
        if record.origin in origins:
            value = record.value("accuracy")
            scored = record.state == "scored" and value is not None
            state = TrialState.COMPLETE if scored else TrialState.FAIL
            found[record.key] = (state, [value, value] if scored else None)  # type: ignore[list-item]
    return found


def _lose(file: Path, early: Path) -> None:
    file.unlink()


def _go_back(file: Path, early: Path) -> None:
    shutil.copy(early, file)


def _empty(file: Path, early: Path) -> None:
    file.write_bytes(b"")


def _cut(file: Path, early: Path) -> None:
    file.write_bytes(file.read_bytes()[:-30])


def _break(file: Path, early: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2] + b"\nnonsense\n" + data[len(data) // 2 :])


HARMS = [
    (None, _lose),
    (None, _go_back),
    (None, _empty),
    (None, _cut),
    (None, _break),
    ("sqlite:///{folder}/optuna.db", _lose),
    ("sqlite:///{folder}/optuna.db", _go_back),
]


@pytest.mark.slow
@pytest.mark.parametrize(("storage", "harm"), HARMS)
def test_a_harmed_storage_is_brought_in_line(
    tmp_path: Path, storage: str | None, harm: Callable[[Path, Path], None]
) -> None:
    url = storage and storage.format(folder=tmp_path)
    file = tmp_path / "optuna.db" if url else tmp_path / "s" / JOURNAL
    first = Study(tmp_path / "s", url, trials=7)
    first.end(4)
    shutil.copy(file, tmp_path / "early")
    first.end(7)  # the baselines, the search, two of the three rivals
    assert Counter(r.origin for r in first.records.trials) == {
        "baseline": 2,
        "search": 7,
        "ties": 2,
    }
    before = list(first.records.trials)
    first.records.close()
    harm(file, tmp_path / "early")

    second = Study(tmp_path / "s", url, trials=7)
    search, ties = second.phases
    assert ended(search.study) == recorded(second.records, "search", "baseline")
    assert ended(ties.study) == recorded(second.records, "ties")
    for trial in (*search.study.trials, *ties.study.trials):
        assert trial.user_attrs.get("baseline") or trial.params["pair"] == "0-0"
    second.run()
    trials = second.records.trials
    assert trials[: len(before)] == before
    assert len({(r.key, r.split) for r in trials}) == len(trials)
    counts = Counter(r.origin for r in trials)
    assert counts == {"baseline": 2, "search": 7, "ties": 3, "final": 2}
    second.records.close()


def test_parameters_are_those_of_the_recipe(tmp_path: Path) -> None:
    first = Study(tmp_path / "s", trials=40, rivals={})
    first.end(42)
    first.records.close()
    (tmp_path / "s" / JOURNAL).unlink()
    second = Study(tmp_path / "s", trials=40, rivals={})
    recipes = {r.key: r.recipe for r in second.records.trials}
    for trial in second.study.trials:
        if "baseline" in trial.user_attrs:
            continue
        params = {"w_lang": 0.5} | trial.params
        share, counts = params["w_lang"], [params[name] for name in ("b", "u", "t_b", "t_u")]
        told = clip(LayerSwap(0, 0, *counts, w_task=1 - share, w_lang=share), L)
        assert key(told, L) == key(recipes[trial.user_attrs["key"]], L)
        assert set(trial.distributions) == set(trial.params)


def test_no_sampler_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Study(tmp_path / "s", trials=12)
    first.end(12)
    first.records.close()
    (tmp_path / "s" / JOURNAL).unlink()
    for name in ("sample_relative", "sample_independent"):
        monkeypatch.setattr(
            optuna.samplers.TPESampler, name, lambda *_, **__: pytest.fail("sampled")
        )
    records = RecordsWriter.open(tmp_path / "s")
    space = make_space(lang="te", n_layers=L, n_task=1, n_lang=1)
    made = make_phase(records, "search", space, sampler="tpe")
    assert len(ended(made.study)) == 12


def test_recorded_but_not_told_is_told(tmp_path: Path) -> None:
    first = Study(tmp_path / "s", engines=None, trials=10)
    asked = [first.ask() or pytest.fail("nothing proposed") for _ in range(5)]
    _, recipe, _ = asked[3]
    scores = outcome(0.25).scores
    first.records.append(
        Record(0, key(recipe, L), "search", "scored", "search", "x", recipe, scores=scores)
    )
    first.records.close()
    second = Study(tmp_path / "s", trials=10)
    assert ended(second.study)[key(recipe, L)] == (TrialState.COMPLETE, [0.25, 0.25])
    again = second.end(4)
    assert {key(r, L) for r in again} == {key(r, L) for _, r, _ in asked} - {key(recipe, L)}


def test_resumed_many_times_nothing_waits_twice(tmp_path: Path) -> None:
    keys = None
    for _ in range(3):
        study = Study(tmp_path / "s", engines=None, trials=10)
        waiting = list(study.phases[0].queue)
        asked = [study.ask() or pytest.fail("nothing proposed") for _ in range(6)]
        found = [key(recipe, L) for _, recipe, _ in asked]
        assert len(set(found)) == 6
        if keys is not None:
            assert len(waiting) == 6 and set(found) == keys
        keys = set(found)
        study.records.close()


def test_imported_recipes_follow_the_default_ones(tmp_path: Path) -> None:
    wanted = LayerSwap(0, 0, 1, 0, 1, 1, 0.7, 0.3)
    entry = {"from": "k", "label": "x", "recipe": to_dict(wanted)}
    head = replace(StudyHead("s", {}), imported={"recipes": [entry]})
    RecordsWriter.create(tmp_path / "s", head).close()
    study = Study(tmp_path / "s", trials=10)
    found = study.end(4)
    assert found[:2] == list(BASELINES)
    assert key(found[3], L) == key(wanted, L) != key(found[2], L)


@pytest.mark.slow
def test_studies_of_one_name_in_one_database_stay_two(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    one, two = (Study(tmp_path / name, url, trials=4) for name in ("one", "two"))
    one.end(5)
    assert not ended(two.study) and len(ended(one.study)) == 5


def test_a_baseline_under_way_is_scored_after_a_crash_though_the_budget_is_used_up(
    tmp_path: Path,
) -> None:
    first = Study(tmp_path / "s", engines=2, trials=3, rivals={})
    _, slow, _ = first.ask() or pytest.fail("nothing proposed")
    first.end(len(BASELINES) - 1 + 3)
    assert first.ask() is None
    first.records.close()
    second = Study(tmp_path / "s", engines=2, trials=3, rivals={})
    second.run()
    assert second.dispatcher.finished
    assert key(slow, L) in second.records.ended("search")
    assert sum(r.origin == "search" for r in second.records.trials) == 3


def test_what_somebody_enqueued_is_proposed_after_what_was_lost(tmp_path: Path) -> None:
    """And what a driver enqueued that was killed before it was proposed, in its old place."""
    first = Study(tmp_path / "s", trials=10)
    first.ask()  # a baseline
    first.study.enqueue_trial({}, user_attrs={BASELINE: json.dumps(to_dict(BASELINES[1]))})
    point = {"pair": "0-0", "b": 1, "u": 1, "t_b": 0, "t_u": 0}
    first.study.enqueue_trial(point)
    first.records.close()
    second = Study(tmp_path / "s", engines=None, trials=10)
    found = [second.ask() or pytest.fail("nothing proposed") for _ in range(4)]
    swap = clip(LayerSwap(0, 0, 1, 1, 0, 0), L)
    assert [recipe for _, recipe, _ in found[:2]] == list(BASELINES)
    assert key(found[3][1], L) == key(swap, L)  # found[2] is the space's default
    assert not second.study.get_trials(states=(TrialState.WAITING,))
