"""A space for samplers that know neither conditions nor limits between parameters.

Owns the two ways between a recipe's parameters and places on the axes that vary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from search.merging.space.contract import SearchSpace
from search.merging.space.grid import Axis


@dataclass(frozen=True)
class Flat:
    """The flat form of a space as independent whole numbers.

    Attributes:
        space: what is searched.
    """

    space: SearchSpace

    @cached_property
    def varied(self) -> tuple[Axis, ...]:
        """Axes with more than one value."""
        return tuple(axis for axis in self.space.grid.axes if len(axis.values) > 1)

    def point(self, places: Mapping[str, int]) -> dict[str, Any] | None:
        """The recipe of some places, its transition layers cut to what fits; None if none fit."""
        grid = self.space.grid
        code = [int(places.get(axis.name, axis.unset)) for axis in grid.axes]
        for name in ("t_u", "t_b"):
            place = [axis.name for axis in grid.axes].index(name)
            while not len(grid.canonical(np.array([code]))) and code[place] > 0:
                code[place] -= 1
        found = grid.canonical(np.array([code]))
        return grid.point(found[0]) if len(found) else None

    def places(self, point: Mapping[str, Any]) -> dict[str, int]:
        """Places of a recipe's parameters, on the axes that vary.

        Raises:
            ValueError: a value is not on its axis.
        """
        axes = zip(self.space.grid.axes, self.space.grid.code(point), strict=True)
        return {axis.name: place for axis, place in axes if len(axis.values) > 1}


def is_choice(axis: Axis) -> bool:
    """Whether no value of an axis is more like one than like another."""
    return axis.kind in ("pair", "choice")
