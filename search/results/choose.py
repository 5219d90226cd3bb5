"""Which recipe a study recommends, its Pareto front, and which recipes the final table holds.

Owns the rule that turns search scores into one recommended recipe. Pure functions of records: knows
nothing of engines, files, held-out scores or how a table looks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from objectives import targets
from objectives.target import Target
from objectives.words import counted
from search.common.values import percent
from search.merging.methods.registry import rivals
from search.merging.recipe import (
    Layered,
    LayerSwap,
    Recipe,
    Single,
    Soup,
    canonical,
    key,
    soup,
)
from search.merging.source import Source
from search.records.record import Record
from search.study.floors import Floor, gain

BASE = "base"
TASK_EXPERT = "math expert"
LANG_EXPERT = "language expert"
RECOMMENDED = "recommended"
BEST = "best on search items"
"""What the recipe is called that would be recommended, where nothing can be."""
DEFAULT = "default recipe"
SOUP = rivals()["soup"].role
CONTROL = "control b=u=0"


class FinalRow(NamedTuple):
    """A recipe of the final table and the roles that brought it there."""

    roles: tuple[str, ...]
    recipe: Recipe


@dataclass(frozen=True)
class Choice:
    """The recommended recipe, or what comes nearest to one.

    Attributes:
        record: its trial on the search items.
        reason: one sentence that says the rule with its numbers.
        doubt: why it is no recommendation, and what would decide; empty where it is one
            (`search.results.recommendation`).
    """

    record: Record
    reason: str
    doubt: str = ""

    @property
    def role(self) -> str:
        """What the final table calls it."""
        return BEST if self.doubt else RECOMMENDED


def scored(records: Iterable[Record]) -> list[Record]:
    """The scored trials on search items, one for each canonical recipe, in the order they ended."""
    found = {r.key: r for r in records if r.split == "search" and r.state == "scored"}
    main = targets.TARGETS[0].score
    return [record for record in found.values() if record.value(main) is not None]


def is_soup(recipe: Recipe, n_layers: int) -> bool:
    """Whether every layer is an average, so that no layer is swapped."""
    form = canonical(recipe, n_layers)
    return isinstance(form, Soup) or (isinstance(form, LayerSwap) and form.t_b == n_layers)


def is_swap(recipe: Recipe, n_layers: int) -> bool:
    """Whether layers of one expert stand beside layers of another."""
    return isinstance(recipe, Layered) and not is_soup(recipe, n_layers)


def pareto(records: Iterable[Record]) -> list[Record]:
    """The scored search trials that no other beats in every target at once.

    Trials with equal scores stay together. Sorted by the targets in their order, then key.
    """
    names = [target.score for target in targets.TARGETS]
    points = [(r, gains(r)) for r in scored(records) if None not in map(r.value, names)]
    front = [
        r
        for r, own in points
        if not any(o != own and all(x >= y for x, y in zip(o, own, strict=True)) for _, o in points)
    ]
    return sorted(front, key=best_first)


def best_swap(records: Iterable[Record], n_layers: int, tolerance: float) -> Choice | None:
    """The swap with the best first target whose other targets are good enough.

    Candidates are the layer swaps, not single checkpoints or soups. A candidate's LCPR must be at
    least that of the language expert of its own pair minus the tolerance; if that expert has no
    LCPR, the best language expert that has one stands in; if none has, every candidate will do. So
    it is for every target after the first. Ties: better other targets, then fewer layers from the
    language expert, fewer transition layers, lower key. If no candidate is good enough, the one
    with the best other targets is taken and the reason says so.

    Args:
        records: trials of the study; only those scored on search items count.
        n_layers: the model's number of layers L.
        tolerance: how far below the language expert's a recipe's score may lie, as a share.

    Returns:
        The choice; None if no swap has been scored.
    """
    trials = scored(records)
    swaps = [r for r in trials if is_swap(r.recipe, n_layers)]
    if not swaps:
        return None
    main, *guards = targets.TARGETS
    floors = [Floor.of(target, trials, tolerance) for target in guards]
    good = [r for r in swaps if all(floor.reached(r) for floor in floors)]
    known = [floor for floor in floors if floor.known]
    if good:
        best = min(good, key=lambda r: (*best_first(r)[:-1], *_size(r, n_layers)))
        what = f"{_superlative(main)} search {main.people}, {_shown(best, main)}, of "
        if not known:
            missing = " and no ".join(target.people for target in guards)
            why = f" (no language expert has an {missing})" if guards else ""
            return Choice(best, f"{what}{counted(len(swaps), 'swap')}{why}.")
        rule = " and whose ".join(f"{f.target.people} is {_rule(f, best)}" for f in known)
        among = f"the {len(good)} of {len(swaps)} swaps" if len(swaps) > 1 else "the only swap,"
        return Choice(best, f"{what}{among} whose {rule}.")
    best = min(swaps, key=lambda r: (*_guards_first(r), *_size(r, n_layers)))
    first = known[0]
    what = f"{_superlative(first.target)} {first.target.people}, {_shown(best, first.target)}, of "
    rule = " and ".join(f"an {f.target.people} of {_rule(f, best)}" for f in known)
    return Choice(best, f"{what}{counted(len(swaps), 'swap')}: none has {rule}.")


def best_soup(records: Iterable[Record], n_layers: int) -> Record | None:
    """The soup with the highest search accuracy; None if none was scored."""
    soups = [r for r in scored(records) if is_soup(r.recipe, n_layers)]
    return min(soups, key=best_first, default=None)


def rival_roles() -> dict[str, str]:
    """Rival method -> role of its best recipe; soups have their own rule, `best_soup`."""
    return {method: rival.role for method, rival in rivals().items() if method != "soup"}


def best_rivals(records: Iterable[Record]) -> list[FinalRow]:
    """Of each rival method that was searched, the recipe with the highest search accuracy.

    Whatever its LCPR: a rival is not held to the rule that the recommended recipe must keep.
    """
    trials = scored(records)
    rows: list[FinalRow] = []
    for method, role in rival_roles().items():
        own = [r for r in trials if r.origin == method]
        if own:
            rows.append(FinalRow((role,), min(own, key=best_first).recipe))
    return rows


def control(recipe: Layered) -> LayerSwap:
    """The same pair with b = u = t_b = t_u = 0: only what has no layer number is averaged."""
    return LayerSwap(recipe.task, recipe.lang, 0, 0, 0, 0, non_layer=recipe.non_layer)


def final_rows(
    records: Iterable[Record],
    choice: Choice | None,
    default: LayerSwap,
    sources: Iterable[str],
    n_layers: int,
) -> list[FinalRow]:
    """The recipes to score on held-out items, in the order of the final table.

    Args:
        records: trials of the study.
        choice: what `best_swap` chose, with its doubt.
        default: the paper's default recipe, scaled to this model.
        sources: the family's source names: `base`, `task/<i>`, `lang/<i>`, `reference/<name>`.
        n_layers: the model's number of layers L.

    Returns:
        Recommended, default, best soup by search accuracy (the even soup of the recommended pair if
        none was scored), best of each rival method, control of the recommended pair, experts, base,
        references. A recipe with two roles is one row that names both.
    """
    trials = list(records)
    chosen = choice.record.recipe if choice else None
    pair = chosen if isinstance(chosen, Layered) else default
    found = best_soup(trials, n_layers)
    rows: list[FinalRow] = [FinalRow((choice.role,), choice.record.recipe)] if choice else []
    rows += [
        FinalRow((DEFAULT,), default),
        FinalRow((SOUP,), found.recipe if found else soup(pair.task, pair.lang, n_layers)),
        *best_rivals(trials),
        FinalRow((CONTROL,), control(pair)),
    ]
    known = sorted(map(Source.of, sources), key=lambda source: source.order)
    rows += [FinalRow((role_of(source),), Single(str(source))) for source in known]
    merged: dict[str, FinalRow] = {}
    for roles, recipe in rows:
        name = key(recipe, n_layers)
        before = merged.get(name)
        merged[name] = FinalRow((*(before.roles if before else ()), *roles), recipe)
    return list(merged.values())


def role_of(source: Source) -> str:
    """What the final table calls a checkpoint of the family."""
    if source.kind == "reference":
        return f"reference {source.name}"
    return {"task": TASK_EXPERT, "lang": LANG_EXPERT}.get(source.kind, source.kind)


def gains(record: Record) -> tuple[float, ...]:
    """How good a trial is in each target; below everything where a score is not defined."""
    return tuple(gain(record, target) for target in targets.TARGETS)


def best_first(record: Record) -> tuple[float | str, ...]:
    """Key to sort by: the best in the first target, then in the others, then by key."""
    return *(-gain for gain in gains(record)), record.key


def _guards_first(record: Record) -> tuple[float, ...]:
    main, *others = gains(record)
    return *(-gain for gain in others), -main


def _rule(floor: Floor, record: Record) -> str:
    """A floor in words, with its numbers for the pair of a trial."""
    assert isinstance(record.recipe, Layered)
    target = floor.target
    more = target.direction == "maximize"
    bound = _percent(target.gain(floor.least(record.recipe.lang_source)))
    mine = f"({bound} for this pair; this one has {_shown(record, target)})"
    sides = ("at least", "minus") if more else ("at most", "plus")
    if target.least is not None:
        return f"{sides[0]} {bound} (objective.constraints; this one has {_shown(record, target)})"
    points = f"{100 * floor.tolerance:.1f} points"
    return f"{sides[0]} their language expert's {sides[1]} {points} {mine}"


def _superlative(target: Target) -> str:
    return "Highest" if target.direction == "maximize" else "Lowest"


def _size(record: Record, n_layers: int) -> tuple[float, float, str]:
    form = canonical(record.recipe, n_layers)
    assert isinstance(form, Layered)
    return *form.size(n_layers), record.key


def _shown(record: Record, target: Target) -> str:
    value = record.value(target.score)
    return "undefined" if value is None else _percent(value)


def _percent(share: float) -> str:
    return f"{percent(share)}%"
