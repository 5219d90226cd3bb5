"""Figures of the recipes: the landscape, who owns which layer, where the experts changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.merging.recipe import LayerSwap
from search.report.material import Material
from search.report.shape import landscape, owners, vectors
from tests.search.report.test_scores import valid
from tests.search.results.studies import L

HEAD = "expert,layer,matrix,columns,share,mean_abs,rms,relative\n"


def test_the_landscape_holds_every_swap(searched: Material) -> None:
    plot = valid(landscape(searched))
    assert len(plot.points["rows"]) == len(searched.swaps)
    b, u, t_b, t_u, pair, score, label = plot.points["rows"][0]
    recipe = searched.swaps[0].recipe
    assert isinstance(recipe, LayerSwap)
    assert (b, u, t_b, t_u, pair) == (
        recipe.b, recipe.u, recipe.t_b, recipe.t_u, recipe.pair
    )  # fmt: skip
    assert score == round(100 * (searched.swaps[0].value("accuracy") or 0), 2)
    assert label == searched.swaps[0].label and plot.points["best"] == [2, 2]


def test_the_landscape_shows_whole_layers_of_wider_forms(wider: Material) -> None:
    plot = valid(landscape(wider))
    assert len(plot.points["rows"]) == len(wider.swaps)
    shown = {row[-1]: row[:4] for row in plot.points["rows"]}
    assert shown["te attn b3 u1 mlp b1 u2 tb1 tu0 w.50 m0-l0"] == [1, 1, 1, 0]


def test_who_owns_which_layer(study: Material) -> None:
    (trace,) = valid(owners(study)).data
    rows = dict(zip([x.role for x in study.report.lines], trace["z"], strict=False))
    assert rows["recommended"] == [1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0.5]
    assert rows["base"] == [None] * (L + 1)
    assert trace["text"][0] == ["l0", "l0", *["m0"] * 6, "l0", "l0", "50%"]
    assert trace["hovertext"][0][2] == "layer 2<br>task/0"


def test_where_the_experts_changed(study: Material, tmp_path: Path) -> None:
    assert vectors(study, [tmp_path]) is None
    rows = [
        f"{expert},{layer},m{matrix},4,{share},1,1,1\n"
        for expert, share in (("task/0", 0.2), ("lang/0", 0.6))
        for layer in range(L)
        for matrix in range(2)
    ]
    (tmp_path / "expert_vectors.csv").write_text(HEAD + "".join(rows) + "task/0,,e,4,1,1,1,1\n")
    (trace,) = valid(vectors(study, [tmp_path / "no", tmp_path])).data
    assert trace["y"] == ["lang/0", "task/0"] and trace["z"] == [[60.0] * L, [20.0] * L]


@pytest.mark.parametrize(
    "content", ["", "a,b\n1,2\n", HEAD + "task/0,0,m,4,x,1,1,1\n", HEAD + "task/0,0,m,4,1,1,1,1\n"]
)
def test_a_table_that_is_none_or_of_other_models(
    study: Material, tmp_path: Path, content: str
) -> None:
    (tmp_path / "expert_vectors.csv").write_text(content)
    assert vectors(study, [tmp_path]) is None
