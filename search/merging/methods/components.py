"""Layer swapping whose attention and MLP swap at different depths.

Owns how the two halves share experts, transitions and weights; what each half means is
`search.merging.methods.swap`'s. Its mixes are linear.
"""

from __future__ import annotations

from dataclasses import dataclass

from objectives.types import Decoding
from search.merging.methods import swap
from search.merging.methods.common import SHARE_DIGITS, Experts, pair_sources, short
from search.merging.methods.layered import Layered, NonLayer
from search.merging.methods.method import Method, Recipe
from search.merging.methods.swap import LayerSwap
from search.merging.mix import Mix


@dataclass(frozen=True)
class Components(Layered):
    """A layer swap with zones of its own for the attention and for the MLP of the layers.

    A norm in front of the attention goes with it; all else of a layer goes with the MLP.

    Attributes:
        task, lang: as in a layer swap.
        b_attn: bottom layers whose attention is the language expert's.
        u_attn: upper layers whose attention is.
        b_mlp: bottom layers whose MLP is.
        u_mlp: upper layers whose MLP is.
        t_b: transition layers above the bottom ones, as many for the attention as for the MLP.
        t_u: transition layers below the upper ones.
        w_task, w_lang, non_layer: as in a layer swap.
    """

    task: Experts
    lang: Experts
    b_attn: int
    u_attn: int
    b_mlp: int
    u_mlp: int
    t_b: int
    t_u: int
    w_task: float = 0.5
    w_lang: float = 0.5
    non_layer: NonLayer = "average"
    decoding: Decoding | None = None

    @property
    def attention(self) -> LayerSwap:
        """The swap that the attention is part of."""
        return self._half(self.b_attn, self.u_attn)

    @property
    def mlp(self) -> LayerSwap:
        """The swap that all else is part of."""
        return self._half(self.b_mlp, self.u_mlp)

    def whole(self, n_layers: int) -> tuple[int, int]:
        """Bottom and upper layers of which both halves are the language expert's."""
        return min(self.b_attn, self.b_mlp), min(self.u_attn, self.u_mlp)

    def size(self, n_layers: int) -> tuple[float, float]:
        """Layers of the zones, in the mean of both halves, and transition layers."""
        zones = self.b_attn + self.u_attn + self.b_mlp + self.u_mlp
        return zones / 2, self.t_b + self.t_u

    def numbers(self) -> dict[str, float]:
        """Layers of each zone, and the share of the transitions."""
        names = ("b_attn", "u_attn", "b_mlp", "u_mlp", "t_b", "t_u")
        return {**{name: getattr(self, name) for name in names}, "share": self.mlp.share}

    def _half(self, b: int, u: int) -> LayerSwap:
        weights = self.w_task, self.w_lang
        zones = b, u, self.t_b, self.t_u
        return LayerSwap(self.task, self.lang, *zones, *weights, self.non_layer, self.decoding)


def _faults(recipe: Components, n_layers: int) -> list[str]:
    attention = swap.METHOD.faults(recipe.attention, n_layers)
    mlp = swap.METHOD.faults(recipe.mlp, n_layers)
    both = [fault for fault in attention if fault in mlp]
    found = [f"attention: {fault}" for fault in attention if fault not in both]
    return [*found, *(f"MLP: {fault}" for fault in mlp if fault not in both), *both]


def _canonical(recipe: Components, n_layers: int) -> Recipe:
    """Halves with the same zones are a layer swap; else both experts have a part in the model."""
    share, t_b, t_u = recipe.mlp.share, recipe.t_b, recipe.t_u
    zones = [(recipe.b_attn, recipe.u_attn), (recipe.b_mlp, recipe.u_mlp)]
    non_layer = swap.plainest_policy(recipe.non_layer, share)
    if share == 1.0:  # transition layers are the language expert's
        zones = [(b + t_b, u + t_u) for b, u in zones]
    if share in (0.0, 1.0):
        t_b = t_u = 0
    full = [b + u + t_b + t_u == n_layers for b, u in zones]
    if t_b + t_u == 0:
        zones = [(n_layers, 0) if f else zone for f, zone in zip(full, zones, strict=True)]
    elif all(full):  # no task zone in either: where the transitions meet cannot be seen
        t_b, t_u = t_b + t_u, 0
    if t_b + t_u == 0 and non_layer != "weighted":
        share = 0.5
    task, lang = swap.in_order(recipe.task), swap.in_order(recipe.lang)
    (b, u), (b_mlp, u_mlp) = zones
    w_task, own = round(1 - share, SHARE_DIGITS), recipe.decoding
    if zones[0] == zones[1]:
        return LayerSwap(task, lang, b, u, t_b, t_u, w_task, share, non_layer, own)
    return Components(task, lang, b, u, b_mlp, u_mlp, t_b, t_u, w_task, share, non_layer, own)


def _mlp(form: Components, layer: int | None, n_layers: int) -> Mix:
    return swap.METHOD.mix(form.mlp, layer, n_layers)


def _attention(form: Components, layer: int, n_layers: int) -> Mix:
    return swap.METHOD.mix(form.attention, layer, n_layers)


def _label(form: Components, recipe: Recipe, n_layers: int) -> list[str]:
    words = ["attn", f"b{form.b_attn}", f"u{form.u_attn}", "mlp", f"b{form.b_mlp}"]
    words += [f"u{form.u_mlp}", f"tb{form.t_b}", f"tu{form.t_u}"]
    if form.non_layer == "weighted" or form.t_b + form.t_u:
        words.append(f"w{short(form.mlp.share)}")
    policy = [] if form.non_layer == "average" else [f"{form.non_layer}-embeddings"]
    return [*words, form.mlp.pair, *policy]


METHOD = Method(
    recipe=Components,
    sources=lambda recipe: pair_sources(recipe.task, recipe.lang),
    faults=_faults,
    canonical=_canonical,
    mix=_mlp,
    attention=_attention,
    label=_label,
)
