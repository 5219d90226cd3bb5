"""The merge methods that layer swapping is compared with, each with a search space of its own.

Owns how a method's axes are searched; which they are is said by the method itself
(`search.merging.methods.registry.rivals`). "Best against best" wants each rival searched under a
budget (`search.baselines`), not at one guessed setting. Sees Optuna only as an object with
`suggest_*`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.merging.methods.common import members
from search.merging.methods.registry import rivals
from search.merging.recipe import Recipe, key
from search.merging.space.grid import Axis, Codes, Grid
from search.merging.space.pairs import Pair, pair_name, pair_of, tidy
from search.merging.space.proposal import Trial, propose


@dataclass
class RivalSpace:
    """One method's search space; called with each of Optuna's trials.

    Attributes:
        method: a rival's kind; also the origin of the trials it proposes.
        lang: language code, for labels.
        n_layers: number of layers L of the model.
        pairs: (task, lang) indices to search; several indices on a side share that side's part
            evenly. A method without groups takes their pairs one by one.
        seen: keys already proposed, by any space of the study; `search.study.order` adds to it.
    """

    method: str
    lang: str
    n_layers: int
    pairs: tuple[Pair, ...]
    seen: set[str] = field(default_factory=set)
    _points: list[tuple[str, dict[str, Any]]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        """Take sides apart that the method cannot take together."""
        if not rivals()[self.method].groups:
            sides = ((members(task), members(lang)) for task, lang in self.pairs)
            self.pairs = tidy(pair for side in sides for pair in itertools.product(*side))

    @property
    def axes(self) -> Mapping[str, Sequence[float]]:
        """The method's numbers -> the values that are tried."""
        return rivals()[self.method].axes

    def __call__(self, trial: Trial) -> dict[str, Any]:
        """Suggest one recipe; its key and its name go on record with the trial."""
        pair = trial.suggest_categorical("pair", [pair_name(pair) for pair in self.pairs])
        numbers = {n: trial.suggest_categorical(n, v) for n, v in self.axes.items()}
        recipe = partial(self.recipe, pair, numbers)
        return propose(trial, recipe, self.lang, self.n_layers, self.seen, self.method)

    def recipe(self, pair: str, numbers: Mapping[str, float]) -> Recipe:
        """The recipe of some parameters."""
        return rivals()[self.method].recipe(*pair_of(pair), self.n_layers, numbers)

    def key_of(self, point: Mapping[str, Any]) -> str:
        """Key of the recipe that parameters mean."""
        return key(self.recipe(point["pair"], {n: point[n] for n in self.axes}), self.n_layers)

    @cached_property
    def grid(self) -> Grid:
        """The space in its flat form; every parameter matters to every recipe."""
        pair = Axis("pair", tuple(pair_name(pair) for pair in self.pairs), 0, "pair")
        numbers = (Axis(name, tuple(v), 0, "listed") for name, v in self.axes.items())
        return Grid((pair, *numbers), lambda codes: codes, self._features)

    def _features(self, codes: Codes) -> tuple[NDArray[np.float64], ...]:
        """The method's numbers, each over its range: one array of shape (n, numbers)."""
        columns = [np.array(values)[codes[:, i]] for i, values in enumerate(self.axes.values(), 1)]
        ranges = [max(values) - min(values) or 1.0 for values in self.axes.values()]
        return (np.column_stack(columns) / np.array(ranges),)

    def default_points(self) -> list[dict[str, Any]]:
        """None: every value is as good a guess as the next."""
        return []

    def point(self, recipe: Recipe) -> dict[str, Any] | None:
        """Parameters of a proposal with the same key as the recipe; None outside of the space.

        Raises:
            RecipeError: the recipe is not valid for L.
        """
        wanted = key(recipe, self.n_layers)
        return next((point for name, point in self._keyed() if name == wanted), None)

    def unseen(self, seed: int) -> dict[str, Any] | None:
        """Parameters of a recipe whose key was never proposed; None when the space is exhausted."""
        points = list(self._keyed())
        random.Random(seed).shuffle(points)
        return next((point for name, point in points if name not in self.seen), None)

    def _keyed(self) -> list[tuple[str, dict[str, Any]]]:
        """Key and parameters of every point, made once: a few hundred for each pair at most."""
        if not self._points:
            axes = self.axes
            pairs = [pair_name(pair) for pair in self.pairs]
            for pair, values in itertools.product(pairs, itertools.product(*axes.values())):
                numbers = dict(zip(axes, values, strict=True))
                name = key(self.recipe(pair, numbers), self.n_layers)
                self._points.append((name, {"pair": pair, **numbers}))
        return self._points
