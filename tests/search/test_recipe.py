"""Validity, canonical form, keys and names of recipes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives.types import Decoding
from search.errors import RecipeError
from search.recipe import (
    AnyRecipe,
    Recipe,
    Single,
    canonical,
    clip,
    from_dict,
    key,
    label,
    soup,
    to_dict,
    validate,
)

R = Recipe(0, 1, 3, 1, 1, 0, 0.4, 0.6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": -1}, r"b = -1 must be a whole number >= 0"),
        ({"u": 1.5}, r"u = 1.5 must be a whole number"),
        ({"t_b": True}, r"t_b = True must be a whole number"),
        ({"b": 8, "u": 2}, r"= 8 \+ 2 \+ 1 \+ 0 = 11 exceeds the model's 10 layers"),
        ({"w_task": -0.5}, r"w_task = -0.5 must be finite and >= 0"),
        ({"w_lang": float("nan")}, r"w_lang = nan must be finite"),
        ({"w_lang": float("inf")}, r"w_lang = inf must be finite"),
        ({"w_task": 0.0, "w_lang": 0.0}, r"both 0"),
        ({"w_task": 1.5e308, "w_lang": 1.5e308}, r"is not finite"),
        ({"non_layer": "base"}, r"non_layer = 'base'"),
        ({"b": -1, "w_task": -1.0}, r"b = -1 .*; w_task = -1.0"),
    ],
)
def test_invalid(change: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        validate(replace(R, **change), 10)  # type: ignore[arg-type]


SAME = [
    (R, replace(R, w_task=4.0, w_lang=6.0), "scale of the weights"),
    (replace(R, t_b=0), replace(R, t_b=0, w_lang=0.1), "weights without a transition layer"),
    (replace(R, w_lang=0.0), replace(R, t_b=0), "a transition that is all task"),
    (replace(R, w_task=0.0), replace(R, b=4, t_b=0), "a transition that is all language"),
    (replace(R, b=2, u=5, t_b=1, t_u=2), replace(R, b=2, u=5, t_b=3, t_u=0), "zones that meet"),
    (replace(R, b=10, u=0, t_b=0), replace(R, b=4, u=6, t_b=0), "all layers language"),
    (Recipe(0, 1, 10, 0, 0, 0, non_layer="lang"), Single("lang/1"), "the language expert"),
    (Recipe(0, 1, 0, 0, 0, 0, non_layer="task"), Single("task/0"), "the task expert"),
    (soup(0, 1, 10, 1.0), Single("lang/1"), "a soup of one"),
    (soup(0, 1, 10, 0.0), Single("task/0"), "a soup of the other"),
    (soup(0, 1, 10), Recipe(0, 1, 0, 0, 4, 6), "an even soup"),
    (R, replace(R, decoding=Decoding()), "a decoding that says nothing"),
    (
        replace(R, decoding=Decoding(temperature=0.0, top_p=0.5)),
        replace(R, decoding=Decoding(temperature=0.0)),
        "a nucleus without sampling",
    ),
    (
        Single("base", Decoding(temperature=0.7, beam_width=4)),
        Single("base", Decoding(beam_width=4)),
        "a temperature beside beams",
    ),
    (
        replace(soup(0, 1, 10, 1.0), decoding=Decoding(shots=1)),
        Single("lang/1", Decoding(shots=1)),
        "a soup of one, decoded alike",
    ),
]


@pytest.mark.parametrize(("one", "other", "why"), SAME, ids=[s[2] for s in SAME])
def test_same_model_same_key(one: AnyRecipe, other: AnyRecipe, why: str) -> None:
    assert key(one, 10) == key(other, 10), why


DIFFERENT = [
    (R, replace(R, task=1)),
    (R, replace(R, lang=0)),
    (R, replace(R, w_lang=0.61)),
    (R, replace(R, non_layer="lang")),
    (soup(0, 1, 10, 0.3), Recipe(0, 1, 0, 0, 10, 0, 0.7, 0.3)),  # embeddings .7/.3 or .5/.5
    (Single("base"), Single("task/0")),
    (R, replace(R, decoding=Decoding(temperature=0.7))),
    (Single("base", Decoding(shots=1)), Single("base", Decoding(shots=5))),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_model_other_key(one: AnyRecipe, other: AnyRecipe) -> None:
    assert key(one, 10) != key(other, 10)


def test_key_is_stable() -> None:
    """Records and MLflow runs of earlier versions are found by it."""
    assert key(R, 10) == "cbf404e758e5"


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        (R, "te b3 u1 tb1 tu0 w.60 m0-l1"),
        (replace(R, t_b=0), "te b3 u1 tb0 tu0 m0-l1"),
        (replace(R, non_layer="lang"), "te b3 u1 tb1 tu0 w.60 m0-l1 lang-embeddings"),
        (soup(2, 0, 10), "te soup w.50 m2-l0"),
        (soup(2, 0, 10, 0.3), "te soup w.30 m2-l0"),
        (Single("base"), "te base"),
        (Single("task/1"), "te math expert m1"),
        (Single("lang/0"), "te language expert l0"),
        (Single("reference/joint"), "te joint"),
        (Single("base", Decoding(0.7, 0.9, shots=5)), "te base T0.7 p0.9 shots5"),
        (replace(R, t_b=0, decoding=Decoding(beam_width=4)), "te b3 u1 tb0 tu0 m0-l1 beam4"),
    ],
)
def test_label(recipe: AnyRecipe, name: str) -> None:
    assert label(recipe, "te", 10) == name


@pytest.mark.parametrize(
    "recipe",
    [R, soup(0, 1, 10, 0.3), Single("base"), replace(R, decoding=Decoding(0.0, beam_width=2))],
)
def test_json_round_trip(recipe: AnyRecipe) -> None:
    assert from_dict(json.loads(json.dumps(to_dict(recipe)))) == recipe


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "ties"}, "kind = 'ties' is not one of swap, single"),
        ({"kind": "single"}, "source"),
        ({"kind": "single", "source": "base", "decoding": {"heat": 1}}, "heat"),
    ],
)
def test_unknown_json(data: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        from_dict(data)


counts = st.integers(0, 6)


@given(counts, counts, st.integers(0, 12), st.integers(0, 12))
def test_clip_makes_valid(b: int, u: int, t_b: int, t_u: int) -> None:
    clipped = clip(Recipe(0, 0, b, u, t_b, t_u), 12)
    validate(clipped, 12)
    assert (clipped.b, clipped.u) == (b, u)
    if b + u + t_b + t_u <= 12:
        assert (clipped.t_b, clipped.t_u) == (t_b, t_u)


@given(counts, counts, counts, counts, st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_canonical_is_idempotent(b: int, u: int, t_b: int, t_u: int, share: float) -> None:
    recipe = clip(Recipe(0, 1, b, u, t_b, t_u, 1 - share, share, "weighted"), 12)
    once = canonical(recipe, 12)
    assert canonical(once, 12) == once
