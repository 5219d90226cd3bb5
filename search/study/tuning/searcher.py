"""What Tune asks for the next trial and tells of ended ones: a thin adapter of the dispatcher.

Owns which study's turn it is, and the words that Tune and `search.study.dispatcher` have for each
other. Raises nothing into Tune, which would go on as if nothing were.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ray.tune.search import Searcher

from search.merging.recipe import to_dict
from search.study.dispatcher import Dispatcher
from search.study.outcome import ActorExit, TrialOutcome


class Actors(Protocol):
    """Who knows how a trial's actor ended: `search.study.tuning.watch.Watch`."""

    def actor_exit(self, trial_id: str, reported: bool) -> ActorExit:
        """What is known of a trial's actor; asked once for each trial that ended or was lost.

        Args:
            trial_id: Tune's.
            reported: whether the trial itself said how it ended.
        """


@dataclass(frozen=True)
class Turn:
    """A study that is under way.

    Attributes:
        dispatcher: its dispatcher.
        study: its name.
        last: whether Tune may end with it.
    """

    dispatcher: Dispatcher
    study: str
    last: bool


class StudySearcher(Searcher):
    """Tune's view of one study's dispatcher after another's."""

    def __init__(
        self, dispatcher: Dispatcher, actors: Actors, *, study: str = "", last: bool = True
    ) -> None:
        """Adapt a dispatcher.

        Args:
            dispatcher: the first study's.
            actors: who knows how an actor ended.
            study: as in `turn`.
            last: as in `turn`.
        """
        super().__init__()  # without a metric: Tune would keep averages of it for every trial
        self._actors = actors
        self.turn(dispatcher, study=study, last=last)

    def turn(self, dispatcher: Dispatcher, *, study: str, last: bool) -> None:
        """Go on with another study, when the one before is finished; in any thread.

        Args:
            dispatcher: that study's.
            study: its name, which actors know it by.
            last: whether Tune may end with it; else its engines wait for another.
        """
        self._turn = Turn(dispatcher, study, last)

    def release(self) -> None:
        """No other study follows."""
        self._turn = replace(self._turn, last=True)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next recipe, None to be asked again later, or FINISHED."""
        turn = self._turn
        try:
            running = turn.dispatcher.hand_out(trial_id)
        except Exception as error:  # of Optuna's journal or database, or a fault of ours
            turn.dispatcher.stop(error)
            running = None
        if running is None:
            ends = turn.dispatcher.over and (turn.last or not turn.dispatcher.finished)
            return str(Searcher.FINISHED) if ends else None
        threshold = running.candidate.threshold
        return {
            "study": turn.study,
            "threshold": None if threshold is None else threshold.to_json(),
            "recipe": json.dumps(to_dict(running.candidate.recipe)),
            "split": running.candidate.split,
            "excluded_nodes": list(running.excluded_nodes),
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A trial ended with its outcome, or lost its actor."""
        try:
            outcome: TrialOutcome | None = (result or {}).pop("outcome", None)
            end = self._actors.actor_exit(trial_id, outcome is not None)
            self._turn.dispatcher.take_back(trial_id, outcome, end)
        except Exception as fault:  # Tune would go on as if nothing were
            self._turn.dispatcher.stop(fault)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Trials report once, at their end."""

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its tuner for a restore of its own, which we never ask for."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the records and Optuna's journal hold the state."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Never called: a study is resumed from its records."""
