"""The views of a study in MLflow's own format, and the addresses that open them."""

from __future__ import annotations

import base64
import json
import zlib
from urllib.parse import parse_qs

import pytest

from search.config import compose
from search.config.searched import space_of
from search.config.space import SpaceConfig
from search.study.tracking.pages import TAG, pages, study_of


def test_a_tag_is_what_mlflows_page_reads() -> None:
    for page in pages("abc"):
        name, value = page.tag()
        kind, _, packed = value.partition(";")
        assert kind == "deflate" and len(value) < 5000  # MLflow's longest tag of an experiment
        assert json.loads(zlib.decompress(base64.b64decode(packed))) == page.state
        assert name == f"{TAG}layer-swap-abc-{page.name}" and study_of(name) == "abc"
        assert page.tag() == next(p for p in pages("abc") if p.name == page.name).tag()


def test_the_table_is_flat_and_sorted_by_the_first_target() -> None:
    table, final, charts = pages("abc")
    assert table.state["orderByKey"] == "metrics.`accuracy`" and table.state["orderByAsc"] is False
    assert table.state["searchFilter"] == "tags.study_id = 'abc' AND tags.split = 'search'"
    assert final.state["searchFilter"].endswith("tags.split = 'held_out'")
    wanted = ["metrics.`accuracy_low`", "metrics.`lcpr`", "params.`t_b`", "tags.`state`"]
    assert set(wanted) <= set(table.state["selectedColumns"])
    kinds = [chart["type"] for chart in charts.state["compareRunCharts"]]
    assert kinds == ["SCATTER", "PARALLEL", "CONTOUR", "SCATTER"]
    (section,) = charts.state["compareRunSections"]
    assert {c["metricSectionId"] for c in charts.state["compareRunCharts"]} == {section["uuid"]}
    assert len({chart["uuid"] for chart in charts.state["compareRunCharts"]}) == 4


@pytest.mark.parametrize("server", ["http://127.0.0.1:5000", "http://127.0.0.1:5000/"])
def test_addresses(server: str) -> None:
    table = pages("abc")[0]
    start, _, asked = table.address(server, "7").partition("?")
    assert start == "http://127.0.0.1:5000/#/experiments/7/runs"
    shared = {"viewStateShareKey": ["layer-swap-abc-table"], "compareRunsMode": ["TABLE"]}
    shared["workflowType"] = ["machine_learning"]
    assert parse_qs(asked) == shared
    plain = parse_qs(table.address(server, "7", shared=False).partition("?")[2])
    assert plain["searchFilter"] == [table.state["searchFilter"]]
    assert plain["orderByKey"] == ["metrics.`accuracy`"] and plain["orderByAsc"] == ["false"]


@pytest.mark.parametrize("tag", [f"{TAG}0123abcd", "layer-swap-abc-table", f"{TAG}layer-swap-x"])
def test_tags_of_others(tag: str) -> None:
    assert study_of(tag) is None


@pytest.mark.parametrize("form", SpaceConfig.model_json_schema()["properties"]["form"]["enum"])
def test_the_columns_are_those_of_what_is_searched(form: str) -> None:
    table, _, charts = pages("abc", form)
    wanted = [f"space.form={form}", "space.w_lang={low: 0.0, high: 1.0, step: 0.25}"]
    space = space_of(compose.load(wanted, {"lang": "te"}), 12)
    names = [axis.name for axis in space.grid.axes if axis.name != "pair"]
    shown = [c.split("`")[1] for c in table.state["selectedColumns"] if c.startswith("params")]
    assert sorted(shown) == sorted([*names, "task", "lang"])
    assert len(table.tag()[1]) < 5000 and len(charts.tag()[1]) < 5000
