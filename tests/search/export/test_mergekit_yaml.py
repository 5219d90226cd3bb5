"""The mergekit configuration, read back by mergekit's own rules, is the plan.

The rules (mergekit 0.1.5, plan.py and config.py): a layer's tensors follow the slice that the layer
is in, the embeddings the first, norm and head the last; of a list of values the first whose filter
is part of the tensor's name counts. benchmarks/mergekit_parity.py runs mergekit itself.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings

from benchmarks import mergekit_parity
from search.export.mergekit_yaml import mergekit_yaml
from search.merging.plan import layer_of, plan
from search.merging.recipe import DareLinear, LayerSwap, Recipe, Single, Ties
from tests.examples import examples
from tests.search.any_recipes import SOURCES, L, recipes
from tests.search.merging.test_plan import names

MODELS = {source: f"org/{source.replace('/', '-')}" for source in ("base", *SOURCES)}
BOTH = LayerSwap(0, 1, 1, 1, 1, 0, 0.4, 0.6)
MODELS["reference/joint"] = "org/joint"


def configuration(recipe: Recipe, dtype: str = "BF16") -> dict[str, Any]:
    return yaml.safe_load(mergekit_yaml(recipe, MODELS, names(L), L, dtype))


def evaluate(setting: Any, name: str) -> Any:
    if not isinstance(setting, list):
        return setting
    return next(x["value"] for x in setting if x.get("filter", "") in name)


def slice_of(slices: list[dict[str, Any]], name: str) -> dict[str, Any]:
    layer = layer_of(name)
    if layer is None:
        return slices[0] if "embed" in name else slices[-1]
    spans = [(s, *s["sources"][0]["layer_range"]) for s in slices]
    return next(s for s, first, end in spans if first <= layer < end)


def read_back(config: dict[str, Any], name: str) -> dict[str, float]:
    """Source -> coefficient of a tensor, zeros left out."""
    found = slice_of(config["slices"], name)
    used = [source["model"] for source in found["sources"]]
    if config["merge_method"] == "passthrough":
        (model,) = used
        return {model: 1.0}
    if config["merge_method"] == "slerp":
        first, second = used
        assert config["base_model"] == first
        t = evaluate(found["parameters"]["t"], name)
        weights = {first: 1 - t, second: t}
    else:
        weights = {
            source["model"]: evaluate(source["parameters"]["weight"], name)
            for source in found["sources"]
            if "parameters" in source
        }
    return {model: weight for model, weight in weights.items() if weight}


@settings(max_examples=examples(300))
@given(recipes)
def test_read_back_is_the_plan(recipe: Recipe) -> None:
    config = configuration(recipe)
    for name, mix in plan(recipe, names(L), L).items():
        expected = {MODELS[source]: part for source, part in mix.terms}
        assert read_back(config, name) == pytest.approx(expected), name
        if mix.method != "linear":
            assert config["merge_method"] == mix.method


@given(recipes)
def test_every_slice_lists_the_same_models_and_all_layers(recipe: Recipe) -> None:
    """Else mergekit silently drops sources of the head."""
    config = configuration(recipe)
    lists = [[source["model"] for source in s["sources"]] for s in config["slices"]]
    assert all(one == lists[0] for one in lists)
    assert len(set(lists[0])) == len(lists[0])
    spans = [{tuple(x["layer_range"]) for x in s["sources"]} for s in config["slices"]]
    layers = [layer for ((first, end),) in spans for layer in range(first, end)]
    assert layers == list(range(L))


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("/models/te-0", "/models/te-0"),
        ("org/te@4567", "org/te@4567"),
        ("/models/te+math", {"model": {"path": "/models/te+math"}}),
        ("/home/me@work/te", {"model": {"path": "/home/me@work/te"}}),
        ("/a@b@c/te+math@1", {"model": {"path": "/a@b@c/te+math@1"}}),
        ("org/te@a+b", {"model": {"path": "org/te", "revision": "a+b"}}),
    ],
)
def test_places_that_mergekit_would_take_apart(place: str, expected: object) -> None:
    """By its rules (0.1.5, common.py): MODEL+LORA, PATH@REVISION, unless it is a mapping."""
    text = mergekit_yaml(BOTH, MODELS | {"lang/1": place}, names(L), L, "BF16")
    for part in yaml.safe_load(text)["slices"]:
        assert part["sources"][1]["model"] == expected
    text = mergekit_yaml(Single("base"), {"base": place}, names(L), L, "BF16")
    assert yaml.safe_load(text)["base_model"] == expected
    assert "&id" not in text and "*id" not in text


@pytest.mark.parametrize("revision", ["", "@0123"])
def test_adapters_are_named_with_their_base(revision: str) -> None:
    models = MODELS | {"base": f"org/base{revision}", "lang/1": "/adapters/te@1"}
    text = mergekit_yaml(BOTH, models, names(L), L, "BF16", ["lang/1", "task/1"])
    base = {"path": "org/base"} | ({"revision": "0123"} if revision else {})
    for part in yaml.safe_load(text)["slices"]:
        mentioned = [source["model"] for source in part["sources"]]
        assert mentioned == ["org/task-0", {"model": base, "lora": {"path": "/adapters/te@1"}}]
    assert "# LoRA adapters: lang/1. mergekit wants them merged" in text
    assert "LoRA" not in mergekit_yaml(BOTH, models, names(L), L, "BF16", ["task/1"])


def test_weights_as_people_write_them() -> None:
    text = mergekit_yaml(replace(BOTH, w_task=1 - 0.9, w_lang=0.9), MODELS, names(L), L, "BF16")
    assert "weight: 0.1}" in text and "999" not in text


def test_methods_carry_their_numbers() -> None:
    ties = configuration(Ties(("task/0", "lang/1"), 0.2, (1.0, 2.0), 0.8))
    assert ties["parameters"] == {"normalize": True, "lambda": 0.8}
    assert ties["base_model"] == "org/base"
    given_to = {x["model"]: x.get("parameters") for x in ties["slices"][0]["sources"]}
    assert given_to == {
        "org/task-0": {"weight": 0.5, "density": 0.2},
        "org/lang-1": {"weight": 1.0, "density": 0.2},
        "org/base": None,
    }
    dare = DareLinear(("task/0",), 0.5, (0.7,), 1)
    assert "its own random numbers" in mergekit_yaml(dare, MODELS, names(L), L, "BF16")
    assert configuration(dare)["slices"][0]["sources"][0]["parameters"]["density"] == 0.5


def test_arithmetic_in_float32_rounded_once() -> None:
    """By itself mergekit computes in bf16, and divides a linear merge by its weights."""
    for dtype, name in (("BF16", "bfloat16"), ("F16", "float16"), ("F32", "float32")):
        config = configuration(LayerSwap(0, 1, 1, 1, 1, 0, 0.4, 0.6), dtype)
        assert (config["dtype"], config["out_dtype"]) == ("float32", name)
        assert config["parameters"] == {"normalize": False}


def test_head_line_names_the_recipe() -> None:
    text = mergekit_yaml(Single("task/1"), MODELS, names(L), L, "BF16")
    assert text.splitlines()[0] == "# math expert m1"


@pytest.mark.parametrize(("version", "has"), [("0.1.3", "0.1.3"), ("", "none")])
def test_parity_needs_mergekit(tmp_path: Path, version: str, has: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho {version}\n")
    python.chmod(0o755)
    message = re.escape(f"{python} has mergekit {has}, 0.1.5 is needed: make a virtual environment")
    with pytest.raises(SystemExit, match=message):
        mergekit_parity.main(str(python))
