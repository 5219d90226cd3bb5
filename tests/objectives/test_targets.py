"""The table of what is scored and optimised."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import asdict

import numpy as np
import pytest

from objectives import targets
from objectives.errors import SettingError
from objectives.lm_eval import LmEvalSettings
from objectives.mgsm import MgsmSettings
from objectives.settings import Settings
from objectives.target import Target
from objectives.targets import OBJECTIVES, SHOWN, TARGETS
from objectives.types import ItemResult

TWO = {"mgsm": MgsmSettings.target, "lm_eval": LmEvalSettings.target}


def test_each_target_is_an_objectives_and_named_once() -> None:
    scores = [target.score for target in TARGETS]
    assert len(set(scores)) == len(scores) and not set(scores) & SHOWN.keys()
    assert {target.objective for target in TARGETS} <= OBJECTIVES.keys()


def test_each_objective_builds_itself() -> None:
    for settings in OBJECTIVES.values():
        assert issubclass(settings, Settings) and settings.build is not Settings.build
        assert inspect.getdoc(settings)


def test_gain_keeps_the_order_of_what_is_maximised() -> None:
    assert [target.direction for target in TARGETS] == ["maximize", "maximize"]
    assert TARGETS[0].gain(0.25) == 0.25


def answered(right: int, of: int, parts: Mapping[str, list[float]]) -> list[ItemResult]:
    """MGSM with so many right, and lm_eval with these values of each part."""
    found = [
        ItemResult("mgsm", f"q{n}", "", "", 1, "stop", {"correct": n < right}) for n in range(of)
    ]
    for part, values in parts.items():
        for n, value in enumerate(values):
            verdict = {"part": part, "value": value, "weight": 1.0}
            found.append(ItemResult("lm_eval", f"{part}/{n}", "", "", 1, "stop", verdict))
    return found


ITEMS = answered(30, 40, {"a": [1.0, 0.0] * 10, "b": [1.0, 1.0, 1.0, 0.0] * 5})
"""75% of the one; of the other 50 and 75, on average 62.5."""


@pytest.fixture
def default_targets() -> Iterator[None]:
    yield
    targets.use()


@pytest.mark.parametrize(
    ("combine", "people", "value"),
    [
        ("mean", "mean of tasks", 0.6875),
        ("worst", "worst task", 0.625),
        ({"mgsm": 3.0, "lm_eval": 1.0}, "mean of tasks", 0.71875),
    ],
)
def test_several_tasks_are_one_score(
    combine: targets.Combined, people: str, value: float, default_targets: None
) -> None:
    target = targets.several(TWO, combine)
    targets.use([target])
    assert target.people == people
    score = targets.combined(ITEMS)["combined"]
    assert score.value == pytest.approx(value) and score.n_scored == 80
    assert score.low is not None and score.high is not None
    assert 0.06 < score.high - score.low < 0.30 and score.low < value < score.high
    assert targets.shown(["accuracy", "lm_eval", "combined"]).keys() == {
        *SHOWN, "accuracy", "lm_eval",
    }  # fmt: skip


def test_the_interval_is_that_of_independent_items(default_targets: None) -> None:
    """Two tasks of as many items vary by themselves."""
    target = targets.several(TWO, "mean")
    score = target.combined(answered(50, 100, {"a": [1.0, 0.0] * 50}))
    assert score is not None and score.low is not None and score.high is not None
    assert score.high - score.low == pytest.approx(2 * 1.96 * np.sqrt(0.5 * 0.25 / 100), rel=0.05)


@pytest.mark.parametrize("combine", ["mean", "worst"])
def test_models_are_compared_on_the_same_items_of_each(combine: targets.Combined) -> None:
    target = targets.several(TWO, combine)
    better = answered(40, 40, {"a": [1.0] * 20, "b": [1.0] * 20})
    found = target.compare(better, ITEMS[::-1], "te")
    assert found is not None and found.n == 80 and found.p_value < 0.01
    assert found.difference == pytest.approx(1 - (0.6875 if combine == "mean" else 0.625))
    assert found.low < found.difference < found.high
    same = target.compare(ITEMS, ITEMS, "te")
    assert same is not None and (same.difference, same.low, same.p_value) == (0.0, 0.0, 1.0)
    assert target.compare(ITEMS, ITEMS[:40], "te") is None  # nothing of the second task


def test_without_answers_to_one_task_there_is_no_score() -> None:
    score = targets.several(TWO, "worst").combined(ITEMS[:40])
    assert score is not None and score.value is None


def test_it_is_kept_with_a_study() -> None:
    target = targets.several(TWO, {"mgsm": 3.0, "lm_eval": 1.0})
    assert Target.from_dict(asdict(target)) == target
    assert target.won is None  # nothing is raced on it


@pytest.mark.parametrize(
    ("tasks", "combine", "said"),
    [
        (TWO, {"mgsm": 1.0}, "weights of mgsm; objective.task names mgsm, lm_eval"),
        (TWO, {"mgsm": 1.0, "lm_eval": 1.0, "english": 1.0}, "weights of english, lm_eval, mgsm"),
        (TWO | {"a:B": Target("loss", "a", "loss", "minimize", "mean", "nll")}, "mean", "a:B is"),
        (TWO | {"a:B": Target("score", "a", "score")}, "worst", "a:B is no part of several tasks"),
    ],
)
def test_what_cannot_be_combined(
    tasks: Mapping[str, Target], combine: targets.Combined, said: str
) -> None:
    with pytest.raises(SettingError, match=said):
        targets.several(tasks, combine)
