"""What the search varies, for Optuna: experts, b, u, t_b, t_u, the transition layers' weights.

And, where the user says so, the source of the tensors without a layer number, the ramp of the
weights, and the decoding. Owns the bounds and how parameters become recipes. Define-by-run: a
parameter exists only where it can change the model. Knows nothing of Ray; sees Optuna only as an
object with `suggest_*`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from objectives.types import Decoding
from objectives.words import counted
from search.common.errors import ConfigError
from search.merging.recipe import (
    Experts,
    Layered,
    LayerSwap,
    NonLayer,
    Ramp,
    Recipe,
    Single,
    clip,
    key,
    soup,
)
from search.merging.space.grid import Axis, Codes, Grid, Kind
from search.merging.space.pairs import Pair, Sides, all_pairs, pair_faults, pair_name, pair_of, tidy
from search.merging.space.proposal import Trial, propose
from search.merging.space.spellings import ROUNDING, ZONES, spellings

PAPER_LAYERS = 32
PAPER_DEFAULT = {"b": 4, "u": 1, "t_b": 1, "t_u": 1}
"""Middle of the ranges that Bandarkar et al. 2024 searched on 32 layers: b 3..5, u, t_b, t_u
0..2."""


@dataclass
class Space:
    """The search space of one family and language; called with each of Optuna's trials.

    Attributes:
        lang: language code, for labels.
        n_layers: number of layers L of the model.
        pairs: (task, lang) indices to search; several indices on a side are averaged first.
        b, u, t_b, t_u: lowest and highest count, both included.
        shares: values of the language expert's share: lowest, highest, step.
        non_layer: sources to try of the tensors without a layer number; the first is the default
            recipe's, as of ramp.
        ramp: how the language share may run over the transition layers.
        decoding: field of `Decoding` -> values to try; fields that are not varied are left out.
            None is the objective's own value, and the first of each.
        seen: keys already proposed, by any space of the study; `search.study.order` adds to it.
    """

    lang: str
    n_layers: int
    pairs: tuple[Pair, ...]
    b: tuple[int, int]
    u: tuple[int, int]
    t_b: tuple[int, int]
    t_u: tuple[int, int]
    shares: tuple[float, float, float]
    non_layer: tuple[NonLayer, ...] = ("average",)
    ramp: tuple[Ramp, ...] = ("constant",)
    decoding: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def __call__(self, trial: Trial) -> dict[str, Any]:
        """Suggest one recipe; its key and its name go on record with the trial."""
        suggested = partial(self._suggest, trial)
        return propose(trial, suggested, self.lang, self.n_layers, self.seen, "search")

    @property
    def swaps(self) -> Space:
        """Itself: the layer swaps of a study that searches these alone."""
        return self

    def bounds(self) -> str:
        """The ranges of all zones and of the share, in words."""
        zones = (f"{name} {low} to {high}" for name, (low, high) in self.zones.items())
        low, high, step = self.shares
        varied = f"from {low:g} to {high:g} in steps of {step:g}" if low < high else f"{low:g}"
        return f"{', '.join(zones)}, and the language expert's share in transition layers {varied}"

    def _suggest(self, trial: Trial) -> LayerSwap:
        values = {"pair": trial.suggest_categorical("pair", [pair_name(p) for p in self.pairs])}
        values |= {name: trial.suggest_int(name, *self.zones[name]) for name in ZONES}
        for name, choices in self.choices().items():
            values[name] = trial.suggest_categorical(name, choices)
        recipe = self._recipe(values)
        if self._varies_ramp(recipe):
            ramp = trial.suggest_categorical("ramp", self.ramp)
            recipe = replace(recipe, ramp=ramp)
        if uses_weights(recipe):
            low, high, step = self.shares
            share = trial.suggest_float("w_lang", low, high, step=step)
            recipe = replace(recipe, w_task=1 - share, w_lang=share)
        return recipe

    def default_points(self) -> list[dict[str, Any]]:
        """The paper's default recipe, scaled to L and moved into the bounds, for some pairs.

        Each side of a pair is in one of them: what the others are worth follows from what they
        have in common.
        """
        left = [set(enumerate(pair)) for pair in self.pairs]
        found = []
        while any(left):
            chosen = max(range(len(left)), key=lambda i: (len(left[i]), -i))
            found.append(self._default_point(self.pairs[chosen]))
            left = [sides - left[chosen] for sides in left]  # new sides only
        return found

    def default_recipe(self, pair: Pair) -> LayerSwap:
        """The default recipe of a pair."""
        return self._recipe(self._default_point(pair))

    def _default_point(self, pair: Pair) -> dict[str, Any]:
        """One layer at least of each zone where the bounds allow it.

        Llama 3.1 8B's zones scaled to a shallow model would vanish.
        """
        scaled = {
            name: max(1, round(value * self.n_layers / PAPER_LAYERS))
            for name, value in PAPER_DEFAULT.items()
        }
        inside = {
            name: min(max(value, self.zones[name][0]), self.zones[name][1])
            for name, value in scaled.items()
        }
        low, high, step = self.shares
        share = low + step * round((min(max(0.5, low), high) - low) / step)
        first = {name: choices[0] for name, choices in self.choices().items()}
        rest = {"w_lang": share, **first, "ramp": self.ramp[0]}
        return {"pair": pair_name(pair), **inside, **rest}

    def point(self, recipe: Recipe) -> dict[str, Any] | None:
        """Parameters of a proposal with the same key as the recipe; None outside of the space.

        Raises:
            RecipeError: the recipe is not valid for L.
        """
        wanted = key(recipe, self.n_layers)
        for swap in spellings(recipe, self.n_layers, self.zones):
            for values in self._values(swap):
                if key(self._recipe(values), self.n_layers) == wanted:
                    return values | self._fitted(values)
        return None

    def _fitted(self, values: Mapping[str, Any]) -> dict[str, int]:
        """Counts without transition layers that are clipped, as the grid has them."""
        recipe = self._recipe(values)
        fitting = {name: getattr(recipe, name) for name in ZONES}
        allowed = all(low <= fitting[n] <= high for n, (low, high) in self.zones.items())
        return fitting if allowed else {}

    def unseen(self, seed: int) -> dict[str, Any] | None:
        """Parameters of a recipe whose key was never proposed; None when the space is exhausted.

        Drawn at random, and looked for one by one only if a thousand draws found none. That takes
        time in the number of keys seen, not in the size of the space: it ends at the first unseen.
        """
        rng = random.Random(seed)
        axes = self.axes()
        drawn = ({n: rng.choice(values) for n, values in axes.items()} for _ in range(1000))
        for point in itertools.chain(drawn, self._points()):
            if key(self._recipe(point), self.n_layers) not in self.seen:
                return point
        return None

    def key_of(self, point: Mapping[str, Any]) -> str:
        """Key of the recipe that parameters mean."""
        return key(self._recipe(point), self.n_layers)

    @cached_property
    def grid(self) -> Grid:
        """The space in its flat form."""
        kinds: dict[str, Kind] = {"pair": "pair", "w_lang": "amount"}
        kinds |= dict.fromkeys(ZONES, "layers")
        axes = tuple(
            Axis(
                name,
                tuple(values),
                len(values) // 2 if name == "w_lang" else 0,
                kinds.get(name, "choice"),
            )
            for name, values in self.axes().items()
        )
        return Grid(axes, self._canonical_codes, self._features)

    def _features(self, codes: Codes) -> tuple[NDArray[np.float64], ...]:
        """The language expert's share of every layer; how many layers it has below and above.

        Two arrays, of shape (n, L) and (n, 2). The first is over the root of L and the second over
        L, so that distances mean the same whatever the number of layers is.
        """
        values = {axis.name: codes[:, i] for i, axis in enumerate(self.grid.axes)}
        b, u, t_b, t_u = (values[n][:, None] + self.zones[n][0] for n in ZONES)
        share = np.array(self.axes()["w_lang"])[values["w_lang"]][:, None]
        ramp = np.array(self.ramp)[values["ramp"] if "ramp" in values else 0]
        constant = np.broadcast_to(ramp == "constant", len(codes))[:, None]
        shares = layer_shares(b, u, t_b, t_u, np.where(constant, share, np.nan), self.n_layers)
        part = np.where(constant, share, 0.5)
        ends = np.hstack([b + part * t_b, u + part * t_u])
        return shares / np.sqrt(self.n_layers), ends / self.n_layers

    def _canonical_codes(self, codes: Codes) -> Codes:
        """As `search.merging.space.grid.Grid.canonical`: what does not matter is unset."""
        axes = self.grid.axes
        index = {axis.name: i for i, axis in enumerate(axes)}
        counts = {n: codes[:, index[n]] + self.zones[n][0] for n in ZONES}
        room = self.n_layers - counts["b"] - counts["u"]
        fits = (room >= 0) & (counts["t_b"] + counts["t_u"] <= room)
        found = codes[fits].copy()
        t_b, t_u = counts["t_b"][fits], counts["t_u"][fits]
        ramped = np.zeros(len(found), dtype=bool)
        if "ramp" in index:
            column = found[:, index["ramp"]]
            column[np.maximum(t_b, t_u) <= 1] = 0
            ramped = np.array(self.ramp)[column] != "constant"
        weighted = (t_b + t_u > 0) & ~ramped
        if "non_layer" in index:
            weighted |= np.array(self.non_layer)[found[:, index["non_layer"]]] == "weighted"
        elif self.non_layer[0] == "weighted":
            weighted[:] = True
        unset = axes[index["w_lang"]].unset
        found[~weighted, index["w_lang"]] = unset
        return found

    def recipes(self) -> Iterator[LayerSwap]:
        """Every recipe of the space, repeated where several parameters mean the same one."""
        return map(self._recipe, self._points())

    def _points(self) -> Iterator[dict[str, Any]]:
        """The parameters of every recipe, without transition layers that would be clipped."""
        axes, bounds = self.axes(), self.zones
        zones, shares = [axes.pop(name) for name in ZONES], axes.pop("w_lang")
        axes.pop("ramp", None)
        for counts in itertools.product(*zones):
            zone = dict(zip(ZONES, counts, strict=True))
            fitting = clip(LayerSwap(0, 0, *counts), self.n_layers)
            if any(zone[n] > max(getattr(fitting, n), low) for n, (low, _) in bounds.items()):
                continue  # fewer layers within the bounds mean the same
            for chosen in itertools.product(*axes.values()):
                values = dict(zip(axes, chosen, strict=True))
                yield from self._completed({**values, **zone}, shares)

    def _values(self, swap: LayerSwap) -> Iterator[dict[str, Any]]:
        """Parameters that may mean a swap; also with other experts, since one may be unused."""
        own, axes, choices = (swap.task, swap.lang), self.axes(), self.choices()
        values = {name: getattr(swap, name) for name in ZONES}
        values |= {name: getattr(swap.decoding, name, None) for name in self.decoding}
        values |= {"non_layer": swap.non_layer} if "non_layer" in choices else {}
        if not all(values[name] in choices[name] for name in choices):
            return
        shares = [share for share in axes["w_lang"] if abs(share - swap.share) < ROUNDING]
        pairs = [p for p in self.pairs if p[0] == own[0] or p[1] == own[1]]
        for pair in sorted(pairs, key=lambda pair: pair != own):
            yield from self._completed({"pair": pair_name(pair), **values}, shares)

    def _completed(
        self, values: Mapping[str, Any], shares: Sequence[float]
    ) -> Iterator[dict[str, Any]]:
        """The values with every ramp and each of the shares, where they matter."""
        ramps: Sequence[dict[str, Any]] = [{}]
        if self._varies_ramp(self._recipe(values)):
            ramps = [{"ramp": ramp} for ramp in self.ramp]
        for ramp in ramps:
            known = {**values, **ramp}
            if uses_weights(self._recipe(known)):
                yield from ({**known, "w_lang": share} for share in shares)
            else:
                yield known

    @property
    def zones(self) -> dict[str, tuple[int, int]]:
        """Lowest and highest count of each zone."""
        return {name: getattr(self, name) for name in ZONES}

    def choices(self) -> dict[str, tuple[Any, ...]]:
        """What every proposal chooses beside pair and zones."""
        varied = {"non_layer": self.non_layer} if len(self.non_layer) > 1 else {}
        return {**self.decoding, **varied}

    def axes(self) -> dict[str, Sequence[Any]]:
        """Every value of every parameter."""
        low, high, step = self.shares
        shares = [low + step * i for i in range(int((high - low) / step + 1e-9) + 1)]
        return {
            "pair": [pair_name(pair) for pair in self.pairs],
            **{name: range(low, high + 1) for name, (low, high) in self.zones.items()},
            "w_lang": shares,
            **self.choices(),
            **({"ramp": self.ramp} if len(self.ramp) > 1 else {}),
        }

    def _varies_ramp(self, recipe: LayerSwap) -> bool:
        """Whether a ramp would differ from a constant: the even step of one layer does not."""
        return len(self.ramp) > 1 and max(recipe.t_b, recipe.t_u) > 1

    def shared(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Fields that layer swaps and their wider forms have in common."""
        task, lang = pair_of(values["pair"])
        decoding = {n: values[n] for n in self.decoding if values.get(n) is not None}
        return {
            "task": task,
            "lang": lang,
            "non_layer": values.get("non_layer", self.non_layer[0]),
            "decoding": Decoding(**decoding) if decoding else None,
        }

    def _recipe(self, values: Mapping[str, Any]) -> LayerSwap:
        """The recipe of some parameters; those that are not given are the first there are."""
        share = values.get("w_lang", 0.5)
        recipe = LayerSwap(
            **self.shared(values),
            **{name: values[name] for name in ZONES},
            w_task=1 - share,
            w_lang=share,
            ramp=self.ramp[0],
        )
        recipe = clip(recipe, self.n_layers)
        if self._varies_ramp(recipe):
            recipe = replace(recipe, ramp=values.get("ramp", self.ramp[0]))
        return recipe


def layer_shares(
    b: NDArray[np.int64],
    u: NDArray[np.int64],
    t_b: NDArray[np.int64],
    t_u: NDArray[np.int64],
    share: NDArray[np.float64],
    n_layers: int,
) -> NDArray[np.float64]:
    """The language expert's share of every layer, for n recipes at once; shape (n, L).

    Args:
        b: bottom layers of the language expert, of shape (n, 1).
        u: its upper layers, likewise.
        t_b: transition layers above the bottom ones, likewise.
        t_u: those below the upper ones, likewise.
        share: in transition layers, of shape (n, 1); NaN: a ramp.
        n_layers: number of layers L.
    """
    layer, ramp = np.arange(n_layers)[None, :], np.isnan(share)
    above, below = layer - (b - 1), n_layers - u - layer
    falling = np.where(ramp, 1 - above / (t_b + 1), share)
    rising = np.where(ramp, 1 - below / (t_u + 1), share)
    shares = np.where(above <= t_b, falling, np.where(below <= t_u, rising, 0.0))
    return np.where((above <= 0) | (below <= 0), 1.0, shares)


def uses_weights(recipe: Layered) -> bool:
    """Whether the weights change the model; a form without any is not changed.

    Layers follow them in transitions without a ramp, tensors without a layer number if told to.
    """
    numbers = recipe.numbers()
    averaged = numbers.get("t_b", 0) + numbers.get("t_u", 0) > 0
    constant = averaged and getattr(recipe, "ramp", "constant") == "constant"
    return constant or recipe.non_layer == "weighted"


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
    pairs: Sequence[tuple[Experts, Experts]] | None = None,
    experts: Sides = "each",
    non_layer: Sequence[NonLayer] = ("average",),
    ramp: Sequence[Ramp] = ("constant",),
    decoding: Mapping[str, Sequence[float]] | None = None,
    own_decoding: Decoding | None = None,
) -> Space:
    """The space for a model of L layers; bounds that are None reach over the whole model.

    Without `pairs`, every task expert goes with every language expert; `experts` says whether the
    average of all of a kind counts as one, or as the only one. Of non_layer and ramp the paper's
    own value is the default recipe's where it is among them, else the first. Of the decoding, each
    field's own value (`own_decoding`) is always among those that are tried.

    Raises:
        ConfigError: bounds exceed L, or a pair names an expert twice or one that the family lacks.
    """
    half = n_layers // 2
    transition = (0, max(1, n_layers // 4))
    space = Space(
        lang=lang,
        n_layers=n_layers,
        pairs=tidy(pairs or all_pairs(n_task, n_lang, experts)),
        b=b or (0, half),
        u=u or (0, n_layers - half),
        t_b=t_b or transition,
        t_u=t_u or transition,
        shares=shares,
        non_layer=tuple(sorted(dict.fromkeys(non_layer), key=lambda source: source != "average")),
        ramp=tuple(sorted(dict.fromkeys(ramp), key=lambda ramp: ramp != "constant")),
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
    for pair in space.pairs:
        faults += pair_faults(pair, n_task, n_lang, lang)
    if faults:
        raise ConfigError(
            f"{counted(len(faults), 'fault')} in the search space:\n  " + "\n  ".join(faults)
        )
    return space


def baselines(space: Space, n_task: int, n_lang: int, soups: str) -> list[Recipe]:
    """What is scored on the search items before the search: base, experts, plain soups."""
    singles = [Single("base")]
    singles += [Single(f"task/{i}") for i in range(n_task)]
    singles += [Single(f"lang/{i}") for i in range(n_lang)]
    pairs = space.pairs if soups == "all" else space.pairs[:1]
    return [*singles, *(soup(t, g, space.n_layers) for t, g in pairs)]
