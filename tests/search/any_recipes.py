"""Random recipes of every kind, from few values, so that different ones often mean one model."""

from __future__ import annotations

from hypothesis import strategies as st

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
    clip,
)

L = 4
"""Layers of the model that the recipes are for."""

POLICIES = ("average", "task", "lang", "weighted", "base")
SOURCES = ("task/0", "task/1", "lang/0", "lang/1")

_side = st.sampled_from([0, 1, (0,), (0, 1), (1, 0)])

swaps = st.builds(
    lambda task, lang, b, u, t_b, t_u, w_task, w_lang, policy, ramp: clip(
        LayerSwap(task, lang, b, min(u, L - b), t_b, t_u, w_task, w_lang, policy, ramp=ramp), L
    ),
    _side,
    _side,
    *[st.integers(0, L)] * 4,
    st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]),
    st.sampled_from([0.25, 0.5, 1.0, 3.0]),
    st.sampled_from(POLICIES),
    st.sampled_from(["constant", "linear"]),
)

components = st.builds(
    lambda task, lang, attn, mlp, t_b, t_u, w_task, w_lang, policy: Components(
        task,
        lang,
        *attn,
        *mlp,
        t_b,
        min(t_u, L - t_b - max(sum(attn), sum(mlp))),
        w_task,
        w_lang,
        policy,
    ),
    _side,
    _side,
    *[st.sampled_from([(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (2, 1)])] * 2,
    st.integers(0, 1),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]),
    st.sampled_from([0.25, 0.5, 1.0, 3.0]),
    st.sampled_from(POLICIES),
)

layerwise = st.builds(
    Layerwise,
    _side,
    _side,
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=L).map(tuple),
    st.sampled_from(["average", "task", "lang", "base"]),
)

_experts = st.lists(st.sampled_from(SOURCES), min_size=1, max_size=3, unique=True).map(tuple)


def _numbers(n: int, values: tuple[float, ...]) -> st.SearchStrategy[tuple[float, ...]]:
    return st.tuples(*[st.sampled_from(values)] * n)


_weights = (0.0, 0.5, 1.0, 2.0)
_scales = (-0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1 / 3)
_densities = st.sampled_from([0.3, 0.5, 1.0])


def _weighted(n: int) -> st.SearchStrategy[tuple[float, ...]]:
    return _numbers(n, _weights).filter(any)


averages = _experts.flatmap(lambda e: st.builds(Soup, st.just(e), _weighted(len(e))))
task_vectors = _experts.flatmap(
    lambda e: st.builds(TaskArithmetic, st.just(e), _numbers(len(e), _scales))
)
ties = _experts.flatmap(
    lambda e: st.builds(
        Ties, st.just(e), _densities, _weighted(len(e)), st.sampled_from([0.0, 0.5, 1.0])
    )
)
dares = _experts.flatmap(
    lambda e: st.builds(
        DareLinear, st.just(e), _densities, _numbers(len(e), _scales), st.integers(0, 1)
    )
)
slerps = st.builds(
    Slerp,
    st.integers(0, 1),
    st.integers(0, 1),
    st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=L).map(tuple),
    st.sampled_from([None, 0.0, 0.5, 1.0]),
)
singles = st.builds(Single, st.sampled_from(["base", "reference/joint", *SOURCES]))

recipes: st.SearchStrategy[Recipe] = st.one_of(
    swaps, components, layerwise, averages, task_vectors, ties, dares, slerps, singles
)
