"""Which waiting trial a free engine takes, and that it waits where there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray.tune.utils.object_cache import _ObjectCache

from search.study.tuning.waiting import Waiting


def controller(trials: list[Any]) -> Any:
    """Tune's controller, as a scheduler sees it."""
    inner = SimpleNamespace(_actor_cache=_ObjectCache())
    return SimpleNamespace(get_trials=lambda: trials, _tune_controller=inner)


@pytest.mark.parametrize(
    ("statuses", "starts", "taken"),
    [
        ("PPP", False, 0),
        ("PPP", True, 2),
        ("RPRP", False, 1),
        ("RPRP", True, 3),
        ("RR", False, None),
        ("", True, None),
    ],
)
def test_oldest_but_not_one_whose_engine_starts(
    statuses: str, starts: bool, taken: int | None
) -> None:
    names = {"P": Trial.PENDING, "R": Trial.RUNNING}
    trials = [SimpleNamespace(status=names[status]) for status in statuses]
    watch: Any = SimpleNamespace(engine_starts=lambda: starts, placement=lambda: "here")
    found = Waiting(watch).choose_trial_to_run(controller(trials))
    assert found is (None if taken is None else trials[taken])


def test_engines_wait_until_the_nodes_to_keep_off_are_others() -> None:
    """Those of the old slots go then: they would hold what the new ones need."""
    watch: Any = SimpleNamespace(engine_starts=lambda: False, placement=lambda: "old")
    waiting, tune = Waiting(watch), controller([])
    cache = tune._tune_controller._actor_cache
    for _ in range(2):
        waiting.choose_trial_to_run(tune)
        assert all(cache.cache_object("old", number) for number in range(3))
        assert not list(cache.flush_cached_objects())
    watch.placement = lambda: "new"
    waiting.choose_trial_to_run(tune)
    assert cache.cache_object("new", "n") and list(cache.flush_cached_objects()) == [0, 1, 2] * 2
