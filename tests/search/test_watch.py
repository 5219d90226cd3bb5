"""How long a trial may take, and where it may run; what Ray does with it is in tests/faults."""

from __future__ import annotations

import pytest

from search.schedule import Schedule
from search.watch import FLOOR_SECONDS, LONG, Watch, placement


def watch(trial_timeout: float | None = None) -> Watch:
    return Watch(
        Schedule(
            name="s",
            trials=1,
            baselines={},
            seed=0,
            sampler="tpe",
            startup_trials=1,
            engines=1,
            cpus_per_engine=1,
            gpus_per_engine=0,
            address=None,
            storage=None,
            trial_timeout=trial_timeout,
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
    found.leave_out("a")
    found.leave_out("b")
    away = placement(2, 1, found.without)
    assert away == placement(2, 1, ("a", "b")) != placement(2, 1, ())
    selector = away._bound.kwargs["bundle_label_selector"]
    assert selector == [{"ray.io/node-id": "!in(a,b)"}]
    assert away.bundles == placement(2, 1, ()).bundles == [{"CPU": 2.0, "GPU": 1.0}]


def test_nothing_is_known_of_a_trial_that_never_began() -> None:
    assert watch().left("x").node is None
