"""The building blocks of configuration values: what each takes and what it says of the rest."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from search.config.fields import Location, OneOrMore, Range, Some


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
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
