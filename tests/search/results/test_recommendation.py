"""Whether anything can be recommended: chance, recipes that cannot be told apart, what decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from objectives import targets
from objectives.stats import mcnemar, proportion
from objectives.types import ItemResult
from search.common.errors import StudyError
from search.merging.recipe import LayerSwap, Recipe, Single, key, label, soup
from search.records.record import Record, State, Stopped
from search.records.writer import RecordsWriter
from search.results import recommendation
from search.results.choose import BEST, RECOMMENDED, best_swap, final_rows
from search.results.recommendation import (
    FEW_TRIALS,
    MIN_RIGHT,
    Discordant,
    no_recommendation,
    recommend,
    with_doubt,
)
from search.results.summary import headline, recommended
from tests.search.results import studies
from tests.search.results.test_choose import SOURCES, swap

L = 10
Right = Sequence[bool]


def trial(recipe: Recipe, right: Right) -> Record:
    scores = {"accuracy": proportion(sum(right), len(right), len(right))}
    name = key(recipe, L)
    return Record(0, name, "search", "scored", "search", label(recipe, "te", L), recipe, scores)


def first(count: int, n: int) -> list[bool]:
    return [i < count for i in range(n)]


def last(count: int, n: int) -> list[bool]:
    return [i >= n - count for i in range(n)]


def asked(right: Mapping[Recipe, Right]) -> tuple[list[Record], dict[str, list[ItemResult]]]:
    """The trials, and their answers by key."""
    answers = {
        key(recipe, L): [
            ItemResult("mgsm", f"q{i}", "", "", 1, "stop", {"correct": ok})
            for i, ok in enumerate(own)
        ]
        for recipe, own in right.items()
    }
    return [trial(recipe, own) for recipe, own in right.items()], answers


def doubt_of(right: Mapping[Recipe, Right]) -> str:
    """With the answers on record."""
    records, answers = asked(right)
    choice = best_swap(records, L, 0.02)
    assert choice is not None
    found = with_doubt(choice, records, L, lambda record: answers[record.key])
    assert found.record == choice.record and found.reason == choice.reason
    return found.doubt


def swaps(*right: Right) -> dict[Recipe, Right]:
    return {swap(i // 4 % 4 + 1, i % 4, task=i // 16): own for i, own in enumerate(right)}


def test_the_fewest_that_are_told_from_none() -> None:
    assert mcnemar(MIN_RIGHT, 0) < 0.05 <= mcnemar(MIN_RIGHT - 1, 0)


@pytest.mark.parametrize(
    ("right", "more"), [(0, "an easier task, or more items."), (1, "(about 96 at this rate)")]
)
def test_no_more_than_chance(right: int, more: str) -> None:
    """However far ahead of the others: 1 of 16 is luck where 0 of 16 is what others have."""
    found = doubt_of(swaps(first(right, 16), first(0, 16)))
    assert f"has {right} of 16 search items right, which cannot be told from none" in found
    assert more in found


@pytest.mark.parametrize(
    ("right", "doubted"), [(MIN_RIGHT - 1, True), (MIN_RIGHT, True), (12, False)]
)
def test_more_than_chance_must_also_be_more_than_another(right: int, doubted: bool) -> None:
    found = doubt_of(swaps(first(right, 40), first(0, 40), first(1, 40)))
    assert bool(found) == doubted
    assert ("cannot be told from none" in found) == (right < MIN_RIGHT)


def test_swaps_that_are_alike() -> None:
    """All good, and none better: which one is taken is arbitrary."""
    alike = swaps(*([True] * 170 + [False] * 30 for _ in range(5)))
    found = doubt_of(alike)
    assert "has 170 of 200 search items right, and is not told from any of the 4 others" in found
    assert "best of 10 pairs" in found and "a harder task" in found


@pytest.mark.parametrize("right", [2, 170])
@pytest.mark.parametrize(("number", "said"), [(1, "1 swap is"), (2, "2 swaps are"), (9, "9 swaps")])
def test_after_hardly_any_trials_more_of_them_would_decide(
    right: int, number: int, said: str
) -> None:
    found = doubt_of(swaps(*(first(right, 200) for _ in range(number))))
    assert f"What would decide: more trials, as {said}" in found and "few; after that " in found


@pytest.mark.parametrize("right", [2, 170])
def test_after_enough_trials_more_of_them_would_not(right: int) -> None:
    found = doubt_of(swaps(*(first(right, 200) for _ in range(FEW_TRIALS))))
    assert "What would decide: " in found and "trials" not in found


def test_the_other_swap_is_one() -> None:
    found = doubt_of(swaps(first(60, 100), first(60, 100)))
    assert "is not told from the other one (McNemar's exact test, the best of 1 pair)" in found


def test_alike_but_better_than_what_needs_no_search() -> None:
    alike = swaps(*(first(170, 200) for _ in range(5)))
    worse = {Single("task/0"): first(100, 200), soup(0, 0, L): first(120, 200)}
    assert doubt_of({**alike, **worse}) == ""
    good = {Single("task/0"): first(165, 200), Single("base"): first(0, 200)}
    found = doubt_of({**alike, **good})  # the base alone tells nothing of the search
    assert f"or {label(Single('task/0'), 'te', L)}, the best that needs no search" in found


def test_one_swap_that_is_worse_is_enough() -> None:
    same = [first(170, 200) for _ in range(5)]
    assert doubt_of(swaps(*same, first(100, 200))) == ""
    expert = {Single("task/0"): first(180, 200)}
    assert doubt_of({**swaps(*same, first(100, 200)), **expert}) == ""


def test_what_is_better_is_no_reason_to_recommend() -> None:
    """An expert far above the only swap."""
    found = doubt_of({**swaps(first(20, 200)), Single("task/0"): first(180, 200)})
    assert "is not told from" in found and "about" not in found


def test_the_same_items_tell_more_than_others() -> None:
    """By counts these two could be told apart; by their answers only where they are nested."""
    assert doubt_of(swaps(first(60, 100), first(45, 100))) == ""
    assert "is not told" in doubt_of(swaps(first(60, 100), last(45, 100)))


@pytest.mark.slow
def test_the_best_of_many_equal_ones_is_luck() -> None:
    """One test of the best against the worst would tell them apart in every one of these."""
    for seed in range(5):
        right = np.random.default_rng(seed).random((40, 200)) < 0.5
        by_score = right[np.argsort(right.sum(axis=1))]
        best, worst = by_score[-1], by_score[0]
        assert mcnemar(int((best & ~worst).sum()), int((worst & ~best).sum())) < 0.05
        assert "780 pairs" in doubt_of(swaps(*right.tolist()))


def test_without_answers_the_counts_decide() -> None:
    right = swaps(first(60, 100), last(45, 100))
    records, answers = asked(right)
    choice = best_swap(records, L, 0.02)
    assert choice is not None

    def lost(record: Record) -> list[ItemResult]:
        raise StudyError("gone")

    assert with_doubt(choice, records, L, lost).doubt == ""
    assert with_doubt(choice, records, L, lambda record: []).doubt == ""
    few, _ = asked(swaps(first(8, 100), first(7, 100)))
    choice = best_swap(few, L, 0.02)
    assert choice is not None and with_doubt(choice, few, L, lost).doubt


def test_answers_are_read_from_the_worst_on_and_no_further_than_needed() -> None:
    records, answers = asked(swaps(*(first(n, 100) for n in (90, 80, 20, 70, 10))))
    choice = best_swap(records, L, 0.02)
    read: list[str] = []

    def note(record: Record) -> list[ItemResult]:
        read.append(record.key)
        return answers[record.key]

    assert choice is not None and with_doubt(choice, records, L, note).doubt == ""
    assert read == [records[0].key, records[4].key]


def test_a_stopped_trial_counts_on_the_items_it_answered() -> None:
    """A search that stops hopeless trials has only good ones that are scored in full."""
    right = swaps(first(90, 100), first(89, 100), [False] * 50)
    records, answers = asked(right)
    stop = Stopped(50, 100, 0.1, records[0].key, 0.01)
    records[2] = replace(records[2], state="stopped", stopped=stop)
    choice = best_swap(records, L, 0.02)
    assert choice is not None
    assert with_doubt(choice, records, L, lambda record: answers[record.key]).doubt == ""
    assert with_doubt(choice, records[:2], L, lambda record: answers[record.key]).doubt


@pytest.mark.parametrize(("best", "other"), [(20, 10), (30, 24), (12, 3), (6, 0), (101, 100)])
def test_the_items_that_would_decide(best: int, other: int) -> None:
    """With the same shares on so many items it is told; on a fifth fewer it is not."""
    growth = Discordant(best, other, 200).needed(10) / 200
    assert Discordant(round(best * growth), round(other * growth), 0).significant(10)
    fewer = growth / 1.25
    assert not Discordant(round(best * fewer), round(other * fewer), 0).significant(10)


def test_less_may_be_better(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an error rate: what is counted is wrong."""
    wrong = replace(targets.TARGETS[0], direction="minimize")
    monkeypatch.setattr(targets, "TARGETS", (wrong,))
    assert "has 2 of 40 search items right" in doubt_of(swaps(first(38, 40), first(40, 40)))
    assert doubt_of(swaps(first(2, 40), first(38, 40))) == ""
    items = [ItemResult("mgsm", "q", "", "", 1, "stop", {"correct": True})]
    assert wrong.marks(items) == {"q": False}


def test_a_score_that_is_no_share_of_items_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "TARGETS", (replace(targets.TARGETS[0], kind="mean"),))
    assert doubt_of(swaps(first(0, 16), first(0, 16))) == ""


def test_what_users_are_told(records: RecordsWriter) -> None:
    """A recommendation has its tag, doubt has `none` and the reason."""
    assert recommend(records, L, 0.02) is None
    assert recommended(None) == {"recommended": "none", "reason": recommendation.NO_SWAP}
    studies.add(records, studies.BEST, 0.5, "search")
    studies.add(records, studies.BEST, 0.5, "held_out", origin="final")
    choice = recommend(records, L, 0.02)
    assert choice is not None and choice.role == BEST
    assert "no other recipe yet" in no_recommendation(choice)
    assert recommended(choice) == {"recommended": "none", "reason": choice.doubt}
    assert headline(records, choice)["held_out_accuracy"] == 50.0
    rows = final_rows(records.trials, choice, swap(1, 1), SOURCES, L)
    assert rows[0] == ((BEST,), studies.BEST)
    studies.add(records, LayerSwap(0, 0, 4, 4, 0, 0), 0.1, "search")
    choice = recommend(records, L, 0.02)
    assert choice is not None and choice.role == RECOMMENDED and no_recommendation(choice) == ""
    assert headline(records, choice)["held_out_accuracy"] == 50.0


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([], recommendation.NO_SWAP),
        (["failed"], "every trial failed (1 of 1), all of them: engine died: out of memory"),
        (["failed"] * 3, "every trial failed (3 of 3), all of them: engine died: out of memory"),
        (["failed", "infeasible"], "every trial failed or was infeasible (2 of 2)"),
        (["infeasible"], "every trial was infeasible (1 of 1)"),
        (["failed", "scored"], ""),
    ],
)
def test_a_study_without_a_score_says_why(
    records: RecordsWriter, states: list[State], said: str
) -> None:
    for number, state in enumerate(states):
        studies.add(records, swap(number, 1), 0.5, "search", state)
    choice = recommend(records, L, 0.02)
    assert no_recommendation(choice, records.trials).startswith(said)
    assert (choice is None) == bool(said)
    if choice is None:
        assert recommended(None, records.trials)["reason"].startswith(said)
