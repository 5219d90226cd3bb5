"""What is optimised: the scores that a search looks at, in their order.

The one place that says so: Optuna's directions, the sampler, the choice, the comparison, tables,
figures, MLflow and model cards read `TARGETS`. What a score means is its objective's to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Target:
    """One score that is optimised.

    Attributes:
        score: name among an objective's scores, as in records and MLflow.
        objective: name of the objective that gives it.
        people: what tables and figures call it.
        direction: whether more is better.
    """

    score: str
    objective: str
    people: str
    direction: Literal["maximize", "minimize"] = "maximize"


TARGETS = (Target("accuracy", "mgsm", "accuracy"), Target("lcpr", "lcpr", "LCPR"))
"""The first is what a search is for; the others may not fall below the language expert's."""
