"""The flat form of a space: every recipe once, and where recipes lie to each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from search.merging.plan import plan
from search.merging.recipe import key
from search.merging.space.grid import Axis
from search.merging.space.rivals import RivalSpace
from search.merging.space.swap import Space, make_space

L = 6
NAMES = [f"model.layers.{i}.mlp.up_proj.weight" for i in range(L)]
WIDE: dict[str, Any] = {
    "ramp": ("linear", "constant"),
    "non_layer": ("base", "weighted"),
    "decoding": {"temperature": (0.5,)},
}


def space(**changes: Any) -> Space:
    return make_space(**({"lang": "te", "n_layers": L, "n_task": 2, "n_lang": 1} | changes))


@pytest.mark.parametrize("changes", [{}, WIDE, {"t_b": (1, 1), "u": (0, 1)}], ids=str)
def test_all_codes_mean_all_recipes(changes: dict[str, Any]) -> None:
    within = space(**changes)
    grid = within.grid
    codes = grid.all()
    assert {within.key_of(grid.point(c)) for c in codes} == {key(r, L) for r in within.recipes()}
    assert len(np.unique(codes, axis=0)) == len(codes)


def test_a_point_and_its_code_are_inverse() -> None:
    grid = space(**WIDE).grid
    for code in grid.sample(np.random.default_rng(0), 50):
        assert grid.code(grid.point(code)) == tuple(code)


def test_what_does_not_matter_needs_no_value() -> None:
    grid = space().grid
    bare = {"pair": "1-0", "b": 1, "u": 1, "t_b": 0, "t_u": 0}
    names = [axis.name for axis in grid.axes]
    assert grid.point(grid.code(bare)) == {**bare, "w_lang": pytest.approx(0.5)}
    assert grid.code(bare)[names.index("w_lang")] == 4


def test_a_value_that_is_not_on_an_axis_is_refused() -> None:
    grid = space().grid
    point = {"pair": "0-0", "b": 1, "u": 1, "t_b": 1, "t_u": 0, "w_lang": 0.55}
    with pytest.raises(ValueError, match=r"0\.55 is not on the axis w_lang"):
        grid.code(point)
    with pytest.raises(ValueError, match="3-0 is not on the axis pair"):
        grid.code({**point, "pair": "3-0"})


def test_drawn_recipes_fit_and_are_drawn_again_by_the_same_seed() -> None:
    within = space()
    grid = within.grid
    found = [grid.sample(np.random.default_rng(3), 40) for _ in range(2)]
    assert (found[0] == found[1]).all()
    every = {tuple(code) for code in grid.all()}
    assert {tuple(code) for code in found[0]} <= every


def test_neighbours_lie_two_steps_away_at_most() -> None:
    grid = space().grid
    code = np.array([grid.code({"pair": "0-0", "b": 2, "u": 1, "t_b": 1, "t_u": 0, "w_lang": 0.5})])
    near = grid.neighbours(code)
    names = [axis.name for axis in grid.axes]
    points = [grid.point(c) for c in near]
    assert any(p["pair"] == "1-0" for p in points)
    assert any((p["b"], p["t_b"]) == (3, 0) for p in points)
    weighted = near[:, names.index("t_b")] + near[:, names.index("t_u")] > 0
    steps = np.abs(near - code)
    steps[~weighted, names.index("w_lang")] = 0  # unset, where no layer is averaged
    assert steps.sum(axis=1).max() <= 2


@pytest.mark.parametrize("changes", [{}, {"ramp": ("constant", "linear")}], ids=str)
def test_features_are_the_shares_that_layers_get(changes: dict[str, Any]) -> None:
    within = space(**changes)
    grid = within.grid
    codes = grid.sample(np.random.default_rng(1), 200)
    shares, ends = grid.features(codes)
    for code, own in zip(codes, shares, strict=True):
        recipe = within._recipe(grid.point(code))
        mixes = plan(recipe, NAMES, L)
        wanted = [dict(mixes[name].terms).get("lang/0", 0.0) for name in NAMES]
        assert own * np.sqrt(L) == pytest.approx(wanted)
    assert ends.shape == (len(codes), 2)
    assert ends.max() <= 1.0


def test_pairs_are_as_near_as_their_experts_are_shared() -> None:
    axis = Axis("pair", ("0-0", "1-0", "0+1-0", "1-2"), 0, "pair")
    task, lang = axis.sides()
    assert task[0].tolist() == [0.0, 1.0, 0.5, 1.0]
    assert lang[0].tolist() == [0.0, 0.0, 0.0, 1.0]


def test_a_rival_has_a_flat_form_too() -> None:
    rival = RivalSpace("ties", "te", L, ((0, 0), (1, 0)))
    grid = rival.grid
    codes = grid.all()
    assert len(codes) == 2 * 6 * 9 * 7
    (numbers,) = grid.features(codes)
    assert numbers.max(axis=0) - numbers.min(axis=0) == pytest.approx([1.0, 1.0, 1.0])
    assert rival.key_of(grid.point(codes[5])) == key(
        rival.recipe(grid.point(codes[5])["pair"], grid.point(codes[5])), L
    )
