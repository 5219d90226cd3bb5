"""Names of a family's checkpoints, read and written."""

from __future__ import annotations

import pytest

from search.merging.source import Source


@pytest.mark.parametrize(
    ("text", "source", "is_expert"),
    [
        ("base", Source("base"), False),
        ("task/0", Source("task", 0), True),
        ("lang/12", Source("lang", 12), True),
        ("reference/instruct", Source("reference", name="instruct"), False),
        ("reference/a/b", Source("reference", name="a/b"), False),
        ("reference/7", Source("reference", name="7"), False),
    ],
)
def test_text_and_back(text: str, source: Source, is_expert: bool) -> None:
    assert Source.of(text) == source and str(source) == text
    assert source.is_expert is is_expert


def test_order_is_that_of_tables() -> None:
    names = ["reference/b", "base", "lang/10", "task/2", "lang/9", "task/10", "reference/a"]
    found = sorted(map(Source.of, names), key=lambda source: source.order)
    assert list(map(str, found)) == [
        *("task/2", "task/10", "lang/9", "lang/10", "base", "reference/a", "reference/b"),
    ]
