"""Looks at a trial before its end."""

from __future__ import annotations

import numpy as np
import pytest

from search.study.race import chance, estimate


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
    assert estimate(own, incumbent) == pytest.approx(0.8 - 0.2 * 50 / 60)
    assert estimate(incumbent[:50], incumbent) == pytest.approx(0.8)
    assert estimate([False] * 100, [True] * 100) == pytest.approx(1 - 100 / 110)
