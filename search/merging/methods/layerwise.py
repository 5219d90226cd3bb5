"""A share of the language expert for each block of layers.

Owns how blocks lie over the layers, and which shares are those of a layer swap. Its mixes are
linear.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from objectives.types import Decoding
from objectives.words import counted
from search.merging.methods import swap
from search.merging.methods.common import Experts, pair_sources, rounded, short
from search.merging.methods.layered import Layered, NonLayer
from search.merging.methods.method import Method, Recipe
from search.merging.methods.swap import LayerSwap
from search.merging.mix import Mix


def layers_of_blocks(blocks: int, n_layers: int) -> list[list[int]]:
    """The layers of each block, the bottom one first; blocks are as even as they can be."""
    found: list[list[int]] = [[] for _ in range(blocks)]
    for layer in range(n_layers):
        found[layer * blocks // n_layers].append(layer)
    return found


@dataclass(frozen=True)
class Layerwise(Layered):
    """The average of a pair of experts with a share of its own for each block of layers.

    Attributes:
        task, lang: as in a layer swap.
        shares: the language expert's share in each block, in [0, 1], bottom first; see
            `layers_of_blocks`.
        non_layer: as in a layer swap, but not `weighted`.
    """

    task: Experts
    lang: Experts
    shares: tuple[float, ...]
    non_layer: NonLayer = "average"
    decoding: Decoding | None = None

    def layers(self, n_layers: int) -> tuple[float, ...]:
        """The share of every layer, rounded."""
        blocks = zip(self.shares, layers_of_blocks(len(self.shares), n_layers), strict=True)
        return tuple(rounded(share) for share, own in blocks for _ in own)

    def whole(self, n_layers: int) -> tuple[int, int]:
        """Bottom and upper layers whose share is 1."""
        shares = self.layers(n_layers)
        b = _run(shares, 1.0)
        return b, _run(shares[::-1], 1.0) if b < n_layers else 0

    def size(self, n_layers: int) -> tuple[float, float]:
        """Layers whose share is 1, and those whose share is below it and above 0."""
        shares = self.layers(n_layers)
        return shares.count(1.0), sum(0 < share < 1 for share in shares)

    def numbers(self) -> dict[str, float]:
        """The share of each block, the bottom one first."""
        return {f"block_{i}": share for i, share in enumerate(self.shares)}

    def swap(self, b: int, u: int, t_b: int, t_u: int, share: float = 0.5) -> LayerSwap:
        """The layer swap of the same pair with these zones."""
        zones = b, u, t_b, t_u
        policy = self.non_layer
        return LayerSwap(self.task, self.lang, *zones, 1 - share, share, policy, self.decoding)


def _faults(recipe: Layerwise, n_layers: int) -> list[str]:
    faults = swap.METHOD.faults(recipe.swap(0, 0, 0, 0), n_layers)
    if recipe.non_layer == "weighted":
        faults.append("non_layer = 'weighted' has no meaning where each block has its own share")
    if not 1 <= len(recipe.shares) <= n_layers:
        faults.append(
            f"shares has {counted(len(recipe.shares), 'value')}, but must have 1 to {n_layers}"
        )
    return faults + [f"shares = {x} is not in [0, 1]" for x in recipe.shares if not 0 <= x <= 1]


def _canonical(recipe: Layerwise, n_layers: int) -> Recipe:
    """A layer swap where one has these shares; else the share of every layer."""
    shares = recipe.layers(n_layers)
    for found in _swaps(recipe, shares):
        if tuple(rounded(swap.share_of(found, i, n_layers)) for i in range(n_layers)) == shares:
            return found
    task, lang = swap.in_order(recipe.task), swap.in_order(recipe.lang)
    return Layerwise(task, lang, shares, recipe.non_layer, recipe.decoding)


def _swaps(recipe: Layerwise, shares: tuple[float, ...]) -> list[LayerSwap]:
    """The swaps that may have the shares of all layers: with a constant ramp, then linear ones."""
    length = len(shares)
    b, u = recipe.whole(length)
    inner = shares[b : length - u]
    if not inner:
        return [recipe.swap(length, 0, 0, 0)]
    levels = {share for share in inner if share > 0}
    if len(levels) <= 1:
        share = max(levels, default=0.5)
        t_b = _run(inner, share)
        t_u = _run(inner[::-1], share) if t_b < len(inner) else 0
        return [recipe.swap(b, u, t_b, t_u, share)]
    ends = (_steps(inner[0]), _steps(inner[-1]))
    sizes = ({0, size} for size in ends)
    fitting = (pair for pair in itertools.product(*sizes) if sum(pair) <= len(inner))
    return [replace(recipe.swap(b, u, *pair), ramp="linear") for pair in fitting]


def _run(shares: tuple[float, ...], share: float) -> int:
    """How many there are of a share at the start."""
    return len(list(itertools.takewhile(lambda own: own == share, shares)))


def _steps(first: float) -> int:
    """Layers of a linear ramp whose first has this share: 1 - 1 / (t + 1)."""
    return round(1 / (1 - first)) - 1 if first < 1 else 0


def _mix(form: Layerwise, layer: int | None, n_layers: int) -> Mix:
    if layer is None:
        return swap.METHOD.mix(form.swap(0, 0, 0, 0), None, n_layers)
    return swap.average(form.swap(0, 0, 0, 0), form.layers(n_layers)[layer])


def _label(form: Layerwise, recipe: Recipe, n_layers: int) -> list[str]:
    shares = recipe.shares if isinstance(recipe, Layerwise) else form.shares
    policy = [] if form.non_layer == "average" else [f"{form.non_layer}-embeddings"]
    return ["layerwise", "-".join(map(short, shares)), form.swap(0, 0, 0, 0).pair, *policy]


METHOD = Method(
    recipe=Layerwise,
    sources=lambda recipe: pair_sources(recipe.task, recipe.lang),
    faults=_faults,
    canonical=_canonical,
    mix=_mix,
    label=_label,
)
