"""Looks at a trial before its end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from objectives.types import ItemResult
from search.records.record import Stopped
from search.study.race import Rules, Threshold, chance, estimate, judge, look


def answers(n: int, share: float, seed: int) -> list[bool]:
    return list(np.random.default_rng(seed).random(n) < share)


def test_what_cannot_catch_up_has_no_chance() -> None:
    incumbent = [True] * 90 + [False] * 10
    assert chance([False] * 11, incumbent) == 0.0
    assert chance([False] * 9 + [True] * 41, incumbent) > 0.0


def test_what_has_won_already_is_sure() -> None:
    assert chance([True] * 60, [True] * 50 + [False] * 50) == pytest.approx(1.0)


def test_before_the_first_answer_anything_is_possible() -> None:
    assert 0.05 < chance([], answers(100, 0.5, 0)) < 0.95


def test_after_the_last_answer_all_is_known() -> None:
    incumbent = answers(80, 0.6, 1)
    assert chance(incumbent, incumbent) == pytest.approx(1.0)
    worse = list(incumbent)
    worse[incumbent.index(True)] = False
    assert chance(worse, incumbent) == 0.0


def test_more_answers_than_items_are_refused() -> None:
    with pytest.raises(ValueError, match="3 answers to 2 items"):
        chance([True] * 3, [True] * 2)


@pytest.mark.slow
def test_it_is_the_share_of_trials_that_do_catch_up() -> None:
    """Of recipes whose abilities are drawn from the prior, among those with a chance near p."""
    rng = np.random.default_rng(0)
    foreseen, came = [], []
    for _ in range(4000):
        incumbent = rng.random(40) < 0.6
        if_won, if_lost = rng.random(2)
        own = rng.random(40) < np.where(incumbent, if_won, if_lost)
        foreseen.append(chance(list(own[:20]), list(incumbent)))
        came.append(own.sum() >= incumbent.sum())
    near = np.digitize(foreseen, [0.05, 0.25, 0.5, 0.75, 0.95])
    for group in range(6):
        inside = near == group
        spread = 3 * np.sqrt(0.25 / inside.sum())
        assert np.mean(came, where=inside) == pytest.approx(
            np.mean(foreseen, where=inside), abs=spread
        )


def test_an_estimate_lies_between_the_incumbent_and_the_raw_difference() -> None:
    incumbent = [True] * 80 + [False] * 20
    own = [True] * 40 + [False] * 10
    assert estimate(own, incumbent) == pytest.approx(0.8 - 0.2 * 50 / 53)
    assert estimate(incumbent[:50], incumbent) == pytest.approx(0.8)
    assert estimate([False] * 100, [True] * 100) == pytest.approx(1 - 100 / 103)


THRESHOLD = Threshold(
    Rules((0.5, 0.75), 0.1), "best", tuple([True] * 80 + [False] * 20), {"lcpr": 0.9}, "te"
)


def items(right: list[bool], passed: list[bool]) -> list[ItemResult]:
    """First answers of both objectives."""
    math = [
        ItemResult("mgsm", f"m{n}", "", "", 1, "stop", {"correct": r}) for n, r in enumerate(right)
    ]
    words = [
        ItemResult(
            "lcpr",
            f"l{n}",
            "",
            "",
            1,
            "stop",
            {"outcome": "PASS" if p else "LINE_ERROR", "source": "a"},
        )
        for n, p in enumerate(passed)
    ]
    return [*words, *math]


def test_a_trial_that_is_as_good_goes_on() -> None:
    first = list(THRESHOLD.answers[:50])
    assert look(THRESHOLD, items(first, [True] * 30), {"mgsm": 100, "lcpr": 60}) is None


def test_a_hopeless_trial_is_stopped_and_says_why() -> None:
    own = [n % 2 == 0 for n in range(50)]
    found = look(THRESHOLD, items(own, [True] * 30), {"mgsm": 100, "lcpr": 60})
    assert found == Stopped(
        50, 100, estimate(own, THRESHOLD.answers), "best", chance(own, THRESHOLD.answers)
    )
    assert found.chance < 0.1 and found.estimate < 0.8


def test_a_trial_below_the_floor_is_stopped_however_many_it_solves() -> None:
    own, passed = [True] * 50, [n % 2 == 0 for n in range(30)]
    found = look(THRESHOLD, items(own, passed), {"mgsm": 100, "lcpr": 60})
    assert found is not None and (found.incumbent, found.chance) == ("", 0.0)
    free = replace(THRESHOLD, floors={})
    assert look(free, items(own, passed), {"mgsm": 100, "lcpr": 60}) is None


def test_a_chance_as_high_as_alpha_is_enough() -> None:
    own = [n % 5 != 0 for n in range(50)]
    likely = chance(own, THRESHOLD.answers)
    assert 0.0 < likely < 0.5
    for alpha, goes_on in ((likely, True), (likely + 1e-9, False)):
        threshold = replace(THRESHOLD, rules=Rules((0.5,), alpha))
        assert (judge(threshold, own) is None) == goes_on


def test_a_bar_as_one_line() -> None:
    assert Threshold.from_json(THRESHOLD.to_json()) == THRESHOLD
    assert "\n" not in THRESHOLD.to_json()


def test_without_a_whole_item_nothing_is_stopped() -> None:
    assert judge(Threshold(Rules((0.5,), 0.1), "best", (True,) * 4), [], [0.0]) is None
