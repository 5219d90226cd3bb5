"""Differences of two models, item by item."""

from __future__ import annotations

from objectives.paired import accuracy_difference, lcpr_difference
from objectives.types import ItemResult


def item(objective: str, name: str, **verdict: bool | str) -> ItemResult:
    return ItemResult(objective, name, "p", "c", 3, "stop", verdict)


def test_only_items_that_both_have_are_compared() -> None:
    a = [item("mgsm", name, correct=name != "b") for name in "abc"]
    b = [item("mgsm", name, correct=name != "d") for name in "cbd"]
    b.append(item("lcpr", "a", correct=True))
    paired = accuracy_difference(a, b, "te")
    assert paired is not None and (paired.n, paired.difference) == (2, -0.5)
    assert accuracy_difference(a[:1], b, "te") is None


def test_lcpr_is_compared_prompt_by_prompt() -> None:
    good, bad = ("PASS", "LINE_ERROR")
    a = [item("lcpr", str(i), outcome=good, source="okapi") for i in range(40)]
    b = [item("lcpr", str(i), outcome=(good, bad)[i < 10], source="okapi") for i in range(40)]
    paired = lcpr_difference(a, b, "sw")
    assert paired is not None and (paired.n, paired.difference) == (40, 0.25)
    assert 0.1 < paired.low < 0.25 < paired.high < 0.45 and paired.p_value < 0.001
    assert lcpr_difference(a, b[:0], "sw") is None
