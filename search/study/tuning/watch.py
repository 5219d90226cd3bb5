"""The engines of a study as Ray sees them: where each trial runs, since when, on which nodes.

Owns what is asked of Ray while Tune runs: the watchdog of a trial, nodes that died or are not to be
used, slots without an engine, and stopping at once. What becomes of a trial that lost its engine
is `search.study.fate`'s.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, get_args

import ray
from ray import tune

from search.common.errors import EngineProcessError, StudyError
from search.study.outcome import ActorExit
from search.study.schedule import Schedule

LONG = 10
"""Without `search.trial_timeout` a trial may take this many times the median of those before it,"""
FLOOR_SECONDS = 1800.0
"""but at least this long: an engine of a large model is built and compiled in it."""
MEMORY = 100
"""Ended trials that the median is taken of."""
PATIENCE_SECONDS = 1800.0
"""How long nothing may run for want of a node; a cluster that gives nodes back gets them again."""
LOOK_SECONDS = 1.0
SPARE_TRIALS = 8
"""Engines that a cluster is asked for beyond those it has room for, where `search.engines` is not
given; as many proposals are older than they could be."""

EngineState = Literal["fetching experts", "starting", "working", "free"]
"""What an engine does: a first trial is its start; free are slots without one as well."""
TellEngines = Callable[[Mapping[EngineState, int]], None]
"""Who wants to know how many engines are in each state; must not block."""


def ignore_states(states: Mapping[EngineState, int]) -> None:
    """Nobody wants to know."""


@dataclass
class Working:
    """A trial on an engine.

    Attributes:
        trial: Tune's trial, which keeps what its actor raised.
        actor: the engine's actor.
        node: reference to the id of its node.
        fetch: reference that is ready when its node has the experts; None once that is seen.
        began: clock in seconds, from when the node had the experts.
        limit: the seconds that it had when the watchdog ended it; None while it may go on.
    """

    trial: Any
    actor: Any
    node: Any
    fetch: Any = None
    began: float = field(default_factory=time.monotonic)
    limit: float | None = None


class Watch(tune.Callback, tune.Stopper):
    """What Tune tells of its actors, and what the searcher asks; all in the driver's one thread.

    Attributes:
        excluded_nodes: ids of the nodes that new trials keep off.
        n_dead: how many nodes had been lost when it last looked.
        tell: told of the engines' states at each look.
        stopping: whether everything is to end at once.
        fault: why nothing could run any more.
    """

    def __init__(
        self, schedule: Schedule, *, fetches: bool = False, tell: TellEngines = ignore_states
    ) -> None:
        """Watch the trials of a study that runs by this schedule.

        Args:
            schedule: how the study runs.
            fetches: whether nodes fetch the experts, which may take longer than any trial.
            tell: told of the engines' states at each look.
        """
        self._schedule, self._fetches, self.tell = schedule, fetches, tell
        self._answered: set[int] = set()  # hashes: a handle that is kept would keep its actor
        self._working: dict[str, Working] = {}
        self._seconds: deque[float] = deque(maxlen=MEMORY)
        self._looked = float("-inf")
        self._busy = time.monotonic()
        self._slots = 0
        self._grows = bool(schedule.address or "RAY_ADDRESS" in os.environ)
        self.excluded_nodes: tuple[str, ...] = ()
        self.n_dead = 0
        self.stopping = False
        self.fault: StudyError | None = None

    def begin(self, schedule: Schedule, *, fetches: bool, tell: TellEngines) -> None:
        """Another study's turn, on the same engines; nodes that failed stay excluded.

        Args:
            schedule: as when it was made.
            fetches: the same.
            tell: the same.
        """
        self._schedule, self._fetches, self.tell = schedule, fetches, tell
        self._seconds.clear()

    def actor_exit(self, trial_id: str, reported: bool) -> ActorExit:
        """What is known of a trial that ended, or lost its actor untold."""
        working = self._working.pop(trial_id, None)
        if working is None:
            return ActorExit(None)
        node = None
        with suppress(ray.exceptions.RayError):
            if ray.wait([working.node], timeout=0)[0]:
                node = ray.get(working.node)
        if reported:
            self._seconds.append(time.monotonic() - working.began)
            self._answered.add(hash(working.actor))
            return ActorExit(node, working.limit)
        return ActorExit(node, working.limit, last_words(working.trial.get_pickled_error()))

    def dead(self) -> set[str]:
        """Ids of the nodes that the cluster has lost."""
        return {node["NodeID"] for node in ray.nodes() if not node["Alive"]}

    def exclude(self, node: str) -> None:
        """Let no new trial start on a node."""
        self.excluded_nodes = (*self.excluded_nodes, node)

    def has_room(self) -> bool:
        """Whether any node that may be used is large enough for an engine."""
        return self.slots() > 0

    def slots(self) -> int:
        """How many engines the nodes that may be used have room for, if nothing else were there."""
        wanted = {"CPU": self._schedule.cpus_per_engine, "GPU": self._schedule.gpus_per_engine}
        wanted = {name: amount for name, amount in wanted.items() if amount}
        return sum(
            min(int(node.get(name, 0) / amount + 1e-6) for name, amount in wanted.items())
            for node in resources(self.excluded_nodes)
        )

    def max_running(self) -> int:
        """How many trials may be under way or wait: one for each engine that there may be."""
        return self._schedule.engines or self._slots + (SPARE_TRIALS if self._grows else 0)

    def placement(self) -> tune.PlacementGroupFactory:
        """What a trial that is handed out now reserves."""
        schedule = self._schedule
        return placement(schedule.cpus_per_engine, schedule.gpus_per_engine, self.excluded_nodes)

    def engine_starts(self) -> bool:
        """Whether a slot lacks its engine, that of the engine that asks for a trial excepted."""
        return len(self._working) + 1 < self._slots

    def engines(self) -> dict[EngineState, int]:
        """How many engines are in each state."""
        found: Counter[EngineState] = Counter(dict.fromkeys(get_args(EngineState), 0))
        found.update(map(self._state, self._working.values()))
        slots = min(self._slots, self._schedule.engines or self._slots)
        found["free"] = max(0, slots - len(self._working))
        return found

    def _state(self, working: Working) -> EngineState:
        if working.fetch is not None:
            return "fetching experts"
        return "working" if hash(working.actor) in self._answered else "starting"

    def stop(self) -> None:
        """End everything at once; what ran is proposed again when the study is resumed."""
        self.stopping = True

    def limit(self) -> float:
        """Seconds that a trial may take now, the start of its engine included."""
        if self._schedule.trial_timeout is not None:
            return self._schedule.trial_timeout
        median = statistics.median(self._seconds) if self._seconds else 0.0
        return max(FLOOR_SECONDS, LONG * median)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune hands a trial to an actor; it answers where it is before it starts to work."""
        actor = trial.temporary_state.ray_actor
        node = actor.node.remote()
        fetch = actor.fetch.remote() if self._fetches else None
        self._working[trial.trial_id] = Working(trial, actor, node, fetch)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune would keep every trial with its answers until the end of the study."""
        trials.remove(trial)
        known = trial.run_metadata
        known.last_result, known.metric_analysis, known.metric_n_steps = {}, {}, {}

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The same for a trial that lost its actor."""
        trials.remove(trial)

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """A few times a second at least: end what takes too long."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        self._slots = self.slots()
        self.n_dead = len(self.dead())
        limit = self.limit()
        for working in self._working.values():
            if working.fetch is not None:
                if not ray.wait([working.fetch], timeout=0)[0]:
                    continue  # downloads have limits of their own
                working.fetch, working.began = None, now
            if working.limit is None and now - working.began > limit:
                working.limit = limit
                ray.kill(working.actor)  # also when it hangs in C++; its children end with it
        self.tell(self.engines())
        if self._working or self._slots:
            self._busy = now
        elif now - self._busy > PATIENCE_SECONDS:
            self.fault = StudyError(
                f"no node has had room for an engine for {PATIENCE_SECONDS:.0f} s; when the "
                "cluster has one again, --resume the study"
            )
            self.stop()

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Tune asks after every result; trials end by themselves."""
        return False

    def stop_all(self) -> bool:
        """Tune asks at every step; engines hold nothing that would be lost, so they are killed."""
        if self.stopping:
            for working in self._working.values():
                ray.kill(working.actor)
            self._working.clear()
        return self.stopping

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its tuner for a restore of its own, which we never ask for."""
        return {}


def last_words(raised: Exception | None) -> str:
    """What the engine failed of, from what a trial's actor raised; empty if it raised nothing."""
    if isinstance(raised, ray.exceptions.RayTaskError):
        cause = raised.as_instanceof_cause()
        if isinstance(cause, EngineProcessError):
            return str(cause.args[0])
    return ""


def resources(excluded_nodes: tuple[str, ...] = ()) -> Iterator[Mapping[str, float]]:
    """What each node that is alive has in all, those left out excepted."""
    for node in ray.nodes():
        if node["Alive"] and node["NodeID"] not in excluded_nodes:
            yield node["Resources"]


@lru_cache
def placement(
    cpus: float, gpus: float, excluded_nodes: tuple[str, ...]
) -> tune.PlacementGroupFactory:
    """What Tune reserves for one engine: CPUs and GPUs of a single node that may be used.

    When the nodes to keep off change, Tune builds every engine anew.
    """
    bundle = {"CPU": cpus, "GPU": gpus}
    if not excluded_nodes:
        return tune.PlacementGroupFactory([bundle], strategy="STRICT_PACK")
    off = {"ray.io/node-id": f"!in({','.join(excluded_nodes)})"}
    return tune.PlacementGroupFactory([bundle], strategy="STRICT_PACK", bundle_label_selector=[off])
