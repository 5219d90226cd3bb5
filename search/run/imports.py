"""A study's best recipes, as proposals for a study of another language or another family.

Owns which recipes these are and how they are fitted to other models: layer counts scale with the
number of layers, a pair of experts that is not searched becomes one that is. Scores are not taken
over. Reads the old study's records only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from search.common.errors import StudyError
from search.merging.recipe import Layered, LayerSwap, Recipe, clip, key, label, to_dict
from search.merging.space.contract import MainSpace
from search.merging.space.pairs import Pair
from search.merging.space.swap import Space
from search.records.reader import RecordsReader
from search.records.record import Record
from search.records.study_path import StudyPath
from search.results import choose

COUNT = 5


def best(source: StudyPath, space: MainSpace) -> dict[str, Any]:
    """The best recipes of a study, fitted to a space; a search may be running on the study.

    Returns:
        What study.yaml keeps: `study` and `id` it came from, `recipes` (at most `COUNT`, each with
        the key and the name it had there, and the recipe here), `left_out`, the names of those that
        lie outside of the space.

    Raises:
        StudyError: the study cannot be read, or none of its recipes can be proposed.
    """
    records = RecordsReader.read(source)
    head = records.head()
    recipes: dict[str, dict[str, Any]] = {}
    left_out = []
    for record in ranked(records.trials, head.layers, head.value("search.tolerance", float)):
        fitted = fitted_to(record.recipe, head.layers, space)
        if fitted is None:
            left_out.append(record.label)
            continue
        entry = {
            "from": record.key,
            "label": label(fitted, space.lang, space.n_layers),
            "recipe": to_dict(fitted),
        }
        recipes.setdefault(key(fitted, space.n_layers), entry)
        if len(recipes) == COUNT:
            break
    if not recipes:
        raise StudyError(
            f"--import {source}: none of its {len(left_out)} scored layer swaps lies in this "
            "study's search space; widen space, or leave --import out"
        )
    return {
        "study": str(source),
        "id": head.id,
        "recipes": list(recipes.values()),
        "left_out": left_out[:COUNT],
    }


def fitted_to(recipe: Recipe, n_layers: int, space: MainSpace) -> Recipe | None:
    """A recipe as the space would propose it; None if it does not lie in the space.

    Args:
        recipe: of a model with `n_layers` layers.
        n_layers: number of layers there; another than the space's scales all counts of a layer
            swap, and none that was above 0 vanishes; of a wider form none lies in the space.
        space: where it is to be proposed.
    """
    if isinstance(recipe, LayerSwap):
        recipe = _moved(recipe, n_layers, space.swaps)
    elif isinstance(recipe, Layered) and n_layers == space.n_layers:
        task, lang = _pair(recipe, space)
        recipe = replace(recipe, task=task, lang=lang)
    else:
        return None
    for candidate in (recipe, replace(recipe, decoding=None)):
        if space.point(candidate) is not None:
            return candidate
    return None


def _moved(recipe: LayerSwap, n_layers: int, space: Space) -> LayerSwap:
    ratio = space.n_layers / n_layers

    def scaled(count: int) -> int:
        return max(1, round(count * ratio)) if count else 0

    low, high, step = space.shares
    share = low + step * round((min(max(recipe.share, low), high) - low) / step)
    b = scaled(recipe.b)
    moved = LayerSwap(
        *_pair(recipe, space),
        b=b,
        u=min(scaled(recipe.u), space.n_layers - b),
        t_b=scaled(recipe.t_b),
        t_u=scaled(recipe.t_u),
        w_task=1 - share,
        w_lang=share,
        non_layer=recipe.non_layer if recipe.non_layer in space.non_layer else space.non_layer[0],
        decoding=recipe.decoding,
        ramp=recipe.ramp if recipe.ramp in space.ramp else space.ramp[0],
    )
    return clip(moved, space.n_layers)


def _pair(recipe: Layered, space: MainSpace) -> Pair:
    """The pair of a recipe, or one that is searched in its place."""
    pair = recipe.task, recipe.lang
    alike = [other for other in space.pairs if other[0] == recipe.task]
    return pair if pair in space.pairs else (alike or space.pairs)[0]


def ranked(trials: Sequence[Record], n_layers: int, tolerance: float) -> Iterator[Record]:
    """A study's swaps in the order in which they are worth trying.

    The recommended swap, the Pareto front's others, then what would be recommended next.
    """
    given: set[str] = set()
    first = choose.best_swap(trials, n_layers, tolerance)
    for record in [*([first.record] if first else []), *choose.pareto(trials)]:
        if choose.is_swap(record.recipe, n_layers) and record.key not in given:
            given.add(record.key)
            yield record
    rest = trials
    while choice := choose.best_swap(rest, n_layers, tolerance):
        if choice.record.key not in given:
            yield choice.record
        rest = [record for record in rest if record.key != choice.record.key]
