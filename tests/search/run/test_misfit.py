"""What only a class of one's own can get wrong is said before an engine starts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from objectives.target import Target
from objectives.types import Evaluation, ItemResult, Request, Sampling, Score
from search.run.misfit import misfit

TARGET = Target("quiz", "quiz", "quiz", item="right")
REQUESTS = [Request("Q", Sampling(1))]
ITEM = ItemResult("quiz", "0", "Q", "", 0, "stop", {"right": False, "read": None})
FOUND = Evaluation({"quiz": Score(0.0, 0.0, 0.8, 1, 1)}, (ITEM,), None)


class Quiz:
    """An objective of which only its items' name is asked."""

    split_hash = "0"


def of(requests: Any = REQUESTS, found: Any = FOUND, target: Target = TARGET) -> str | None:
    return misfit(Quiz(), requests, found, [target])  # type: ignore[arg-type]


def test_what_is_right_has_no_fault() -> None:
    assert of() is None
    assert of(found=replace(FOUND, scores={"quiz": Score(None, None, None, 0, 1)})) is None
    assert of(target=Target("lcpr", "lcpr", "LCPR", kind="lcpr", item="other")) is None


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"requests": iter(REQUESTS)}, "gives a list_iterator, and a list is needed"),
        ({"found": None}, "gives a NoneType, and an objectives.types.Evaluation"),
        ({"found": replace(FOUND, scores={"quiz": 0.5})}, "quiz is a float"),
        ({"found": replace(FOUND, scores={"quiz": Score(float("nan"), 0, 1, 1, 1)})}, "is nan"),
        ({"target": replace(TARGET, item="rigth")}, "'rigth', and its verdicts have right, read"),
        ({"target": replace(TARGET, direction="up")}, "'up'; maximize and minimize"),
    ],
)
def test_a_fault_is_named(changes: dict[str, Any], fault: str) -> None:
    assert fault in (of(**changes) or "")


def test_items_without_a_name() -> None:
    assert "no split_hash" in (misfit(object(), REQUESTS, FOUND, [TARGET]) or "")  # type: ignore[arg-type]
