"""How low other targets may fall."""

from __future__ import annotations

from dataclasses import replace

import pytest

from objectives.targets import TARGETS
from objectives.types import Score
from search.merging.recipe import LayerSwap, Recipe, Single
from search.records.record import Record, Stopped
from search.study.floors import Floor, believed, gain

LCPR = TARGETS[1]


def record(recipe: Recipe, lcpr: float | None) -> Record:
    score = Score(lcpr, lcpr, lcpr, 50, 50)
    return Record(0, "k", "search", "scored", "search", "", recipe, scores={"lcpr": score})


def swap(lang: int) -> LayerSwap:
    return LayerSwap(0, lang, 1, 1, 0, 0)


EXPERTS = [record(Single("lang/0"), 0.98), record(Single("lang/1"), None)]


@pytest.mark.parametrize(
    ("lang", "lcpr", "reached"),
    [
        (0, 0.96, True),  # to the last bit of a sum of binary fractions
        (0, 0.959, False),
        (1, 0.96, True),  # its own expert has none: the best stands in
        (1, 0.95, False),
        (0, None, False),
    ],
)
def test_the_floor_is_the_language_experts(lang: int, lcpr: float | None, reached: bool) -> None:
    floor = Floor.of(LCPR, [*EXPERTS, record(Single("task/0"), 0.1)], 0.02)
    assert floor.experts == {"lang/0": 0.98}
    assert floor.reached(record(swap(lang), lcpr)) is reached


def test_without_any_expert_all_is_good_enough() -> None:
    floor = Floor.of(LCPR, [record(Single("base"), 0.9)], 0.02)
    assert floor.reached(record(swap(0), 0.0))


def test_a_score_that_is_not_defined_is_below_everything() -> None:
    assert gain(record(swap(0), None), LCPR) == float("-inf")


def test_a_stopped_trial_is_believed_to_be_as_good_as_its_estimate() -> None:
    """Of the first target alone: what was seen of the others is all there is to believe."""
    main, guard = TARGETS[:2]
    scores = {"accuracy": Score(0.9, 0.8, 1.0, 10, 10), "lcpr": Score(0.5, 0.4, 0.6, 10, 10)}
    stopped = Stopped(10, 20, 0.7, "best", 0.01)
    record = Record(
        0, "k", "search", "stopped", "search", "", Single("base"), scores, stopped=stopped
    )
    assert (believed(record, main), believed(record, guard)) == (0.7, 0.5)
    assert (gain(record, main), gain(record, guard)) == (0.7, 0.5)
    assert gain(replace(record, scores={}), guard) == float("-inf")


@pytest.mark.parametrize(("lcpr", "reached"), [(0.9, True), (0.899, False), (None, False)])
def test_a_constraint_takes_the_place_of_the_experts(lcpr: float | None, reached: bool) -> None:
    floor = Floor.of(replace(LCPR, least=0.9), EXPERTS, 0.02)
    assert floor.known and floor.reached(record(swap(0), lcpr)) is reached
    assert Floor.of(replace(LCPR, least=0.9), [], 0.02).known
