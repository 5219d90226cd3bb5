"""The list of merge methods: the one place, beside its own module, that knows of each kind."""

from __future__ import annotations

from typing import Any

from search.common.errors import RecipeError
from search.merging.methods import (
    components,
    dare_linear,
    layerwise,
    single,
    slerp,
    soup,
    swap,
    task_arithmetic,
    ties,
)
from search.merging.methods.linear import LINEAR
from search.merging.methods.method import Arithmetic, Method, Recipe, Rival

METHODS: dict[str, Method[Any]] = {
    "swap": swap.METHOD,
    "components": components.METHOD,
    "layerwise": layerwise.METHOD,
    "single": single.METHOD,
    "soup": soup.METHOD,
    "task_arithmetic": task_arithmetic.METHOD,
    "ties": ties.METHOD,
    "dare_linear": dare_linear.METHOD,
    "slerp": slerp.METHOD,
}
"""Kind -> method. The kind is the `kind` of a recipe's JSON, the `method` of its own mixes, a key
of `search.baselines`, and mergekit's name where mergekit has it."""


def kind_of(recipe: Recipe) -> str:
    """The kind of a recipe.

    Raises:
        RecipeError: its class is no method's.
    """
    for kind, method in METHODS.items():
        if method.recipe is type(recipe):
            return kind
    raise RecipeError(f"{recipe} is of no kind in search.merging.methods.registry")


def method_of(recipe: Recipe) -> Method[Any]:
    """The method of a recipe.

    Raises:
        RecipeError: its class is no method's.
    """
    return METHODS[kind_of(recipe)]


def arithmetic_of(name: str) -> Arithmetic:
    """The arithmetic of a mix's `method`.

    Raises:
        RecipeError: no method of that name has an arithmetic.
    """
    found = LINEAR if name == "linear" else METHODS[name].arithmetic if name in METHODS else None
    if found is None:
        raise RecipeError(f"no arithmetic is known for a mix of method {name!r}")
    return found


def rivals() -> dict[str, Rival]:
    """Kind -> how it is searched, for the methods that layer swapping is compared with."""
    return {kind: method.rival for kind, method in METHODS.items() if method.rival}
