"""What a search space sees of Optuna, and what it hands on: one proposed recipe.

Owns how a proposal goes on record. Which there are is `search.merging.space.swap`'s and
`search.merging.space.rivals`'.
"""

from __future__ import annotations

import json
from collections.abc import Sequence, Set
from typing import Any, Protocol

from search.merging.recipe import Recipe, key, label, to_dict


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


def propose(
    trial: Trial, recipe: Recipe, lang: str, n_layers: int, seen: Set[str], origin: str
) -> dict[str, Any]:
    """A suggested recipe as plain data; its key and its name go on record with the trial.

    Args:
        trial: who suggested it.
        recipe: what is to be scored.
        lang: language code, for the name.
        n_layers: number of layers L of the model.
        seen: keys already proposed.
        origin: as in `search.records.record.Record`.
    """
    name = key(recipe, n_layers)
    trial.set_user_attr("key", name)
    trial.set_user_attr("label", label(recipe, lang, n_layers))
    trial.set_user_attr("repeated", name in seen)
    return {"recipe": json.dumps(to_dict(recipe)), "key": name, "origin": origin}
