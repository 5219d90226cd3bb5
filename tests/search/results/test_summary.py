"""What MLflow's parent run and the list of studies show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from search.records.head import StudyHead
from search.records.writer import RecordsWriter
from search.results.choose import best_swap
from search.results.recommendation import NO_SWAP
from search.results.summary import headline, recommended, values
from tests.search.results.test_choose import EXPERTS, L, swap, trial


@pytest.fixture
def records(tmp_path: Path) -> RecordsWriter:
    found = RecordsWriter.create(tmp_path / "s", StudyHead("s", {}))
    for record in (*EXPERTS, trial(swap(1, 1), 0.9, 0.98)):
        found.append(record)
    return found


def test_the_headline_is_held_out_and_in_percent(records: RecordsWriter) -> None:
    choice = best_swap(records.trials, L, 0.02)
    assert headline(records, choice) == {} and headline(records, None) == {}
    records.append(trial(swap(1, 1), 0.8, None, split="held_out"))
    assert headline(records, choice) == {"held_out_accuracy": 80.0}
    assert choice is not None and headline(records, replace(choice, doubt="all alike")) == {
        "held_out_accuracy": 80.0  # MLflow may have a metric that it cannot take back
    }
    records.append(replace(trial(swap(1, 1), 0.7, 0.5, split="held_out"), number=9))
    assert headline(records, choice) == {"held_out_accuracy": 70.0, "held_out_lcpr": 50.0}


def test_the_recommended_recipe_and_why(records: RecordsWriter) -> None:
    choice = best_swap(records.trials, L, 0.02)
    assert choice is not None
    assert recommended(choice) == {"recommended": choice.record.label, "reason": choice.reason}
    told = {"recommended": "none", "reason": "all are alike"}
    assert recommended(replace(choice, doubt="all are alike")) == told
    assert recommended(None) == {"recommended": "none", "reason": NO_SWAP}


def test_values_are_the_targets_in_their_order() -> None:
    assert values(trial(swap(1, 1), 0.9, None)) == (0.9, None)
    assert values(None) == (None, None)
