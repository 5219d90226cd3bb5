"""What a recipe of a pair is asked, whatever its form."""

from __future__ import annotations

import pytest

from search.merging.recipe import Components, Layered, LayerSwap, Layerwise

L = 8
BY_HALF = Components(0, 1, 3, 1, 1, 2, 1, 0, 1, 3)
SHARES = Layerwise(0, 1, (1.0, 0.5, 0.0, 1.0))


@pytest.mark.parametrize(
    ("recipe", "whole", "size", "numbers"),
    [
        (
            LayerSwap(0, 1, 3, 1, 1, 0, 1, 3),
            (3, 1),
            (4, 1),
            {"b": 3, "u": 1, "t_b": 1, "t_u": 0, "share": 0.75},
        ),
        (
            BY_HALF,
            (1, 1),
            (3.5, 1),
            {"b_attn": 3, "u_attn": 1, "b_mlp": 1, "u_mlp": 2, "t_b": 1, "t_u": 0, "share": 0.75},
        ),
        (SHARES, (2, 2), (4, 2), {"block_0": 1, "block_1": 0.5, "block_2": 0, "block_3": 1}),
        (Layerwise(0, 1, (1.0,)), (L, 0), (L, 0), {"block_0": 1}),
    ],
)
def test_what_it_is_made_of(
    recipe: Layered, whole: tuple[int, int], size: tuple[float, float], numbers: dict[str, float]
) -> None:
    assert recipe.whole(L) == whole
    assert recipe.size(L) == size
    assert recipe.numbers() == numbers


@pytest.mark.parametrize("form", [LayerSwap(0, 1, 1, 1, 0, 0), BY_HALF, SHARES])
def test_its_experts(form: Layered) -> None:
    assert (form.pair, form.lang_source) == ("m0-l1", "lang/1")
    several = LayerSwap((0, 2), (0, 1), 1, 1, 0, 0)
    assert (several.pair, several.lang_source) == ("m0+2-l0+1", "lang/0+1")
    assert several.task_sources == ("task/0", "task/2")
