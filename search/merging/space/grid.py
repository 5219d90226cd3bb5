"""A space in one flat, finite form: every recipe has an index on every axis.

Owns the codes by which a model of the whole space sees recipes; what an axis means is the space's.
Pure.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from search.merging.methods.common import members
from search.merging.space.pairs import pair_of

Codes = NDArray[np.int64]
"""Indices on the axes, of shape (recipes, axes)."""
Kind = Literal["pair", "layers", "amount", "listed", "choice"]


@dataclass(frozen=True)
class Axis:
    """One parameter.

    Attributes:
        name: Optuna's name of it.
        values: what it may be, in order.
        unset: index on the axis of a recipe that the parameter does not matter to.
        kind: `pair`; `layers`, `amount`: whole numbers and others, evenly spaced; `listed`: numbers
            of which only some may be; `choice`: values of which none is like another.
    """

    name: str
    values: tuple[Any, ...]
    unset: int
    kind: Kind

    def index(self, value: Any) -> int:
        """Its index among the values; numbers may be rounded.

        Raises:
            ValueError: it is none of them.
        """
        if self.kind in ("pair", "choice"):
            found = [i for i, own in enumerate(self.values) if own == value]
        else:
            found = [i for i, own in enumerate(self.values) if abs(own - value) < 1e-6]
        if not found:
            raise ValueError(f"{value} is not on the axis {self.name}")
        return found[0]

    def sides(self) -> NDArray[np.float64]:
        """Of pairs: the share of experts that two do not have in common, task then language.

        Of shape (2, values, values).
        """
        pairs = [pair_of(name) for name in self.values]
        found = []
        for side in (0, 1):
            sets = [set(members(pair[side])) for pair in pairs]
            found.append([[1.0 - len(a & b) / len(a | b) for b in sets] for a in sets])
        return np.array(found)


@dataclass(frozen=True)
class Grid:
    """The axes of a space.

    Attributes:
        axes: its parameters.
        canonical: codes -> codes of the same recipes, equal where they mean one model; codes
            that mean nothing are left out.
        features: codes -> for each group of numbers in which recipes may be near each other, an
            array of shape (recipes, numbers), scaled so that 1 is far.
    """

    axes: tuple[Axis, ...]
    canonical: Callable[[Codes], Codes]
    features: Callable[[Codes], tuple[NDArray[np.float64], ...]]

    def code(self, point: Mapping[str, Any]) -> tuple[int, ...]:
        """Indices of some parameters; those that are not there do not matter.

        Raises:
            ValueError: a value is not on its axis.
        """
        return tuple(
            axis.index(point[axis.name]) if axis.name in point else axis.unset for axis in self.axes
        )

    def point(self, code: Sequence[int]) -> dict[str, Any]:
        """The parameters of a code, also those that do not matter."""
        return {a.name: a.values[i] for a, i in zip(self.axes, code, strict=True)}

    def size(self) -> int:
        """Codes, of which several may mean one recipe."""
        return int(np.prod([len(axis.values) for axis in self.axes], dtype=np.float64))

    def all(self) -> Codes:
        """Every recipe once."""
        lengths = [len(axis.values) for axis in self.axes]
        return self.unique(np.indices(lengths).reshape(len(lengths), -1).T.astype(np.int64))

    def iterate(self) -> Iterator[NDArray[np.int64]]:
        """Every recipe of a space of any size, in the order of the axes; one may be repeated."""
        every = itertools.product(*(range(len(axis.values)) for axis in self.axes))
        while part := list(itertools.islice(every, 1000)):
            yield from self.unique(np.array(part, dtype=np.int64))

    def unique(self, codes: Codes) -> Codes:
        """Each recipe of some codes once, in the order of the axes."""
        found = self.canonical(codes)
        lengths = [len(axis.values) for axis in self.axes]
        if math.prod(lengths) > np.iinfo(np.int64).max:
            return np.unique(found, axis=0)
        _, first = np.unique(np.ravel_multi_index(tuple(found.T), lengths), return_index=True)
        return found[first]

    def sample(self, rng: np.random.Generator, count: int) -> Codes:
        """Recipes drawn evenly from the codes; fewer than asked for where some are one model."""
        columns = [rng.integers(len(axis.values), size=count) for axis in self.axes]
        return self.unique(np.column_stack(columns).astype(np.int64))

    def neighbours(self, codes: Codes) -> Codes:
        """Recipes one or two steps away on one axis, or one on each of two of the layers' axes."""
        steps: list[NDArray[np.int64]] = []
        size = len(self.axes)
        layers = [i for i, axis in enumerate(self.axes) if axis.kind == "layers"]
        for i, axis in enumerate(self.axes):
            reach = len(axis.values) if axis.kind in ("pair", "choice") else 3
            for step in (s for r in range(1, reach) for s in (r, -r)):
                steps.append(np.eye(size, dtype=np.int64)[i] * step)
        for i in layers:
            for j in layers:
                if i < j:
                    for one, other in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
                        step_of = np.zeros(size, dtype=np.int64)
                        step_of[i], step_of[j] = one, other
                        steps.append(step_of)
        moved = (codes[:, None, :] + np.array(steps)[None, :, :]).reshape(-1, size)
        lengths = np.array([len(axis.values) for axis in self.axes])
        inside = ((moved >= 0) & (moved < lengths)).all(axis=1)
        return self.unique(moved[inside])
