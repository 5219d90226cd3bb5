"""The search space that a configuration means."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from search.common.errors import ConfigError
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
    space = space_of(compose.load([*overrides, "objective=demo"], {"lang": "te"}), L).swaps
    assert (space.b, space.u, space.t_b) == bounds
    assert len(space.pairs) == 9 and space.shares == (0.5, 0.5, 0.1)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["space=components", "space.b=[1,3]"],
            "for attention and MLP each b and u on their own",
        ),
        (
            ["space=layerwise"],
            "the language expert's share in each of 10 blocks of layers",
        ),
        (["space=layerwise", "space.blocks=4"], "the language expert's share in each of 4 blocks"),
        (["space=whole_model"], "b 0 to 5, u 0 to 5, t_b 0 to 2, t_u 0 to 2, and the language "),
    ],
)
def test_the_form_of_a_space(overrides: Sequence[str], said: str) -> None:
    space = space_of(compose.load([*overrides, "objective=demo"], {"lang": "te"}), L)
    assert space.bounds().startswith(said)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["space.blocks=11"], "space.blocks = 11, but the model has 10 layers"),
        (["space.start=[0.5,0.5]"], "space.start has 2 shares for 10 blocks"),
    ],
)
def test_blocks_that_do_not_fit(overrides: Sequence[str], message: str) -> None:
    config = compose.load(["space=layerwise", "objective=demo", *overrides], {"lang": "te"})
    with pytest.raises(ConfigError, match=message):
        space_of(config, L)
