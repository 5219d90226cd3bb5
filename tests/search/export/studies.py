"""A small study on the tiny family, to be exported from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from objectives.types import ItemResult, Score
from search.config import compose
from search.config.scored import build_objectives
from search.merging.recipe import LayerSwap, Recipe, Single, key, label
from search.records.head import StudyHead
from search.records.items import pack_items
from search.records.record import Record
from search.records.writer import RecordsWriter

L, N = 4, 60
BEST = LayerSwap(0, 1, 1, 1, 1, 0, 0.5, 0.5)
WORDS = "pair=0,1 b=1 u=1 t_b=1 t_u=0 w_lang=.5"
OTHER = LayerSwap(1, 0, 2, 0, 0, 1, 0.3, 0.7)
RECIPES: dict[Recipe, float] = {Single("lang/1"): 0.2, BEST: 0.6, OTHER: 0.4}


def trial(recipe: Recipe, accuracy: float, split: Any = "search", **changes: Any) -> Record:
    scores = {
        "accuracy": Score(accuracy, accuracy - 0.1, accuracy + 0.1, N, N),
        "lcpr": Score(0.9, 0.8, 1.0, 8, 8),
        "wpr": Score(None, None, None, 0, 8),
    }
    name, told = key(recipe, L), label(recipe, "te", L)
    found = Record(0, name, split, "scored", "search", told, recipe, scores, ended=1.0)
    return replace(found, **changes)


def answers(recipe: Recipe, accuracy: float) -> bytes:
    """To the first search items of the demo, and of LCPR to nothing that it asks."""
    right = round(N * accuracy)
    asked = compose.load([], {"lang": "te"}).objective
    prompts = [r.prompt for r in build_objectives(asked, "te")["mgsm"].requests("search")]
    return pack_items(
        ItemResult(objective, f"q{i}", text, f"{i} {recipe}", 3, "stop", {"correct": i < right})
        for objective, texts in (("mgsm", prompts[:N]), ("lcpr", ["?"] * N))
        for i, text in enumerate(texts)
    )


def make_study(folder: Path, family_file: Path, recipes: dict[Recipe, float]) -> Path:
    chosen = compose.load([f"family={family_file}"], {"lang": "te"})
    records = RecordsWriter.create(folder, StudyHead(folder.name, chosen.model_dump(mode="json")))
    for recipe, accuracy in recipes.items():
        records.append(trial(recipe, accuracy), answers(recipe, accuracy))
    if BEST in recipes:
        records.append(trial(BEST, 0.5, "held_out"), answers(BEST, 0.5))
    records.close()
    return folder
