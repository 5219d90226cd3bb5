"""A recorded map in Markdown: accuracy and LCPR of every pair by b and u, and their front.

Owns how it looks. Knows nothing of engines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.landscape.design import BOTTOM, N_LAYERS, TOP, TRANSITIONS, singles, zone
from search.config.schema import Config
from search.merging.recipe import Recipe, from_dict, key, label, soup


class Point(NamedTuple):
    """Scores of one recipe on the search items, as shares; in_language is of the math answers."""

    accuracy: float
    lcpr: float
    in_language: float

    def percent(self) -> str:
        """The three, without decimals, as a cell of a map."""
        return "/".join(f"{100 * share:.0f}" for share in self)


Points = Mapping[str, Point]
"""Key of a recipe -> its scores."""


def points(lines: Iterable[Mapping[str, Any]]) -> dict[str, Point]:
    """The scores of a recording; infeasible recipes are left out."""
    named = ("search.accuracy", "search.lcpr", "search.in_language")
    return {
        line["key"]: Point(*(line["scores"][name] for name in named))
        for line in lines
        if "infeasible" not in line
    }


def front(found: Points) -> list[str]:
    """Keys of the recipes that none beats in both accuracy and LCPR, the most accurate first."""
    best: list[str] = []
    for name in sorted(found, key=lambda name: found[name][:2], reverse=True):
        if not best or found[name].lcpr > found[best[-1]].lcpr:
            best.append(name)
    return best


def markdown(config: Config, lines: Iterable[Mapping[str, Any]]) -> str:
    """Checkpoints and soups, the front, and the map: a row for each pair, t and b."""
    lines = list(lines)
    found = points(lines)
    task, lang = _names(config)
    pairs = list(product(range(len(task)), range(len(lang))))

    def item(recipe: Recipe) -> str:
        return f"- {label(recipe, config.lang, N_LAYERS)}: {_cell(found, recipe)}"

    recorded = {line["key"]: from_dict(line["recipe"]) for line in lines}
    out = ["Search items: accuracy/LCPR/math answers in the language, in percent.\n"]
    out += [item(single) for single in singles(len(task), len(lang))]
    out += [item(soup(i, j, N_LAYERS)) for i, j in pairs]
    out += ["\nFront of accuracy and LCPR:\n", *(item(recorded[name]) for name in front(found))]
    across = " | ".join(f"u={u}" for u in TOP)
    out += [f"\n| pair | t_b=t_u | b | {across} |", "| --- " * (3 + len(TOP)) + "|"]
    for (i, j), t, b in product(pairs, TRANSITIONS, BOTTOM):
        cells = " | ".join(_cell(found, zone(i, j, b, u, t)) for u in TOP)
        out.append(f"| {task[i]} + {lang[j]} | {t} | {b} | {cells} |")
    return "\n".join(out)


def _names(config: Config) -> tuple[list[str], list[str]]:
    """Folder names of the math experts and of the language experts."""
    sides = config.family.task, config.family.language[config.lang]
    task, lang = ([Path(str(place)).name for place in side] for side in sides)
    return task, lang


def _cell(found: Points, recipe: Recipe) -> str:
    point = found.get(key(recipe, N_LAYERS))
    return "-" if point is None else point.percent()
