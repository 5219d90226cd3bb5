"""Figures of all trials' scores: valid for plotly, every trial in its group."""

from __future__ import annotations

import plotly.graph_objects as go
import pytest

from search.report.material import Material
from search.report.plot import Plot
from search.report.scores import beside, coordinates, scatter
from tests.search.results.studies import BEST


def valid(plot: Plot | None) -> Plot:
    """The figure, which plotly's own check has passed."""
    assert plot is not None and plot.about.endswith(".")
    go.Figure({"data": _plain(plot.data), "layout": _plain(plot.layout)})
    return plot


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return "#000000" if isinstance(value, str) and value.startswith("var(--") else value


@pytest.mark.slow
def test_scatter_shows_every_trial_once(study: Material, searched: Material) -> None:
    plot = valid(scatter(searched))
    points = sum(len(trace["x"]) for trace in plot.data if trace["mode"] == "markers")
    assert points == len(searched.search) == 40
    names = [trace["name"] for trace in plot.data]
    assert names[0].startswith("stopped early, on its first items (")
    assert "recommended (1)" in names and "Pareto front" in names
    assert len(plot.layout["shapes"]) == len(plot.layout["annotations"]) >= 1
    assert any("lang/0" in note["text"] for note in plot.layout["annotations"])
    one = next(t for t in valid(scatter(study)).data if t["name"] == "recommended (1)")
    assert (one["x"], one["y"]) == ([85.0], [97.0])


def test_what_stands_beside_a_point(study: Material) -> None:
    record = next(r for r in study.search if r.recipe == BEST)
    assert beside(study, record) == (
        "te b2 u2 tb0 tu0 m0-l0<br>accuracy 85.0% (79.4–89.3, 200 items)<br>"
        "LCPR 97.0% (94.0–99.0, 98 items)<br>recommended"
    )


@pytest.mark.slow
def test_coordinates_hold_the_form_that_most_have(wider: Material) -> None:
    (trace,) = valid(coordinates(wider)).data
    labels = [dimension["label"] for dimension in trace["dimensions"]]
    zones = ["b_attn", "u_attn", "b_mlp", "u_mlp", "t_b", "t_u"]
    assert labels == ["pair", *zones, "share", "LCPR %", "accuracy %"]
    assert {len(d["values"]) for d in trace["dimensions"]} == {len(wider.swaps) - 1}


def test_coordinates_hold_the_swaps(searched: Material) -> None:
    plot = valid(coordinates(searched))
    (trace,) = plot.data
    labels = [dimension["label"] for dimension in trace["dimensions"]]
    assert labels == ["pair", "b", "u", "t_b", "t_u", "share", "LCPR %", "accuracy %"]
    assert {len(d["values"]) for d in trace["dimensions"]} == {len(searched.swaps)}
    assert trace["line"]["color"] == trace["dimensions"][-1]["values"]
