"""Which parameter of a layer swap decides a score: Optuna's importance, from records.

Owns which parameters those are and from how many trials on it is said. Makes a study of its own in
memory, so it needs no storage and no search.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from objectives.target import Target
from search.merging.recipe import Layered, LayerSwap, members
from search.merging.space.swap import uses_weights
from search.records.record import Record

FEWEST = 10
"""Trials under which it is not said: the best tenth would be less than one."""

Values = Mapping[str, int | float | str]


def importance(swaps: Sequence[Record], target: Target) -> dict[str, float]:
    """Share of each parameter in what makes the best tenth of the trials good (PED-ANOVA).

    Args:
        swaps: layer swaps with a value of the target.
        target: the score.

    Returns:
        Parameter -> share, all of them together 1, the greatest first; empty for fewer than
        `FEWEST` trials, where all scores are equal, and where nothing varies.
    """
    points = [(_values(r.recipe), r.value(target.score)) for r in swaps]
    known = [(point, value) for point, value in points if point and value is not None]
    names = sorted({name for point, _ in known for name in point})
    spread = {name: {point[name] for point, _ in known if name in point} for name in names}
    varied = {name: _distribution(values) for name, values in spread.items() if len(values) > 1}
    if len(known) < FEWEST or not varied or len({value for _, value in known}) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction=target.direction)
    for point, value in known:
        own = {name: point[name] for name in varied if name in point}
        study.add_trial(
            create_trial(
                params=own, distributions={name: varied[name] for name in own}, value=value
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


def _values(recipe: object) -> Values:
    if not isinstance(recipe, Layered):
        return {}
    sides = {"task expert": recipe.task, "language expert": recipe.lang}
    found: dict[str, int | float | str] = {
        name: "+".join(map(str, members(side))) for name, side in sides.items()
    }
    found |= {**recipe.numbers(), "non_layer": recipe.non_layer}
    if isinstance(recipe, LayerSwap):
        found["ramp"] = recipe.ramp
    if not uses_weights(recipe):
        found.pop("share", None)
    return found


def _distribution(values: set[int | float | str]) -> BaseDistribution:
    numbers = [value for value in values if not isinstance(value, str)]
    if not numbers:
        return CategoricalDistribution(sorted(map(str, values)))
    if all(isinstance(number, int) for number in numbers):
        return IntDistribution(int(min(numbers)), int(max(numbers)))
    return FloatDistribution(min(numbers), max(numbers))
