"""How often what may fail."""

from __future__ import annotations

import pytest

from search.merging.recipe import Single
from search.records.record import Record
from search.study.retries import FAILURES, FAILURES_IN_ALL, FailureCounts, finished_trials


def trials(text: str) -> list[Record]:
    """Such as `a+ b- c-`: a is scored, b and c fail in a row."""
    return [
        Record(n, word[0], "search", state, "search", "", Single("base"))
        for n, word in enumerate(text.split())
        for state in (("scored" if word[1] == "+" else "failed"),)
    ]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a+ b- c+", "abc"),
        ("a+ b- c-", "abc"),
        ("a+ b- c- d-", "a"),
        ("b- c- d- a+", "a"),
        ("b- c- d- c+", "c"),
        ("b- c- d- e- f+ g-", "fg"),
        ("b- c- a+ d- e-", "bcade"),
    ],
)
def test_failures_in_a_row_are_tried_again(text: str, kept: str) -> None:
    assert list(finished_trials(trials(text), "search")) == list(dict.fromkeys(kept))
    assert not finished_trials(trials(text), "held_out")


def test_a_node_is_counted_for_itself() -> None:
    tally = FailureCounts()
    for node in ("a", "b") * (FAILURES - 1):
        assert not tally.failed(node)
    tally.succeeded("b")
    assert tally.failed("a") and not tally.failed("b")


def test_failures_everywhere_are_hopeless_unless_a_node_explains_them() -> None:
    tally = FailureCounts()
    for number in range(FAILURES_IN_ALL):
        assert not tally.hopeless
        tally.failed(None if number % 2 else f"node{number}")
    assert tally.hopeless
    tally.explained()
    assert not tally.hopeless
    tally.succeeded(None)
    for _ in range(FAILURES_IN_ALL - 1):
        tally.failed(None)
    assert not tally.hopeless
