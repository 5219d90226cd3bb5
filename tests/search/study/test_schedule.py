"""How far back a proposal looks, by the number of engines and what the user says."""

from __future__ import annotations

import pytest

from search.study.schedule import REPRODUCIBLE
from tests.schedules import schedule


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
    assert schedule(engines=engines, reproducible=reproducible).lag == lag
