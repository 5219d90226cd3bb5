"""Pairs of a task and a language expert: which there are, and how Optuna's parameter writes them.

A side of a pair may be several experts, which are averaged before they are merged with the other
side (the layer-swapping paper's experts come in threes). Pure.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Literal

from search.merging.recipe import Experts, members

Pair = tuple[Experts, Experts]
"""A task and a language side: an index each, or several in their order."""

Sides = Literal["each", "averaged", "both"]
"""What stands on a side: each expert alone, the average of all experts of its kind, or either."""


def all_pairs(n_task: int, n_lang: int, sides: Sides = "each") -> tuple[Pair, ...]:
    """Every side of the task experts with every side of the language experts."""
    return tuple(itertools.product(_sides(n_task, sides), _sides(n_lang, sides)))


def _sides(n_experts: int, sides: Sides) -> list[Experts]:
    alone: list[Experts] = list(range(n_experts))
    if n_experts == 1 or sides == "each":
        return alone
    return [*(alone if sides == "both" else []), tuple(range(n_experts))]


def tidy(pairs: Iterable[tuple[Experts, Experts]]) -> tuple[Pair, ...]:
    """Each pair once, the experts of a side in their order."""
    return tuple(dict.fromkeys((_tidy(task), _tidy(lang)) for task, lang in pairs))


def _tidy(side: Experts) -> Experts:
    found = tuple(sorted(members(side)))
    return found[0] if len(found) == 1 else found


def pair_faults(pair: Pair, n_task: int, n_lang: int, lang: str) -> list[str]:
    """What is wrong with a pair of a family with so many experts."""
    task, language = map(members, pair)
    shown = [list(side) if isinstance(side, tuple) else side for side in pair]
    faults = []
    if max(task) >= n_task or max(language) >= n_lang:
        faults.append(
            f"space.pairs has {shown}, but the family has {n_task} task and "
            f"{n_lang} {lang} experts (counted from 0)"
        )
    if len(set(task)) < len(task) or len(set(language)) < len(language):
        faults.append(f"space.pairs has {shown}, which names an expert twice")
    return faults


def pair_name(pair: Pair) -> str:
    """A pair as a parameter: `0-2`, or `0+1-2` where two task experts are averaged."""
    return "-".join("+".join(map(str, members(side))) for side in pair)


def pair_of(name: str) -> Pair:
    """The inverse of `pair_name`."""
    task, lang = (_tidy(tuple(map(int, side.split("+")))) for side in name.split("-"))
    return task, lang
