"""What Tune asks for the next trial and tells of ended ones, around OptunaSearch.

Owns the order of things: baselines, then the search until its budget or the space is used up, then
the rival methods' searches, then the final table's recipes on the held-out items, all on the same
live engines. A trial is written to the records before Optuna or any listener hears of it. Knows
nothing of MLflow, figures or terminals.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from objectives.types import Split
from search.errors import StudyError
from search.recipe import AnyRecipe, from_dict, key, label, to_dict
from search.records import Origin, Record, Records
from search.trainable import METRICS, Outcome

REPEATS = 25
"""Repeated proposals in a row after which the next one is drawn from what is left of the space."""

FAILURES = 3
"""Failed trials in a row that end the search: by then it is the set-up that is broken."""


class Listener(Protocol):
    """Who wants to know how the study goes; called in the driver, must not block."""

    def started(self, name: str, origin: Origin) -> None:
        """A trial was handed to an engine."""

    def ended(self, record: Record) -> None:
        """A trial is in the records."""

    def repeated(self) -> None:
        """A proposal was answered from the records."""


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


@dataclass(frozen=True)
class Running:
    """A trial that an engine works on; the final table's trials were proposed by nobody."""

    recipe: AnyRecipe
    key: str
    origin: Origin
    split: Split
    proposal: Proposal | None


class StudySearcher(Searcher):
    """What Tune asks for the next trial and tells of ended ones, around OptunaSearch.

    Raises nothing into Tune; `fault` holds what stopped the search, if anything did.
    """

    def __init__(
        self,
        *,
        phases: Sequence[Phase],
        lang: str,
        n_layers: int,
        records: Records,
        engines: int | None,
        final: Callable[[], Iterable[AnyRecipe]],
        listeners: Iterable[Listener],
    ) -> None:
        """Take up the study where its records end; the phases follow one another."""
        super().__init__(metric=list(METRICS), mode=["max"] * len(METRICS))
        self._phases = list(phases)
        self._lang = lang
        self._n_layers = n_layers
        self._records = records
        self._engines = engines
        self._final = final
        self._listeners = list(listeners)
        self._running: dict[str, Running] = {}
        self._held: dict[str, list[Proposal]] = {}
        self._counter = itertools.count()
        self._queue: list[AnyRecipe] | None = None
        self._seen = self._phases[0].space.seen
        self._failures = 0
        self.finished = False
        self.fault: StudyError | None = None
        self._seen.update(records.ended("search"))

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next recipe, None to be asked again later, or FINISHED."""
        if self.fault:
            return str(Searcher.FINISHED)
        if self._engines is not None and len(self._running) >= self._engines:
            return None
        proposal = self._next()
        if proposal is None:
            if self._running:
                return None
            self.finished = True
            return str(Searcher.FINISHED)
        self._running[trial_id] = proposal
        name = label(proposal.recipe, self._lang, self._n_layers)
        for listener in self._listeners:
            listener.started(name, proposal.origin)
        return {"recipe": json.dumps(to_dict(proposal.recipe)), "split": proposal.split}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Record an ended trial, then tell Optuna, then the listeners."""
        running = self._running.pop(trial_id, None)
        if running is None:
            return
        outcome = (result or {}).pop("outcome", None)
        if outcome is None:
            outcome = Outcome(
                "failed", "the engine's process died (killed, out of memory, or its node lost)"
            )
        try:
            record = self._record(running, outcome)
        except StudyError as fault:
            self.fault = fault
            return
        for proposal in (running.proposal, *self._held.pop(running.key, [])):
            if proposal is not None:
                proposal.tell(record)
        for listener in self._listeners:
            listener.ended(record)
        self._failures = self._failures + 1 if record.state == "failed" else 0
        if self._failures >= FAILURES:
            self.fault = StudyError(
                f"{FAILURES} trials failed in a row, the last with: {record.reason}\n"
                f"Mend the cause, then --resume {self._records.folder}"
            )

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

    def _next(self) -> Running | None:
        while self._phases:
            if not self._is_over(self._phases[0]):
                found = self._propose(self._phases[0])
                if found is not None:
                    return found
            self._phases.pop(0)
        if self._running and self._queue is None:
            return None  # the choice needs every search trial's end
        if self._queue is None:
            done = self._records.ended("held_out")
            self._queue = [r for r in self._final() if key(r, self._n_layers) not in done]
        if not self._queue:
            return None
        recipe = self._queue.pop(0)
        return Running(recipe, key(recipe, self._n_layers), "final", "held_out", None)

    def _is_over(self, phase: Phase) -> bool:
        ended = sum(record.origin == phase.origin for record in self._records.trials)
        under_way = sum(running.origin == phase.origin for running in self._running.values())
        return ended + under_way >= phase.trials

    def _propose(self, phase: Phase) -> Running | None:
        """Ask Optuna until it names a recipe that was never asked for; None if all were."""
        for repeats in itertools.count(1):
            proposal = Proposal(phase, str(next(self._counter)))
            config = phase.optuna_search.suggest(proposal.name)
            name = config["key"]
            if name not in self._seen:
                self._seen.add(name)
                recipe = from_dict(json.loads(config["recipe"]))
                return Running(recipe, name, config["origin"], "search", proposal)
            for listener in self._listeners:
                listener.repeated()
            ended = self._records.ended("search").get(name)
            if ended is not None:
                proposal.tell(ended)
            else:
                self._held.setdefault(name, []).append(proposal)
            if repeats % REPEATS == 0:
                point = phase.space.unseen(seed=repeats + len(self._records.trials))
                if point is None:
                    return None
                phase.study.enqueue_trial(point)
        return None

    def _record(self, running: Running, outcome: Outcome) -> Record:
        fields = {k: v for k, v in outcome.__dict__.items() if k != "items"}
        record = Record(
            number=0,
            key=running.key,
            split=running.split,
            origin=running.origin,
            label=label(running.recipe, self._lang, self._n_layers),
            recipe=running.recipe,
            ended=time.time(),
            **fields,
        )
        return self._records.append(record, outcome.items)
