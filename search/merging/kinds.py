"""What a trial can merge: seven kinds of recipe as plain frozen data, and when each is valid.

Owns the meaning of `b, u, t_b, t_u, w_task, w_lang` (Bandarkar et al. 2024, Algorithm 1) and of the
other methods' numbers. Where decoding is searched as well, it is part of the recipe: one merge
decoded in two ways is two trials. Knows nothing of tensors, files, Optuna or engines.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from objectives.types import Decoding
from search.errors import RecipeError

Experts = int | tuple[int, ...]
"""Index of an expert in the family's list; or several, which are averaged evenly first."""

NonLayer = Literal["average", "task", "lang", "weighted", "base"]
"""Where tensors without a layer number come from: the plain average of the two experts (the paper's
choice), one of them, their average with the recipe's weights (a soup), or the base model."""

Ramp = Literal["constant", "linear"]
"""Language share of the transition layers: the recipe's weights in all (the paper's choice); or
1 - i / (t + 1) in the i-th of t layers, counted from the language zone they border on (1 .. t)."""

SHARE_DIGITS = 6
"""Shares, weights and scales are rounded to this many decimals, far below what bf16 (8 bits of
mantissa) or float32 averages can tell apart in a model's answers."""

_EXPERT = re.compile(r"(task|lang)/(0|[1-9][0-9]*)").fullmatch


@dataclass(frozen=True)
class LayerSwap:
    """A layer swap of one pair of experts, or of two groups of experts averaged first.

    Attributes:
        task: index of the task expert in the family's list, or of several.
        lang: index of the language expert in the family's list for the language, or of several.
        b: bottom layers taken from the language expert.
        u: upper (last) layers taken from the language expert.
        t_b: transition layers above the bottom ones: weighted average of the two experts.
        t_u: transition layers below the upper ones.
        w_task: weight of the task expert in the transition layers; only the ratio counts.
        w_lang: weight of the language expert in the transition layers.
        non_layer: source of the tensors without a layer number.
        decoding: how the merged model is decoded, where it differs from the objectives' own way.
        ramp: how the language share runs over the transition layers.
    """

    task: Experts
    lang: Experts
    b: int
    u: int
    t_b: int
    t_u: int
    w_task: float = 0.5
    w_lang: float = 0.5
    non_layer: NonLayer = "average"
    decoding: Decoding | None = None
    ramp: Ramp = "constant"

    @property
    def share(self) -> float:
        """Share of the language expert that the weights stand for, in [0, 1]."""
        return round(self.w_lang / (self.w_task + self.w_lang), SHARE_DIGITS)

    @property
    def task_sources(self) -> tuple[str, ...]:
        """Names of the task experts among the family's sources."""
        return tuple(f"task/{i}" for i in members(self.task))

    @property
    def lang_sources(self) -> tuple[str, ...]:
        """Names of the language experts among the family's sources."""
        return tuple(f"lang/{i}" for i in members(self.lang))

    @property
    def lang_source(self) -> str:
        """Name of the language expert; of several such as `lang/0+1`, which is no source."""
        return "lang/" + "+".join(map(str, members(self.lang)))

    @property
    def pair(self) -> str:
        """The experts as people write them: `m0-l1`, or `m0+1-l2` where several are averaged."""
        task, lang = ("+".join(map(str, members(side))) for side in (self.task, self.lang))
        return f"m{task}-l{lang}"


@dataclass(frozen=True)
class Single:
    """One checkpoint as it is: the base, an expert or a reference.

    Attributes:
        source: `base`, `task/<i>`, `lang/<i>` or `reference/<name>`.
        decoding: as for a layer swap, here and in all other recipes.
    """

    source: str
    decoding: Decoding | None = None


@dataclass(frozen=True)
class Soup:
    """Weighted average of the whole of several experts (Wortsman et al. 2022, arXiv 2203.05482).

    Attributes:
        experts: `task/<i>` or `lang/<i>`, each once.
        weights: one for each expert, >= 0; only the ratios count.
    """

    experts: tuple[str, ...]
    weights: tuple[float, ...]
    decoding: Decoding | None = None


@dataclass(frozen=True)
class TaskArithmetic:
    """Base plus scaled task vectors (Ilharco et al. 2023, arXiv 2212.04089, section 2).

    Attributes:
        experts: as in a soup.
        scales: one for each expert, of its difference from the base; below 0 unlearns it.
    """

    experts: tuple[str, ...]
    scales: tuple[float, ...]
    decoding: Decoding | None = None


@dataclass(frozen=True)
class Ties:
    """Trim, elect sign, disjoint mean (Yadav et al. 2023, arXiv 2306.01708, Algorithm 1).

    Attributes:
        experts: as in a soup.
        density: share of each task vector that is kept, largest magnitudes first (the paper's k).
        weights: one for each expert, >= 0, in election and mean; only the ratios count (the paper
            has none: equal weights).
        scale: factor of the merged task vector (the paper's lambda).
    """

    experts: tuple[str, ...]
    density: float
    weights: tuple[float, ...]
    scale: float = 1.0
    decoding: Decoding | None = None


@dataclass(frozen=True)
class DareLinear:
    """Task arithmetic of randomly thinned task vectors (Yu et al. 2023, arXiv 2311.03099, eq. 2-3).

    Attributes:
        experts: as in a soup.
        density: chance of an entry to be kept; what is kept is divided by it (the paper's 1 - p).
        scales: as in task arithmetic.
        seed: of the random numbers; each tensor of each expert has its own series.
    """

    experts: tuple[str, ...]
    density: float
    scales: tuple[float, ...]
    seed: int = 0
    decoding: Decoding | None = None


@dataclass(frozen=True)
class Slerp:
    """Spherical interpolation, tensor by tensor (Shoemake 1985; mergekit's `slerp`).

    Attributes:
        task: index of the task expert: t = 0.
        lang: index of the language expert: t = 1.
        t: values in [0, 1] at even distances from the first layer to the last, straight lines
            between them (mergekit's gradient); one value holds for all layers.
        non_layer: t of the tensors without a layer number; None: the mean of the layers' t.
    """

    task: int
    lang: int
    t: tuple[float, ...]
    non_layer: float | None = None
    decoding: Decoding | None = None

    def layers(self, n_layers: int) -> tuple[float, ...]:
        """The t of every layer, rounded."""
        found = []
        for layer in range(n_layers):
            place = layer * (len(self.t) - 1) / max(n_layers - 1, 1)
            low = min(int(place), len(self.t) - 1)
            high, part = min(low + 1, len(self.t) - 1), place - low
            found.append(round((1 - part) * self.t[low] + part * self.t[high], SHARE_DIGITS))
        return tuple(found)


Recipe = LayerSwap | Single | Soup | TaskArithmetic | Ties | DareLinear | Slerp


def members(experts: Experts) -> tuple[int, ...]:
    """The indices, also of one expert."""
    return experts if isinstance(experts, tuple) else (experts,)


def validate(recipe: Recipe, n_layers: int) -> None:
    """Check a recipe against a model of `n_layers` layers.

    Raises:
        RecipeError: naming every violated rule with its values.
    """
    if isinstance(recipe, Single):
        faults: list[str] = []
    elif isinstance(recipe, LayerSwap):
        faults = _swap_faults(recipe, n_layers)
    elif isinstance(recipe, Slerp):
        faults = _slerp_faults(recipe, n_layers)
    else:
        faults = _vector_faults(recipe)
    if faults:
        raise RecipeError(f"{recipe}: " + "; ".join(faults))


def _swap_faults(recipe: LayerSwap, n_layers: int) -> list[str]:
    faults = []
    for name in ("task", "lang"):
        found = members(getattr(recipe, name))
        faults += _count_faults((name, index) for index in found)
        if len(set(found)) != len(found) or not found:
            faults.append(f"{name} = {found} must name one expert or several, each once")
    counts = [(name, getattr(recipe, name)) for name in ("b", "u", "t_b", "t_u")]
    bad = _count_faults(counts)
    total = 0 if bad else recipe.b + recipe.u + recipe.t_b + recipe.t_u
    if total > n_layers:
        bad = [
            f"b + u + t_b + t_u = {recipe.b} + {recipe.u} + {recipe.t_b} + {recipe.t_u} = "
            f"{total} exceeds the model's {n_layers} layers"
        ]
    faults += bad + _weight_faults({"w_task": recipe.w_task, "w_lang": recipe.w_lang})
    for name, choices in (("non_layer", NonLayer), ("ramp", Ramp)):
        if getattr(recipe, name) not in get_args(choices):
            faults.append(
                f"{name} = {getattr(recipe, name)!r} is not one of {', '.join(get_args(choices))}"
            )
    return faults


def _slerp_faults(recipe: Slerp, n_layers: int) -> list[str]:
    faults = _count_faults([("task", recipe.task), ("lang", recipe.lang)])
    if not 1 <= len(recipe.t) <= n_layers:
        faults.append(f"t has {len(recipe.t)} values, but must have 1 to {n_layers}")
    outside = () if recipe.non_layer is None else (recipe.non_layer,)
    for name, values in (("t", recipe.t), ("non_layer", outside)):
        faults += [f"{name} = {t} is not in [0, 1]" for t in values if not 0 <= t <= 1]
    return faults


def _vector_faults(recipe: Soup | TaskArithmetic | Ties | DareLinear) -> list[str]:
    experts = recipe.experts
    faults = [f"{name!r} is not task/<i> or lang/<i>" for name in experts if not _EXPERT(name)]
    if len(set(experts)) != len(experts) or not experts:
        faults.append(f"experts = {experts} must name one expert or several, each once")
    if isinstance(recipe, Soup | Ties):
        numbers = {f"weights[{i}]": weight for i, weight in enumerate(recipe.weights)}
        faults += _weight_faults(numbers)
    else:
        numbers = {f"scales[{i}]": scale for i, scale in enumerate(recipe.scales)}
        faults += _finite_faults(numbers)
    if len(numbers) != len(experts):
        faults.append(f"{len(numbers)} weights or scales for {len(experts)} experts")
    if isinstance(recipe, Ties):
        faults += _finite_faults({"scale": recipe.scale})
    if isinstance(recipe, Ties | DareLinear) and not 0 < recipe.density <= 1:
        faults.append(f"density = {recipe.density} is not in (0, 1]")
    if isinstance(recipe, DareLinear):
        faults += _count_faults([("seed", recipe.seed)])
    return faults


def _count_faults(counts: Iterable[tuple[str, Any]]) -> list[str]:
    return [
        f"{name} = {value!r} must be a whole number >= 0"
        for name, value in counts
        if isinstance(value, bool) or not isinstance(value, int) or value < 0
    ]


def _weight_faults(weights: dict[str, float]) -> list[str]:
    faults = [
        f"{name} = {weight} must be finite and >= 0"
        for name, weight in weights.items()
        if not math.isfinite(weight) or weight < 0
    ]
    names = list(weights)
    if not any(weights.values()):
        faults.append(f"{', '.join(names)}: all are 0, the average would be undefined")
    elif not faults and not math.isfinite(sum(weights.values())):
        shown = " + ".join(map(str, weights.values()))
        faults.append(f"{' + '.join(names)} = {shown} is not finite")
    return faults


def _finite_faults(numbers: dict[str, float]) -> list[str]:
    return [f"{name} = {x} must be finite" for name, x in numbers.items() if not math.isfinite(x)]
