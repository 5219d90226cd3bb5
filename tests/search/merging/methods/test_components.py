"""What is left of a swap by halves, how it is named, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search.common.errors import RecipeError
from search.merging.canonical import canonical, validate
from search.merging.recipe import Components, LayerSwap, Recipe, from_dict, label, to_dict

L = 8
RECIPE = Components(0, 1, 3, 1, 1, 1, 1, 0, 1.0, 3.0)


@pytest.mark.parametrize(
    ("recipe", "form"),
    [
        (RECIPE, replace(RECIPE, w_task=0.25, w_lang=0.75)),
        (replace(RECIPE, b_attn=1), LayerSwap(0, 1, 1, 1, 1, 0, 0.25, 0.75)),
        (replace(RECIPE, w_task=0), Components(0, 1, 4, 1, 2, 1, 0, 0)),
        (replace(RECIPE, w_lang=0), Components(0, 1, 3, 1, 1, 1, 0, 0, 0.5, 0.5)),
        # no task zone: where zones of whole layers, or transitions, meet cannot be seen
        (Components(0, 1, 5, 3, 1, 1, 0, 0), Components(0, 1, L, 0, 1, 1, 0, 0)),
        (Components(0, 1, 5, 3, 4, 4, 0, 0), LayerSwap(0, 1, L, 0, 0, 0)),
        (Components(0, 1, 5, 1, 1, 5, 1, 1, 1, 3), Components(0, 1, 5, 1, 1, 5, 2, 0, 0.25, 0.75)),
        # but one half's task zone shows both transitions
        (Components(0, 1, 5, 1, 1, 1, 1, 1), Components(0, 1, 5, 1, 1, 1, 1, 1)),
        (Components((1, 0), (1,), 2, 0, 1, 0, 0, 0), Components((0, 1), 1, 2, 0, 1, 0, 0, 0)),
        (
            Components(0, 1, 2, 0, 1, 0, 0, 0, 1, 3, "weighted"),
            Components(0, 1, 2, 0, 1, 0, 0, 0, 0.25, 0.75, "weighted"),
        ),
    ],
)
def test_canonical(recipe: Recipe, form: Recipe) -> None:
    assert canonical(recipe, L) == form == canonical(form, L)


def test_json_and_name() -> None:
    assert from_dict(to_dict(RECIPE)) == RECIPE
    assert label(RECIPE, "te", L) == "te attn b3 u1 mlp b1 u1 tb1 tu0 w.75 m0-l1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"b_attn": 7}, r"attention: b \+ u \+ t_b \+ t_u = 7 \+ 1 \+ 1 \+ 0 = 9 exceeds .* 8"),
        ({"u_mlp": 7}, r"MLP: b \+ u \+ t_b \+ t_u = 1 \+ 7 \+ 1 \+ 0 = 9 exceeds"),
        ({"b_mlp": -1}, "MLP: b = -1 must be a whole number >= 0"),
        ({"non_layer": "none"}, "; non_layer = 'none' is not one of"),
        ({"w_lang": -1.0, "b_attn": 9}, "w_lang = -1.0 must be finite"),
    ],
)
def test_faults(changes: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message.removeprefix("; ")) as error:
        validate(replace(RECIPE, **changes), L)  # type: ignore[arg-type]
    assert str(error.value).count("non_layer = 'none' is") <= 1
