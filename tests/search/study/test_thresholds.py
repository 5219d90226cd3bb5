"""What a proposed trial is held to: records made by hand."""

from __future__ import annotations

from objectives.stats import proportion
from objectives.types import ItemResult
from search.merging.recipe import LayerSwap, Recipe, Single, key
from search.records.record import Origin, Record, State, Stopped
from search.study.race import Rules, Threshold
from search.study.thresholds import Thresholds

RULES = Rules((0.5,), 0.1)
L = 12


def swap(b: int, lang: int = 0) -> LayerSwap:
    return LayerSwap(0, lang, b, 0, 0, 0)


def record(
    recipe: Recipe, right: int, passed: int = 10, origin: Origin = "search", state: State = "scored"
) -> Record:
    """Ten items, so many right and so many in the language."""
    scores = {"accuracy": proportion(right, 10, 10), "lcpr": proportion(passed, 10, 10)}
    stopped = Stopped(5, 10, 0.9, "", 0.05) if state == "stopped" else None
    name = key(recipe, L)
    return Record(0, name, "search", state, origin, "", recipe, scores, stopped=stopped)


class Books:
    """Answers of every record: the first so many items are right; counts how often it is asked."""

    def __init__(self) -> None:
        self.read = 0

    def items(self, record: Record) -> list[ItemResult]:
        self.read += 1
        right = round(10 * (record.value("accuracy") or 0))
        return [
            ItemResult(objective, str(n), "", "", 1, "stop", {"correct": n < right})
            for objective in ("lcpr", "mgsm")
            for n in range(10)
        ]


def threshold(
    known: list[Record], recipe: Recipe | None = None, origin: Origin = "search"
) -> Threshold | None:
    return Thresholds(Books().items, RULES, 0.1, "te").of(recipe or swap(9), origin, known)


def test_the_best_scored_trial_of_the_same_search() -> None:
    found = threshold(
        [
            record(swap(1), 6),
            record(swap(2), 8),
            record(swap(3), 9, state="stopped"),
            record(swap(4), 9, origin="baseline"),
            record(swap(5), 9, origin="ties"),
        ]
    )
    assert found == Threshold(RULES, key(swap(2), L), (True,) * 8 + (False,) * 2, {}, "te")


def test_without_an_incumbent_a_trial_is_scored_in_full() -> None:
    assert threshold([]) is None
    assert threshold([record(swap(1), 9, state="stopped"), record(Single("base"), 9)][:1]) is None
    assert threshold([record(swap(1), 6)], origin="baseline") is None


def test_the_floor_is_the_language_experts_less_the_tolerance() -> None:
    experts = [record(Single(f"lang/{n}"), 1, 9 - n, origin="baseline") for n in range(2)]
    known = [*experts, record(swap(1), 6, 9), record(swap(2), 8, 5), record(swap(3, 1), 7, 7)]
    found = threshold(known, swap(9, lang=1))
    assert found is not None and found.incumbent == key(swap(3, 1), L)  # 8 right, but below
    assert found.floors == {"lcpr": 0.8 - 0.1}
    assert (
        threshold([*experts, record(swap(1), 6, 1)]) is None
    )  # none keeps it: all are scored in full


def test_a_rival_is_held_to_no_floor() -> None:
    known = [record(Single("lang/0"), 1, 10, "baseline"), record(swap(1), 6, 2, origin="ties")]
    found = threshold(known, origin="ties")
    assert found is not None and found.floors == {} and found.incumbent == key(swap(1), L)


def test_an_incumbents_answers_are_read_once() -> None:
    books = Books()
    thresholds = Thresholds(books.items, RULES, 0.1, "te")
    for _ in range(3):
        assert thresholds.of(swap(9), "search", [record(swap(1), 6)])
    assert books.read == 1
    thresholds.of(swap(9), "search", [record(swap(1), 6), record(swap(2), 7)])
    assert books.read == 2


def test_equal_trials_in_any_order_give_the_same_bar() -> None:
    known = [record(swap(n), 6) for n in range(1, 5)]
    assert threshold(known) == threshold(known[::-1])
