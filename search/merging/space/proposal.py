"""What a search space sees of Optuna, and what it hands on: one proposed recipe.

Owns how a proposal goes on record, and that a trial may ask for a fixed recipe outside of the
space. Which recipes there are is said by each space.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence, Set
from typing import Any, Protocol

from search.merging.recipe import Recipe, from_dict, key, label, to_dict

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
