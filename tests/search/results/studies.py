"""A study of eight recipes with answers to each item, for tests of what is made of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from objectives.stats import proportion
from objectives.types import ItemResult, Score, Split
from search.config import compose
from search.merging.recipe import LayerSwap, Recipe, Single, key, label, soup
from search.records.head import StudyHead
from search.records.items import pack_items
from search.records.record import Origin, Record, State, Stopped
from search.records.writer import RecordsWriter
from search.results.choose import Choice, FinalRow, best_swap, final_rows
from search.results.comparison import Report, build

L = 10
N = 200
BEST, DEFAULT = LayerSwap(0, 0, 2, 2, 0, 0), LayerSwap(0, 0, 1, 1, 1, 1)
CONTROL = LayerSwap(0, 0, 0, 0, 0, 0)
SOURCES = ("base", "task/0", "lang/0", "lang/1")
HELD_OUT: dict[Recipe, float] = {
    BEST: 0.80,
    DEFAULT: 0.60,
    soup(0, 0, L): 0.55,
    CONTROL: 0.45,
    Single("task/0"): 0.40,
    Single("lang/0"): 0.30,
    Single("lang/1"): 0.35,
    Single("base"): 0.20,
}
SEARCH = {recipe: share + 0.05 for recipe, share in HELD_OUT.items()}


def begin(folder: Path, overrides: Sequence[str] = ()) -> RecordsWriter:
    """A study of the demo's configuration whose models were opened."""
    config = compose.load(["objective=demo", *overrides], {"lang": "te"}).model_dump(mode="json")
    return RecordsWriter.create(folder, StudyHead(folder.name, config, layers=L))


def answers(share: float, seed: int) -> list[bool]:
    """Exactly this share of the items right, which ones by the seed."""
    right = [i < round(share * N) for i in range(N)]
    random.Random(seed).shuffle(right)
    return right


def add(
    records: RecordsWriter,
    recipe: Recipe,
    accuracy: float,
    split: Split,
    state: State = "scored",
    origin: Origin = "search",
    confused: int | None = None,
) -> None:
    right = answers(accuracy, int(key(recipe, L), 16))
    items = [
        ItemResult("mgsm", f"q{i}", "p", "c", 3, "stop", {"correct": ok})
        for i, ok in enumerate(right)
    ]
    confused = round(10 * (1 - accuracy)) if confused is None else confused
    items += [
        ItemResult("lcpr", f"p{i}", "p", "c", 3, "stop", {"outcome": outcome, "source": "okapi"})
        for i, outcome in enumerate(["LINE_ERROR"] * confused + ["PASS"] * (10 - confused))
    ]
    scores = {
        "accuracy": proportion(sum(right), N, N),
        "lcpr": Score(0.97, 0.94, 0.99, 98, 100),
        "in_language": proportion(N - 1, N, N),
        "coverage": proportion(9 if accuracy < 0.5 else 10, 10, 10),
    }
    record = Record(
        number=0,
        key=key(recipe, L),
        split=split,
        state=state,
        origin=origin,
        label=label(recipe, "te", L),
        recipe=recipe,
        scores={} if state == "failed" else scores,
        reason="" if state == "scored" else "engine died: out of memory",
        stopped=Stopped(N // 2, N, accuracy, "", 0.01) if state == "stopped" else None,
    )
    records.append(record, pack_items(items))


def made(records: RecordsWriter, lang: str = "te") -> tuple[Report, Choice | None, list[FinalRow]]:
    choice = best_swap(records.trials, L, 0.02)
    rows = final_rows(records.trials, choice, DEFAULT, SOURCES, L)
    return build(records, rows, choice, family="demo", lang=lang, n_layers=L), choice, rows


def full(records: RecordsWriter) -> Report:
    for recipe, share in SEARCH.items():
        add(records, recipe, share, "search")
    for recipe, share in HELD_OUT.items():
        add(records, recipe, share, "held_out", origin="final")
    return made(records)[0]
