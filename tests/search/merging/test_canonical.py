"""Across kinds: equal models end as equal recipes, unequal ones do not."""

from __future__ import annotations

import pytest

from objectives.types import Decoding
from search.common.errors import RecipeError
from search.merging.canonical import canonical, validate
from search.merging.recipe import (
    DareLinear,
    LayerSwap,
    Recipe,
    Single,
    Slerp,
    Soup,
    TaskArithmetic,
    Ties,
    soup,
)

L = 8
PAIR = ("task/0", "lang/0")


@pytest.mark.parametrize(
    ("recipe", "form"),
    [
        (Soup(("task/0",), (3.0,)), Single("task/0")),
        (Soup(PAIR, (1.0, 0.0)), Single("task/0")),
        (Ties(("task/0",), 1.0, (2.0,), 0.5), TaskArithmetic(("task/0",), (0.5,))),
        (DareLinear(PAIR, 1.0, (0.5, 0.4)), TaskArithmetic(PAIR, (0.5, 0.4))),
        (TaskArithmetic(PAIR, (0.0, 0.0)), Single("base")),
        (TaskArithmetic(("lang/1",), (1.0,)), Single("lang/1")),
        (Slerp(0, 0, (0.0,)), Single("task/0")),
        (LayerSwap(0, 1, L, 0, 0, 0, non_layer="lang"), Single("lang/1")),
    ],
    ids=str,
)
def test_the_plainer_kind(recipe: Recipe, form: Recipe) -> None:
    assert canonical(recipe, L) == form == canonical(form, L)


def test_a_soup_of_a_pair_is_a_swap_over_the_whole_model() -> None:
    assert canonical(Soup(PAIR, (2.0, 2.0)), L) == canonical(soup(0, 0, L), L)
    assert isinstance(canonical(Soup(("task/0", "task/1"), (1.0, 1.0)), L), Soup)


@pytest.mark.parametrize(
    ("decoding", "plain"),
    [
        (Decoding(), None),
        (Decoding(temperature=0.0, top_p=0.5), Decoding(temperature=0.0)),
        (Decoding(0.3, 0.5, 4), Decoding(beam_width=4)),
        (Decoding(0.3, 0.5), Decoding(0.3, 0.5)),
    ],
)
def test_decoding_without_effect_is_left_out(decoding: Decoding, plain: Decoding | None) -> None:
    assert canonical(Single("base", decoding), L) == Single("base", plain)


def test_validate_names_every_fault() -> None:
    with pytest.raises(RecipeError, match=r"b \+ u .* exceeds the model's 8 layers"):
        validate(LayerSwap(0, 0, 5, 5, 0, 0), L)
    with pytest.raises(RecipeError, match=r"density = 2.*|.*weights") as error:
        validate(Ties(PAIR, 2.0, (1.0,)), L)
    assert "density = 2.0" in str(error.value) and "1 weight or scale for 2" in str(error.value)
