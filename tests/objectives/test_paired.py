"""Differences of two models, item by item."""

from __future__ import annotations

from objectives.paired import item_difference, lcpr_difference
from objectives.types import ItemResult


def item(objective: str, name: str, **verdict: bool | str | float) -> ItemResult:
    return ItemResult(objective, name, "p", "c", 3, "stop", verdict)


def test_only_items_that_both_have_are_compared() -> None:
    a = [item("mgsm", name, correct=name != "b") for name in "abc"]
    b = [item("mgsm", name, correct=name != "d") for name in "cbd"]
    b.append(item("lcpr", "a", correct=True))
    paired = item_difference(a, b, "mgsm", "correct", share=True)
    assert paired is not None and (paired.n, paired.difference) == (2, -0.5)
    assert item_difference(a[:1], b, "mgsm", "correct", share=True) is None
    a, b = ([item("loss", str(i), nll=i + d) for i in range(60)] for d in (0.5, 1.0))
    paired = item_difference(a, b, "loss", "nll", share=False)
    assert paired is not None and (paired.n, paired.difference) == (60, -0.5)
    assert paired.low == paired.high == -0.5 and paired.p_value < 0.001
    a = [item("loss", str(i), nll=float(i % 7)) for i in range(60)]
    paired = item_difference(a, a[:1] + a[2:3] + a[1:2] + a[3:], "loss", "nll", share=False)
    assert paired is not None and paired.difference == 0 and paired.p_value == 1.0


def test_lcpr_is_compared_prompt_by_prompt() -> None:
    good, bad = ("PASS", "LINE_ERROR")
    a = [item("lcpr", str(i), outcome=good, source="okapi") for i in range(40)]
    b = [item("lcpr", str(i), outcome=(good, bad)[i < 10], source="okapi") for i in range(40)]
    paired = lcpr_difference(a, b, "sw")
    assert paired is not None and (paired.n, paired.difference) == (40, 0.25)
    assert 0.1 < paired.low < 0.25 < paired.high < 0.45 and paired.p_value < 0.001
    assert lcpr_difference(a, b[:0], "sw") is None
