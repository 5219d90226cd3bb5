"""Nested values: made flat, compared exactly, cut to a length."""

from __future__ import annotations

from typing import Any

import pytest

from search.values import differences, flatten, short


def test_flat_names_are_dotted_and_values_stay() -> None:
    nested = {"a": {"b": 1, "c": {"d": None}}, "e": [1, {"f": 2}], "g": {}}
    assert flatten(nested) == {"a.b": 1, "a.c.d": None, "e": [1, {"f": 2}], "g": {}}


@pytest.mark.parametrize(
    ("there", "here", "found"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": "a (1 there, 2 here)"}),
        ({"a": 1}, {}, {"a": "a (1 there, nothing here)"}),
        ({}, {"a": {"b": 1}}, {"a.b": "a.b (nothing there, 1 here)"}),
        ({"a": None}, {}, {"a": "a (None there, nothing here)"}),
        ({"a": "1"}, {"a": 1}, {"a": "a ('1' there, 1 here)"}),
        ({"a": 1}, {"a": 1.0}, {"a": "a (1 there, 1.0 here)"}),
        (
            {"a": {}},
            {"a": {"b": 1}},
            {"a": "a ({} there, nothing here)", "a.b": "a.b (nothing there, 1 here)"},
        ),
    ],
)
def test_differences(there: dict[str, Any], here: dict[str, Any], found: dict[str, str]) -> None:
    assert dict(differences(there, here)) == found


def test_a_difference_behind_any_length_is_one() -> None:
    long = "x" * 10_000
    ((name, text),) = differences({"a": long + "1"}, {"a": long + "2"})
    assert name == "a" and len(text) < 700


@pytest.mark.parametrize(("length", "text"), [(10, "0123456789"), (9, "01234 ...")])
def test_short(length: int, text: str) -> None:
    assert short("0123456789", length) == text
