"""What the search varies, for Optuna: pair, b, u, t_b, t_u, the transition layers' weights.

And, where the user says so, the decoding. Owns the bounds and how parameters become recipes.
Define-by-run: weights exist only where there is a transition layer. Knows nothing of Ray; sees
Optuna only as an object with `suggest_*`.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Protocol

from objectives.types import Decoding
from search.errors import ConfigError
from search.recipe import (
    AnyRecipe,
    NonLayer,
    Recipe,
    Single,
    clip,
    from_dict,
    key,
    label,
    soup,
    to_dict,
)

BASELINE = "baseline"
"""User attribute of an Optuna trial that asks for a fixed recipe (JSON) outside of the space."""

PAPER_LAYERS = 32
PAPER_DEFAULT = {"b": 4, "u": 1, "t_b": 1, "t_u": 1}
"""Middle of the ranges that Bandarkar et al. 2024 searched on 32 layers: b 3..5, u, t_b, t_u
0..2."""


class Trial(Protocol):
    """The part of an `optuna.Trial` that the space uses."""

    user_attrs: dict[str, Any]

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """A whole number, both ends included."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float) -> float:
        """A multiple of step above low."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""

    def set_user_attr(self, name: str, value: Any) -> None:
        """Remember a value beside the parameters."""


@dataclass
class Space:
    """The search space of one family and language; picklable, called by OptunaSearch.

    Attributes:
        lang: language code, for labels.
        n_layers: number of layers L of the model.
        pairs: (task, lang) indices to search.
        b, u, t_b, t_u: lowest and highest count, both included.
        shares: values of the language expert's share: lowest, highest, step.
        non_layer: source of the tensors without a layer number.
        decoding: field of `Decoding` -> values to try; fields that are not varied are left out.
            None is the objective's own value, and the first of each.
        seen: keys already proposed; shared with `search.study`, which fills it.
    """

    lang: str
    n_layers: int
    pairs: tuple[tuple[int, int], ...]
    b: tuple[int, int]
    u: tuple[int, int]
    t_b: tuple[int, int]
    t_u: tuple[int, int]
    shares: tuple[float, float, float]
    non_layer: NonLayer = "average"
    decoding: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def __call__(self, trial: Trial) -> dict[str, Any]:
        """Suggest one recipe; its key and its name go on record with the trial."""
        baseline = BASELINE in trial.user_attrs
        recipe: AnyRecipe
        if baseline:
            recipe = from_dict(json.loads(trial.user_attrs[BASELINE]))
        else:
            recipe = self._suggest(trial)
        origin = "baseline" if baseline else "search"
        return propose(trial, recipe, self.lang, self.n_layers, self.seen, origin)

    def _suggest(self, trial: Trial) -> Recipe:
        pair = trial.suggest_categorical("pair", [f"{t}-{g}" for t, g in self.pairs])
        counts = {
            name: trial.suggest_int(name, *getattr(self, name)) for name in ("b", "u", "t_b", "t_u")
        }
        decoding = {
            name: trial.suggest_categorical(name, choices)
            for name, choices in self.decoding.items()
        }
        recipe = self._recipe(pair, counts, decoding=decoding)
        if recipe.t_b + recipe.t_u:
            low, high, step = self.shares
            share = trial.suggest_float("w_lang", low, high, step=step)
            recipe = self._recipe(pair, counts, share, decoding)
        return recipe

    def default_points(self) -> list[dict[str, Any]]:
        """The paper's default recipe, scaled to L and moved into the bounds, for every pair.

        One layer at least of each zone where the bounds allow it: Llama 3.1 8B's zones scaled to a
        shallow model would vanish.
        """
        scaled = {
            name: max(1, round(value * self.n_layers / PAPER_LAYERS))
            for name, value in PAPER_DEFAULT.items()
        }
        inside = {
            name: min(max(value, getattr(self, name)[0]), getattr(self, name)[1])
            for name, value in scaled.items()
        }
        low, high, step = self.shares
        share = low + step * round((min(max(0.5, low), high) - low) / step)
        own = dict.fromkeys(self.decoding)
        return [{"pair": f"{t}-{g}", **inside, "w_lang": share, **own} for t, g in self.pairs]

    def default_recipe(self, pair: tuple[int, int]) -> Recipe:
        """The default recipe of a pair."""
        point = next(p for p in self.default_points() if p["pair"] == f"{pair[0]}-{pair[1]}")
        counts = {name: point[name] for name in ("b", "u", "t_b", "t_u")}
        return self._recipe(point["pair"], counts, point["w_lang"])

    def unseen(self, seed: int) -> dict[str, Any] | None:
        """Parameters of a recipe whose key was never proposed; None when the space is exhausted."""
        rng = random.Random(seed)
        drawn = (tuple(map(rng.choice, self._axes())) for _ in range(1000))
        for point in itertools.chain(drawn, itertools.product(*self._axes())):
            if key(self._at(point), self.n_layers) not in self.seen:
                return self._parameters(point)
        return None

    def recipes(self) -> Iterator[Recipe]:
        """Every recipe of the space, repeated where several parameters mean the same one."""
        return map(self._at, itertools.product(*self._axes()))

    def _axes(self) -> tuple[Sequence[Any], ...]:
        """Every value of pair, b, u, t_b, t_u, share and of what is varied of the decoding."""
        bounds = (range(low, high + 1) for low, high in (self.b, self.u, self.t_b, self.t_u))
        return self.pairs, *bounds, self._grid(), *self.decoding.values()

    def _grid(self) -> list[float]:
        low, high, step = self.shares
        return [low + step * i for i in range(int((high - low) / step + 1e-9) + 1)]

    def _at(self, point: tuple[Any, ...]) -> Recipe:
        named = self._parameters(point)
        counts = {name: named.pop(name) for name in ("b", "u", "t_b", "t_u")}
        return self._recipe(named.pop("pair"), counts, named.pop("w_lang"), named)

    def _parameters(self, point: tuple[Any, ...]) -> dict[str, Any]:
        names = ("b", "u", "t_b", "t_u", "w_lang", *self.decoding)
        return {"pair": f"{point[0][0]}-{point[0][1]}", **dict(zip(names, point[1:], strict=True))}

    def _recipe(
        self,
        pair: str,
        counts: dict[str, int],
        share: float = 0.5,
        decoding: Mapping[str, Any] | None = None,
    ) -> Recipe:
        task, lang = map(int, pair.split("-"))
        varied = {name: value for name, value in (decoding or {}).items() if value is not None}
        recipe = Recipe(
            task,
            lang,
            counts["b"],
            counts["u"],
            counts["t_b"],
            counts["t_u"],
            w_task=1 - share,
            w_lang=share,
            non_layer=self.non_layer,
            decoding=Decoding(**varied) if varied else None,
        )
        return clip(recipe, self.n_layers)


def propose(
    trial: Trial, recipe: AnyRecipe, lang: str, n_layers: int, seen: Set[str], origin: str
) -> dict[str, Any]:
    """A suggested recipe as Tune's configuration; its key and its name go on record with the trial.

    Args:
        trial: who suggested it.
        recipe: what is to be scored.
        lang: language code, for the name.
        n_layers: number of layers L of the model.
        seen: keys already proposed.
        origin: as in `search.records.Record`.
    """
    name = key(recipe, n_layers)
    trial.set_user_attr("key", name)
    trial.set_user_attr("label", label(recipe, lang, n_layers))
    trial.set_user_attr("repeated", name in seen)
    return {"recipe": json.dumps(to_dict(recipe)), "key": name, "origin": origin}


def make_space(
    *,
    lang: str,
    n_layers: int,
    n_task: int,
    n_lang: int,
    b: tuple[int, int] | None = None,
    u: tuple[int, int] | None = None,
    t_b: tuple[int, int] | None = None,
    t_u: tuple[int, int] | None = None,
    shares: tuple[float, float, float] = (0.1, 0.9, 0.1),
    pairs: tuple[tuple[int, int], ...] | None = None,
    non_layer: NonLayer = "average",
    decoding: Mapping[str, Sequence[float]] | None = None,
    own_decoding: Decoding | None = None,
) -> Space:
    """The space for a model of L layers; bounds that are None reach over the whole model.

    Of the decoding, each field's own value (`own_decoding`) is always among those that are tried.

    Raises:
        ConfigError: bounds exceed L, or a pair names an expert that the family lacks.
    """
    half = n_layers // 2
    transition = (0, max(1, n_layers // 4))
    space = Space(
        lang=lang,
        n_layers=n_layers,
        pairs=pairs or tuple(itertools.product(range(n_task), range(n_lang))),
        b=b or (0, half),
        u=u or (0, n_layers - half),
        t_b=t_b or transition,
        t_u=t_u or transition,
        shares=shares,
        non_layer=non_layer,
        decoding={
            name: (None, *(v for v in values if v != getattr(own_decoding, name, None)))
            for name, values in (decoding or {}).items()
        },
    )
    faults = []
    if space.b[1] + space.u[1] > n_layers:
        faults.append(
            f"space.b up to {space.b[1]} and space.u up to {space.u[1]} reach "
            f"{space.b[1] + space.u[1]} layers, but the model has {n_layers}: lower one of them"
        )
    for name, (low, _) in (("t_b", space.t_b), ("t_u", space.t_u)):
        if low + space.b[1] + space.u[1] > n_layers:
            faults.append(f"space.{name} from {low} never fits beside the largest b and u")
    for task, expert in space.pairs:
        if task >= n_task or expert >= n_lang:
            faults.append(
                f"space.pairs has [{task}, {expert}], but the family has {n_task} task and "
                f"{n_lang} {lang} experts (counted from 0)"
            )
    if faults:
        raise ConfigError(f"{len(faults)} faults in the search space:\n  " + "\n  ".join(faults))
    return space


def baselines(space: Space, n_task: int, n_lang: int, soups: str) -> list[AnyRecipe]:
    """What is scored on the search items before the search: base, experts, plain soups."""
    singles = [Single("base")]
    singles += [Single(f"task/{i}") for i in range(n_task)]
    singles += [Single(f"lang/{i}") for i in range(n_lang)]
    pairs = space.pairs if soups == "all" else space.pairs[:1]
    return [*singles, *(soup(t, g, space.n_layers) for t, g in pairs)]
