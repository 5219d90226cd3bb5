"""The table of what is scored and optimised."""

from __future__ import annotations

import inspect

from objectives.settings import Settings
from objectives.targets import OBJECTIVES, SHOWN, TARGETS


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
