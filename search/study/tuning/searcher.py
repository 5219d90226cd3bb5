"""What Tune asks for the next trial and tells of ended ones: a thin adapter of the study's course.

Owns the words that Tune and `search.study.course` have for each other. Raises nothing into Tune,
which would go on as if nothing were.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from ray.tune.search import Searcher

from search.merging.recipe import to_dict
from search.study.course import Course
from search.study.outcome import ActorExit, TrialOutcome


class Actors(Protocol):
    """Who knows how a trial's actor ended: `search.study.tuning.watch.Watch`."""

    def actor_exit(self, trial_id: str, reported: bool) -> ActorExit:
        """What is known of a trial's actor; asked once for each trial that ended or was lost.

        Args:
            trial_id: Tune's.
            reported: whether the trial itself said how it ended.
        """


class StudySearcher(Searcher):
    """Tune's view of a study's course."""

    def __init__(self, course: Course, actors: Actors) -> None:
        """Adapt a course."""
        super().__init__()  # without a metric: Tune would keep averages of it for every trial
        self._course, self._actors = course, actors

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next recipe, None to be asked again later, or FINISHED."""
        try:
            running = self._course.hand_out(trial_id)
        except Exception as error:  # of Optuna's journal or database, or a fault of ours
            self._course.stop(error)
            running = None
        if running is None:
            return str(Searcher.FINISHED) if self._course.over else None
        bar = running.candidate.bar
        return {
            "bar": None if bar is None else bar.to_json(),
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
            self._course.take_back(trial_id, outcome, end)
        except Exception as fault:  # Tune would go on as if nothing were
            self._course.stop(fault)

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
