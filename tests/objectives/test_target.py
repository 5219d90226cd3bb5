"""What follows from a target, as it is kept with a study."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from objectives import targets
from objectives.target import Target
from objectives.types import ItemResult
from search.common.errors import StudyError
from search.records.head import StudyHead


def item(name: str, **verdict: bool | float) -> ItemResult:
    return ItemResult("quiz", name, "", "", 1, "stop", verdict)


def test_a_share_of_items() -> None:
    target = Target("quiz", "quiz", "quiz", item="right")
    assert target.marks([item("a", right=True), item("b", right=False)]) == {"a": True, "b": False}
    found = target.compare([item("a", right=True)], [item("a", right=False)], "te")
    assert found is not None and found.difference == 1.0
    assert target.foresee([], 3, "te") is None


def test_a_mean_is_no_share() -> None:
    target = Target("loss", "quiz", "loss", "minimize", kind="mean", item="nll")
    assert target.won is None and target.gain(2.0) == -2.0
    found = target.compare([item("a", nll=1.5)], [item("a", nll=2.0)], "te")
    assert found is not None and found.difference == -0.5


def test_a_score_without_items_is_not_compared() -> None:
    assert Target("coverage", "", "coverage").compare([item("a")], [item("a")], "te") is None


def test_a_study_keeps_its_targets() -> None:
    kept = (Target("quiz", "quiz", "quiz", item="right"), *targets.DEFAULT[1:])
    head = StudyHead("s", {}, targets=[asdict(target) for target in kept])
    again = StudyHead.from_yaml(head.to_yaml(), "study.yaml")
    assert again.scored_on() == kept
    assert StudyHead("s", {}).scored_on() == targets.DEFAULT
    with pytest.raises(StudyError, match="targets cannot be read"):
        StudyHead("s", {}, targets=[{"score": "x", "shell": "y"}]).scored_on()
