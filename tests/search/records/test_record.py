"""A trial's line: its fields, in their order, and what is refused."""

from __future__ import annotations

import json
import re

import pytest

from search.common.errors import StudyError
from search.merging.recipe import Single
from search.records.record import CAUSES, Record, Stopped, next_number, parse
from tests.search.records.samples import record

FIELDS = (
    "schema number key split state origin label recipe scores reason seconds tokens written "
    "layers attempts ended host note items"
)


def test_fields_and_their_order() -> None:
    """Other programs read them: docs/records.md names these fields."""
    assert list(json.loads(record().to_json())) == FIELDS.split()
    failed = record(state="failed", reason="no answer", cause="timeout", scores={})
    names = FIELDS.replace("reason", "reason cause").split()
    assert list(json.loads(failed.to_json())) == names


@pytest.mark.parametrize("cause", CAUSES)
def test_cause_comes_back(cause: str) -> None:
    failed = record(state="failed", reason="why", cause=cause, scores={})
    assert Record.from_json(failed.to_json()) == failed


def test_line_of_an_earlier_version() -> None:
    """Read without a cause, and written again as it was."""
    line = record(state="failed", reason="died", scores={}, recipe=Single("base")).to_json()
    found = Record.from_json(line)
    assert "cause" not in line and found.cause == "" and found.to_json() == line


@pytest.mark.parametrize("state", ["scored", "infeasible"])
def test_only_failed_trials_have_a_cause(state: str) -> None:
    with pytest.raises(ValueError, match=f"a trial that is {state} has the cause 'engine'"):
        record(state=state, cause="engine")


def test_only_stopped_trials_say_when_they_were() -> None:
    with pytest.raises(ValueError, match=r"is scored has a field stopped$"):
        record(stopped=Stopped(1, 2, 0.5, "", 0.0))
    with pytest.raises(ValueError, match=r"is stopped lacks the field stopped$"):
        record(state="stopped")


def test_cause_that_is_none_of_them() -> None:
    line = record(state="failed", cause="engine").to_json().replace('"engine"', '"weather"')
    with pytest.raises(
        StudyError, match="line 1 .* cause: Input should .* 'engine', 'process', .* not 'weath"
    ):
        parse([line.encode()], "s")


def test_lines() -> None:
    first, second = record("a"), record("b", number=4)
    assert parse([first.to_line(), b"", second.to_line()], "s") == [first, second]
    assert next_number([first, second]) == 5 and next_number([]) == 0
    with pytest.raises(StudyError, match="s/trials.jsonl, line 3 is not a record"):
        parse([first.to_line(), b"", b"{}"], "s")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("scores", None, "scores: Input should be a valid dictionary, not None"),
        ("scores", [1], "scores: Input should be a valid dictionary"),
        ("scores", {"accuracy": None}, "None where a mapping belongs"),
        ("scores", {"accuracy": {"worth": 1}}, "value: Field required; .* 3 more"),
        ("recipe", None, "kind = None is not one of"),
        ("number", "x", "number: Input should be a valid integer, not 'x'"),
        ("stopped", 3, "3 where a mapping belongs"),
        ("colour", "red", "colour: Extra inputs are not permitted, not 'red'"),
    ],
)
def test_words_for_a_line_that_is_no_record(key: str, value: object, said: str) -> None:
    """No word of Python's, such as an attribute that None has not."""
    data = json.loads(record("a").to_json()) | {key: value}
    with pytest.raises(StudyError, match=said) as raised:
        parse([json.dumps(data).encode()], "s")
    assert not re.search(r"NoneType|__init__|attribute|subscript", str(raised.value))
    del data[key]
    if key in {"recipe", "number"}:
        with pytest.raises(StudyError, match=f"{key}: Field required|kind = None"):
            parse([json.dumps(data).encode()], "s")
