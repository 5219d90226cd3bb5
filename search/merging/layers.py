"""Which layers of a merge come from where: a recipe read layer by layer.

Pure, without a checkpoint: no names of tensors. How a tensor is made is `search.merging.plan`'s,
which asks here.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

from search.merging.canonical import canonical
from search.merging.methods.registry import arithmetic_of, method_of
from search.merging.mix import Mix
from search.merging.recipe import Recipe


class Layers(NamedTuple):
    """How each layer is made, bottom first, and what has no layer number.

    Attributes:
        each: of each layer its MLP, and its attention where that is made alike.
        outside: what has no layer number.
        attention: of each layer its attention.
    """

    each: tuple[Mix, ...]
    outside: Mix
    attention: tuple[Mix, ...]

    def in_words(self) -> str:
        """Runs of layers that are made alike, such as `layers 0 to 2: lang/0; layer 3: task/1`."""
        told = []
        both = list(zip(self.each, self.attention, strict=True))
        for (mix, other), run in itertools.groupby(range(len(both)), key=both.__getitem__):
            first, *rest = run
            span = f"layers {first} to {rest[-1]}" if rest else f"layer {first}"
            words = in_words(mix)
            if other != mix:
                words = f"attention {in_words(other)}, MLP {words}"
            told.append(f"{span}: {words}")
        return "; ".join([*told, f"embeddings, final norm and head: {in_words(self.outside)}"])


def layers_of(recipe: Recipe, n_layers: int) -> Layers:
    """A recipe layer by layer.

    Raises:
        RecipeError: it is not valid for so many layers.
    """
    form = canonical(recipe, n_layers)
    method = method_of(form)
    each = tuple(method.mix(form, layer, n_layers) for layer in range(n_layers))
    attention = each
    if method.attention is not None:
        attention = tuple(method.attention(form, layer, n_layers) for layer in range(n_layers))
    return Layers(each, method.mix(form, None, n_layers), attention)


def in_words(mix: Mix) -> str:
    """How a tensor is made, such as `0.25 task/0 + 0.75 lang/1`."""
    return arithmetic_of(mix.method).words(mix)
