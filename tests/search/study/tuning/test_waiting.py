"""Which waiting trial a free engine takes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial

from search.study.tuning.waiting import Waiting


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
    watch: Any = SimpleNamespace(engine_starts=lambda: starts)
    controller = SimpleNamespace(get_trials=lambda: trials)
    found = Waiting(watch).choose_trial_to_run(controller)
    assert found is (None if taken is None else trials[taken])
