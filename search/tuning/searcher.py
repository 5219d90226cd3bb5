"""What Tune asks for the next trial and tells of ended ones.

Owns the order of things: baselines, then the search until its budget or the space is used up, then
the rival methods' searches, then the final table's recipes on the held-out items, all on the same
live engines. A trial is written to the records before Optuna or any listener hears of it; one that
lost its engine is proposed again. Knows nothing of MLflow, figures or terminals.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ray.tune.search import Searcher

from objectives.types import Split
from search.errors import StudyError
from search.merging.recipe import Recipe, from_dict, key, label, to_dict
from search.proposing.phase import Phase, Proposal
from search.records.record import Origin, Record
from search.records.writer import RecordsWriter
from search.study.retries import ENGINES, FAILURES, ActorExit, Tally, counted, settled
from search.tuning.trainable import TrialOutcome

REPEATS = 25
"""Repeated proposals in a row after which the next one is drawn from what is left of the space."""

SURE_SECONDS = 30.0
"""After that long a node that is not known to be dead lives: Ray notices a death within 20 s."""

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who wants to know how the study goes; called in the driver, must not block."""

    def started(self, name: str, origin: Origin) -> None:
        """A trial was handed to an engine."""

    def ended(self, record: Record) -> None:
        """A trial is in the records."""

    def repeated(self) -> None:
        """A proposal was answered from the records."""


class Cluster(Protocol):
    """What the order of things depends on: `search.tuning.watch.Watch`."""

    stopping: bool
    excluded_nodes: tuple[str, ...]
    n_dead: int

    def max_running(self) -> int:
        """How many trials may be handed out at a time."""

    def actor_exit(self, trial_id: str, reported: bool) -> ActorExit:
        """What is known of a trial that ended, or lost its engine untold; asked once for each."""

    def dead(self) -> set[str]:
        """Ids of the nodes that were lost."""

    def leave_out(self, node: str) -> None:
        """Let no new trial start on a node."""

    def has_room(self) -> bool:
        """Whether any node that may be used is large enough for an engine."""

    def stop(self) -> None:
        """End everything at once."""


@dataclass(frozen=True)
class Running:
    """A trial that has not ended; the final table's trials were proposed by nobody.

    `losses` names the node of each engine that died under it; None where it had not begun. It was
    told to keep off the nodes `excluded_nodes`, when `n_dead` nodes had been lost.
    """

    recipe: Recipe
    key: str
    origin: Origin
    split: Split
    proposal: Proposal | None
    losses: tuple[str | None, ...] = ()
    excluded_nodes: tuple[str, ...] = ()
    n_dead: int = 0


class StudySearcher(Searcher):
    """What Tune asks for the next trial and tells of ended ones.

    Raises nothing into Tune; `fault` holds what stopped the search, if anything did.
    """

    def __init__(
        self,
        *,
        phases: Sequence[Phase],
        lang: str,
        n_layers: int,
        records: RecordsWriter,
        final: Callable[[], Iterable[Recipe]],
        listeners: Iterable[Listener],
        cluster: Cluster,
    ) -> None:
        """Take up the study where its records end; the phases follow one another."""
        super().__init__()  # without a metric: Tune would keep averages of it for every trial
        self._phases = list(phases)
        self._lang = lang
        self._n_layers = n_layers
        self._records = records
        self._final = final
        self._listeners = list(listeners)
        self._cluster = cluster
        self._running: dict[str, Running] = {}
        self._again: list[Running] = []
        self._lost: list[tuple[float, Running]] = []
        self._held: dict[str, list[Proposal]] = {}
        self._queue: list[Recipe] | None = None
        self._seen = self._phases[0].space.seen
        self._ended = settled(records.trials, "search")
        self._proposed = Counter(record.origin for record in records.trials)
        self._tally = Tally()
        self.finished = False
        self.fault: StudyError | None = None
        self._seen.update(self._ended)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next recipe, None to be asked again later, or FINISHED."""
        try:
            return self._suggest(trial_id)
        except Exception as error:  # of Optuna's journal or database, or a fault of ours
            self._stop(self._fault_of(error))
            return str(Searcher.FINISHED)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Record an ended trial, then tell Optuna, then the listeners; one that was lost waits."""
        try:
            self._complete(trial_id, result)
        except Exception as error:  # Tune would go on as if nothing were
            self._stop(self._fault_of(error))

    def _complete(self, trial_id: str, result: dict[str, Any] | None) -> None:
        running = self._running.pop(trial_id, None)
        if running is None:
            return
        outcome: TrialOutcome | None = (result or {}).pop("outcome", None)
        left = self._cluster.actor_exit(trial_id, outcome is not None)
        if outcome is None and left.limit is not None:
            reason = f"it took longer than {left.limit:.0f} s (search.trial_timeout) and was ended"
            outcome = TrialOutcome("failed", reason)
        # excluded since it was handed out
        bad = set(self._cluster.excluded_nodes) - set(running.excluded_nodes)
        if outcome is not None and outcome.state == "failed" and left.node in bad:
            self._again.append(running)
            return
        if outcome is not None:
            self._end(running, outcome, left.node)
            return
        if self._cluster.stopping:
            return  # it was killed in order
        running = replace(running, losses=(*running.losses, left.node))
        if left.node is None and len(self._cluster.dead()) > running.n_dead:
            self._again.append(running)  # its engine was starting on a node that is gone
            return
        if left.node is None and self._failed(None, "the engine's process did not start"):
            return
        if len([node for node in running.losses if node is not None]) < ENGINES:
            self._again.append(running)
        else:
            self._lost.append((time.monotonic(), running))  # a node's death is known later

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

    def _suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        self._judge_lost()
        if self.fault or self._cluster.stopping:
            return str(Searcher.FINISHED)
        if len(self._running) >= self._cluster.max_running():
            return None
        running = self._again.pop(0) if self._again else self._next()
        if running is None:
            if self._running or self._lost:
                return None
            self.finished = True
            return str(Searcher.FINISHED)
        excluded_nodes, n_dead = self._cluster.excluded_nodes, self._cluster.n_dead
        self._running[trial_id] = replace(running, excluded_nodes=excluded_nodes, n_dead=n_dead)
        if not running.losses:
            name = label(running.recipe, self._lang, self._n_layers)
            for listener in self._listeners:
                listener.started(name, running.origin)
        return {
            "recipe": json.dumps(to_dict(running.recipe)),
            "split": running.split,
            "excluded_nodes": list(self._cluster.excluded_nodes),
        }

    def _judge_lost(self) -> None:
        """Whether engines died under a trial, or their nodes did: then it costs no retry."""
        waiting, self._lost = self._lost, []
        dead = self._cluster.dead() if waiting else set()
        for since, running in waiting:
            losses = counted(running.losses, dead)
            if len(losses) < ENGINES:
                self._again.append(replace(running, losses=losses or (None,)))
            elif time.monotonic() - since < SURE_SECONDS:
                self._lost.append((since, running))
            else:
                reason = f"the engine's process died {len(losses)} times (killed, or out of memory)"
                self._end(running, TrialOutcome("failed", reason), losses[-1])

    def _end(self, running: Running, outcome: TrialOutcome, node: str | None) -> None:
        losses = counted(running.losses, self._cluster.dead()) if running.losses else ()
        if outcome.state != "failed" or outcome.host:  # else no engine answered
            outcome = replace(outcome, attempts=outcome.attempts + len(losses))
        elif losses:
            outcome = replace(outcome, attempts=len(losses))
        try:
            record = self._record(running, outcome)
        except StudyError as fault:
            self._stop(fault)
            return
        try:
            for proposal in (running.proposal, *self._held.pop(running.key, [])):
                if proposal is not None:
                    proposal.tell(record)
        except (OSError, StudyError) as error:  # Optuna's; the trial is in the records
            self._stop(self._fault_of(error))
        if record.state == "failed":
            self._failed(node, record.reason)
        else:
            self._tally.succeeded(node)
        for listener in self._listeners:
            try:
                listener.ended(record)
            except Exception:  # a display that fails must not cost the trials that follow
                _log.exception("%s could not be told of %s", type(listener).__name__, record.label)

    def _failed(self, node: str | None, reason: str) -> bool:
        """Count a failure; whether the search ends with it."""
        if self._tally.failed(node) and node is not None:
            self._cluster.leave_out(node)
            what = f"{FAILURES} trials failed in a row on node {node[:8]}: it is not used further"
            if self._cluster.has_room():
                self._tally.explained()
                _log.warning("%s; the last with: %s", what, reason)
                return False
            what += ", and no other has room for an engine"
        elif self._tally.hopeless:
            what = "trials fail wherever they run"
        else:
            return False
        self._stop(
            StudyError(
                f"{what}; the last with: {reason}\n"
                f"Mend the cause, then --resume {self._records.place}"
            )
        )
        return True

    def _stop(self, fault: StudyError) -> None:
        self.fault = self.fault or fault
        self._cluster.stop()

    def _fault_of(self, error: Exception) -> StudyError:
        folder, place = self._records.folder, self._records.place
        if isinstance(error, StudyError):
            return error
        if isinstance(error, OSError):
            return StudyError(
                f"the study's log in {folder} cannot be written: {error}; make room, then --resume "
                f"{place}"
            )
        _log.error("the search stops by a fault of its own", exc_info=error)
        what = f"{type(error).__name__}: {error}"
        return StudyError(f"the search stopped by a fault of its own: {what}; --resume {place}")

    def _next(self) -> Running | None:
        while self._phases:
            phase = self._phases[0]
            left = self._proposed[phase.origin] < phase.trials
            found = self._propose(phase) if left else self._owed(phase)
            if found is not None:
                self._proposed[found.origin] += 1
                return found
            self._phases.pop(0)
        if self._queue is None and (self._running or self._lost):
            return None  # the choice needs every search trial's end
        if self._queue is None:
            done = settled(self._records.trials, "held_out")
            self._queue = [r for r in self._final() if key(r, self._n_layers) not in done]
        if not self._queue:
            return None
        recipe = self._queue.pop(0)
        return Running(recipe, key(recipe, self._n_layers), "final", "held_out", None)

    def _owed(self, phase: Phase) -> Running | None:
        """A baseline that has no end yet, as after a crash; it costs nothing of the budget."""
        while phase.owes_baseline():
            proposal = phase.propose()
            if proposal.key in self._seen:
                self._answer(proposal)
            elif proposal.origin == "baseline":
                self._seen.add(proposal.key)
                return _running(proposal)
            else:
                proposal.drop()  # the next driver proposes it first again
        return None

    def _propose(self, phase: Phase) -> Running | None:
        """Ask Optuna until it names a recipe that was never asked for; None if all were."""
        for repeats in itertools.count(1):
            proposal = phase.propose()
            name = proposal.key
            if name not in self._seen:
                self._seen.add(name)
                return _running(proposal)
            for listener in self._listeners:
                listener.repeated()
            self._answer(proposal)
            if repeats % REPEATS == 0:
                point = phase.space.unseen(seed=repeats + len(self._records.trials))
                if point is None:
                    return None
                phase.first(point)
        return None

    def _answer(self, proposal: Proposal) -> None:
        """Tell a repeated proposal its end, now or when it comes."""
        ended = self._ended.get(proposal.key)
        if ended is not None:
            proposal.tell(ended)
        else:
            self._held.setdefault(proposal.key, []).append(proposal)

    def _record(self, running: Running, outcome: TrialOutcome) -> Record:
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
        record = self._records.append(record, outcome.items)
        if record.split == "search":
            self._ended[record.key] = record
        return record


def _running(proposal: Proposal) -> Running:
    recipe = from_dict(json.loads(proposal.recipe))
    return Running(recipe, proposal.key, proposal.origin, "search", proposal)
