"""The search space that a configuration means."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from search.config import compose
from search.config.searched import space_of

L = 10


@pytest.mark.parametrize(
    ("overrides", "bounds"),
    [
        ([], ((0, 5), (0, 5), (0, 2))),
        (["space.b=[1,3]", "space.t_b=[0,1]"], ((1, 3), (0, 5), (0, 1))),
    ],
)
def test_the_space_of_a_configuration(
    overrides: Sequence[str], bounds: tuple[tuple[int, int], ...]
) -> None:
    space = space_of(compose.load([*overrides, "objective=demo"], {"lang": "te"}), L)
    assert (space.b, space.u, space.t_b) == bounds
    assert len(space.pairs) == 9 and space.shares == (0.1, 0.9, 0.1)
