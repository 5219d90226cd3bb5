"""The dispatcher of a study: hands trials out and takes their ends back, until all is done.

Owns that a trial is in the records before Optuna or any listener hears of it, that one which lost
its engine is handed out again, and that failures in a row exclude a node or end the search. What is
proposed is `search.study.order`'s, what becomes of a trial `search.study.fate`'s. Knows nothing of
Ray, MLflow or terminals.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from traceback import format_exception
from typing import Protocol

from search.common.errors import StudyError
from search.common.masking import masked
from search.merging.recipe import label
from search.records.record import Origin, Record
from search.records.writer import RecordsWriter
from search.study.fate import Fate, Known, Losses, judge
from search.study.order import Candidate, Order
from search.study.outcome import ActorExit, TrialOutcome
from search.study.retries import FAILURES, FailureCounts

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who wants to know how the study goes; called in the driver, must not block."""

    def started(self, name: str, origin: Origin) -> None:
        """A trial was handed to an engine; once for each, however often it is tried."""

    def ended(self, record: Record) -> None:
        """A trial is in the records."""

    def repeated(self) -> None:
        """A proposal was answered from the records."""


class Cluster(Protocol):
    """What the dispatcher depends on: `search.study.tuning.watch.Watch`."""

    stopping: bool
    excluded_nodes: tuple[str, ...]
    n_dead: int

    def max_running(self) -> int:
        """How many trials may be handed out at a time."""

    def dead(self) -> set[str]:
        """Ids of the nodes that were lost."""

    def exclude(self, node: str) -> None:
        """Let no new trial start on a node."""

    def has_room(self) -> bool:
        """Whether any node that may be used is large enough for an engine."""

    def stop(self) -> None:
        """End everything at once."""


@dataclass(frozen=True)
class Running:
    """A trial that was handed out and has not ended.

    Attributes:
        candidate: what is scored.
        losses: engines that died under it.
        excluded_nodes: nodes that it was told to keep off.
        n_dead: how many nodes had been lost when it was handed out.
        end: how its last actor ended, if one died under it.
        since: clock in seconds, when that was.
        announced: whether the listeners know that it started.
    """

    candidate: Candidate
    losses: Losses = ()
    excluded_nodes: tuple[str, ...] = ()
    n_dead: int = 0
    end: ActorExit = ActorExit(None)
    since: float = 0.0
    announced: bool = False


class Dispatcher:
    """Hands trials out and takes their ends back; all calls are the driver's one thread's.

    Attributes:
        finished: whether the final table's recipes are scored.
        fault: what stopped the search, if anything did.
    """

    def __init__(
        self,
        order: Order,
        records: RecordsWriter,
        cluster: Cluster,
        listeners: Iterable[Listener],
        *,
        lang: str,
        n_layers: int,
    ) -> None:
        """Begin with nothing handed out.

        Args:
            order: what is proposed when.
            records: the study's, for appending.
            cluster: where trials run.
            listeners: told of every start and end.
            lang: language code, for names.
            n_layers: the model's number of layers L, for names.
        """
        self._order, self._records, self._cluster = order, records, cluster
        self._listeners = list(listeners)
        self._lang, self._n_layers = lang, n_layers
        self._running: dict[str, Running] = {}
        self._again: list[Running] = []
        self._lost: list[Running] = []
        self._failures = FailureCounts()
        self.finished = False
        self.fault: StudyError | None = None

    @property
    def over(self) -> bool:
        """Whether nothing will be handed out any more."""
        return self.finished or self.fault is not None or self._cluster.stopping

    def hand_out(self, trial_id: str) -> Running | None:
        """The next trial; None if there is none now, or none any more (`over`)."""
        self._judge_lost()
        if self.over or len(self._running) >= self._cluster.max_running():
            return None
        running = self._again.pop(0) if self._again else self._next()
        if running is None:
            self.finished = not (self._running or self._lost)
            return None
        excluded, n_dead = self._cluster.excluded_nodes, self._cluster.n_dead
        if not running.announced:
            name = self._name(running.candidate)
            for listener in self._listeners:
                listener.started(name, running.candidate.origin)
        running = replace(running, excluded_nodes=excluded, n_dead=n_dead, announced=True)
        self._running[trial_id] = running
        return running

    def take_back(self, trial_id: str, outcome: TrialOutcome | None, end: ActorExit) -> None:
        """A trial ended with an outcome, or its actor died without one."""
        running = self._running.pop(trial_id, None)
        if running is None:
            return
        if outcome is None:
            losses = (*running.losses, end.node)
            running = replace(running, losses=losses, end=end, since=time.monotonic())
        dead = self._cluster.dead() if outcome is None or running.losses else set[str]()
        self._act(running, self._fate(running, outcome, end, dead))

    def stop(self, error: Exception) -> None:
        """End the search by a fault, which is said as what a user can do about it."""
        self.fault = self.fault or self._fault_of(error)
        self._cluster.stop()

    def _next(self) -> Running | None:
        candidate = self._order.next()
        return None if candidate is None else Running(candidate)

    def _judge_lost(self) -> None:
        lost, self._lost = self._lost, []
        dead = self._cluster.dead() if lost else set[str]()
        for running in lost:
            self._act(running, self._fate(running, None, running.end, dead))

    def _fate(
        self, running: Running, outcome: TrialOutcome | None, end: ActorExit, dead: set[str]
    ) -> Fate:
        excluded = set(self._cluster.excluded_nodes) - set(running.excluded_nodes)
        known = Known(
            outcome,
            end,
            losses=running.losses,
            dead=dead,
            excluded=excluded,
            n_dead=running.n_dead,
            stopping=self._cluster.stopping,
            waited=time.monotonic() - running.since,
        )
        return judge(known)

    def _act(self, running: Running, fate: Fate) -> None:
        running = replace(running, losses=fate.losses)
        if fate.verdict == "record":
            assert fate.outcome is not None
            self._end(running.candidate, fate.outcome, fate.node)
        elif fate.verdict == "wait":
            self._lost.append(running)
        elif fate.verdict == "again":
            if fate.unstarted and self._failed(None, "the engine's process did not start"):
                return
            self._again.append(running)

    def _end(self, candidate: Candidate, outcome: TrialOutcome, node: str | None) -> None:
        try:
            record = self._record(candidate, outcome)
        except StudyError as fault:
            self.stop(fault)
            return
        try:
            self._order.ended(candidate, record)
        except (OSError, StudyError) as error:  # Optuna's; the trial is in the records
            self.stop(error)
        if record.state == "failed":
            self._failed(node, record.reason)
        else:
            self._failures.succeeded(node)
        for listener in self._listeners:
            try:
                listener.ended(record)
            except Exception:  # a display that fails must not cost the trials that follow
                _log.exception("%s could not be told of %s", type(listener).__name__, record.label)

    def _record(self, candidate: Candidate, outcome: TrialOutcome) -> Record:
        fields = {k: v for k, v in outcome.__dict__.items() if k != "items"}
        record = Record(
            number=0,
            key=candidate.key,
            split=candidate.split,
            origin=candidate.origin,
            label=self._name(candidate),
            recipe=candidate.recipe,
            ended=time.time(),
            place=candidate.place,
            **fields,
        )
        return self._records.append(record, outcome.items)

    def _failed(self, node: str | None, reason: str) -> bool:
        """Count a failure; whether the search ends with it."""
        if self._failures.failed(node) and node is not None:
            self._cluster.exclude(node)
            what = f"{FAILURES} trials failed in a row on node {node[:8]}: it is not used further"
            if self._cluster.has_room():
                self._failures.explained()
                _log.warning("%s; the last with: %s", what, reason)
                return False
            what += ", and no other has room for an engine"
        elif self._failures.hopeless:
            what = "trials fail wherever they run"
        else:
            return False
        mend = f"Mend the cause, then --resume {self._records.path}"
        self.stop(StudyError(f"{what}; the last with: {reason}\n{mend}"))
        return True

    def _fault_of(self, error: Exception) -> StudyError:
        folder, path = self._records.folder, self._records.path
        if isinstance(error, StudyError):
            return error
        if isinstance(error, OSError):
            return StudyError(
                f"the study's log in {folder} cannot be written: {error}; make room, then --resume "
                f"{path}"
            )
        trace = masked("".join(format_exception(error)))
        _log.error("the search stops by a fault of its own: %s", trace)
        what = f"{type(error).__name__}: {error}"
        return StudyError(f"the search stopped by a fault of its own: {what}; --resume {path}")

    def _name(self, candidate: Candidate) -> str:
        return label(candidate.recipe, self._lang, self._n_layers)
