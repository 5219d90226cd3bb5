"""The wider forms of a layer swap as search spaces: more numbers, of which each always exists.

Owns what the forms share: experts, decoding, first proposals, the way back from a recipe to its
parameters. What a form's own numbers are is `search.merging.space.components`' and
`search.merging.space.layerwise`'s. Sees Optuna only as an object with `suggest_*`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from search.merging.recipe import LayerSwap, Recipe, canonical, key
from search.merging.space.grid import Axis, Codes, Grid
from search.merging.space.pairs import Pair, pair_name
from search.merging.space.proposal import Trial, propose
from search.merging.space.spellings import spellings
from search.merging.space.swap import Space

Columns = Mapping[str, NDArray[Any]]
"""Axis -> the value of each of n recipes."""


class Fitting(NamedTuple):
    """What recipes of some numbers mean, each of shape (n,).

    Attributes:
        valid: whether they mean a recipe that fewer layers do not mean as well.
        shared: whether some layer is averaged by the share `w_lang`.
    """

    valid: NDArray[np.bool_]
    shared: NDArray[np.bool_]


class Form(Protocol):
    """A wider form's own numbers."""

    @property
    def swaps(self) -> Space:
        """The layer swaps within the same bounds."""

    def axes(self) -> tuple[Axis, ...]:
        """Its numbers."""

    def recipe(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe of some parameters, all of the form's own and the pair among them."""

    def numbers(self, recipe: Recipe) -> Mapping[str, Any] | None:
        """The form's own parameters of a recipe, perhaps out of bounds; None: it has none."""

    def spellings(self, form: Recipe) -> Iterator[Recipe]:
        """Other ways to write a canonical recipe in this form."""

    def fitting(self, columns: Columns) -> Fitting:
        """What recipes of some numbers mean."""

    def features(self, columns: Columns) -> tuple[NDArray[np.float64], ...]:
        """As `search.merging.space.grid.Grid.features`: those of a layer swap, if it is one."""

    def starts(self) -> list[Mapping[str, Any]]:
        """The form's own numbers of the first proposals."""

    def bounds(self) -> str:
        """What is searched and how far it reaches, in words."""


@dataclass
class WiderSpace:
    """A wider form of all swaps of a space; called with each of Optuna's trials.

    Attributes:
        form: its own numbers, and the swaps.
    """

    form: Form

    @property
    def swaps(self) -> Space:
        """The layer swaps within the same bounds, of the same pairs."""
        return self.form.swaps

    @property
    def lang(self) -> str:
        """Language code, for labels."""
        return self.swaps.lang

    @property
    def n_layers(self) -> int:
        """Number of layers L of the model."""
        return self.swaps.n_layers

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """As the swaps'."""
        return self.swaps.pairs

    @property
    def seen(self) -> set[str]:
        """Keys already proposed, by any space of the study."""
        return self.swaps.seen

    def default_recipe(self, pair: Pair) -> LayerSwap:
        """The default layer swap of a pair."""
        return self.swaps.default_recipe(pair)

    def bounds(self) -> str:
        """What is searched and how far it reaches, in words."""
        return self.form.bounds()

    def __call__(self, trial: Trial) -> dict[str, Any]:
        """Suggest one recipe; its key and its name go on record with the trial."""
        suggested = partial(self._suggest, trial)
        return propose(trial, suggested, self.lang, self.n_layers, self.seen, "search")

    def _suggest(self, trial: Trial) -> Recipe:
        return self.form.recipe({a.name: suggested(trial, a) for a in self.grid.axes})

    def key_of(self, point: Mapping[str, Any]) -> str:
        """Key of the recipe that parameters mean."""
        return key(self.form.recipe(point), self.n_layers)

    def default_points(self) -> list[dict[str, Any]]:
        """The form's first proposals, for the pairs of the swaps' default recipes."""
        first = {name: values[0] for name, values in self.swaps.choices().items()}
        return [
            {"pair": point["pair"], **first, **start}
            for point in self.swaps.default_points()
            for start in self.form.starts()
        ]

    def point(self, recipe: Recipe) -> dict[str, Any] | None:
        """Parameters of a proposal with the same key; None outside of the space.

        Found are the recipes that are written as the space writes them, and those that are a layer
        swap in another form.

        Raises:
            RecipeError: the recipe is not valid for L.
        """
        form = canonical(recipe, self.n_layers)
        wanted = key(recipe, self.n_layers)
        own, swaps = self.form.spellings(form), spellings(form, self.n_layers, self.swaps.zones)
        written = itertools.chain([recipe, form], own, swaps)
        for values in itertools.chain.from_iterable(map(self._values, written)):
            if self._inside(values) and self.key_of(values) == wanted:
                return values
        return None

    def _values(self, recipe: Recipe) -> Iterator[dict[str, Any]]:
        """Parameters that may mean a recipe; also with other experts, since one may be unused."""
        numbers = self.form.numbers(recipe)
        if numbers is None:
            return
        own = {name: getattr(recipe.decoding, name, None) for name in self.swaps.decoding}
        if "non_layer" in self.swaps.choices():
            own["non_layer"] = getattr(recipe, "non_layer", None)
        sides = getattr(recipe, "task", None), getattr(recipe, "lang", None)
        alike = [p for p in self.pairs if p[0] == sides[0] or p[1] == sides[1]]
        idle = {a.name: a.values[a.unset] for a in self.grid.axes if a.name == "w_lang"}
        for pair in sorted(alike, key=lambda pair: pair != sides):
            for last in ({}, idle):  # the share may have no effect
                yield {"pair": pair_name(pair), **own, **numbers, **last}

    def _inside(self, values: Mapping[str, Any]) -> bool:
        try:
            self.grid.code(values)
        except ValueError:
            return False
        return True

    def unseen(self, seed: int) -> dict[str, Any] | None:
        """Parameters of a recipe whose key was never proposed; None when the space is exhausted.

        Drawn at random, and looked for one by one only if a thousand draws found none.
        """
        drawn = self.grid.sample(np.random.default_rng(seed), 1000)
        drawn = np.random.default_rng(seed).permutation(drawn)
        for code in itertools.chain(drawn, self.grid.iterate()):
            point = self.grid.point(code)
            if self.key_of(point) not in self.seen:
                return point
        return None

    @cached_property
    def grid(self) -> Grid:
        """The space in its flat form."""
        pair = Axis("pair", tuple(pair_name(pair) for pair in self.pairs), 0, "pair")
        choices = (Axis(n, tuple(v), 0, "choice") for n, v in self.swaps.choices().items())
        return Grid((pair, *self.form.axes(), *choices), self._canonical_codes, self._features)

    def _canonical_codes(self, codes: Codes) -> Codes:
        """As `search.merging.space.grid.Grid.canonical`: what does not matter is unset."""
        columns = self._columns(codes)
        fitting = self.form.fitting(columns)
        found = codes[fitting.valid].copy()
        policy = columns.get("non_layer", np.array([self.swaps.non_layer[0]] * len(codes)))
        idle = ~(fitting.shared | (policy == "weighted"))[fitting.valid]
        for i, axis in enumerate(self.grid.axes):
            if axis.name == "w_lang":
                found[idle, i] = axis.unset
        return found

    def _features(self, codes: Codes) -> tuple[NDArray[np.float64], ...]:
        return self.form.features(self._columns(codes))

    def _columns(self, codes: Codes) -> Columns:
        axes = enumerate(self.grid.axes)
        return {axis.name: np.array(axis.values)[codes[:, i]] for i, axis in axes}


def suggested(trial: Trial, axis: Axis) -> Any:
    """A value of an axis: always of the same distribution, which Optuna asks for."""
    if axis.kind == "layers":
        return trial.suggest_int(axis.name, axis.values[0], axis.values[-1])
    if axis.kind == "amount" and len(axis.values) > 1:
        low, high, step = axis.values[0], axis.values[-1], axis.values[1] - axis.values[0]
        return trial.suggest_float(axis.name, low, high, step=step)
    return trial.suggest_categorical(axis.name, axis.values)


def nearest(axis: Axis, value: float) -> Any:
    """The value of an axis of numbers that is nearest to one."""
    return min(axis.values, key=lambda own: abs(own - value))
