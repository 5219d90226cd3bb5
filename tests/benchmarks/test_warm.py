"""Warm starts on the shipped landscapes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.landscape.design import N_LAYERS
from benchmarks.search_quality.replay import Run
from benchmarks.search_quality.runs import field
from benchmarks.search_quality.warm import STARTS, Task, points, suggested, table
from objectives.stats import proportion
from search.merging.recipe import LayerSwap, key
from search.records.record import Record
from search.run.imports import COUNT


def trial(recipe: LayerSwap, right: int) -> Record:
    scores = {name: proportion(right, 200, 200) for name in ("accuracy", "lcpr")}
    return Record(0, key(recipe, N_LAYERS), "search", "scored", "search", "", recipe, scores)


def test_the_best_of_another_language_are_proposed_best_first() -> None:
    swaps = [LayerSwap(0, 0, b, 1, 1, 0) for b in range(1, 5)]
    swaps += [LayerSwap(0, 0, b, 2, 1, 0) for b in range(1, 5)]
    land = field("te")
    other = Run([trial(swap, 10 * n) for n, swap in enumerate(swaps)])
    found = [land.space().key_of(point) for point in points(other, land)]
    assert found == [key(swap, N_LAYERS) for swap in swaps[: -COUNT - 1 : -1]]


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["te", "sw"])
def test_the_suggested_range_is_a_part_of_the_model(lang: str) -> None:
    found = suggested(lang)
    assert set(found) == {"b", "u", "t_b", "t_u"}
    assert all(0 <= low < high <= N_LAYERS // 2 for low, high in found.values())


def test_a_start_is_compared_with_the_cold_search_of_its_language() -> None:
    rising = np.linspace(0.5, 0.7, 100)
    found = {
        Task(lang, start, seed): rising + (0.1 if start == "imported" else 0.0)
        for lang in ("te", "sw")
        for start in STARTS
        for seed in (0, 1)
    }
    rows = {tuple(r.split(" | ")[:2]): r for r in list(table(found))[2:]}
    assert "after 40" in rows["| te", "cold"] and "after 1 " in rows["| te", "imported"]
