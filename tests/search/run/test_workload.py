"""Time left is told from items, and speed is that of now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from search.records.record import Record, Stopped
from search.run.workload import Pace, Workload, items_of
from tests.search.run.setup import Setup
from tests.search.study.tracking.sent import trial

WORK = Workload(
    {"baseline": 2, "search": 10, "ties": 5, "final": 3}, {"search": 200, "held_out": 400}
)


def ended(origin: str, **changes: Any) -> Record:
    split = "held_out" if origin == "final" else "search"
    return replace(trial(0, split=split), origin=origin, **changes)


def stopped(share: float) -> Record:
    early = Stopped(round(200 * share), 200, 0.5, "", 0.01)
    return ended("search", state="stopped", reason="it could hardly be better", stopped=early)


ALL = 2 * 200 + 10 * 200 + 5 * 200 + 3 * 400


@pytest.mark.parametrize(
    ("trials", "left"),
    [
        ([], ALL),
        ([ended("baseline")] * 2, ALL - 400),
        ([ended("search")] * 4, ALL - 800),
        ([stopped(0.5)] * 4, 400 + 6 * 100 + 5 * 100 + 1200),  # the others will stop as early
        ([stopped(0.5), ended("search")], 400 + 8 * 150 + 5 * 150 + 1200),
        ([ended("final")] * 2, ALL - 800),
        ([ended("final")] * 4, ALL - 1200),  # more than was known at the start
        ([ended("search", state="failed", reason="x")], 400 + 0 + 0 + 1200),
    ],
)
def test_items_left(trials: list[Record], left: float) -> None:
    assert WORK.left(trials) == left
    assert WORK.total == 20


FAILED = {"state": "failed", "reason": "x"}


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        ([], "begins: 20 trials"),
        (["baseline"], "goes on with the baselines: 1 of 20 trials ended (1 scored), 19 left"),
        (["baseline"] * 2, "goes on with the search: 2 of 20 trials ended (2 scored), 18 left"),
        (
            ["baseline"] * 2 + ["search"] * 9 + ["stopped"],
            "goes on with the search of ties: 12 of 20 trials ended (11 scored, 1 stopped), 8 left",
        ),
        (
            ["baseline"] * 2 + ["search"] * 7 + ["failed"] * 3,
            "goes on with the search: 9 of 20 trials ended (9 scored), 3 that failed in a row "
            "tried again, 11 left",
        ),
        (
            ["baseline"] * 2 + ["search"] * 9 + ["failed"] + ["ties"] * 5 + ["final"] * 2,
            "goes on with the final table: 19 of 20 trials ended (18 scored, 1 failed), 1 left",
        ),
        (
            ["baseline"] * 2 + ["search"] * 10 + ["ties"] * 5 + ["final"] * 4,
            "has nothing left to run: 21 of 21 trials ended (21 scored)",
        ),
    ],
)
def test_where_a_study_stands(trials: list[str], said: str) -> None:
    kinds: dict[str, Record] = {"failed": ended("search", **FAILED), "stopped": stopped(0.5)}
    records = [
        replace(kinds.get(name) or ended(name), key=f"key{i}") for i, name in enumerate(trials)
    ]
    assert WORK.standing(records) == said


def test_items_of_all_objectives_are_counted(setup: Setup) -> None:
    assert items_of(setup.prepared().objectives.values()) == {"search": 10, "held_out": 10}


def test_speed_is_that_of_the_last_ends() -> None:
    trials: list[Record] = []
    pace = Pace(WORK, trials, now=0.0)
    assert pace.tokens(5.0) == 0 and pace.seconds_left(5.0) is None
    now = 0.0
    for number in range(60):
        now += 100.0 if number < 20 else 1.0  # engines start, then it is fast
        trials.append(ended("search"))
        pace.ended(trials[-1], running=2, now=now)
    assert pace.tokens(now) == pytest.approx(5000)
    assert pace.tokens(now + 16) == pytest.approx(2500)  # nothing has ended since
    assert pace.seconds_left(now) == pytest.approx((400 + 1000 + 1200) / 200)


def test_repeated_proposals_and_early_stops_cost_what_they_cost() -> None:
    """Ten trials left; those before took 1 s for half of the items: so will these."""
    work = Workload({"search": 20}, {"search": 200, "held_out": 400})
    trials: list[Record] = []
    pace = Pace(work, trials, now=0.0)
    for number in range(10):
        trials.append(stopped(0.5))
        pace.ended(trials[-1], running=1, now=number + 1.0)
    assert pace.seconds_left(10.0) == pytest.approx(10.0)


def test_the_start_of_the_first_engine_is_not_counted() -> None:
    """It worked 2.15 s of the 100 s that have passed."""
    pace = Pace(WORK, [], now=0.0)
    pace.ended(ended("baseline"), running=1, now=100.0)
    assert pace.tokens(100.0) == pytest.approx(5000 / 2.15)
