"""Shares of blocks as a search space: each block of layers is an average with its own share.

Owns how many blocks there are, and where the search begins: with the default layer swap, and with
what the experts' vectors say, if it is given (`search.inspect`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.merging.methods.layerwise import layers_of_blocks
from search.merging.methods.swap import share_of
from search.merging.recipe import LayerSwap, Layerwise, Recipe
from search.merging.space.grid import Axis
from search.merging.space.swap import Space
from search.merging.space.wider import Columns, Fitting, nearest

BLOCKS = range(8, 13)
"""Blocks there may be without a word of the user: fewer than a deep model's layers."""


def blocks_of(n_layers: int) -> int:
    """Blocks of a model of so many layers: even ones where that goes, else 10; at most L."""
    even = [count for count in BLOCKS if n_layers % count == 0]
    return min(n_layers, min(even, key=lambda count: abs(count - 10), default=10))


@dataclass(frozen=True)
class LayerwiseForm:
    """The numbers of shares by blocks.

    Attributes:
        swaps: what bounds the share of each block; its zones are the default layer swap's only.
        blocks: how many there are.
        start: shares of the blocks that are proposed after the default layer swap; empty: none.
    """

    swaps: Space
    blocks: int
    start: Sequence[float] = ()

    def axes(self) -> tuple[Axis, ...]:
        """The share of each block, the bottom one first."""
        shares = tuple(self.swaps.axes()["w_lang"])
        return tuple(Axis(f"block_{i}", shares, 0, "amount") for i in range(self.blocks))

    def recipe(self, values: Mapping[str, Any]) -> Layerwise:
        """The recipe of some parameters."""
        shares = tuple(values[f"block_{i}"] for i in range(self.blocks))
        return Layerwise(**self.swaps.shared(values), shares=shares)

    def numbers(self, recipe: Recipe) -> Mapping[str, Any] | None:
        """Those of shares by blocks or of a layer swap: the shares that layers have."""
        n_layers = self.swaps.n_layers
        if isinstance(recipe, Layerwise):
            shares = recipe.layers(n_layers)
        elif isinstance(recipe, LayerSwap):
            shares = tuple(share_of(recipe, layer, n_layers) for layer in range(n_layers))
        else:
            return None
        return {f"block_{i}": shares[layers[0]] for i, layers in enumerate(self._layers())}

    def spellings(self, form: Recipe) -> Iterator[Layerwise]:
        """None: each share is written in one way."""
        return iter(())

    def fitting(self, columns: Columns) -> Fitting:
        """All mean a recipe of their own."""
        every = np.ones(len(columns["block_0"]), dtype=bool)
        return Fitting(every, every)

    def features(self, columns: Columns) -> tuple[NDArray[np.float64], ...]:
        """The language expert's share of every layer, and its layers in either half of the model.

        Two arrays, of shape (n, L) and (n, 2).
        """
        n_layers = self.swaps.n_layers
        shares = np.column_stack(
            [columns[f"block_{i}"] for i, own in enumerate(self._layers()) for _ in own]
        )
        half = n_layers // 2
        ends = np.column_stack([shares[:, :half].sum(axis=1), shares[:, half:].sum(axis=1)])
        return shares / np.sqrt(n_layers), ends / n_layers

    def starts(self) -> list[Mapping[str, Any]]:
        """The default layer swap, as near as blocks come to it, and what was given."""
        n_layers, axes = self.swaps.n_layers, self.axes()
        default = self.swaps.default_recipe(self.swaps.pairs[0])
        shares = [share_of(default, layer, n_layers) for layer in range(n_layers)]
        means = [fmean(shares[layer] for layer in own) for own in self._layers()]
        found = [
            {axis.name: nearest(axis, share) for axis, share in zip(axes, wanted, strict=True)}
            for wanted in (means, self.start)
            if wanted
        ]
        return [*found]

    def bounds(self) -> str:
        """The range of the shares, in words."""
        low, high, step = self.swaps.shares
        return (
            f"the language expert's share in each of {self.blocks} blocks of layers, from {low:g} "
            f"to {high:g} in steps of {step:g}"
        )

    def _layers(self) -> list[list[int]]:
        return layers_of_blocks(self.blocks, self.swaps.n_layers)
