"""The layer swaps by which a search space can write one model.

Owns the inverse of what `search.merging.canonical` leaves out: without a task zone nobody sees
where the transitions meet, shares of 0 and 1 move the zones, and so on. If any swap within the
bounds means the model, one of the candidates does; not every candidate does: the caller compares
keys. Pure.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace

from search.merging.recipe import LayerSwap, NonLayer, Recipe, Single, Soup, canonical, soup
from search.merging.source import Source
from search.merging.space.pairs import tidy

ZONES = ("b", "u", "t_b", "t_u")

ROUNDING = 1e-5
"""More than the share of a canonical soup, made of rounded weights, can be off."""

Bounds = Mapping[str, tuple[int, int]]
"""Each of `ZONES` -> lowest and highest count, both included."""


def spellings(recipe: Recipe, n_layers: int, bounds: Bounds) -> Iterator[LayerSwap]:
    """Swaps with counts within the bounds; none if no swap can mean the recipe.

    Transition layers that do not fit are still to be clipped. Experts are those of the canonical
    recipe: 0 may stand for one that nothing is taken from.

    Raises:
        RecipeError: the recipe is not valid for L.
    """
    form = _swap(canonical(recipe, n_layers), n_layers)
    if form is None:
        return
    policies: dict[NonLayer, None] = dict.fromkeys((form.non_layer, "weighted"))
    shares = dict.fromkeys((form.share, 0.0, 0.5, 1.0))
    for b, u, t_b, t_u in dict.fromkeys(_zones(form, bounds)):
        swap = replace(form, b=b, u=u, t_b=t_b, t_u=t_u)
        if all(low <= getattr(swap, name) <= high for name, (low, high) in bounds.items()):
            for policy, share in itertools.product(policies, shares):
                yield replace(swap, non_layer=policy, w_task=1 - share, w_lang=share)


def _zones(form: LayerSwap, bounds: Bounds) -> Iterator[tuple[int, int, int, int]]:
    """b, u, t_b, t_u, which may lie outside of the bounds."""
    low = {name: bounds[name][0] for name in ZONES}
    high = {name: bounds[name][1] for name in ZONES}
    yield form.b, form.u, max(form.t_b, low["t_b"]), max(form.t_u, low["t_u"])
    # no task zone: the transitions meet anywhere
    yield form.b, form.u, high["t_b"], high["t_u"]
    yield form.b, form.u, 1, 1
    yield high["b"], high["u"], high["t_b"], high["t_u"]
    # a share of 1: the transitions are the language expert's
    b, u = min(form.b - low["t_b"], high["b"]), min(form.u - low["t_u"], high["u"])
    yield b, u, form.b - b, form.u - u


def _swap(form: Recipe, n_layers: int) -> LayerSwap | None:
    """A canonical recipe as a swap; of a soup the weights of each side are taken for equal."""
    if isinstance(form, LayerSwap):
        return form
    if isinstance(form, Single):
        parts = {form.source: 1.0}
    elif isinstance(form, Soup):
        parts = dict(zip(form.experts, form.weights, strict=True))
    else:
        return None
    sources = {Source.of(name): part for name, part in parts.items()}
    if not all(source.is_expert for source in sources):
        return None  # the base or a reference
    of = {kind: [s.index for s in sources if s.kind == kind] for kind in ("task", "lang")}
    (pair,) = tidy([(tuple(of["task"]) or (0,), tuple(of["lang"]) or (0,))])
    if not of["lang"]:
        return LayerSwap(*pair, 0, 0, 0, 0, non_layer="task", decoding=form.decoding)
    if not of["task"]:
        return LayerSwap(*pair, n_layers, 0, 0, 0, non_layer="lang", decoding=form.decoding)
    share = sum(part for s, part in sources.items() if s.kind == "lang") / sum(parts.values())
    policy: NonLayer = "average" if abs(share - 0.5) < ROUNDING else "weighted"
    return replace(soup(*pair, n_layers, share), non_layer=policy, decoding=form.decoding)
