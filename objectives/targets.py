"""What a merge is scored on, and which of the scores are optimised, in their order.

The one place that says so: the configuration has a section for each of `OBJECTIVES`; Optuna's
directions, the sampler, the choice, the comparison, tables, figures, MLflow and model cards read
`TARGETS`, which are those of the study that this process works on.
"""

from __future__ import annotations

from collections.abc import Iterable

from objectives.english import EnglishSettings
from objectives.lcpr import LcprSettings
from objectives.lm_eval import LmEvalSettings
from objectives.mgsm import MgsmSettings
from objectives.settings import Settings
from objectives.target import Target

OBJECTIVES: dict[str, type[Settings]] = {
    "mgsm": MgsmSettings,
    "lcpr": LcprSettings,
    "lm_eval": LmEvalSettings,
    "english": EnglishSettings,
}
"""What a merge may be scored on: name -> the settings that build it, a section of
`conf/objective`; the first two have one in each."""

DEFAULT = (MgsmSettings.target, LcprSettings.target)
TARGETS: tuple[Target, ...] = DEFAULT
"""The first is what a search is for; the others may not fall below their floors."""

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
    asked = {name: text for name, text in SHOWN_IF_ASKED.items() if name in there - known}
    return SHOWN | asked


def use(chosen: Iterable[Target] = DEFAULT) -> None:
    """From now on this process works on a study with these targets."""
    global TARGETS
    TARGETS = tuple(chosen)
