"""Validity, canonical form, keys and names of recipes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives.types import Decoding
from search.common.errors import RecipeError
from search.merging.recipe import (
    DareLinear,
    LayerSwap,
    Recipe,
    Single,
    Slerp,
    Soup,
    TaskArithmetic,
    Ties,
    clip,
    from_dict,
    key,
    label,
    soup,
    to_dict,
    validate,
)

R = LayerSwap(0, 1, 3, 1, 1, 0, 0.4, 0.6)
M0, M1, L0, L1 = "task/0", "task/1", "lang/0", "lang/1"
VECTORS = TaskArithmetic((M0, L1), (0.5, 1.0))
TIES = Ties((M0, L1), 0.2, (1.0, 1.0), 0.8)
DARE = DareLinear((M0, L1), 0.5, (0.5, 1.0), 3)


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
        ({"w_task": 0.0, "w_lang": 0.0}, r"w_task, w_lang: all are 0, the average"),
        ({"w_task": 1.5e308, "w_lang": 1.5e308}, r"is not finite"),
        ({"non_layer": "mean"}, r"non_layer = 'mean' is not one of average, task, lang, weigh"),
        ({"ramp": "cubic"}, r"ramp = 'cubic' is not one of constant, linear"),
        ({"task": -1}, r"task = -1 must be a whole number"),
        ({"task": (0, 0)}, r"task = \(0, 0\) must name one expert or several, each once"),
        ({"lang": ()}, r"lang = \(\) must name one expert"),
        ({"b": -1, "w_task": -1.0}, r"b = -1 .*; w_task = -1.0"),
    ],
)
def test_invalid(change: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        validate(replace(R, **change), 10)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Soup((), ()), r"experts = \(\) must name one expert or several"),
        (Soup((M0, M0), (1.0, 1.0)), r"each once"),
        (Soup((M0, "base"), (1.0, 1.0)), r"'base' is not task/<i> or lang/<i>"),
        (Soup(("task/01",), (1.0,)), r"'task/01' is not task/<i>"),
        (Soup((M0, L0), (1.0,)), r"1 weight or scale for 2 experts"),
        (Soup((M0, L0), (1.0, -1.0)), r"weights\[1\] = -1.0 must be finite and >= 0"),
        (Soup((M0, L0), (0.0, 0.0)), r"weights\[0\], weights\[1\]: all are 0"),
        (TaskArithmetic((M0,), (float("inf"),)), r"scales\[0\] = inf must be finite"),
        (replace(TIES, density=0.0), r"density = 0.0 is not in \(0, 1\]"),
        (replace(TIES, scale=float("nan")), r"scale = nan must be finite"),
        (replace(DARE, density=1.1), r"density = 1.1 is not in"),
        (replace(DARE, seed=-1, scales=()), r"0 weights or scales for 2 .*; seed = -1"),
        (Slerp(0, 0, ()), r"t has 0 values, but must have 1 to 10"),
        (Slerp(0, 0, (0.5,) * 11), r"t has 11 values, but must have 1 to 10"),
        (Slerp(0, 0, (1.5,), -1.0), r"t = 1.5 is not in \[0, 1\]; non_layer = -1.0 is not in"),
    ],
)
def test_invalid_methods(recipe: Recipe, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        validate(recipe, 10)


SAME = [
    (R, replace(R, w_task=4.0, w_lang=6.0), "scale of the weights"),
    (replace(R, t_b=0), replace(R, t_b=0, w_lang=0.1), "weights without a transition layer"),
    (replace(R, w_lang=0.0), replace(R, t_b=0), "a transition that is all task"),
    (replace(R, w_task=0.0), replace(R, b=4, t_b=0), "a transition that is all language"),
    (replace(R, b=2, u=5, t_b=1, t_u=2), replace(R, b=2, u=5, t_b=3, t_u=0), "zones that meet"),
    (replace(R, b=10, u=0, t_b=0), replace(R, b=4, u=6, t_b=0), "all layers language"),
    (LayerSwap(0, 1, 10, 0, 0, 0, non_layer="lang"), Single("lang/1"), "the language expert"),
    (LayerSwap(0, 1, 0, 0, 0, 0, non_layer="task"), Single("task/0"), "the task expert"),
    (soup(0, 1, 10, 1.0), Single("lang/1"), "a soup of one"),
    (soup(0, 1, 10, 0.0), Single("task/0"), "a soup of the other"),
    (soup(0, 1, 10), LayerSwap(0, 1, 0, 0, 4, 6), "an even soup"),
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
    (replace(R, task=(0,)), R, "a group of one"),
    (replace(R, task=(2, 0)), replace(R, task=(0, 2)), "the order of a group"),
    (replace(R, ramp="linear"), replace(R, w_lang=0.4), "one transition layer, half and half"),
    (
        replace(R, t_b=3, ramp="linear"),
        replace(R, t_b=3, ramp="linear", w_lang=0.1),
        "weights beside a linear ramp",
    ),
    (
        LayerSwap(0, 1, 4, 5, 1, 0, 0.7, 0.3, "weighted", ramp="linear"),
        LayerSwap(0, 1, 4, 5, 0, 1, 0.7, 0.3, "weighted", ramp="linear"),
        "one transition layer, seen from both sides",
    ),
    (
        LayerSwap(0, 1, 6, 4, 0, 0, non_layer="base"),
        LayerSwap(1, 1, 10, 0, 0, 0, non_layer="base"),
        "no layer of the task expert",
    ),
    (
        LayerSwap(0, 1, 0, 0, 0, 0, non_layer="base"),
        LayerSwap(0, 0, 0, 0, 0, 0, non_layer="base"),
        "no layer of the language expert",
    ),
    (Soup((L1, M0), (0.3, 0.7)), soup(0, 1, 10, 0.3), "a soup of a pair"),
    (Soup((L1, M0, M1), (2.0, 2.0, 4.0)), Soup((M0, M1, L1), (0.5, 1.0, 0.5)), "order, scale"),
    (Soup((M0, M1), (1.0, 0.0)), Single(M0), "a weight of 0"),
    (soup((0, 1), 1, 10, 0.5), Soup((M0, M1, L1), (1.0, 1.0, 2.0)), "a soup of groups"),
    (LayerSwap(0, (0, 1), 10, 0, 0, 0, non_layer="lang"), Soup((L0, L1), (1, 1)), "language soup"),
    (TaskArithmetic((L1, M0), (1.0, 0.5)), VECTORS, "the order of task vectors"),
    (TaskArithmetic((M0, L1), (0.7, 0.3)), soup(0, 1, 10, 0.3), "the base cancels"),
    (TaskArithmetic((M0, M1, L1), (1 / 3,) * 3), Soup((M0, M1, L1), (1.0,) * 3), "and in thirds"),
    (TaskArithmetic((M0,), (1.0,)), Single(M0), "a whole task vector"),
    (TaskArithmetic((M0,), (0.0,)), Single("base"), "no task vector"),
    (replace(TIES, weights=(2.0, 2.0)), TIES, "scale of TIES' weights"),
    (replace(TIES, scale=1, density=1), replace(TIES, scale=1.0, density=1.0), "whole numbers"),
    (replace(VECTORS, scales=(2, 1)), replace(VECTORS, scales=(2.0, 1.0)), "whole scales"),
    (Slerp(0, 1, (0.5,), 1), Slerp(0, 1, (0.5,), 1.0), "a whole t"),
    (replace(TIES, scale=0.0), Single("base"), "TIES scaled to nothing"),
    (
        replace(TIES, weights=(0.0, 1.0), density=1.0),
        TaskArithmetic((L1,), (0.8,)),
        "TIES of one expert, untrimmed",
    ),
    (replace(DARE, density=1.0), replace(VECTORS, scales=(0.5, 1.0)), "DARE drops nothing"),
    (replace(DARE, density=1.0, seed=4), replace(DARE, density=1.0), "a seed without use"),
    (Slerp(0, 1, (0.0,)), Single(M0), "SLERP at its start"),
    (Slerp(0, 1, (1.0,)), Single(L1), "SLERP at its end"),
    (Slerp(0, 1, (0.3, 0.3), 0.3), Slerp(0, 1, (0.3,)), "the same t in all layers"),
    (Slerp(0, 1, (0.0, 1.0)), Slerp(0, 1, (0.0, 1.0), 0.5), "the mean of t outside of the layers"),
    (
        Slerp(0, 1, (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0), 0.0),
        LayerSwap(0, 1, 1, 2, 0, 0, non_layer="task"),
        "SLERP of whole layers",
    ),
]


@pytest.mark.parametrize(("one", "other", "why"), SAME, ids=[s[2] for s in SAME])
def test_same_model_same_key(one: Recipe, other: Recipe, why: str) -> None:
    assert key(one, 10) == key(other, 10), why


DIFFERENT = [
    (R, replace(R, task=1)),
    (R, replace(R, lang=0)),
    (R, replace(R, w_lang=0.61)),
    (R, replace(R, non_layer="lang")),
    (soup(0, 1, 10, 0.3), LayerSwap(0, 1, 0, 0, 10, 0, 0.7, 0.3)),  # embeddings .7/.3 or .5/.5
    (Single("base"), Single("task/0")),
    (R, replace(R, decoding=Decoding(temperature=0.7))),
    (Single("base", Decoding(shots=1)), Single("base", Decoding(shots=5))),
    (R, replace(R, non_layer="base")),
    (R, replace(R, lang=(0, 1))),
    (replace(R, t_b=2), replace(R, t_b=2, ramp="linear", w_task=0.6)),
    (VECTORS, replace(VECTORS, scales=(0.5, -1.0))),
    (VECTORS, Soup((M0, L1), (0.5, 1.0))),
    (VECTORS, DARE),
    (DARE, replace(DARE, seed=4)),
    (TIES, replace(TIES, density=0.3)),
    (TIES, replace(TIES, scale=1.0)),
    (TIES, replace(TIES, weights=(1.0, 2.0))),
    (replace(TIES, density=1.0), VECTORS),
    (Slerp(0, 1, (0.5,)), soup(0, 1, 10)),
    (Slerp(0, 1, (0.5,)), Slerp(0, 1, (0.5,), 0.4)),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_model_other_key(one: Recipe, other: Recipe) -> None:
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
        (
            replace(R, task=(0, 2), non_layer="base"),
            "te b3 u1 tb1 tu0 w.60 m0+2-l1 base-embeddings",
        ),
        (replace(R, t_b=2, ramp="linear"), "te b3 u1 tb2 tu0 linear m0-l1"),
        (Soup((M0, M1, L1), (1.0, 1.0, 2.0)), "te soup m0 .25 m1 .25 l1 .50"),
        (VECTORS, "te task arithmetic m0 .50 l1 1.00"),
        (TIES, "te TIES density.20 scale.80 m0 .50 l1 .50"),
        (DARE, "te DARE density.50 m0 .50 l1 1.00 seed3"),
        (Slerp(0, 1, (0.3,)), "te SLERP t.30 m0-l1"),
        (Slerp(0, 1, (0.0, 0.5, 1.0), 0.5), "te SLERP t.00-.50-1.00 m0-l1 embeddings.50"),
    ],
)
def test_label(recipe: Recipe, name: str) -> None:
    assert label(recipe, "te", 10) == name


@pytest.mark.parametrize(
    "recipe",
    [
        R,
        soup(0, 1, 10, 0.3),
        Single("base"),
        replace(R, decoding=Decoding(0.0, beam_width=2)),
        replace(R, task=(0, 1), ramp="linear"),
        Soup((M0, L1), (0.5, 0.5)),
        VECTORS,
        TIES,
        replace(DARE, decoding=Decoding(shots=3)),
        Slerp(0, 1, (0.1, 0.9), 0.5),
    ],
)
def test_json_round_trip(recipe: Recipe) -> None:
    assert from_dict(json.loads(json.dumps(to_dict(recipe)))) == recipe


def test_new_fields_stay_out_of_old_records() -> None:
    assert not {"ramp", "decoding"} & set(to_dict(R))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"kind": "sum"},
            "kind = 'sum' is not one of swap, components, layerwise, single, soup, task_arithmetic",
        ),
        ({}, "kind = None is not one of"),
        ({"kind": "ties"}, "not a ties recipe.*density: Field required"),
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
    clipped = clip(LayerSwap(0, 0, b, u, t_b, t_u), 12)
    validate(clipped, 12)
    assert (clipped.b, clipped.u) == (b, u)
    if b + u + t_b + t_u <= 12:
        assert (clipped.t_b, clipped.t_u) == (t_b, t_u)
