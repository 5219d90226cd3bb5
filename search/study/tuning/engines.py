"""The engines of one command: Ray, and one run of Tune that serves one study after another.

Owns Ray's set-up, and that engines outlive a study. Tune's one call returns when no trial follows,
so that it has a thread of its own, which waits between studies. Which trial is next is the study's
dispatcher's to say; whether an engine can serve another study's experts is
`search.study.tuning.trainable`'s.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import ray
from ray import tune

from objectives.types import Objective
from search.checkpoints.family import is_remote
from search.common.errors import ConfigError, StudyError
from search.common.garbage import left_lying
from search.study.dispatcher import Dispatcher
from search.study.schedule import Schedule
from search.study.tuning.searcher import StudySearcher
from search.study.tuning.trainable import Job, MergeTrial
from search.study.tuning.waiting import Waiting
from search.study.tuning.watch import TellEngines, Watch, ignore_states, placement, resources

OURS = ("objectives", "search", "demo", "benchmarks", "tests")
"""Packages that every node has, or that only run on one."""
LOOK_SECONDS = 0.1


class Engines:
    """What a command's studies run on, one study at a time; a context that ends it all.

    Order of calls, for each study: `begin`, `start`, `run`.

    Attributes:
        jobs: study name -> what its trials need.
    """

    def __init__(self, jobs: Mapping[str, Job]) -> None:
        """Start nothing yet.

        Args:
            jobs: study name -> what its trials need, for every study that is to be run.
        """
        self.jobs, self._left = jobs, set(jobs)
        self._schedule: Schedule | None = None
        self._watch: Watch | None = None
        self._searcher: StudySearcher | None = None
        self._dispatcher: Dispatcher | None = None
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def __enter__(self) -> Engines:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def begin(self, schedule: Schedule, tell: TellEngines = ignore_states) -> Watch:
        """A study's view of its engines; those that run already are its own if they are alike.

        Args:
            schedule: how the study runs.
            tell: told about once a second how many engines are in each state.
        """
        before, alive = self._schedule, self._thread is not None and self._thread.is_alive()
        if not alive or before is None or before.placing != schedule.placing:
            self.close()
            self._watch = None
        fetches = any(map(is_remote, self.jobs[schedule.name].sources.values()))
        self._schedule = schedule
        if self._watch is None:
            self._watch = Watch(schedule, fetches=fetches, tell=tell)
        else:
            self._watch.begin(schedule, fetches=fetches, tell=tell)
        return self._watch

    def start(self) -> None:
        """Join the cluster or start Ray, where that has not been done.

        Raises:
            StudyError: Ray did not start.
            ConfigError: no node has room for one engine.
        """
        assert self._schedule is not None and self._watch is not None
        if ray.is_initialized():
            return
        for job in self.jobs.values():
            bring_along(job.objectives)
        start_ray(self._schedule, self.jobs[self._schedule.name])
        if not self._schedule.address and "RAY_ADDRESS" not in os.environ:
            room_for_engine(self._schedule, self._watch)  # a cluster may still grow

    def run(self, dispatcher: Dispatcher) -> None:
        """Have the study's trials run until it is over; engines of the last study are stopped then.

        Raises:
            StudyError: Ray or Tune failed.
        """
        assert self._schedule is not None and self._watch is not None
        name, watch, self._dispatcher = self._schedule.name, self._watch, dispatcher
        self._left.discard(name)
        if self._thread is None:
            self._error = None
            self._searcher = StudySearcher(dispatcher, watch, study=name, last=not self._left)
            self._thread = threading.Thread(target=self._tune, name="tune", daemon=True)
            self._thread.start()
        else:
            assert self._searcher is not None
            self._searcher.turn(dispatcher, study=name, last=not self._left)
        while self._thread.is_alive() and not dispatcher.finished:
            self._thread.join(LOOK_SECONDS)  # not without end: a signal is heard between
        if not dispatcher.finished or not self._left:
            self.close()
        watch.tell = ignore_states
        if self._error is not None and not (dispatcher.fault or watch.fault or watch.stopping):
            raise StudyError(
                f"Ray Tune stopped: {self._error}; --resume the study"
            ) from self._error

    def close(self) -> None:
        """Stop all engines, and Ray; safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is not None:
            assert self._searcher is not None and self._watch is not None
            self._searcher.release()
            if self._dispatcher is None or not self._dispatcher.finished:
                self._watch.stop()
            while thread.is_alive():
                thread.join(LOOK_SECONDS)
        if self._schedule is not None:
            # A reference of Ray's that another thread finds among the garbage after Ray's core has
            # ended, and before Ray has noted it, makes Ray end this process.
            with left_lying():
                ray.shutdown()

    def _tune(self) -> None:
        """Let Tune run the trials until the searcher has no more, or the watch stops them."""
        schedule, watch, searcher = self._schedule, self._watch, self._searcher
        assert schedule is not None and watch is not None and searcher is not None

        def wanted(config: dict[str, Any]) -> tune.PlacementGroupFactory:
            excluded = tuple(config.get("excluded_nodes", ()))
            return placement(schedule.cpus_per_engine, schedule.gpus_per_engine, excluded)

        scratch = tempfile.mkdtemp(prefix="layer-swap-tune-")
        try:
            tune.Tuner(
                tune.with_resources(tune.with_parameters(MergeTrial, jobs=self.jobs), wanted),
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=Waiting(watch),
                    num_samples=-1,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=scratch,
                    verbose=0,
                    callbacks=[watch],
                    stop=watch,
                    # The records hold the trials; a checkpoint would also need storage that all
                    # share.
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            ).fit()
        except Exception as error:  # of Tune or Ray; ours are `fault`s
            self._error = error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def bring_along(objectives: Sequence[Objective]) -> None:
    """Have Ray send the package of an objective of one's own with the job, to every node.

    What that package imports from others must be installed there.
    """
    for objective in objectives:
        package = type(objective).__module__.partition(".")[0]
        if package not in OURS:
            ray.cloudpickle.register_pickle_by_value(sys.modules[package])


def start_ray(schedule: Schedule, job: Job) -> None:
    """Join the cluster that the flag or RAY_ADDRESS names, or start Ray on this machine."""
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # paths stay relative to where one started
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # our records are the log
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # Tune's own checkpoint of all trials, which nobody reads, is written at the end only.
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1e9")
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # the study has its own
    variables = {
        **job.options.environment(),
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "ERROR"),
    }
    address = schedule.address or os.environ.get("RAY_ADDRESS")
    local = {} if address else {"include_dashboard": False}
    # How many trials there are is the searcher's to say. Tune counts those as waiting that engines
    # are just taking over, and stops an engine for which none is left when it becomes free.
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "10000")
    if not address:  # after a kill -9 Ray's agents look that many seconds for the others
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "5")
    try:
        ray.init(
            address=address or "local",
            runtime_env={"env_vars": variables},
            log_to_driver=bool(address),  # what other machines fetch, and why an engine failed
            logging_level="ERROR",
            **local,
        )
    except Exception as error:  # Ray raises plain exceptions, ConnectionError and its own
        where = f"the cluster at {address} cannot be joined" if address else "Ray did not start"
        raise StudyError(f"{where}: {error}; then --resume the study") from error


def room_for_engine(schedule: Schedule, watch: Watch) -> None:
    """Raise `ConfigError` where no node is large enough for one engine."""
    if watch.has_room():
        return
    have = "; ".join(f"{n.get('CPU', 0):g} CPUs, {n.get('GPU', 0):g} GPUs" for n in resources())
    raise ConfigError(
        f"no node has {schedule.cpus_per_engine:g} CPUs and {schedule.gpus_per_engine:g} GPUs "
        f"for one engine (nodes: {have}): lower search.cpus_per_engine or search.gpus_per_engine"
    )
