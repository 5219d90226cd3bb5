"""The model card: front matter that parses, and every number where it belongs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from objectives.types import Decoding, Score
from search.export.model_card import Ingredient, Merge, licence_of, model_card
from search.merging.plan import plan
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
    key,
    label,
)
from search.records.record import Record
from tests.search.merging.test_plan import names

L = 10
SWAP = LayerSwap(0, 1, 2, 1, 1, 0, 0.25, 0.75)
PAIR = ("task/0", "lang/1")
PARTS = (
    Ingredient("base", "org/base", "org/base@0123", "mit", {}),
    Ingredient("task/0", "math", "", "mit", {"model.safetensors": "ab" * 32}),
    Ingredient(
        "lang/1", "org/te", "org/te@4567", "mit", {"a.safetensors": "1f", "b.safetensors": "2e"}
    ),
)


def merge(recipe: Recipe = SWAP, **changes: Any) -> Merge:
    return replace(
        Merge("merged", "my", "te", recipe, L, plan(recipe, names(L), L), PARTS), **changes
    )


def record(split: Any, accuracy: float, state: Any = "scored", reason: str = "") -> Record:
    scores = {
        "accuracy": Score(accuracy, accuracy - 0.1, accuracy + 0.1, 150, 150),
        "lcpr": Score(0.97, 0.94, 0.99, 98, 100),
        "wpr": Score(None, None, None, 0, 100),
    }
    told = label(SWAP, "te", L)
    return Record(0, key(SWAP, L), split, state, "search", told, SWAP, scores, reason)


def front(card: str) -> dict[str, Any]:
    empty, head, _ = card.split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(head)


def test_front_matter() -> None:
    assert front(model_card(merge())) == {
        "base_model": ["org/base", "org/te"],
        "base_model_relation": "merge",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "language": ["te"],
        "tags": ["merge", "layer-swap"],
        "license": "mit",
    }


def test_a_folder_is_nobody_s_model_of_the_hub() -> None:
    places = ("base", "s3://b/m", "te")
    local = [replace(part, model=at) for part, at in zip(PARTS, places, strict=True)]
    card = model_card(merge(parts=local))
    assert front(card).keys().isdisjoint({"base_model", "base_model_relation"})
    assert "| base | `base` |" in card and "| task/0 | `s3://b/m` |" in card


def test_weights_as_people_write_them() -> None:
    card = model_card(merge(replace(SWAP, w_task=1 - 0.9, w_lang=0.9)))
    assert "| w_task | 0.1 |" in card
    assert "| weights | [0.1, 0.3] |" in model_card(merge(Soup(PAIR, (1 - 0.9, 0.1 + 0.2))))


@pytest.mark.parametrize("other", ["not stated", "llama3.1"])
def test_no_licence_is_claimed_where_the_parts_do_not_agree(other: str) -> None:
    parts = (PARTS[0], replace(PARTS[1], licence=other))
    card = model_card(merge(parts=parts))
    assert "license" not in front(card)
    assert f"`org/base`: mit; `math`: {other}." in card


def test_recipe_in_words_and_numbers() -> None:
    card = model_card(merge())
    assert "# my: te b2 u1 tb1 tu0 w.75 m0-l1" in card
    for row in ("| b | 2 |", "| w_lang | 0.75 |", "| non_layer | average |"):
        assert row in card
    layers = ["| 0 to 1 | lang/1 |", "| 2 | 0.25 task/0 + 0.75 lang/1 |", "| 3 to 8 | task/0 |",
              "| 9 | lang/1 |"]  # fmt: skip
    assert "\n".join(layers) in card
    assert "`model.embed_tokens.weight`" in card and "| 0.5 task/0 + 0.5 lang/1 |" in card


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (Single("task/0"), "| 0 to 9 | task/0 |"),
        (Soup((*PAIR, "lang/0"), (2, 1, 1)), "| 0 to 9 | 0.5 task/0 + 0.25 lang/0 + 0.25 lang/1 |"),
        (TaskArithmetic(PAIR, (0.5, -0.7)),
         "| 0 to 9 | base and task_arithmetic of 0.5 task/0 + -0.7 lang/1 |"),
        (Ties(PAIR, 0.3, (1, 1)), "base and ties (density 0.3, scale 1) of 1 task/0 + 1 lang/1"),
        (DareLinear(PAIR, 0.5, (1, 1), 7), "dare_linear (density 0.5, seed 7) of 1 task/0"),
        (Layerwise(0, 1, (1.0, 0.25)),
         "| 0 to 4 | lang/1 |\n| 5 to 9 | 0.75 task/0 + 0.25 lang/1 |"),
        (Components(0, 1, 2, 0, 1, 0, 0, 0),
         "| 0 | lang/1 |\n| 1, MLP | task/0 |\n| 1, attention | lang/1 |\n| 2 to 9 | task/0 |"),
        (Slerp(0, 1, (0.2,)), "| 0 to 9 | slerp of 0.8 task/0 + 0.2 lang/1 |"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_every_method_has_words(recipe: Recipe, words: str) -> None:
    assert words in model_card(merge(recipe))


def test_checkpoints_with_revisions_and_hashes() -> None:
    card = model_card(merge())
    assert "| base | `org/base` | org/base@0123 | mit | no weights are taken from it |" in card
    assert f"| task/0 | `math` |  | mit | `model.safetensors` {'ab' * 32} |" in card
    assert "`a.safetensors` 1f<br>`b.safetensors` 2e" in card


def test_scores() -> None:
    searched, kept = record("search", 0.6), record("held_out", 0.5)
    card = model_card(
        merge(study="s", reason="Highest of all.", searched=40, search=searched, held_out=kept)
    )
    assert "|  | search items | held-out items |" in card
    accuracy = "| MGSM accuracy | 60.0% (50.0 to 70.0; 150) | 50.0% (40.0 to 60.0; 150) |"
    assert accuracy in card
    assert "| LCPR | 97.0% (94.0 to 99.0; 98) | 97.0% (94.0 to 99.0; 98) |" in card
    assert "| WPR | not defined | not defined |" in card
    assert "From study `s`" in card and "Highest of all." in card
    assert "40 recipes were scored on those items. Only held-out scores" in card


def test_scores_that_must_not_be_taken_for_good() -> None:
    card = model_card(merge(study="s", search=record("search", 0.6, "infeasible", "no coverage")))
    assert "search items: infeasible, no coverage" in card and "held-out items" not in card
    assert "None is on record." in model_card(merge())


def test_decoding_is_no_part_of_the_weights() -> None:
    card = model_card(merge(replace(SWAP, decoding=Decoding(temperature=0.7))))
    assert "LCPR was measured with temperature 0.7, which is no part of the weights" in card
    assert "| decoding |" not in card


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n# x", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: llama3.1\n---\n", "other (llama3.1)"),
        ("---\nlicense: [mit, cc-by-4.0]\n---\n", "mit, cc-by-4.0"),
        ("---\ntags: [x]\n---\n", "not stated"),
        ("---\n: : [\n---\n", "not stated"),
        ("# no front matter", "not stated"),
        (None, "not stated"),
    ],
)
def test_licence(tmp_path: Path, text: str | None, licence: str) -> None:
    if text is not None:
        (tmp_path / "README.md").write_text(text)
    assert licence_of(tmp_path) == licence
