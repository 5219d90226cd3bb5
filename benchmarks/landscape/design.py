"""Which recipes of the demo family are recorded, fixed before any is looked at.

Every checkpoint alone; of every pair all zones of the space `whole_model` at an even share; of the
rival methods every soup and some of the others, drawn by a seed; in Telugu the shares .1, .3, .7
and .9 for a third of the zones that have a transition layer, drawn by a seed for each pair. In
another language these are a design of their own.

A map is less: the checkpoints, and of every pair the even soup and the zones with few layers at
each end, without transition layers and with one at both ends.

The wider spaces are recorded around the swaps of one pair that are best there: zones of their own
for attention and MLP, and a share of its own for each of the first three and last two layers.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from search.config.schema import Config
from search.merging.recipe import (
    Components,
    LayerSwap,
    Layerwise,
    Recipe,
    Single,
    clip,
    key,
    soup,
)
from search.merging.space.pairs import Pair, all_pairs
from search.merging.space.rivals import RivalSpace
from search.merging.space.swap import Space, make_space, uses_weights

N_LAYERS = 10
"""Of the demo family."""
SHARES = (0.1, 0.3, 0.7, 0.9)
SHARES_IN_WHOLE = "te"
"""The language of which other shares are recorded with its zones."""
THIRD = 3
RIVALS = {
    "te": {"soup": 81, "ties": 150, "slerp": 90, "task_arithmetic": 90},
    "sw": {"soup": 54, "ties": 90, "slerp": 45, "task_arithmetic": 45},
}
"""Language -> rival method -> recipes of it."""

BOTTOM, TOP = range(3), range(5)
"""Bottom and top layers of the language expert in a map."""
TRANSITIONS = range(2)

WIDER_PAIR = (1, 1)
"""Pair of the wider spaces: the best of Telugu's plain swaps, on search items."""
ENDS = range(3)
"""Bottom and top layers whose attention, and whose MLP, is the language expert's."""
WIDER_T_B, WIDER_T_U = (1, 1), (1, 2)
"""Fewest and most transition layers of components."""
BLOCK_SHARES = (0.0, 0.5, 1.0)
"""Shares of a block that has one of its own; the others are the task expert's."""
BOTTOM_BLOCKS, TOP_BLOCKS = 3, 2


def recipes(config: Config) -> list[Recipe]:
    """What is recorded in the language of a configuration, each model once, in this order."""
    lang, n_task = config.lang, len(config.family.task)
    n_lang = len(config.family.language[lang])
    even = even_space(lang, n_task, n_lang)
    found = singles(n_task, n_lang)
    for method, count in RIVALS.get(lang, {}).items():
        found += _drawn(RivalSpace(method, lang, N_LAYERS, all_pairs(n_task, n_lang)), count)
    found += sorted(even.recipes(), key=lambda swap: (swap.lang, swap.task))  # pair by pair
    if lang == SHARES_IN_WHOLE:
        found += share_recipes(config)
    return _once(found)


def singles(n_task: int, n_lang: int) -> list[Recipe]:
    """Every checkpoint alone, the base first."""
    names = ("base", *(f"task/{i}" for i in range(n_task)), *(f"lang/{i}" for i in range(n_lang)))
    return [Single(name) for name in names]


def map_recipes(config: Config) -> list[Recipe]:
    """What a map of the configuration's family and language shows, each model once."""
    n_task, n_lang = len(config.family.task), len(config.family.language[config.lang])
    pairs = [(task, lang) for task in range(n_task) for lang in range(n_lang)]
    found = singles(n_task, n_lang)
    found += [soup(task, lang, N_LAYERS) for task, lang in pairs]
    found += [
        zone(task, lang, b, u, t)
        for task, lang in pairs
        for t, b, u in itertools.product(TRANSITIONS, BOTTOM, TOP)
    ]
    return _once(found)


def wider_recipes(config: Config) -> list[Recipe]:
    """What is recorded of the wider spaces, each model once: components, then shares of blocks.

    Both in a drawn order: what a recording that was stopped early has of it is a fair sample.
    """
    parts: list[list[Recipe]] = [[*components()], [*layerwise()]]
    rng = random.Random("wider spaces")
    for part in parts:
        rng.shuffle(part)
    found = itertools.chain.from_iterable(parts)
    return _once(found)


def components() -> list[Components]:
    """The recorded components at an even share, plain swaps among them."""
    t_b, t_u = (range(low, high + 1) for low, high in (WIDER_T_B, WIDER_T_U))
    return [Components(*WIDER_PAIR, *zones) for zones in itertools.product(*[ENDS] * 4, t_b, t_u)]


def layerwise() -> list[Layerwise]:
    """The recorded shares, a block for each layer, plain swaps among them."""
    task = (0.0,) * (N_LAYERS - BOTTOM_BLOCKS - TOP_BLOCKS)
    own = itertools.product(BLOCK_SHARES, repeat=BOTTOM_BLOCKS + TOP_BLOCKS)
    return [
        Layerwise(*WIDER_PAIR, (*shares[:BOTTOM_BLOCKS], *task, *shares[BOTTOM_BLOCKS:]))
        for shares in own
    ]


def zone(task: int, lang: int, b: int, u: int, t: int) -> LayerSwap:
    """A recipe of a map: `t` transition layers at both ends, at an even share."""
    return clip(LayerSwap(task, lang, b, u, t, t, w_task=0.5, w_lang=0.5), N_LAYERS)


def even_space(
    lang: str,
    n_task: int,
    n_lang: int,
    pairs: Sequence[Pair] | None = None,
    shares: tuple[float, float, float] = (0.5, 0.5, 0.1),
    **ranges: tuple[int, int],
) -> Space:
    """All zones at an even share, of these pairs or of all; within ranges of b, u, t_b, t_u.

    Other shares are for a space that is made from this one.
    """
    return make_space(
        lang=lang,
        n_layers=N_LAYERS,
        n_task=n_task,
        n_lang=n_lang,
        shares=shares,
        pairs=pairs,
        **ranges,  # type: ignore[arg-type]
    )


def share_recipes(config: Config) -> list[Recipe]:
    """The other shares of drawn zones in the language of a configuration, each model once.

    In a drawn order: a part of them is a fair sample.
    """
    lang = config.lang
    n_task, n_lang = len(config.family.task), len(config.family.language[lang])
    rng = random.Random(f"shares of {lang}")
    by_pair: dict[tuple[object, object], dict[tuple[int, int, int, int], None]] = {}
    for swap in even_space(lang, n_task, n_lang).recipes():
        if uses_weights(swap):
            zones = by_pair.setdefault((swap.task, swap.lang), {})
            zones[swap.b, swap.u, swap.t_b, swap.t_u] = None
    found: list[Recipe] = []
    for (task, language), zones in by_pair.items():
        for zone in rng.sample(list(zones), len(zones) // THIRD):
            found += [
                LayerSwap(task, language, *zone, w_task=1 - share, w_lang=share)  # type: ignore[arg-type]
                for share in SHARES
            ]
    rng.shuffle(found)
    return _once(found)


def _once(recipes: Iterable[Recipe]) -> list[Recipe]:
    """Each model once, by the first of its spellings."""
    found: dict[str, Recipe] = {}
    for recipe in recipes:
        found.setdefault(key(recipe, N_LAYERS), recipe)
    return list(found.values())


def _drawn(space: RivalSpace, count: int) -> Iterator[Recipe]:
    """So many recipes of a rival's space, drawn evenly; all if it has no more."""
    axes, pairs = space.axes, [f"{task}-{lang}" for task, lang in space.pairs]
    points = list(itertools.product(pairs, itertools.product(*axes.values())))
    rng = random.Random(f"{space.method} of {space.lang}")
    for pair, values in rng.sample(points, min(count, len(points))):
        yield space.recipe(pair, dict(zip(axes, values, strict=True)))


Design = Literal["whole", "map", "shares", "wider"]
DESIGNS: Mapping[Design, Callable[[Config], list[Recipe]]] = {
    "whole": recipes,
    "map": map_recipes,
    "shares": share_recipes,
    "wider": wider_recipes,
}
"""What is recorded: the landscape of a language, a map of it, other shares of transition layers,
or the wider spaces of one pair."""
