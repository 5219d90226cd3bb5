"""One checkpoint as it is."""

from __future__ import annotations

from dataclasses import dataclass

from objectives.types import Decoding
from search.merging.methods.method import Method, Recipe
from search.merging.mix import linear


@dataclass(frozen=True)
class Single:
    """One checkpoint as it is: the base, an expert or a reference.

    Attributes:
        source: `base`, `task/<i>`, `lang/<i>` or `reference/<name>`.
        decoding: as for a layer swap, here and in all other recipes.
    """

    source: str
    decoding: Decoding | None = None


def _label(form: Single, recipe: Recipe, n_layers: int) -> list[str]:
    kind, _, name = form.source.partition("/")
    names = {"task": f"math expert m{name}", "lang": f"language expert l{name}"}
    return [names.get(kind, name or kind)]


METHOD = Method(
    recipe=Single,
    sources=lambda recipe: (recipe.source,),
    faults=lambda recipe, n_layers: [],
    canonical=lambda recipe, n_layers: recipe,
    mix=lambda form, layer, n_layers: linear(((form.source, 1.0),)),
    label=_label,
)
