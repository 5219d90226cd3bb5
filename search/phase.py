"""One search with a budget of its own, as OptunaSearch sees it, and its proposals.

Owns what Optuna is told of a trial's end. When a phase's turn comes is `search.searcher`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from ray.tune.search.optuna import OptunaSearch

from search.record import Origin, Record
from search.trainable import METRICS


class SearchSpace(Protocol):
    """What is searched: `search.space.Space`, or a rival's `search.rivals.RivalSpace`."""

    seen: set[str]

    def unseen(self, seed: int) -> dict[str, Any] | None:
        """Parameters of a recipe that was never proposed; None when there are none."""


@dataclass(frozen=True, eq=False)
class Phase:
    """One search with a budget of its own.

    Attributes:
        origin: `search`, or the name of a rival method; counts the trials it proposed.
        space: what is searched; all phases share one `seen`.
        study: Optuna's study.
        optuna_search: Tune's view of it.
        trials: distinct recipes to score.
    """

    origin: Origin
    space: SearchSpace
    study: optuna.Study
    optuna_search: OptunaSearch
    trials: int


@dataclass(frozen=True)
class Proposal:
    """OptunaSearch's name of a trial that it waits to hear of."""

    phase: Phase
    name: str

    def tell(self, record: Record) -> None:
        """Values for a scored trial; an infeasible or failed one is FAIL in Optuna, not "worst"."""
        if record.state == "scored":
            values = {name: record.value(name) for name in METRICS}
            self.phase.optuna_search.on_trial_complete(self.name, result=values)
        else:
            self.phase.optuna_search.on_trial_complete(self.name, error=True)
