"""Which shares are a layer swap's, how blocks lie over the layers, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.common.errors import RecipeError
from search.merging.canonical import canonical, validate
from search.merging.methods.swap import share_of
from search.merging.recipe import (
    LayerSwap,
    Layerwise,
    Recipe,
    Single,
    clip,
    from_dict,
    label,
    to_dict,
)

L = 8


@pytest.mark.parametrize(
    ("shares", "form"),
    [
        ((1.0, 0.0), LayerSwap(0, 1, 4, 0, 0, 0)),
        ((1.0, 0.3, 0.0, 1.0), LayerSwap(0, 1, 2, 2, 2, 0, 0.7, 0.3)),
        ((0.3,), LayerSwap(0, 1, 0, 0, 8, 0, 0.7, 0.3)),
        ((1, 1, 2 / 3, 1 / 3, 0, 0, 0.5, 1), LayerSwap(0, 1, 2, 1, 2, 1, ramp="linear")),
        ((0.0, 1.0, 0.0, 0.0), Layerwise(0, 1, (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0))),
        ((0.9, 0.2, 0.2), Layerwise(0, 1, (0.9, 0.9, 0.9, 0.2, 0.2, 0.2, 0.2, 0.2))),
    ],
)
def test_canonical(shares: tuple[float, ...], form: Recipe) -> None:
    assert canonical(Layerwise(0, 1, shares), L) == form == canonical(form, L)


def test_one_expert_alone() -> None:
    assert canonical(Layerwise(0, 1, (1.0,), "lang"), L) == Single("lang/1")
    assert canonical(Layerwise(0, 1, (0.0,), "task"), L) == Single("task/0")


@given(
    st.integers(0, L),
    st.integers(0, L),
    st.integers(0, L),
    st.integers(0, L),
    st.sampled_from([0.25, 0.3, 2 / 3]),
    st.sampled_from(["constant", "linear"]),
)
def test_the_shares_of_a_swap_are_the_swap(
    b: int, u: int, t_b: int, t_u: int, share: float, ramp: str
) -> None:
    zones = b, min(u, L - b), t_b, t_u
    swap = LayerSwap(0, 1, *zones, 1 - share, share, ramp=ramp)  # type: ignore[arg-type]
    swap = clip(swap, L)
    shares = tuple(share_of(swap, layer, L) for layer in range(L))
    assert canonical(Layerwise(0, 1, shares), L) == canonical(swap, L)


def test_json_and_name() -> None:
    recipe = Layerwise(0, 1, (1.0, 0.5, 0.0, 0.25))
    assert from_dict(to_dict(recipe)) == recipe
    assert label(recipe, "te", L) == "te layerwise 1.00-.50-.00-.25 m0-l1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shares": ()}, "shares has 0 values, but must have 1 to 8"),
        ({"shares": (0.5,) * 9}, "shares has 9 values"),
        ({"shares": (0.5, 1.5)}, r"shares = 1.5 is not in \[0, 1\]"),
        ({"non_layer": "weighted"}, "non_layer = 'weighted' has no meaning"),
        ({"task": -1}, "task = -1 must be a whole number"),
    ],
)
def test_faults(changes: dict[str, object], message: str) -> None:
    recipe = replace(Layerwise(0, 1, (1.0, 0.5)), **changes)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=message):
        validate(recipe, L)
