"""One search with a budget of its own, and its proposals.

Owns what Optuna is asked and told while a study runs, and that a database which goes away for a
while costs nothing. When a phase's turn comes is `search.study.order`'s.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState

from objectives import targets
from search.common.ending import ENDING
from search.common.errors import StudyError
from search.merging.space.contract import SearchSpace
from search.merging.space.proposal import BASELINE
from search.records.record import Origin, Record
from search.study.floors import believed
from search.study.proposing.model import ModelSampler

AWAY_SECONDS = 60.0
"""How long a database that has gone away is asked again; the engines' trials go on meanwhile."""
PAUSE_SECONDS = 2.0

T = TypeVar("T")

Point = Mapping[str, Any]
"""What a trial is fixed to: parameters, or a recipe (JSON) under `BASELINE`."""


@dataclass(frozen=True, eq=False)
class Phase:
    """One search with a budget of its own.

    Attributes:
        origin: `search`, or the name of a rival method; counts the trials it proposed.
        space: what is searched; all phases share one `seen`.
        study: Optuna's study, with its sampler.
        trials: distinct recipes to score.
        queue: what is proposed before the sampler is asked.
    """

    origin: Origin
    space: SearchSpace
    study: optuna.Study
    trials: int
    queue: deque[Point] = field(default_factory=deque)

    @property
    def seen(self) -> set[str]:
        """Keys already proposed, by any phase."""
        return self.space.seen

    def propose(self, place: int) -> Proposal:
        """Ask Optuna for a recipe: the first of the queue, or the sampler's.

        Args:
            place: of the proposal in the study's order.

        Raises:
            OSError: Optuna's journal cannot be written.
            StudyError: its database is away.
        """
        sampler = self.study.sampler
        if isinstance(sampler, ModelSampler):
            sampler.place = place
        if self.queue:
            _patiently(self._enqueue)
            self.queue.popleft()
        trial, suggested = _patiently(self._ask)
        return Proposal(self.study, trial, **suggested)

    def first(self, point: dict[str, Any]) -> None:
        """Propose these parameters next."""
        self.queue.appendleft(point)

    def unseen(self, seed: int) -> dict[str, Any] | None:
        """Parameters of a recipe that was never proposed; None when there are none."""
        return self.space.unseen(seed)

    def owes_baseline(self) -> bool:
        """Whether a recipe waits that costs nothing of the budget, as after a crash."""
        return any(BASELINE in point for point in self.queue)

    def _enqueue(self) -> None:
        """Let Optuna's next trial be the first of the queue."""
        point = dict(self.queue[0])
        recipe = {name: point.pop(name) for name in (BASELINE,) if name in point}
        self.study.enqueue_trial(point, user_attrs=recipe)

    def _ask(self) -> tuple[optuna.Trial, dict[str, Any]]:
        trial = self.study.ask()
        return trial, self.space(trial)


@dataclass(frozen=True, eq=False)
class Proposal:
    """A recipe whose end Optuna waits to hear of.

    Attributes:
        study: Optuna's study.
        trial: its trial.
        recipe: as JSON.
        key: the recipe's.
        origin: who proposed it.
    """

    study: optuna.Study
    trial: optuna.Trial
    recipe: str
    key: str
    origin: Origin

    def tell(self, record: Record) -> None:
        """Values for a scored trial, an estimate for one that was stopped.

        An infeasible or failed one is FAIL in Optuna, not "worst".

        Raises:
            OSError: Optuna's journal cannot be written.
            StudyError: its database is away.
        """
        values = in_order(record)
        state = TrialState.FAIL if values is None else TrialState.COMPLETE
        # told again where only the answer was lost
        _patiently(lambda: self.study.tell(self.trial, values, state, skip_if_finished=True))

    def drop(self) -> None:
        """It is not tried; raises as `tell` does."""
        _patiently(
            lambda: self.study.tell(self.trial, state=TrialState.FAIL, skip_if_finished=True)
        )


def in_order(record: Record) -> list[float] | None:
    """A trial's targets as Optuna has them; None where it has no scores to compare."""
    values = [believed(record, target) for target in targets.TARGETS]
    if record.state not in ("scored", "stopped") or None in values:
        return None
    return [value for value in values if value is not None]


def _patiently(call: Callable[[], T]) -> T:
    """Call again while a database is away."""
    deadline = time.monotonic() + AWAY_SECONDS
    while True:
        try:
            return call()
        except StorageInternalError as error:
            if time.monotonic() > deadline or ENDING.is_set():
                cause = error.__cause__ or error
                raise StudyError(
                    f"Optuna's storage is away: {str(cause).partition(chr(10))[0]}; start "
                    "or mend it, then --resume the study"
                ) from None
            ENDING.wait(PAUSE_SECONDS)
