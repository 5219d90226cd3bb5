"""What a merge is scored on, and which of the scores are optimised, in their order.

The one place that says so: the configuration has a section for each of `OBJECTIVES`; Optuna's
directions, the sampler, the choice, the comparison, tables, figures, MLflow and model cards read
`TARGETS`. What a score means is its objective's to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from objectives.foreseen import Foresee, lcpr_draws
from objectives.lcpr import LcprSettings
from objectives.mgsm import MgsmSettings
from objectives.paired import Compare, Won, accuracy_difference, is_right, lcpr_difference
from objectives.settings import Settings
from objectives.types import ItemResult

OBJECTIVES: dict[str, type[Settings]] = {"mgsm": MgsmSettings, "lcpr": LcprSettings}
"""What a merge is scored on: name -> the settings that build it, a section of `conf/objective`."""


@dataclass(frozen=True)
class Target:
    """One score that is optimised.

    Attributes:
        score: name among an objective's scores, as in records and MLflow.
        objective: name of the objective that gives it.
        people: what tables and figures call it.
        compare: its paired difference between two models.
        direction: whether more is better.
        won: whether an item counts for the score; None where it is no share of items.
        foresee: draws of what the score of all items may be, from the first items; None where
            nothing foresees it.
    """

    score: str
    objective: str
    people: str
    compare: Compare
    direction: Literal["maximize", "minimize"] = "maximize"
    won: Won | None = None
    foresee: Foresee | None = None

    def gain(self, value: float) -> float:
        """The value, or its negative where less is better: more gain is always better."""
        return value if self.direction == "maximize" else -value

    def marks(self, items: Iterable[ItemResult]) -> dict[str, bool]:
        """Item -> whether it is good for a target that is a share of items, in their order.

        Args:
            items: per-item results of any objectives.
        """
        assert self.won is not None
        good = self.direction == "maximize"
        return {i.id: self.won(i.verdict) == good for i in items if i.objective == self.objective}


TARGETS = (
    Target("accuracy", "mgsm", "accuracy", accuracy_difference, won=is_right),
    Target("lcpr", "lcpr", "LCPR", lcpr_difference, foresee=lcpr_draws),
)
"""The first is what a search is for; the others may not fall below the language expert's."""

SHOWN = {"coverage": "coverage", "in_language": "in {lang}"}
"""Other scores that the final table shows -> what it calls them."""
