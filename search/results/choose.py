"""Which recipe a study recommends, its Pareto front, and which recipes the final table holds.

Owns the rule that turns search scores into one recommended recipe. Pure functions of records: knows
nothing of engines, files, held-out scores or how a table looks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from search.merging.methods.registry import rivals
from search.merging.recipe import LayerSwap, Recipe, Single, Soup, canonical, key, soup
from search.records.record import Record

Row = tuple[str, Recipe]
"""A recipe of the final table and the role or roles that brought it there."""

BASE = "base"
TASK_EXPERT = "math expert"
LANG_EXPERT = "language expert"
RECOMMENDED = "recommended"
DEFAULT = "default recipe"
SOUP = rivals()["soup"].role
CONTROL = "control b=u=0"


@dataclass(frozen=True)
class Choice:
    """The recommended recipe.

    Attributes:
        record: its trial on the search items.
        reason: one sentence that says the rule with its numbers.
    """

    record: Record
    reason: str


def scored(records: Iterable[Record]) -> list[Record]:
    """The scored trials on search items, one for each canonical recipe, in the order they ended."""
    found = {r.key: r for r in records if r.split == "search" and r.state == "scored"}
    return [record for record in found.values() if record.value("accuracy") is not None]


def is_soup(recipe: Recipe, n_layers: int) -> bool:
    """Whether every layer is an average, so that no layer is swapped."""
    form = canonical(recipe, n_layers)
    return isinstance(form, Soup) or (isinstance(form, LayerSwap) and form.t_b == n_layers)


def is_swap(recipe: Recipe, n_layers: int) -> bool:
    """Whether layers of one expert stand beside layers of another."""
    return isinstance(recipe, LayerSwap) and not is_soup(recipe, n_layers)


def pareto(records: Iterable[Record]) -> list[Record]:
    """The scored search trials that no other beats in accuracy and LCPR at once.

    Trials with equal scores stay together. Sorted by falling accuracy, then key.
    """
    points = [(r, _accuracy(r), _lcpr(r)) for r in scored(records) if r.value("lcpr") is not None]
    front = [
        r
        for r, a, c in points
        if not any(a2 >= a and c2 >= c and (a2, c2) != (a, c) for _, a2, c2 in points)
    ]
    return sorted(front, key=lambda r: (-_accuracy(r), -_lcpr(r), r.key))


def recommend(records: Iterable[Record], n_layers: int, tolerance: float) -> Choice | None:
    """The swap with the highest search accuracy that answers in the language well enough.

    Candidates are the layer swaps, not single checkpoints or soups. A candidate's LCPR must be at
    least that of the language expert of its own pair minus the tolerance; if that expert has no
    LCPR, the best language expert that has one stands in; if none has, every candidate will do.
    Ties: higher LCPR, then fewer layers from the language expert, fewer transition layers, lower
    key. If no candidate is good enough, the one with the highest LCPR is taken and the reason says
    so.

    Args:
        records: trials of the study; only those scored on search items count.
        n_layers: the model's number of layers L.
        tolerance: how far below the language expert's LCPR a recipe may lie, as a share.

    Returns:
        The choice; None if no swap has been scored.
    """
    trials = scored(records)
    swaps = [r for r in trials if is_swap(r.recipe, n_layers)]
    if not swaps:
        return None
    experts = _language_experts(trials)
    good = [r for r in swaps if _reaches(r, experts, tolerance)]
    if good:
        best = min(good, key=lambda r: (-_accuracy(r), -_lcpr(r), *_size(r, n_layers)))
        what = f"Highest search accuracy, {_percent(_accuracy(best))}, of "
        if not experts:
            return Choice(best, f"{what}{len(swaps)} swaps (no language expert has an LCPR).")
        reason = f"{what}the {len(good)} of {len(swaps)} swaps whose LCPR is at least {{}}."
    else:
        best = min(swaps, key=lambda r: (-_lcpr(r), -_accuracy(r), *_size(r, n_layers)))
        reason = (
            f"Highest LCPR, {_percent(_lcpr(best))}, of {len(swaps)} swaps: none has an LCPR of at "
            "least {}."
        )
    floor = _percent(_floor(best, experts, tolerance))
    rule = f"their language expert's minus {100 * tolerance:.1f} points"
    mine = f"({floor} for this pair; this one has {_percent(_lcpr(best))})"
    return Choice(best, reason.format(f"{rule} {mine}"))


def best_soup(records: Iterable[Record], n_layers: int) -> Record | None:
    """The soup with the highest search accuracy; None if none was scored."""
    soups = [r for r in scored(records) if is_soup(r.recipe, n_layers)]
    return min(soups, key=lambda r: (-_accuracy(r), -_lcpr(r), r.key), default=None)


def rival_roles() -> dict[str, str]:
    """Rival method -> role of its best recipe; soups have their own rule, `best_soup`."""
    return {method: rival.role for method, rival in rivals().items() if method != "soup"}


def best_rivals(records: Iterable[Record]) -> list[Row]:
    """Of each rival method that was searched, the recipe with the highest search accuracy.

    Whatever its LCPR: a rival is not held to the rule that the recommended recipe must keep.
    """
    trials = scored(records)
    rows: list[Row] = []
    for method, role in rival_roles().items():
        own = [r for r in trials if r.origin == method]
        if own:
            best = min(own, key=lambda r: (-_accuracy(r), -_lcpr(r), r.key))
            rows.append((role, best.recipe))
    return rows


def control(recipe: LayerSwap) -> LayerSwap:
    """The same pair with b = u = t_b = t_u = 0: only what has no layer number is averaged."""
    return LayerSwap(recipe.task, recipe.lang, 0, 0, 0, 0, non_layer=recipe.non_layer)


def final_rows(
    records: Iterable[Record],
    choice: Choice | None,
    default: LayerSwap,
    sources: Iterable[str],
    n_layers: int,
) -> list[Row]:
    """The recipes to score on held-out items, in the order of the final table.

    Args:
        records: trials of the study.
        choice: what `recommend` chose.
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
    pair = chosen if isinstance(chosen, LayerSwap) else default
    found = best_soup(trials, n_layers)
    rows: list[Row] = [(RECOMMENDED, chosen)] if chosen else []
    rows += [
        (DEFAULT, default),
        (SOUP, found.recipe if found else soup(pair.task, pair.lang, n_layers)),
        *best_rivals(trials),
        (CONTROL, control(pair)),
    ]
    rows += [(_role(source), Single(source)) for source in sorted(sources, key=_source_order)]
    merged: dict[str, Row] = {}
    for role, recipe in rows:
        name = key(recipe, n_layers)
        before = merged.get(name)
        merged[name] = (f"{before[0]}, {role}", before[1]) if before else (role, recipe)
    return list(merged.values())


def _role(source: str) -> str:
    kind, _, name = source.partition("/")
    return {"task": TASK_EXPERT, "lang": LANG_EXPERT}.get(kind) or (
        f"reference {name}" if kind == "reference" else kind
    )


def _source_order(source: str) -> tuple[int, int, str]:
    kind, _, name = source.partition("/")
    place = {"task": 0, "lang": 1, "base": 2}.get(kind, 3)
    return place, int(name) if place < 2 else 0, name


def _accuracy(record: Record) -> float:
    value = record.value("accuracy")
    return -1.0 if value is None else value


def _lcpr(record: Record) -> float:
    """LCPR; below every share where it is not defined."""
    value = record.value("lcpr")
    return -1.0 if value is None else value


def _language_experts(trials: Iterable[Record]) -> dict[str, float]:
    return {
        r.recipe.source: _lcpr(r)
        for r in trials
        if isinstance(r.recipe, Single)
        and r.recipe.source.startswith("lang/")
        and r.value("lcpr") is not None
    }


def _floor(record: Record, experts: dict[str, float], tolerance: float) -> float:
    if not experts:
        return -1.0
    assert isinstance(record.recipe, LayerSwap)
    own = experts.get(record.recipe.lang_source)
    return (max(experts.values()) if own is None else own) - tolerance


def _reaches(record: Record, experts: dict[str, float], tolerance: float) -> bool:
    # differences of shares are sums of binary fractions: 0.98 - 0.02 must not fail for 1e-17
    return _lcpr(record) >= _floor(record, experts, tolerance) - 1e-9


def _size(record: Record, n_layers: int) -> tuple[int, int, str]:
    form = canonical(record.recipe, n_layers)
    assert isinstance(form, LayerSwap)
    return form.b + form.u, form.t_b + form.t_u, record.key


def _percent(share: float) -> str:
    return "undefined" if share < 0 else f"{100 * share:.1f}%"
