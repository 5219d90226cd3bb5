"""The exception tree is the one that its file draws."""

from __future__ import annotations

import inspect
import re

import pytest

from search.common import errors

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, Exception)
}


def drawn() -> dict[str, str]:
    """Error -> its base, as the docstring's tree has it."""
    found: dict[str, str] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        name = re.search(r"\w+Error\b", line)
        if name and (line.startswith("    ") or "─" in line) and "`" not in line:
            depth = name.start()
            parent = max((d for d in above if d < depth), default=None)
            found[name[0]] = above[parent] if parent is not None else "Exception"
            above = {d: n for d, n in above.items() if d < depth} | {depth: name[0]}
    return found


def test_the_tree_is_complete() -> None:
    assert set(drawn()) == set(CLASSES) and len(CLASSES) >= 10


@pytest.mark.parametrize("name", CLASSES)
def test_each_stands_where_it_is_drawn(name: str) -> None:
    assert CLASSES[name].__base__.__name__ == drawn()[name]


def test_a_hub_that_was_not_reached_says_so() -> None:
    assert errors.HubError("x", unreachable=True).unreachable
    assert not errors.HubError("x").unreachable
