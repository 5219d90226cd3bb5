"""How far back a proposal looks, by the number of engines and what the user says."""

from __future__ import annotations

import pytest

from search.study.schedule import REPRODUCIBLE, Schedule


@pytest.mark.parametrize(
    ("engines", "reproducible", "lag"),
    [
        (1, None, 1),
        (REPRODUCIBLE, None, 2 * REPRODUCIBLE),
        (REPRODUCIBLE + 1, None, 0),
        (REPRODUCIBLE + 1, True, 2 * REPRODUCIBLE + 2),
        (2, True, 4),
        (2, False, 0),
        (None, None, 0),
        (None, False, 0),
    ],
)
def test_lag(engines: int | None, reproducible: bool | None, lag: int) -> None:
    schedule = Schedule(
        name="s",
        trials=1,
        baselines={},
        seed=0,
        sampler="tpe",
        startup_trials=1,
        engines=engines,
        reproducible=reproducible,
        cpus_per_engine=1,
        gpus_per_engine=0,
        address=None,
        storage=None,
        trial_timeout=None,
    )
    assert schedule.lag == lag
