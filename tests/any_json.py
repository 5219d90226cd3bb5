"""Any JSON value in the place of any value: what a file of another shape than expected may hold."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

_LETTERS = st.characters(exclude_categories=())  # halves of surrogate pairs as well
ODD = (
    None,
    True,
    -1,
    2**63,
    10**400,
    0.5,
    1e308,
    math.nan,
    -math.inf,
    "",
    "\ud83d",
    "\ufeff",
    [],
    {},
)
"""Values that have made programs fail."""


def any_json() -> st.SearchStrategy[Any]:
    """Values of every kind, nested a little."""
    scalars = st.sampled_from(ODD) | st.integers() | st.floats() | st.text(_LETTERS, max_size=8)
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(_LETTERS, max_size=4), inner)
        ),
        max_leaves=4,
    )


def with_one_changed(data: Any) -> st.SearchStrategy[Any]:
    """The same data with any value in the place of one of its values, itself included."""
    return st.builds(_put, st.just(data), st.sampled_from(list(_places(data))), any_json())


def written(value: Any) -> bytes:
    """A value as JSON, with its own spelling of NaN and infinity."""
    return json.dumps(value).encode()


def _places(data: Any) -> Iterator[tuple[Any, ...]]:
    yield ()
    inner = data.items() if isinstance(data, dict) else ()
    inner = enumerate(data) if isinstance(data, list) else inner
    for key, value in inner:
        yield from ((key, *place) for place in _places(value))


def _put(data: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    key, *rest = place
    changed = _put(data[key], tuple(rest), value)
    if isinstance(data, dict):
        return data | {key: changed}
    return [*data[:key], changed, *data[key + 1 :]]
