"""Plans against a literal transcription of Algorithm 1 (Bandarkar et al. 2024)."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.common.errors import RecipeError
from search.merging.plan import NO_ROWS, Mix, Plan, Rows, Term, is_attention, layer_of, plan
from search.merging.recipe import (
    Components,
    DareLinear,
    LayerSwap,
    Layerwise,
    Recipe,
    Single,
    Slerp,
    Soup,
    TaskArithmetic,
    Ties,
    canonical,
    key,
    soup,
)
from tests.examples import examples
from tests.search.any_recipes import POLICIES, L, components, recipes, swaps

MATRICES = ("self_attn.q_proj.weight", "mlp.down_proj.weight", "input_layernorm.weight")
OUTSIDE = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")


def names(n_layers: int) -> list[str]:
    return [f"model.layers.{i}.{m}" for i in range(n_layers) for m in MATRICES] + list(OUTSIDE)


def algorithm_1(recipe: LayerSwap, n_layers: int) -> dict[str, dict[str, float]]:
    """Line by line, with AND where the paper prints OR; source -> coefficient, zeros left out.

    Beyond the paper: groups of experts, the base's embeddings, linear ramps.
    """
    b, u, t_b, t_u, L = recipe.b, recipe.u, recipe.t_b, recipe.t_u, n_layers
    total = recipe.w_task + recipe.w_lang
    share = recipe.w_lang / total

    def average(share: float) -> dict[str, float]:
        sides = (("task", recipe.task, 1 - share), ("lang", recipe.lang, share))
        groups = [(k, i if isinstance(i, tuple) else (i,), part) for k, i, part in sides]
        return {f"{k}/{i}": part / len(group) for k, group, part in groups for i in group}

    policy = {
        "average": average(0.5),
        "task": average(0.0),
        "lang": average(1.0),
        "weighted": average(share),
        "base": {"base": 1.0},
    }
    merged = {}
    for name in names(n_layers):
        if not name.startswith("model.layers."):
            merged[name] = policy[recipe.non_layer]
            continue
        layer = int(name.split(".")[2])
        if layer < b or layer > L - 1 - u:
            merged[name] = average(1.0)
        elif layer > b - 1 + t_b and layer < L - u - t_u:
            merged[name] = average(0.0)
        elif recipe.ramp == "constant":
            merged[name] = average(share)
        elif layer <= b - 1 + t_b:
            merged[name] = average(1 - (layer - b + 1) / (t_b + 1))
        else:
            merged[name] = average(1 - (L - u - layer) / (t_u + 1))
    return {n: {s: c for s, c in terms.items() if c} for n, terms in merged.items()}


def as_mapping(merged: Plan) -> dict[str, dict[str, float]]:
    assert {mix.method for mix in merged.values()} == {"linear"}
    return {name: {t.source: t.coefficient for t in mix.terms} for name, mix in merged.items()}


@settings(max_examples=examples(300))
@given(swaps)
def test_equals_algorithm_1(recipe: LayerSwap) -> None:
    found, expected = as_mapping(plan(recipe, names(L), L)), algorithm_1(recipe, L)
    assert list(found) == names(L)  # every tensor exactly once
    for name, terms in expected.items():
        assert found[name] == pytest.approx(terms, abs=2e-6), name


@settings(max_examples=examples(200))
@given(components)
def test_components_are_two_swaps(recipe: Components) -> None:
    """The attention is one's, with the norm in front of it; all else is the other's."""
    found = as_mapping(plan(recipe, names(L), L))
    attention, rest = (algorithm_1(half, L) for half in (recipe.attention, recipe.mlp))
    for name, terms in found.items():
        own = attention if "attn" in name or "input_layernorm" in name else rest
        assert terms == pytest.approx(own[name], abs=2e-6), name


@settings(max_examples=examples(300))
@given(components, components)
def test_components_have_equal_keys_if_and_only_if_equal_plans(
    one: Components, other: Components
) -> None:
    same_plan = plan(one, names(L), L) == plan(other, names(L), L)
    assert (key(one, L) == key(other, L)) == same_plan


@settings(max_examples=examples(500))
@given(recipes, recipes)
def test_equal_keys_if_and_only_if_equal_plans(one: Recipe, other: Recipe) -> None:
    same_plan = plan(one, names(L), L) == plan(other, names(L), L)
    assert (key(one, L) == key(other, L)) == same_plan


@settings(max_examples=examples(300))
@given(recipes)
def test_canonical_is_idempotent_and_the_same_model(recipe: Recipe) -> None:
    form = canonical(recipe, L)
    assert canonical(form, L) == form
    assert plan(form, names(L), L) == plan(recipe, names(L), L)


def small_space(n_layers: int) -> list[Recipe]:
    """Every swap of so many layers, and other methods that can mean the same."""
    sizes = range(n_layers + 1)
    found: list[Recipe] = [
        LayerSwap(task, lang, b, u, t_b, t_u, w_task, w_lang, policy, ramp=ramp)  # type: ignore[arg-type]
        for b in sizes
        for u in sizes[: n_layers + 1 - b]
        for t_b in sizes[: n_layers + 1 - b - u]
        for t_u in sizes[: n_layers + 1 - b - u - t_b]
        for w_task, w_lang in ((1, 0), (0, 1), (1, 1), (2, 2), (1, 3))
        for policy in POLICIES
        for ramp in ("constant", "linear")
        for task in (0, 1, (0, 1))
        for lang in (0, (1, 0))
    ]
    experts = ("task/0", "lang/0")
    shares = [(x / 4, y / 4) for x in range(5) for y in range(5)]
    found += [TaskArithmetic(experts, pair) for pair in shares]
    found += [DareLinear(experts, density, pair, 1) for density in (0.5, 1) for pair in shares]
    found += [
        Ties(experts, density, pair, scale)
        for density in (0.5, 1)
        for pair in shares[1:]
        for scale in (0, 0.5, 1)
    ]
    ts = [(x,) for x in (0, 0.5, 1)] + [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    zones = [(b, u) for b in sizes for u in sizes[: n_layers + 1 - b]]
    found += [
        Components(0, lang, *attn, *mlp, t_b, t_u, *weights, policy)  # type: ignore[arg-type]
        for attn in zones
        for mlp in zones
        for t_b in sizes
        for t_u in sizes
        if t_b + t_u + max(sum(attn), sum(mlp)) <= n_layers
        for weights in ((1, 0), (0, 1), (1, 1), (1, 3))
        for policy in POLICIES
        for lang in (0, (1, 0))
    ]
    levels = (0, 0.25, 1 / 3, 0.5, 2 / 3, 0.75, 1)
    found += [
        Layerwise(0, lang, shares, policy)  # type: ignore[arg-type]
        for shares in itertools.product(levels, repeat=n_layers)
        for policy in ("average", "task", "lang", "base")
        for lang in (0, (1, 0))
    ]
    found += [Slerp(0, 0, t, outside) for t in ts for outside in (0, 0.5, 1)]
    return found


@pytest.mark.slow
def test_equal_keys_over_a_whole_small_space() -> None:
    """Every recipe of three layers against every other, by grouping."""
    plans: dict[str, set[tuple[tuple[str, Mix], ...]]] = {}
    keys: dict[tuple[tuple[str, Mix], ...], set[str]] = {}
    for recipe in small_space(3):
        form, name = tuple(plan(recipe, names(3), 3).items()), key(recipe, 3)
        plans.setdefault(name, set()).add(form)
        keys.setdefault(form, set()).add(name)
    assert all(len(forms) == 1 for forms in plans.values())
    assert all(len(found) == 1 for found in keys.values())
    assert len(keys) > 500


EMBED = "model.embed_tokens.weight"


@pytest.mark.parametrize(
    ("recipe", "known", "rows"),
    [
        (Single("task/0"), {7: {"lang/0"}, 8: {"base"}}, ()),
        (Soup(("task/0", "lang/0"), (1.0, 1.0)), {7: {"lang/0"}}, ((7, "lang/0"),)),
        (Soup(("task/0", "lang/0"), (1.0, 1.0)), {7: {"lang/0", "lang/1"}}, ((7, "lang/0"),)),
        (Soup(("task/0", "lang/0"), (1.0, 1.0)), {7: {"lang/1"}}, ()),  # no part of the merge
        (Soup(("task/0", "lang/0"), (1.0, 1.0)), {7: {"task/0", "lang/0"}}, ()),
        (Soup(("task/0", "lang/0"), (1.0, 1.0)), {7: {"base"}}, ((7, "base"),)),
        (Soup(("task/0", "lang/0"), (1.0, 1.0)), {7: {"base", "task/0"}}, ((7, "task/0"),)),
        (LayerSwap(0, 0, 1, 1, 0, 0, non_layer="lang"), {7: {"task/0"}}, ((7, "task/0"),)),
        (LayerSwap(0, 0, 1, 1, 0, 0, non_layer="lang"), {7: {"lang/0"}}, ()),  # it is copied
        (TaskArithmetic(("task/0",), (0.5,)), {7: {"task/0"}}, ((7, "task/0"),)),
    ],
)
def test_rows_that_one_source_alone_knows(
    recipe: Recipe, known: dict[int, set[str]], rows: tuple[tuple[int, str], ...]
) -> None:
    """Of the embeddings alone; all else is made as without them."""
    shared = Rows(frozenset({EMBED}), {row: frozenset(who) for row, who in known.items()})
    plain, found = (plan(recipe, names(L), L, r) for r in (NO_ROWS, shared))
    assert found[EMBED] == plain[EMBED]._replace(rows=rows)
    assert {**found, EMBED: plain[EMBED]} == plain
    assert set(found[EMBED].sources) == {*plain[EMBED].sources, *(source for _, source in rows)}


@given(recipes)
def test_plain_form_and_pickle(recipe: Recipe) -> None:
    """What goes to vLLM's processes: text and numbers, as tuples or lists."""
    for mix in set(plan(recipe, names(L), L).values()):
        method, terms, *rest = mix.plain()
        assert Mix.of([method, [list(term) for term in terms], *rest]) == mix
        assert {type(value) for value in (method, *rest)} <= {str, float, int, tuple}
        assert pickle.loads(pickle.dumps(mix)) == mix


def test_methods_read_the_base() -> None:
    sources = {
        "base": [Single("base")],
        "task/0": [Single("task/0")],
        "task/0 lang/1": [soup(0, 1, L), Slerp(0, 1, (0.5,))],
        "base task/0 lang/1": [
            TaskArithmetic(("task/0", "lang/1"), (0.5, 1.0)),
            Ties(("task/0", "lang/1"), 0.5, (1.0, 1.0)),
            DareLinear(("task/0", "lang/1"), 0.5, (1.0, 1.0)),
        ],
    }
    for expected, same in sources.items():
        for recipe in same:
            mixes = plan(recipe, names(L), L).values()
            assert {" ".join(mix.sources) for mix in mixes} == {expected}, recipe


@pytest.mark.parametrize(
    ("change", "shares"),
    [
        ({"t_b": 3}, [1, 0.3, 0.3, 0.3, 0, 0, 0, 1]),
        ({"t_b": 3, "ramp": "linear"}, [1, 0.75, 0.5, 0.25, 0, 0, 0, 1]),
        ({"t_u": 3, "ramp": "linear"}, [1, 0, 0, 0, 0.25, 0.5, 0.75, 1]),
        ({"t_b": 2, "t_u": 1, "ramp": "linear"}, [1, 2 / 3, 1 / 3, 0, 0, 0, 0.5, 1]),
        ({"t_b": 4, "t_u": 2, "ramp": "linear"}, [1, 0.8, 0.6, 0.4, 0.2, 1 / 3, 2 / 3, 1]),
        ({"b": 0, "t_b": 3, "ramp": "linear"}, [0.75, 0.5, 0.25, 0, 0, 0, 0, 1]),
    ],
)
def test_ramps(change: dict[str, object], shares: list[float]) -> None:
    """Language share layer by layer."""
    recipe = replace(LayerSwap(0, 1, 1, 1, 0, 0, 0.7, 0.3), **change)  # type: ignore[arg-type]
    merged = as_mapping(plan(recipe, names(8), 8))
    found = [merged[f"model.layers.{i}.mlp.down_proj.weight"].get("lang/1", 0) for i in range(8)]
    assert found == pytest.approx(shares)


def test_slerp_runs_straight_between_its_values() -> None:
    merged = plan(Slerp(0, 1, (0.0, 1.0, 0.5), 0.25), names(5), 5)
    found = [dict(merged[f"model.layers.{i}.mlp.down_proj.weight"].terms) for i in range(5)]
    assert [terms.get("lang/1", 0) for terms in found] == [0, 0.5, 1, 0.75, 0.5]
    ends = Term("task/0", 0.75), Term("lang/1", 0.25)
    assert merged["model.norm.weight"] == Mix("slerp", ends, base="")


@given(st.floats(0.01, 0.99))
def test_soup_is_one_transition_zone(share: float) -> None:
    merged = plan(soup(0, 1, L, share), names(L), L)
    assert len(set(merged.values())) == 1
    weights = dict(merged[OUTSIDE[0]].terms)
    assert weights == pytest.approx({"task/0": 1 - share, "lang/1": share}, abs=1e-6)


def test_single_is_a_copy() -> None:
    assert set(plan(Single("task/1"), names(L), L).values()) == {
        Mix("linear", (Term("task/1", 1.0),))
    }


@pytest.mark.parametrize(
    ("part", "attention"),
    [
        ("self_attn.q_norm.weight", True),
        ("attention.query_key_value.weight", True),
        ("input_layernorm.weight", True),
        ("post_attention_layernorm.weight", False),
        ("post_feedforward_layernorm.weight", False),
        ("block_sparse_moe.experts.3.w1.weight", False),
    ],
)
def test_is_attention(part: str, attention: bool) -> None:
    assert is_attention(f"model.layers.2.{part}") is attention
    assert not is_attention("model.norm.weight")


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.layers.12.mlp.gate_proj.weight", 12),
        ("transformer.h.0.attn.c_attn.bias", 0),
        ("gpt_neox.layers.3.attention.dense.weight", 3),
        ("model.layers.5.block_sparse_moe.experts.7.w1.weight", 5),
        ("model.embed_tokens.weight", None),
        ("lm_head.weight", None),
        ("model.norm.weight", None),
    ],
)
def test_layer_of(name: str, layer: int | None) -> None:
    assert layer_of(name) == layer


def test_layer_beyond_the_model() -> None:
    with pytest.raises(RecipeError, match=r"model.layers.4.*has layer 4, but the model has 4"):
        plan(Single("base"), names(5), 4)
