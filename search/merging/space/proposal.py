"""What a search space is to the rest, what it sees of Optuna, and its proposals.

Owns the contract of all spaces, how a proposal goes on record, and that a trial may ask for a fixed
recipe outside of the space. Which spaces there are say the modules beside this one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, Protocol

from search.merging.recipe import LayerSwap, Recipe, from_dict, key, label, to_dict
from search.merging.space.grid import Grid
from search.merging.space.pairs import Pair

if TYPE_CHECKING:
    from search.merging.space.swap import Space

BASELINE = "baseline"
"""User attribute of an Optuna trial that asks for a fixed recipe (JSON) outside of the space."""


class Trial(Protocol):
    """The part of an `optuna.Trial` that a space uses."""

    user_attrs: dict[str, Any]

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """A whole number, both ends included."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float) -> float:
        """A multiple of step above low."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""

    def set_user_attr(self, name: str, value: Any) -> None:
        """Remember a value beside the parameters."""


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


def propose(
    trial: Trial,
    suggested: Callable[[], Recipe],
    lang: str,
    n_layers: int,
    seen: Set[str],
    origin: str,
) -> dict[str, Any]:
    """A suggested recipe as plain data; its key and its name go on record with the trial.

    Args:
        trial: who suggests it.
        suggested: makes it, unless the trial asks for a fixed one.
        lang: language code, for the name.
        n_layers: number of layers L of the model.
        seen: keys already proposed.
        origin: as in `search.records.record.Record`.
    """
    if BASELINE in trial.user_attrs:
        recipe, origin = from_dict(json.loads(trial.user_attrs[BASELINE])), "baseline"
    else:
        recipe = suggested()
    name = key(recipe, n_layers)
    trial.set_user_attr("key", name)
    trial.set_user_attr("label", label(recipe, lang, n_layers))
    trial.set_user_attr("repeated", name in seen)
    return {"recipe": json.dumps(to_dict(recipe)), "key": name, "origin": origin}
