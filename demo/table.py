"""The family's table of scores: what every model and merge reaches on the held-out problems.

Owns which models are compared and how the table looks. Knows nothing of how scores are made. The
swap of each pair is chosen on the search items only; all other rows have nothing to choose.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path

from demo.evaluate import Job, Score, Swap, score_all, swap_shares
from demo.model import Shape, State
from demo.testdata import N_SEARCH, read_problems

CONTROL = Swap(0, 0)
"""All layers from the math expert; only embeddings, final norm and head are averaged."""
DEFAULT = Swap(1, 1, 1, 1)
"""The papers' usual recipe, scaled from 32 layers to 10."""
N_ENGLISH = 100
"""Held-out items that are also asked in English."""
Row = tuple[str, Score, Score]
"""Name, scores in the target language, scores in English."""


def swaps(reach: int) -> list[Swap]:
    """Recipes that are tried: `reach` layers at most at each end, transitions included."""
    return [
        Swap(b, u, t, t)
        for t in (0, 1)
        for b, u in product(range(reach + 1 - t), range(reach + 1 - t))
    ]


def soup(layers: int) -> tuple[float, ...]:
    """The plain average of all tensors."""
    return (0.5,) * (layers + 1)


def pairs_of(models: Sequence[str], prefix: str) -> list[tuple[str, str]]:
    """Every math expert with every expert whose name begins with `prefix`."""
    languages = [name for name in models if name.startswith(prefix)]
    return list(product([name for name in models if name.startswith("math")], languages))


def landscape(
    models: Mapping[str, State],
    shape: Shape,
    pair: tuple[str, str],
    code: str,
    items: Sequence[tuple[str, int]],
    reach: int,
    new: int,
) -> dict[Swap, Score]:
    """Scores of every recipe of a pair."""
    tried = swaps(reach)
    jobs = [Job(pair, swap_shares(swap, shape.layers), code, tuple(items), new) for swap in tried]
    return dict(zip(tried, score_all(models, shape, jobs), strict=True))


def make(
    models: Mapping[str, State],
    shape: Shape,
    data: Path,
    code: str,
    prefix: str,
    log: Callable[[str], None],
    reach: int,
    limit: int | None,
    new: int,
) -> tuple[list[Row], dict[str, dict[Swap, Score]]]:
    """The table of one language, and the landscapes that its swaps were chosen from.

    `limit` cuts the number of search and of held-out items, `new` the tokens of an answer, for
    trials.
    """
    both = [read_problems(data, c) for c in (code, "en")]
    search = both[0][:N_SEARCH][:limit]
    held = tuple(both[0][N_SEARCH:][:limit])
    english = tuple(both[1][N_SEARCH:][:N_ENGLISH][:limit])
    plans: list[tuple[str, tuple[str, ...], tuple[float, ...]]] = [
        (name, (name,), ()) for name in models if name.startswith(("base", "math", prefix))
    ]
    lands = {}
    for pair in pairs_of(list(models), prefix):
        named = " + ".join(pair)
        lands[named] = land = landscape(models, shape, pair, code, search, reach, new)
        best = max(land, key=lambda swap: (land[swap].right, land[swap].fluent))
        log(f"{named}: best on search items {tuple(best)} {land[best]}")
        plans.append((f"soup {named}", pair, soup(shape.layers)))
        plans.append((f"control b=u=0 {named}", pair, swap_shares(CONTROL, shape.layers)))
        plans.append((f"default b=u=t=1 {named}", pair, swap_shares(DEFAULT, shape.layers)))
        label = f"swap b={best.b} u={best.u} t={best.t_b} {named}"
        plans.append((label, pair, swap_shares(best, shape.layers)))
    jobs = [
        Job(names, shares, c, items, new)
        for _, names, shares in plans
        for c, items in ((code, held), ("en", english))
    ]
    scores = score_all(models, shape, jobs)
    rows = [(plan[0], scores[2 * i], scores[2 * i + 1]) for i, plan in enumerate(plans)]
    return rows, lands


def markdown(title: str, rows: Sequence[Row]) -> str:
    """The rows as a table, in percent."""
    lines = [
        f"| {title} | accuracy | in the language | both | English accuracy |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, own, english in rows:
        cells = (own.right, own.fluent, own.both, english.right)
        lines.append(f"| {name} | " + " | ".join(f"{100 * cell:.1f}" for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def maps(lands: Mapping[str, Mapping[Swap, Score]], reach: int) -> str:
    """Each pair's scores on the search items: a row per `b`, a column per `u`."""
    out = ["Search items, accuracy / in the language, in percent:\n"]
    for named, land in lands.items():
        for t in (0, 1):
            across = range(reach + 1 - t)
            if across:
                us = " ".join(f"u={u}".rjust(8) for u in across)
                out.append(f"    {named}, t_b=t_u={t}\n         {us}")
            for b in across:
                scores = [land[Swap(b, u, t, t)] for u in across]
                cells = (f"{100 * s.right:3.0f}/{100 * s.fluent:3.0f}".rjust(8) for s in scores)
                out.append(f"    b={b}  " + " ".join(cells))
        out.append("")
    return "\n".join(out)


def dump(path: Path, tables: Mapping[str, Sequence[Row]]) -> None:
    """Keeps the numbers as JSON."""
    content = {
        code: {name: {"target": vars(own), "english": vars(english)} for name, own, english in rows}
        for code, rows in tables.items()
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
