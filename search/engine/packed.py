"""What vLLM's CPU build has packed of whole experts, to be put back instead of packed again.

A linear layer there computes with a packed copy of its weight, which the layer's function holds.
Where a module is all one expert's, or each of its parts is, the function is kept for the next
recipe that wants the same. Bounded; the modules that were longest not wanted go first.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from search.engine.layout import Destination
from search.merging.arithmetic import is_copy
from search.merging.plan import Mix

HOLDER = "cpu_linear"
"""Attribute of a module: the function that computes with the packed weight."""

Key = tuple[Destination, tuple[tuple[str, str, str], ...]]
"""A module, and of each copy into its packed parameters: parameter, tensor name, source."""


class PackedLayers:
    """Functions of modules by what they compute with, up to a number of bytes of weights."""

    def __init__(self, budget: int) -> None:
        """Keep nothing yet.

        Args:
            budget: bytes of packed weights that are kept, those in use included.
        """
        self._budget = budget
        self._kept: OrderedDict[Key, Callable[..., Any]] = OrderedDict()
        self._bytes = 0

    def key(self, place: Destination, mixes: Mapping[str, Mix]) -> Key | None:
        """What a module's packed parameters are to be; None where they are not experts' own.

        Args:
            place: the module.
            mixes: tensor name -> how it is made.
        """
        parts = [(c.parameter, c.name) for c in place.copies if c.parameter in place.packed]
        if not parts or not all(is_copy(mixes[name]) for _, name in parts):
            return None
        return place, tuple((*part, mixes[part[1]].sources[0]) for part in parts)

    def put_back(self, key: Key) -> bool:
        """Have the module compute with these weights; whether they were kept."""
        if key not in self._kept:
            return False
        self._kept.move_to_end(key)
        setattr(key[0].module, HOLDER, self._kept[key])
        return True

    def keep(self, key: Key) -> None:
        """Remember what the module computes with now."""
        holder = vars(key[0].module).get(HOLDER)
        size = _bytes(key)
        if holder is None or size > self._budget:
            return
        self._kept[key] = holder
        self._bytes += size
        while self._bytes > self._budget:
            gone, _ = self._kept.popitem(last=False)
            self._bytes -= _bytes(gone)

    def clear(self) -> None:
        """Let go of all."""
        self._kept.clear()
        self._bytes = 0


def _bytes(key: Key) -> int:
    return sum(math.prod(shape) * dtype.itemsize for shape, dtype in key[0].packed.values())
