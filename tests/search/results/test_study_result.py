"""A study judged by its records alone: its default recipe, its choice, its table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from search.common.errors import ConfigError, StudyError
from search.merging.recipe import LayerSwap
from search.merging.space.swap import make_space
from search.records.reader import RecordsReader
from search.records.writer import RecordsWriter
from search.results.choose import best_swap
from search.results.study_result import StudyResult, best_default
from tests.search.results.studies import BEST, DEFAULT, L, add, begin, full


@pytest.fixture
def study(tmp_path: Path) -> RecordsWriter:
    return begin(tmp_path / "whole")


def test_a_whole_study(study: RecordsWriter) -> None:
    full(study)
    records = RecordsReader.read(study.path)  # nothing but files
    final = StudyResult.of(records)
    assert final.choice is not None and final.choice.record.recipe == BEST
    assert (final.default, final.n_layers) == (DEFAULT, L)
    report = final.compare(records)
    assert [line.role for line in report.lines][:3] == [
        "recommended",
        "default recipe",
        "best soup",
    ]
    assert report.title == "demo / te: held-out items" and not report.no_recommendation
    assert {f"task/{i}" for i in range(3)} <= {getattr(r.recipe, "source", "") for r in final.rows}


def test_of_a_study_that_has_no_trial_yet(study: RecordsWriter) -> None:
    final = StudyResult.of(study)
    assert final.choice is None and best_swap(study.trials, L, 0.02) is None
    assert [row.roles[0] for row in final.rows][:2] == ["default recipe", "best soup"]


def test_a_study_that_never_began_and_one_that_is_none(study: RecordsWriter) -> None:
    head = study.head()
    study.rewrite(replace(head, layers=0))
    with pytest.raises(StudyError, match="has not begun"):
        StudyResult.of(study)
    study.rewrite(replace(head, config={"lang": "te"}))
    with pytest.raises(ConfigError, match="family: missing"):
        StudyResult.of(study)


@pytest.mark.parametrize(
    ("scores", "pair"),
    [
        ({}, (0, 0)),
        ({(0, 1): 0.3}, (0, 1)),
        ({(0, 1): 0.3, (1, 0): 0.5, (1, 1): 0.5}, (1, 0)),
        ({(0, 0): 0.0, (1, 1): 0.1}, (1, 1)),
    ],
)
def test_the_default_recipe_of_the_pair_that_it_suits_best(
    records: RecordsWriter, scores: dict[tuple[int, int], float], pair: tuple[int, int]
) -> None:
    """On the search items, as the recommended recipe is chosen; of equals the first."""
    space = make_space(lang="te", n_layers=L, n_task=2, n_lang=2)
    for other, accuracy in scores.items():
        recipe: LayerSwap = space.default_recipe(other)
        add(records, recipe, accuracy, "search")
        add(records, recipe, 1 - accuracy, "held_out")
    assert best_default(space, records) == space.default_recipe(pair)
