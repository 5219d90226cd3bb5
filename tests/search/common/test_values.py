"""Nested values: made flat, compared exactly, cut to a length."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.common.values import (
    check_types,
    differences,
    escaped,
    escaped_json,
    flatten,
    in_markdown,
    short,
    some,
    tidy,
)


@given(st.text(st.characters() | st.sampled_from("\ud800\udfff\\")))
def test_texts_of_any_characters_can_be_written(text: str) -> None:
    line = escaped_json({"a": [text]}).encode()
    assert json.loads(line) == {"a": [escaped(text)]}
    assert escaped(escaped(text)) == escaped(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("te b3 u1 t_b w.60", "te b3 u1 t_b w.60"),
        ("a | b", "a \\| b"),
        ("a\n# b", "a # b"),
        ("<img src=x onerror=y>", "&lt;img src=x onerror=y>"),
        ("![x](http://h/p.png)", "![x]\\(http://h/p.png)"),
        ("`code` & \x1b[2J", "'code' &amp; \\x1b[2J"),
    ],
)
def test_markdown_of_others_is_text(text: str, line: str) -> None:
    assert in_markdown(text) == line


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


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1 - 0.9, "0.1"),
        (0.1 + 0.2, "0.3"),
        (1 / 3, "0.333333333333333"),
        (1.0, "1.0"),
        (-1e-7, "-1e-07"),
        ({"a": (1 - 0.9, None), "b": "x"}, "{'a': [0.1, None], 'b': 'x'}"),
        (7, "7"),
        (True, "True"),
    ],
)
def test_tidy(value: object, expected: str) -> None:
    assert str(tidy(value)) == expected


@given(st.floats(allow_nan=False, width=32))
def test_what_is_tidy_is_the_same_in_float32(value: float) -> None:
    assert struct.pack("f", tidy(value)) == struct.pack("f", value)


class Named(Protocol):
    """Any object."""


@dataclass(frozen=True)
class Inner:
    share: float


@dataclass(frozen=True)
class Outer:
    count: int
    kind: Literal["a", "b"]
    inner: Inner | None = None
    names: tuple[str, ...] = ()
    made: Named = field(default_factory=object)


GOOD: dict[str, Any] = {"count": 1, "kind": "a", "inner": Inner(1), "names": ("x",)}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, ""),
        ({"inner": None, "made": 3}, ""),
        ({"count": "1"}, "count: Input should be a valid integer"),
        ({"count": True}, "count: "),
        ({"count": 1.0}, "count: "),
        ({"count": None, "kind": "c"}, "count: .*; kind: Input should be 'a' or 'b'"),
        ({"inner": Inner(math.nan)}, "inner.*: Input should be a finite number"),
        ({"inner": Inner(None)}, "inner.*: Input should be a valid number"),
        ({"names": ("x", 3)}, "names.1: Input should be a valid string"),
        ({"colour": 1}, "colour: Extra inputs are not permitted"),
    ],
)
def test_types_of_a_dataclass(changed: dict[str, Any], message: str) -> None:
    if not message:
        check_types(Outer, GOOD | changed)
    else:
        with pytest.raises(ValueError, match=message):
            check_types(Outer, GOOD | changed)


def test_some_of_many_words() -> None:
    assert some(["a", "b", "c"]) == "a, b, c"
    assert some(["a", "b", "c", "d", "e"]) == "a, b, c, ... (2 more)"
    assert len(some(["x" * 5000])) == 120
