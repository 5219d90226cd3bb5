"""The space of components: what its numbers mean."""

from __future__ import annotations

import numpy as np
import pytest

from search.merging.plan import plan
from search.merging.recipe import Components
from search.merging.space.components import ComponentsForm
from search.merging.space.swap import make_space
from search.merging.space.wider import WiderSpace

L = 6
PARTS = ("self_attn.q_proj", "mlp.up_proj")


def space() -> WiderSpace:
    return WiderSpace(ComponentsForm(make_space(lang="te", n_layers=L, n_task=1, n_lang=1)))


def test_features_are_the_shares_of_attention_and_mlp() -> None:
    within = space()
    codes = within.grid.sample(np.random.default_rng(1), 60)
    shares, ends = within.grid.features(codes)
    names = [f"model.layers.{i}.{part}.weight" for part in PARTS for i in range(L)]
    for code, own in zip(codes, shares, strict=True):
        mixes = plan(within.form.recipe(within.grid.point(code)), names, L)
        wanted = [dict(mixes[name].terms).get("lang/0", 0.0) for name in names]
        assert own * np.sqrt(2 * L) == pytest.approx(wanted)
    assert ends.shape == (len(codes), 4)


def test_transitions_that_fit_into_one_half_alone_are_dropped() -> None:
    zones = {"b_attn": 3, "u_attn": 2, "b_mlp": 0, "u_mlp": 0, "t_b": 1, "t_u": 1}
    recipe = space().form.recipe({"pair": "0-0", "w_lang": 0.3, **zones})
    assert isinstance(recipe, Components)
    assert (recipe.t_b, recipe.t_u, recipe.w_lang) == (1, 0, 0.3)


def test_its_bounds_in_words() -> None:
    said = space().bounds()
    assert said.startswith("for attention and MLP each b and u on their own, within b 0 to 3, u 0")
