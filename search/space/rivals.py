"""The merge methods that layer swapping is compared with, each with a search space of its own.

Owns which numbers of a method are searched and over which values; what the methods are is in
`search.merging.kinds`. "Best against best" wants each rival searched under a budget
(`search.baselines`), not at one guessed setting. Sees Optuna only as an object with `suggest_*`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search.merging.kinds import members
from search.merging.recipe import (
    DareLinear,
    Experts,
    Recipe,
    Slerp,
    TaskArithmetic,
    Ties,
    key,
    soup,
)
from search.space.pairs import Pair, pair_name, pair_of, tidy
from search.space.proposal import Trial, propose

_SHARES = tuple(round(0.1 * i, 1) for i in range(1, 10))
_SCALES = tuple(round(0.2 * i, 1) for i in range(1, 8))
_DENSITIES = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
_EDGES = tuple(round(0.25 * i, 2) for i in range(5))

AXES: Mapping[str, Mapping[str, Sequence[float]]] = {
    "soup": {"w_lang": _SHARES},
    "task_arithmetic": {"scale_task": _SCALES, "scale_lang": _SCALES},
    "ties": {"density": _DENSITIES, "w_lang": _SHARES, "scale": _SCALES},
    "dare_linear": {"density": _DENSITIES, "scale_task": _SCALES, "scale_lang": _SCALES},
    "slerp": {"t_bottom": _EDGES, "t_middle": _EDGES, "t_top": _EDGES},
}
"""Method -> its numbers -> the values that are tried, beside the pair of experts.

Scales reach from a fifth to 1.4 (TIES recommends 1, Yadav et al. 2023 search 0.8 to 1.8; task
arithmetic works best below 1, Ilharco et al. 2023); densities from the 0.2 of TIES up to those that
DARE leaves unharmed. SLERP's t runs in straight lines from the first layer over the middle one to
the last.
"""


@dataclass
class RivalSpace:
    """One method's search space; called with each of Optuna's trials.

    Attributes:
        method: a key of `AXES`; also the origin of the trials it proposes.
        lang: language code, for labels.
        n_layers: number of layers L of the model.
        pairs: (task, lang) indices to search; several indices on a side share that side's part
            evenly. SLERP knows two checkpoints only: it takes their pairs one by one.
        seen: keys already proposed, by any space of the study.
    """

    method: str
    lang: str
    n_layers: int
    pairs: tuple[Pair, ...]
    seen: set[str] = field(default_factory=set)
    _points: list[tuple[str, dict[str, Any]]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        """Take sides apart that the method cannot take together."""
        if self.method == "slerp":
            sides = ((members(task), members(lang)) for task, lang in self.pairs)
            self.pairs = tidy(pair for side in sides for pair in itertools.product(*side))

    def __call__(self, trial: Trial) -> dict[str, Any]:
        """Suggest one recipe; its key and its name go on record with the trial."""
        pair = trial.suggest_categorical("pair", [pair_name(pair) for pair in self.pairs])
        numbers = {n: trial.suggest_categorical(n, v) for n, v in AXES[self.method].items()}
        recipe = self.recipe(pair, numbers)
        return propose(trial, recipe, self.lang, self.n_layers, self.seen, self.method)

    def recipe(self, pair: str, numbers: Mapping[str, float]) -> Recipe:
        """The recipe of some parameters."""
        return _BUILDERS[self.method](*pair_of(pair), self.n_layers, numbers)

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
            axes = AXES[self.method]
            pairs = [pair_name(pair) for pair in self.pairs]
            for pair, values in itertools.product(pairs, itertools.product(*axes.values())):
                numbers = dict(zip(axes, values, strict=True))
                name = key(self.recipe(pair, numbers), self.n_layers)
                self._points.append((name, {"pair": pair, **numbers}))
        return self._points


def _experts(task: Experts, lang: Experts) -> tuple[str, ...]:
    return *(f"task/{i}" for i in members(task)), *(f"lang/{i}" for i in members(lang))


def _shared(task: Experts, lang: Experts, parts: tuple[float, float]) -> tuple[float, ...]:
    """Each side's number, shared evenly by its experts."""
    sides = zip((members(task), members(lang)), parts, strict=True)
    return tuple(part / len(side) for side, part in sides for _ in side)


def _scales(x: Mapping[str, float]) -> tuple[float, float]:
    return x["scale_task"], x["scale_lang"]


Builder = Callable[[Experts, Experts, int, Mapping[str, float]], Recipe]
_BUILDERS: Mapping[str, Builder] = {
    "soup": lambda t, g, n, x: soup(t, g, n, x["w_lang"]),
    "task_arithmetic": lambda t, g, n, x: TaskArithmetic(_experts(t, g), _shared(t, g, _scales(x))),
    "ties": lambda t, g, n, x: Ties(
        _experts(t, g), x["density"], _shared(t, g, (1 - x["w_lang"], x["w_lang"])), x["scale"]
    ),
    "dare_linear": lambda t, g, n, x: DareLinear(
        _experts(t, g), x["density"], _shared(t, g, _scales(x))
    ),
    "slerp": lambda t, g, n, x: Slerp(
        members(t)[0],
        members(g)[0],
        (x["t_bottom"], x["t_middle"], x["t_top"])[: 3 if n > 2 else 1],
    ),
}
