"""The building blocks of configuration values: what each takes and what it says of the rest."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from objectives.settings import (
    Beams,
    Count,
    FewShots,
    Nucleus,
    Positive,
    Share,
    Strict,
    Temperature,
)
from search.config.fields import Location, OneOrMore, Range, Some


class Example(Strict):
    """A model with a key."""

    key: int = 1
    """What it is."""


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Share, [0, 0.5, 1], [-0.1, 1.1]),
        (Count, [0, 3], [-1, 1.5]),
        (Positive, [1], [0]),
        (Temperature, [0, 2], [-1, 2.1]),
        (Nucleus, [0.01, 1], [0, 1.1]),
        (Beams, [1, 64], [0, 65]),
        (FewShots, [0, 5], [-1, 6]),
        (Range, [(0, 2)], [(1,), (-1, 2), (0, 1, 2)]),
        (Some[tuple[int, ...]], [(1, 2)], [()]),
        (Location, ["models/x", "org/name@rev", "s3://b/a@b"], ["", "a\0", "s3://k:s@b/x"]),
    ],
)
def test_ranges(kind: Any, good: list[Any], bad: list[Any]) -> None:
    adapter = TypeAdapter(kind)
    assert [adapter.validate_python(value) for value in good] == good
    for value in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


def test_one_value_or_a_list_of_them() -> None:
    adapter: TypeAdapter[tuple[int, ...]] = TypeAdapter(OneOrMore[int])
    assert [adapter.validate_python(given) for given in (3, [3], (3, 4))] == [(3,), (3,), (3, 4)]
    with pytest.raises(ValidationError, match="is empty: give one at least"):
        adapter.validate_python([])


def test_a_model_refuses_unknown_keys_and_changes() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Example.model_validate({"kee": 2})
    with pytest.raises(ValidationError, match="frozen"):
        Example().key = 2


def test_the_docstring_under_a_field_is_its_description() -> None:
    assert Example.model_fields["key"].description == "What it is."
