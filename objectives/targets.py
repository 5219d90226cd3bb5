"""What a merge is scored on, and which of the scores are optimised, in their order.

The one place that says so: the configuration has a section for each of `OBJECTIVES`; Optuna's
directions, the sampler, the choice, the comparison, tables, figures, MLflow and model cards read
`TARGETS`, which are those of the study that this process works on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from objectives.code import CodeSettings
from objectives.english import EnglishSettings
from objectives.errors import SettingError
from objectives.lcpr import LcprSettings
from objectives.lm_eval import LmEvalSettings
from objectives.mgsm import MgsmSettings
from objectives.settings import Settings
from objectives.target import Target
from objectives.types import ItemResult, Objective, Score

OBJECTIVES: dict[str, type[Settings]] = {
    "mgsm": MgsmSettings,
    "lcpr": LcprSettings,
    "lm_eval": LmEvalSettings,
    "english": EnglishSettings,
    "code": CodeSettings,
}
"""What a merge may be scored on: name -> the settings that build it, a section of
`conf/objective`; the first two have one in each."""

DEFAULT = (MgsmSettings.target, LcprSettings.target)
TARGETS: tuple[Target, ...] = DEFAULT
"""The first is what a search is for; the others may not fall below their floors."""

Combined = Literal["mean", "worst"] | Mapping[str, float]
"""What several tasks come to: their mean, the worst of them, or the weight of each in a mean."""

SHOWN = {"coverage": "coverage", "in_language": "in {lang}"}
"""Other scores that the final table shows -> what it calls them."""

SHOWN_IF_ASKED = {"english_accuracy": "English"}
"""The same, where a study has them."""


def shown(scores: Iterable[str]) -> dict[str, str]:
    """Scores beside the targets that the table of a study shows, and what it calls them.

    Args:
        scores: names of all that the study has.
    """
    there, known = set(scores), {target.score for target in TARGETS}
    parts = {part.score: part.people for target in TARGETS for part in target.of}
    asked = {n: text for n, text in (parts | SHOWN_IF_ASKED).items() if n in there - known}
    return SHOWN | asked


def several(tasks: Mapping[str, Target], combine: Combined) -> Target:
    """The one score that several tasks come to.

    Args:
        tasks: name in the configuration -> what each is scored by.
        combine: their mean, the worst of them, or a mean with these weights.

    Raises:
        SettingError: the weights are of other tasks, or a score cannot be combined.
    """
    parts = tuple(tasks.values())
    for name, part in tasks.items():
        if part.direction == "minimize" or not (part.item or part.kind == "parts"):
            raise SettingError(
                f"objective.task: {name} is no part of several tasks: its target must be a mean "
                "over items, of which more is better"
            )
    if combine == "worst":
        return Target("combined", "", "worst task", kind="worst", of=parts)
    named = dict.fromkeys(tasks, 1.0) if combine == "mean" else combine
    if set(named) != set(tasks):
        raise SettingError(
            f"objective.combine has weights of {', '.join(sorted(named))}; objective.task names "
            f"{', '.join(tasks)}: give one for each"
        )
    weights = tuple(named[name] for name in tasks)
    return Target("combined", "", "mean of tasks", kind="weighted", of=parts, weights=weights)


def known(chosen: Iterable[Target], objectives: Iterable[Objective]) -> tuple[Target, ...]:
    """Targets as objectives know them once they have read their data.

    Args:
        chosen: of the configuration.
        objectives: what is scored; one may have a `target`, which says of what kind its score is.
    """
    own = {one.target.score: one.target for one in objectives if hasattr(one, "target")}
    return tuple(
        replace(t, kind=own[t.score].kind, item=own[t.score].item) if t.score in own else t
        for t in chosen
    )


def combined(items: Sequence[ItemResult]) -> dict[str, Score]:
    """The scores that are made of several tasks': name -> score.

    Args:
        items: per-item results of all objectives.
    """
    found = {target.score: target.combined(items) for target in TARGETS}
    return {name: score for name, score in found.items() if score is not None}


def use(chosen: Iterable[Target] = DEFAULT) -> None:
    """From now on this process works on a study with these targets."""
    global TARGETS
    TARGETS = tuple(chosen)
