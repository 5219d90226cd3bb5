"""Studies to be reported: a whole one, and one of many made-up trials."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

from objectives.stats import proportion
from objectives.types import ItemResult, Score
from search.merging.recipe import Components, LayerSwap, Recipe, Single, key, label
from search.records.items import pack_items
from search.records.record import Record, Stopped
from search.records.writer import RecordsWriter
from search.report.material import Material
from tests.search.results.studies import BEST, DEFAULT, L, N, add, begin, full

TELUGU = "లత వద్ద 23 బంతి. లత 4 బంతి దొరికె. ఎన్ని బంతి?"


def whole(folder: Path) -> Material:
    """A finished study with held-out scores."""
    records = begin(folder)
    full(records)
    records.rewrite(replace(records.head(), finished="2026-01-01T00:00:00Z"))
    return Material.of(records, running=False)


def many(folder: Path, trials: int, seed: int = 0) -> RecordsWriter:
    """A study of so many layer swaps with answers of a likely length, some stopped or infeasible.

    Written as plain lines, as nothing is lost where a test is.
    """
    records, drawn = begin(folder), random.Random(seed)
    singles: list[Recipe] = [Single(f"lang/{i}") for i in range(3)] + [Single("base")]
    recipes: dict[str, Recipe] = {key(r, L): r for r in (*singles, BEST)}
    while len(recipes) < trials:
        b, u, t_b, t_u = (drawn.randint(0, most) for most in (5, 3, 1, 1))
        share = drawn.randint(1, 9) / 10
        swap = LayerSwap(drawn.randrange(3), drawn.randrange(3), b, u, t_b, t_u, 1 - share, share)
        recipes[key(swap, L)] = swap
    lines = []
    for number, (name, recipe) in enumerate(recipes.items()):
        record, items = _trial(number, name, recipe, drawn)
        (records.folder / record.items).parent.mkdir(exist_ok=True)
        (records.folder / record.items).write_bytes(items)
        lines.append(record.to_line())
        records.trials.append(record)
    (records.folder / "trials.jsonl").write_bytes(b"".join(lines))
    return records


def by_halves(folder: Path) -> RecordsWriter:
    """A study of components: a dozen, their language expert and the default layer swap."""
    records = begin(folder, ["space=components"])
    zones = [(b, u) for b in (1, 3) for u in (1, 2)]
    halves = [Components(0, 0, b, u, 1, 2, 1, 0) for b, u in zones]
    halves += [Components(0, 0, 1, 1, b, u, 1, 1) for b, u in zones if (b, u) != (1, 1)]
    for number, recipe in enumerate([Single("lang/0"), DEFAULT, *halves]):
        add(records, recipe, 0.3 + number / 50, "search")
    return records


def _trial(number: int, name: str, recipe: Recipe, drawn: random.Random) -> tuple[Record, bytes]:
    likely = 0.9 if recipe == BEST else 0.1 if isinstance(recipe, Single) else drawn.random() * 0.8
    state = "scored" if number % 9 or number < 9 else "stopped"
    n = N if state == "scored" else N // 2
    right = [drawn.random() < likely for _ in range(n)]
    items = [
        ItemResult("mgsm", f"q{i}", TELUGU, f"First {i} balls. " * 8, 60, "stop", {
            "correct": ok, "extracted": str(i), "target": str(i if ok else i + 1), "label": "en",
            "outcome": "LINE_ERROR", "first_error": "en",
        })
        for i, ok in enumerate(right)
    ]  # fmt: skip
    lcpr = 0.9 + 0.1 * drawn.random()
    scores = {"accuracy": proportion(sum(right), n, n), "lcpr": Score(lcpr, 0.85, 1.0, 60, 60)}
    stopped = Stopped(n, N, likely, "", 0.01) if state == "stopped" else None
    record = Record(
        number, name, "search", "stopped" if stopped else "scored", "search",
        label(recipe, "te", L), recipe, scores, reason="after 100 items" if stopped else "",
        seconds={"materialise": 0.1, "generate": 5.0, "score": 0.5, "total": 6.0}, tokens=9000,
        ended=1_700_000_000.0 + 6 * number, items=f"items/{name}.search.jsonl.gz", stopped=stopped,
    )  # fmt: skip
    return record, pack_items(items)


def figures_of(page: str) -> list[dict[str, object]]:
    """What the page's script is given."""
    _, _, after = page.partition('<script type="application/json" id="figures">')
    found: list[dict[str, object]] = json.loads(after.partition("</script>")[0])
    return found
