"""Layer swapping: bottom and upper layers of one expert, the middle of another.

Owns the meaning of `b, u, t_b, t_u, w_task, w_lang` and Algorithm 1 of Bandarkar et al. 2024
("Layer Swapping for Zero-Shot Cross-Lingual Transfer in Large Language Models", arXiv 2410.01335).
Its mixes are linear.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from objectives.types import Decoding
from search.merging.methods.common import (
    SHARE_DIGITS,
    Average,
    Experts,
    members,
    pair_sources,
    short,
)
from search.merging.methods.faults import count_faults, weight_faults
from search.merging.methods.layered import Layered, NonLayer
from search.merging.methods.method import Method, Recipe
from search.merging.mix import Mix, linear

Ramp = Literal["constant", "linear"]
"""Language share of the transition layers: the recipe's weights in all (the paper's choice); or
1 - i / (t + 1) in the i-th of t layers, counted from the language zone they border on (1 .. t)."""


@dataclass(frozen=True)
class LayerSwap(Layered):
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

    def whole(self, n_layers: int) -> tuple[int, int]:
        """Bottom and upper layers."""
        return self.b, self.u

    def size(self, n_layers: int) -> tuple[float, float]:
        """Layers of the zones, and transition layers."""
        return self.b + self.u, self.t_b + self.t_u

    def numbers(self) -> dict[str, float]:
        """Layers of each zone, and the share of the transitions."""
        zones = {"b": self.b, "u": self.u, "t_b": self.t_b, "t_u": self.t_u}
        return {**zones, "share": self.share}


def clip(recipe: LayerSwap, n_layers: int) -> LayerSwap:
    """Drop transition layers that do not fit between the bottom and the upper layers."""
    room = n_layers - recipe.b - recipe.u
    t_b = min(recipe.t_b, room)
    return replace(recipe, t_b=t_b, t_u=min(recipe.t_u, room - t_b))


def _faults(recipe: LayerSwap, n_layers: int) -> list[str]:
    faults = []
    for name in ("task", "lang"):
        found = members(getattr(recipe, name))
        faults += count_faults((name, index) for index in found)
        if len(set(found)) != len(found) or not found:
            faults.append(f"{name} = {found} must name one expert or several, each once")
    counts = [(name, getattr(recipe, name)) for name in ("b", "u", "t_b", "t_u")]
    bad = count_faults(counts)
    total = 0 if bad else recipe.b + recipe.u + recipe.t_b + recipe.t_u
    if total > n_layers:
        bad = [
            f"b + u + t_b + t_u = {recipe.b} + {recipe.u} + {recipe.t_b} + {recipe.t_u} = "
            f"{total} exceeds the model's {n_layers} layers"
        ]
    faults += bad + weight_faults({"w_task": recipe.w_task, "w_lang": recipe.w_lang})
    for name, choices in (("non_layer", NonLayer), ("ramp", Ramp)):
        if getattr(recipe, name) not in get_args(choices):
            faults.append(
                f"{name} = {getattr(recipe, name)!r} is not one of {', '.join(get_args(choices))}"
            )
    return faults


def _canonical(recipe: LayerSwap, n_layers: int) -> Recipe:
    share, ramp = recipe.share, recipe.ramp
    non_layer = plainest_policy(recipe.non_layer, share)
    b, u, t_b, t_u = recipe.b, recipe.u, recipe.t_b, recipe.t_u
    if ramp == "linear" and t_b + t_u == 0:
        ramp = "constant"
    elif ramp == "linear" and non_layer != "weighted":  # the weights have no effect
        share, ramp = 0.5, "constant" if max(t_b, t_u) == 1 else "linear"
    if ramp == "constant" and share == 0.0:  # transition layers are the task expert's
        t_b = t_u = 0
    elif ramp == "constant" and share == 1.0:  # transition layers are the language expert's
        b, u, t_b, t_u = b + t_b, u + t_u, 0, 0
    if b + u + t_b + t_u == n_layers and (ramp == "constant" or t_b + t_u == 1):
        t_b, t_u = t_b + t_u, 0  # no task zone: where the zones meet cannot be seen
        if t_b == 0:
            b, u = n_layers, 0
    task, lang = in_order(recipe.task), in_order(recipe.lang)
    if b == n_layers and non_layer in ("lang", "base"):
        task = 0
    if b + u + t_b + t_u == 0 and non_layer in ("task", "base"):
        lang = 0
    if t_b + t_u == 0 and non_layer != "weighted":
        share = 0.5
    w_task = round(1 - share, SHARE_DIGITS)
    form = LayerSwap(task, lang, b, u, t_b, t_u, w_task, share, non_layer, recipe.decoding, ramp)
    return _without_zones(form, n_layers) or form


def _without_zones(form: LayerSwap, n_layers: int) -> Average | None:
    """What a canonical swap is if all its tensors are made alike; None if they are not."""
    task, lang = form.task_sources, form.lang_sources
    if form.b == n_layers and form.non_layer == "lang":
        return Average(lang, (1.0,) * len(lang), form.decoding)
    if form.b + form.u + form.t_b + form.t_u == 0 and form.non_layer == "task":
        return Average(task, (1.0,) * len(task), form.decoding)
    if _is_whole(form, n_layers) and len(task) + len(lang) > 2:
        weights = (
            *[(1 - form.share) / len(task)] * len(task),
            *[form.share / len(lang)] * len(lang),
        )
        return Average(task + lang, weights, form.decoding)
    return None


def _is_whole(form: LayerSwap, n_layers: int) -> bool:
    """Whether every tensor is the same average of the two sides."""
    alike = form.non_layer == "weighted" or (form.non_layer, form.share) == ("average", 0.5)
    return alike and form.t_b == n_layers and form.ramp == "constant"


def plainest_policy(non_layer: NonLayer, share: float) -> NonLayer:
    """An average with share 0, 1/2 or 1 has a plainer name."""
    plain: dict[float, NonLayer] = {0.0: "task", 0.5: "average", 1.0: "lang"}
    return plain.get(share, non_layer) if non_layer == "weighted" else non_layer


def in_order(experts: Experts) -> Experts:
    """The experts of one side, sorted; one alone is its index."""
    found = tuple(sorted(members(experts)))
    return found[0] if len(found) == 1 else found


def _mix(form: LayerSwap, layer: int | None, n_layers: int) -> Mix:
    if layer is not None:
        return average(form, share_of(form, layer, n_layers))
    if form.non_layer == "base":
        return linear((("base", 1.0),))
    shares = {"average": 0.5, "task": 0.0, "lang": 1.0, "weighted": form.share}
    return average(form, shares[form.non_layer])


def share_of(form: LayerSwap, layer: int, n_layers: int) -> float:
    """Share of the language expert in a layer: Algorithm 1.

    Printed is `l > b-1+t_b OR l < L-u-t_u` for the task expert's zone; with OR no transition zone
    would exist, so AND is meant.
    """
    above, below = layer - (form.b - 1), n_layers - form.u - layer  # distances to its zones
    if above <= 0 or below <= 0:
        return 1.0
    if above > form.t_b and below > form.t_u:
        return 0.0
    if form.ramp == "constant":
        return form.share
    # Where the two transitions meet, each layer belongs to one of them.
    return 1 - (above / (form.t_b + 1) if above <= form.t_b else below / (form.t_u + 1))


def average(form: LayerSwap, share: float) -> Mix:
    """The average of the two sides with this share of the language expert."""
    task, lang = form.task_sources, form.lang_sources
    parts = [(source, (1.0 - share) / len(task)) for source in task]
    return linear([*parts, *((source, share / len(lang)) for source in lang)])


def _label(form: LayerSwap, recipe: Recipe, n_layers: int) -> list[str]:
    """`w`, the language expert's share of the transition layers, is shown where it matters."""
    share = f"w{short(form.share)}"
    if _is_whole(form, n_layers):
        return ["soup", share, form.pair]
    words = [f"b{form.b}", f"u{form.u}", f"tb{form.t_b}", f"tu{form.t_u}"]
    if form.ramp == "linear":
        words.append("linear")
    if form.non_layer == "weighted" or (form.t_b + form.t_u and form.ramp == "constant"):
        words.append(share)
    policy = [] if form.non_layer == "average" else [f"{form.non_layer}-embeddings"]
    return [*words, form.pair, *policy]


METHOD = Method(
    recipe=LayerSwap,
    sources=lambda recipe: pair_sources(recipe.task, recipe.lang),
    faults=_faults,
    canonical=_canonical,
    mix=_mix,
    label=_label,
    optional=("ramp",),
)
