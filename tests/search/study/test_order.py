"""What is proposed when: phases made by hand, no Optuna."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from objectives.types import Score
from search.merging.recipe import LayerSwap, Recipe, Single, key, to_dict
from search.records.record import Record
from search.study.order import REPEATS, Candidate, Order
from search.study.race import Rules, Threshold

L = 12
FINAL = [Single("base")]


class Told:
    """A proposal that remembers what it was told."""

    def __init__(self, log: list[tuple[str, str]], recipe: Any, origin: str) -> None:
        self.recipe, self.origin = json.dumps(to_dict(recipe)), origin
        self.key = key(recipe, L)
        self.log = log

    def tell(self, record: Record) -> None:
        self.log.append(("told", record.label))

    def drop(self) -> None:
        self.log.append(("dropped", self.key))


class Listed:
    """A phase that proposes b = 1, 2, 3, ...; at the places of `repeat`, b = 1 once more."""

    def __init__(self, trials: int, seen: set[str], repeat: tuple[int, ...] = ()) -> None:
        self.origin, self.trials, self.seen = "search", trials, seen
        self.log: list[tuple[str, str]] = []
        self.repeat, self.count = repeat, 0
        self.numbers = itertools.count(1)

    def propose(self, place: int) -> Told:
        place, self.count = self.count, self.count + 1
        b = 1 if place in self.repeat else next(self.numbers)
        self.log.append(("asked", f"b{b}"))
        return Told(self.log, LayerSwap(0, 0, b, 0, 0, 0), self.origin)

    def first(self, point: dict[str, Any]) -> None:
        self.log.append(("first", str(point)))

    def unseen(self, seed: int) -> dict[str, Any] | None:
        return None

    def owes_baseline(self) -> bool:
        return False


def order(phase: Listed, lag: int = 0, trials: list[Record] | None = None) -> Order:
    return Order([phase], trials if trials is not None else [], L, lambda: FINAL, lag=lag)


def record(candidate: Candidate) -> Record:
    score = Score(0.5, 0.4, 0.6, 10, 10)
    name = f"b{candidate.recipe.b}" if isinstance(candidate.recipe, LayerSwap) else "base"
    scores = {"accuracy": score, "lcpr": score}
    split, origin = candidate.split, candidate.origin
    return Record(0, candidate.key, split, "scored", origin, name, candidate.recipe, scores)


def drive(phase: Listed, lag: int, engines: int, pick: Callable[[list[Candidate]], int]) -> int:
    """Run on engines of which `pick` says which one ends next; how often one had to wait."""
    found, running, idle = order(phase, lag), [], 0
    while True:
        while len(running) < engines:
            candidate = found.next()
            if candidate is None:
                idle += bool(running)
                break
            running.append(candidate)
        if not running:
            return idle
        candidate = running.pop(pick(running))
        found.ended(candidate, record(candidate))


@pytest.mark.parametrize("engines", [2, 3])
@pytest.mark.parametrize("lag", [3, 6])
def test_with_a_lag_the_phase_hears_the_same_whoever_ends_first(engines: int, lag: int) -> None:
    logs = []
    for pick in (lambda r: 0, lambda r: len(r) - 1, lambda r: len(r) // 2):
        phase = Listed(12, set(), repeat=(5, 8))
        drive(phase, lag, engines, pick)
        logs.append(phase.log)
    assert logs[0] == logs[1] == logs[2]
    assert len([event for event in logs[0] if event[0] == "told"]) == 14
    told = [name for event, name in logs[0] if event == "told" and name != "b1"]
    assert told == [f"b{n}" for n in range(2, 13)]


def test_a_lag_tells_as_much_as_it_may_before_each_proposal() -> None:
    phase = Listed(6, set())
    drive(phase, 2, 2, lambda running: len(running) - 1)
    asked = [place for place, event in enumerate(phase.log) if event[0] == "asked"]
    known = [sum(event == "told" for event, _ in phase.log[:place]) for place in asked]
    assert known == [0, 0, 1, 2, 3, 4]


def test_without_a_lag_each_end_is_told_at_once() -> None:
    phase = Listed(4, set())
    drive(phase, 0, 2, lambda running: len(running) - 1)
    told = [name for event, name in phase.log if event == "told"]
    assert told == ["b2", "b3", "b4", "b1"]


def test_one_engine_never_waits_and_a_longer_lag_waits_less() -> None:
    assert drive(Listed(9, set()), 1, 1, lambda running: 0) == 0
    newest = lambda running: len(running) - 1  # noqa: E731
    assert drive(Listed(9, set()), 2, 2, newest) > drive(Listed(9, set()), 6, 2, newest)


def test_the_final_table_waits_for_every_end() -> None:
    found = order(Listed(2, set()), lag=4)
    one, two = found.next(), found.next()
    assert one and two and found.next() is None
    found.ended(two, record(two))
    assert found.next() is None
    found.ended(one, record(one))
    last = found.next()
    assert last == Candidate(FINAL[0], key(FINAL[0], L), "final", "held_out")
    found.ended(last, record(last))
    assert found.next() is None


def test_what_is_finished_is_not_proposed_again() -> None:
    first = order(Listed(3, set()))
    trials = [record(candidate) for _ in range(3) if (candidate := first.next())]
    phase = Listed(5, set())
    again = order(phase, trials=list(trials))
    fresh = again.next()
    assert fresh and isinstance(fresh.recipe, LayerSwap) and fresh.recipe.b == 4
    assert [name for event, name in phase.log if event == "told"] == ["b1", "b2", "b3"]


def test_a_space_that_is_used_up_ends_its_phase() -> None:
    phase = Listed(5, set(), repeat=tuple(range(1, 2 * REPEATS)))
    found = order(phase)
    one = found.next()
    assert one and found.next() is None
    found.ended(one, record(one))
    assert (found.next() or pytest.fail("no final trial")).split == "held_out"


def test_a_candidate_is_what_was_proposed(tmp_path: Path) -> None:
    found = order(Listed(1, set())).next()
    swap = LayerSwap(0, 0, 1, 0, 0, 0)
    assert found == Candidate(swap, key(swap, L), "search", "search", 0)


def test_a_bar_is_set_from_what_the_proposal_was_made_from() -> None:
    """And not from what happens to have ended: whichever engine ends first, the same threshold."""
    seen: dict[int, list[str]] = {}

    def threshold(recipe: Recipe, origin: str, known: Iterable[Record]) -> Threshold | None:
        assert isinstance(recipe, LayerSwap) and origin == "search"
        seen[recipe.b] = sorted(r.label for r in known)
        return Threshold(Rules((0.5,), 0.1), f"b{recipe.b}", (True,))

    found = Order([Listed(5, set())], [], L, lambda: FINAL, lag=2, threshold=threshold)
    one, two = found.next(), found.next()
    assert one and two and two.threshold and two.threshold.incumbent == "b2"
    found.ended(two, replace(record(two), place=1))
    found.ended(one, replace(record(one), place=0))
    three = found.next()
    assert three and seen == {1: [], 2: [], 3: ["b1"]}
    found.ended(three, replace(record(three), place=2))
    assert found.next() and seen[4] == ["b1", "b2"]


def test_the_final_table_is_held_to_nothing() -> None:
    found = Order(
        [Listed(0, set())], [], L, lambda: FINAL, threshold=lambda *_: pytest.fail("a threshold")
    )
    last = found.next()
    assert last and last.split == "held_out" and last.threshold is None
