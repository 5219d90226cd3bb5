"""What a search space is to the rest: the contract of all spaces, and of the main search's.

`search.merging.space.swap` and `search.merging.space.wider` hold to the second,
`search.merging.space.rivals` to the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from search.merging.recipe import LayerSwap, Recipe
from search.merging.space.grid import Grid
from search.merging.space.pairs import Pair
from search.merging.space.swap import Space


class SearchSpace(Protocol):
    """What a search with a budget of its own varies: the main search, or that of a rival method."""

    @property
    def seen(self) -> set[str]:
        """Keys already proposed, by any space of the study; `search.study.order` adds to it."""

    @property
    def grid(self) -> Grid:
        """Its flat form."""

    def __call__(self, trial: Any) -> dict[str, Any]:
        """Suggest one recipe: its JSON (`recipe`), `key` and `origin`."""

    def default_points(self) -> list[dict[str, Any]]:
        """Parameters that are proposed first."""

    def point(self, recipe: Recipe) -> dict[str, Any] | None:
        """Parameters of a proposal with the same key as the recipe; None outside of the space.

        Raises:
            RecipeError: the recipe is not valid for L.
        """

    def unseen(self, seed: int) -> dict[str, Any] | None:
        """Parameters of a recipe whose key was never proposed; None when there is none left."""

    def key_of(self, point: Mapping[str, Any]) -> str:
        """Key of the recipe that parameters mean."""


class MainSpace(SearchSpace, Protocol):
    """What the main search varies: layer swaps, or one of their wider forms."""

    @property
    def swaps(self) -> Space:
        """The layer swaps within the same bounds, of the same pairs."""

    @property
    def lang(self) -> str:
        """Language code, for labels."""

    @property
    def n_layers(self) -> int:
        """Number of layers L of the model."""

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """(task, lang) indices to search; several indices on a side are averaged first."""

    def default_recipe(self, pair: Pair) -> LayerSwap:
        """The default recipe of a pair: a layer swap in every space."""

    def bounds(self) -> str:
        """What is searched and how far it reaches, in words."""
