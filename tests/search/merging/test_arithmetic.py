"""The arithmetic of each method against a literal transcription of its definition."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search.merging import arithmetic
from search.merging.arithmetic import combine, combine_into, is_copy, is_elementwise
from search.merging.plan import Mix, Term, plan
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
)
from tests.examples import examples
from tests.search.any_recipes import SOURCES, L, dares, recipes

NAMES = [*(f"model.layers.{i}.mlp.up_proj.weight" for i in range(L)), "model.norm.weight"]
SHAPE = (3, 5)
Tensors = Mapping[str, torch.Tensor]


def tensors(
    seed: int, dtype: torch.dtype = torch.float32, shape: tuple[int, ...] = SHAPE
) -> Tensors:
    """One tensor of each source: the base, and experts near it."""
    random = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=random)
    found = {"base": base, "reference/joint": torch.randn(shape, generator=random)}
    found |= {s: base + torch.randn(shape, generator=random) for s in SOURCES}
    return {source: tensor.to(dtype) for source, tensor in found.items()}


def merged(recipe: Recipe, sources: Tensors, name: str = NAMES[0]) -> torch.Tensor:
    mix = plan(recipe, NAMES, L)[name]
    return combine(mix, {source: sources[source] for source in mix.sources}, name)


# --- literal definitions, in float64 ---


def weighted(parts: list[torch.Tensor], weights: list[float]) -> torch.Tensor:
    return sum((w * p for w, p in zip(weights, parts, strict=True)), torch.zeros(()))


def swap(recipe: LayerSwap, w: Tensors, name: str) -> torch.Tensor:
    """Algorithm 1 with groups of experts, the base's embeddings and linear ramps."""
    sides = {}
    for side, indices in (("task", recipe.task), ("lang", recipe.lang)):
        group = indices if isinstance(indices, tuple) else (indices,)
        sides[side] = sum(w[f"{side}/{i}"] for i in group) / len(group)
    share = recipe.w_lang / (recipe.w_task + recipe.w_lang)
    if name == NAMES[-1]:
        if recipe.non_layer == "base":
            return w["base"]
        share = {"average": 0.5, "task": 0, "lang": 1, "weighted": share}[recipe.non_layer]
    else:
        layer = NAMES.index(name)
        i_b, i_u = layer - recipe.b + 1, L - recipe.u - layer  # 1 .. t in a transition
        if i_b <= 0 or i_u <= 0:
            share = 1.0
        elif i_b > recipe.t_b and i_u > recipe.t_u:
            share = 0.0
        elif recipe.ramp == "linear" and i_b <= recipe.t_b:
            share = 1 - i_b / (recipe.t_b + 1)
        elif recipe.ramp == "linear":
            share = 1 - i_u / (recipe.t_u + 1)
    return (1 - share) * sides["task"] + share * sides["lang"]


def trimmed(delta: torch.Tensor, density: float) -> torch.Tensor:
    """The int(density x n) largest magnitudes, at least one; the others 0."""
    kept = delta.abs().flatten().argsort(descending=True, stable=True)
    kept = kept[: max(1, int(density * delta.numel()))]
    mask = torch.zeros(delta.numel(), dtype=torch.bool)
    mask[kept] = True
    return delta * mask.reshape(delta.shape)


def ties(recipe: Ties, w: Tensors) -> torch.Tensor:
    """Yadav et al. 2023, Algorithm 1, element by element; weights as in mergekit."""
    deltas = [trimmed(w[e] - w["base"], recipe.density).flatten() for e in recipe.experts]
    out = torch.zeros(deltas[0].numel(), dtype=torch.float64)
    for i in range(len(out)):
        values = [(float(d[i]), weight) for d, weight in zip(deltas, recipe.weights, strict=True)]
        sign = 1 if sum(value * weight for value, weight in values) >= 0 else -1
        agree = [(value, weight) for value, weight in values if value * weight * sign > 0]
        if agree:
            out[i] = sum(v * x for v, x in agree) / sum(x for _, x in agree)
    return w["base"] + recipe.scale * out.reshape(w["base"].shape)


def slerp(recipe: Slerp, w: Tensors, name: str) -> torch.Tensor:
    one, other = w[f"task/{recipe.task}"], w[f"lang/{recipe.lang}"]
    ts = [
        torch.nn.functional.interpolate(
            torch.tensor([[recipe.t]], dtype=torch.float64), L, mode="linear", align_corners=True
        )[0, 0, i].item()
        for i in range(L)
    ]
    outside = sum(ts) / L if recipe.non_layer is None else recipe.non_layer
    t = outside if name == NAMES[-1] else ts[NAMES.index(name)]
    angle = torch.acos((one * other).sum() / one.norm() / other.norm())
    return (torch.sin((1 - t) * angle) * one + torch.sin(t * angle) * other) / torch.sin(angle)


def layerwise(recipe: Layerwise, w: Tensors, name: str) -> torch.Tensor:
    """By the soup of the layer's block."""
    outside = LayerSwap(recipe.task, recipe.lang, 0, 0, 0, 0, non_layer=recipe.non_layer)
    if name == NAMES[-1]:
        return swap(outside, w, name)
    share = recipe.shares[NAMES.index(name) * len(recipe.shares) // L]
    return swap(LayerSwap(recipe.task, recipe.lang, 0, 0, L, 0, 1 - share, share), w, name)


def literal(recipe: Recipe, w: Tensors, name: str) -> torch.Tensor:
    if isinstance(recipe, Single):
        return w[recipe.source]
    if isinstance(recipe, Components):
        return swap(recipe.mlp, w, name)  # NAMES are of MLPs
    if isinstance(recipe, Layerwise):
        return layerwise(recipe, w, name)
    if isinstance(recipe, LayerSwap):
        return swap(recipe, w, name)
    if isinstance(recipe, Soup):
        return weighted([w[e] for e in recipe.experts], list(recipe.weights)) / sum(recipe.weights)
    if isinstance(recipe, Ties):
        return ties(recipe, w)
    if isinstance(recipe, Slerp):
        return slerp(recipe, w, name)
    deltas = [w[e] - w["base"] for e in recipe.experts]
    return w["base"] + weighted(deltas, list(recipe.scales))


@settings(max_examples=examples(300))
@given(recipes.filter(lambda r: not isinstance(r, DareLinear) or r.density == 1), st.integers(0, 9))
def test_merge_is_what_the_recipe_defines(recipe: Recipe, seed: int) -> None:
    """From the recipe as it is, not its canonical form."""
    sources = tensors(seed)
    exact = {source: tensor.double() for source, tensor in sources.items()}
    for name in NAMES:
        expected = literal(recipe, exact, name).float()
        torch.testing.assert_close(merged(recipe, sources, name), expected, rtol=1e-5, atol=1e-5)


# --- what must hold bit for bit ---


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_copies_are_the_source_itself(dtype: torch.dtype) -> None:
    sources = tensors(0, dtype)
    for recipe, source in (
        (Single("lang/1"), "lang/1"),
        (Soup(("task/0",), (0.3,)), "task/0"),
        (TaskArithmetic(("task/1",), (1.0,)), "task/1"),
        (Slerp(0, 0, (0.0,)), "task/0"),
        (Slerp(0, 0, (1.0,)), "lang/0"),
        (Ties(("lang/0", "task/0"), 0.5, (1.0, 1.0), 0.0), "base"),
    ):
        assert merged(recipe, sources) is sources[source], recipe


def test_rounds_once() -> None:
    """float32 arithmetic, one rounding: bf16 arithmetic would lose the second addend."""
    a, b = torch.tensor([1.0]).bfloat16(), torch.tensor([2**-8]).bfloat16()
    terms = Term("a", 1.0), Term("b", 1.0), Term("c", 1.0)
    assert combine(Mix("linear", terms), {"a": a, "b": b, "c": b}, "x").item() == 1 + 2**-7
    sources = {"base": a, "e": a + b * 2}
    task = Mix("task_arithmetic", (Term("e", 0.5),))
    assert combine(task, sources, "x").dtype == torch.bfloat16


@given(dares.filter(lambda r: r.density == 1), st.integers(0, 9))
def test_dare_that_drops_nothing_is_task_arithmetic(recipe: DareLinear, seed: int) -> None:
    plain = TaskArithmetic(recipe.experts, recipe.scales)
    assert torch.equal(merged(recipe, tensors(seed)), merged(plain, tensors(seed)))


def test_ties_that_agree_are_the_mean() -> None:
    sources = dict(tensors(0))
    for source in SOURCES:  # every task vector positive
        sources[source] = sources["base"] + (sources[source] - sources["base"]).abs()
    recipe = Ties(("task/0", "task/1", "lang/0"), 1.0, (1.0, 1.0, 1.0))
    mean = sum(sources[expert] for expert in recipe.experts) / 3
    torch.testing.assert_close(merged(recipe, sources), mean)


@settings(max_examples=examples(100))
@given(recipes, st.sampled_from([1, 7, 16]), st.sampled_from([torch.bfloat16, torch.float32]))
def test_chunks_do_not_show(recipe: Recipe, size: int, dtype: torch.dtype) -> None:
    sources = tensors(3, dtype)
    whole = merged(recipe, sources)
    before = arithmetic.CHUNK["cpu"]
    arithmetic.CHUNK["cpu"] = size
    try:
        parts = merged(recipe, sources)
    finally:
        arithmetic.CHUNK["cpu"] = before
    if any(mix.method == "slerp" for mix in plan(recipe, NAMES, L).values()):
        torch.testing.assert_close(parts, whole)  # sums of chunks differ in the 16th digit
    else:
        assert torch.equal(parts, whole)


@given(recipes)
def test_sources_are_not_written_into(recipe: Recipe) -> None:
    sources = tensors(5)
    before = {source: tensor.clone() for source, tensor in sources.items()}
    for name in NAMES:
        merged(recipe, sources, name)
    assert all(torch.equal(sources[source], tensor) for source, tensor in before.items())


def test_whole_numbers_are_not_merged() -> None:
    ids = torch.arange(4)
    mix = Mix("linear", (Term("task/0", 0.5), Term("lang/0", 0.5)))
    assert combine(mix, {"task/0": ids, "lang/0": ids}, "position_ids") is ids


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", ["linear", "task_arithmetic", "ties", "slerp"])
def test_a_merge_can_be_written_into_a_slice(
    method: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another layout and dtype; the neighbours stay. Elementwise, also a part alone."""
    monkeypatch.setitem(arithmetic.CHUNK, "cpu", 40)
    random = torch.Generator().manual_seed(2)
    names = ("base", "task/0", "lang/0")
    sources = {s: torch.randn(30, 12, generator=random).to(torch.bfloat16) for s in names}
    base = "" if method == "slerp" else "base"
    mix = Mix(method, (Term("task/0", 0.4), Term("lang/0", 0.6)), density=0.5, base=base)
    expected = combine(mix, sources, "x").to(dtype)
    out = torch.full((12, 40), 7.0, dtype=dtype)
    combine_into(mix, sources, "x", out.t()[5:35])
    assert torch.equal(out.t()[5:35], expected)
    assert (out.t()[:5] == 7).all() and (out.t()[35:] == 7).all()
    if is_elementwise(mix):
        part = {source: tensor[:, 3:9] for source, tensor in sources.items()}
        alone = torch.zeros(30, 6, dtype=dtype)
        combine_into(mix, part, "x", alone)
        assert torch.equal(alone, expected[:, 3:9])


@pytest.mark.parametrize("method", ["linear", "task_arithmetic", "ties"])
def test_rows_of_one_source(method: str) -> None:
    """Bit for bit, whatever the method makes of the others."""
    random = torch.Generator().manual_seed(1)
    tensors = {
        name: torch.randn(6, 5, generator=random).bfloat16()
        for name in ("base", "task/0", "lang/0")
    }
    terms = (Term("task/0", 0.4), Term("lang/0", 0.6))
    plain = Mix(method, terms, density=0.5)
    mix = plain._replace(rows=((2, "lang/0"), (5, "base")))
    found, without = (combine(m, tensors, "x") for m in (mix, plain))
    assert torch.equal(found[2], tensors["lang/0"][2])
    assert torch.equal(found[5], tensors["base"][5])
    rest = [0, 1, 3, 4]
    assert torch.equal(found[rest], without[rest])
    assert not is_elementwise(mix)
    copy = Mix("linear", (Term("task/0", 1.0),), rows=((1, "base"),))
    assert not is_copy(copy)
    assert torch.equal(combine(copy, tensors, "x")[0], tensors["task/0"][0])
    assert not torch.equal(tensors["task/0"][1], tensors["base"][1])  # no source was written into
