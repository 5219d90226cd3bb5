"""Every swap within bounds is among the spellings of its own model."""

from __future__ import annotations

import itertools

import pytest

from search.merging.recipe import LayerSwap, Recipe, Single, Slerp, clip, key, soup
from search.merging.space.spellings import spellings

L = 6
BOUNDS = {"b": (0, 3), "u": (0, 2), "t_b": (0, 2), "t_u": (0, 2)}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_each_swap_of_a_small_space_is_found_again(share: float) -> None:
    for b, u, t_b, t_u in itertools.product(*(range(high + 1) for _, high in BOUNDS.values())):
        if b + u <= L:
            swap = clip(LayerSwap(0, 0, b, u, t_b, t_u, 1 - share, share), L)
            names = {key(clip(s, L), L) for s in spellings(swap, L, BOUNDS) if s.b + s.u <= L}
            assert key(swap, L) in names, swap


@pytest.mark.parametrize(
    "recipe", [Single("base"), Single("reference/x"), Slerp(0, 0, (0.3, 0.6))], ids=str
)
def test_what_no_swap_means_has_none(recipe: Recipe) -> None:
    assert list(spellings(recipe, L, BOUNDS)) == []


def test_bounds_are_kept() -> None:
    wide = {"b": (0, L), "u": (0, L), "t_b": (0, L), "t_u": (0, L)}
    assert list(spellings(soup(0, 1, L), L, wide))
    for swap in spellings(soup(0, 1, L), L, BOUNDS):
        for name, (low, high) in BOUNDS.items():
            assert low <= getattr(swap, name) <= high
