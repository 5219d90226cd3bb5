"""The study on Ray Tune: starts Ray, runs the trials, ends in order.

Owns Ray's set-up; Optuna's is `search.study.proposing.optuna_study`'s. What is proposed when is
`search.study.order`'s; what a trial does is `search.study.tuning.trainable`'s. Knows nothing of
MLflow, figures or terminals.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray import tune

from objectives.types import Objective
from search.checkpoints.family import is_remote
from search.common.ending import ENDING
from search.common.errors import ConfigError, StudyError
from search.merging.recipe import Recipe
from search.merging.space.contract import MainSpace
from search.merging.space.rivals import RivalSpace
from search.records.writer import RecordsWriter
from search.study.bars import Bars
from search.study.course import Course, Listener
from search.study.order import Order, no_bar
from search.study.proposing.optuna_study import phase
from search.study.race import Rules
from search.study.schedule import Schedule
from search.study.tuning.searcher import StudySearcher
from search.study.tuning.trainable import Job, MergeTrial
from search.study.tuning.waiting import Waiting
from search.study.tuning.watch import TellEngines, Watch, placement, resources, untold

OURS = ("objectives", "search", "demo", "benchmarks", "tests")
"""Packages that every node has, or that only run on one."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_study(
    schedule: Schedule,
    *,
    job: Job,
    space: MainSpace,
    records: RecordsWriter,
    baselines: Sequence[Recipe],
    final: Callable[[], Iterable[Recipe]],
    listeners: Iterable[Listener],
    race: Rules | None = None,
    engines: TellEngines = untold,
) -> bool:
    """Run or go on with a study until its final table's recipes are scored.

    Args:
        schedule: how it runs.
        job: what the actors need.
        space: what is searched.
        records: the study's folder, opened; ended trials in it are not run again.
        baselines: scored on the search items before the first proposal.
        final: called when the search is over: the recipes to score on the held-out items.
        listeners: told of every start, end and repetition.
        race: when a trial is stopped early; None: each is scored in full.
        engines: told about once a second how many engines are in each state.

    Returns:
        Whether it came to its end; False after Ctrl-C or SIGTERM, when the records hold what was
        done. A second signal ends the process at once.

    Raises:
        ConfigError: no node has room for one engine.
        StudyError: trials fail one after another, no node is left for them, or the disk refuses;
            the study can be resumed.
    """
    phases = [phase(schedule, "search", schedule.trials, space, records, baselines)]
    for method, trials in schedule.baselines.items():
        if not trials:
            continue
        rival = RivalSpace(method, space.lang, space.n_layers, space.pairs, space.seen)
        phases.append(phase(schedule, method, trials, rival, records, ()))
    fetches = any(map(is_remote, job.sources.values()))
    watch = Watch(schedule, fetches=fetches, tell=engines)
    heard = list(listeners)

    def repeated() -> None:
        for listener in heard:
            listener.repeated()

    order = Order(
        phases,
        records.trials,
        space.n_layers,
        final,
        lag=schedule.lag,
        repeated=repeated,
        bar=Bars(records.items, race, schedule.tolerance, space.lang).of if race else no_bar,
    )
    course = Course(order, records, watch, heard, lang=space.lang, n_layers=space.n_layers)
    searcher = StudySearcher(course, watch)
    bring_along(job.objectives)
    with signals_put_back():
        _start_ray(schedule, job)
        _listen(watch)  # now, because Ray has set a handler for SIGTERM that aborts
        scratch = tempfile.mkdtemp(prefix="layer-swap-tune-")
        try:
            _fit(schedule, job, course, searcher, watch, scratch)
        finally:
            ray.shutdown()
            shutil.rmtree(scratch, ignore_errors=True)
    fault = course.fault or watch.fault
    if fault:
        raise fault
    return course.finished


def _fit(
    schedule: Schedule,
    job: Job,
    course: Course,
    searcher: StudySearcher,
    watch: Watch,
    scratch: str,
) -> None:
    """Let Tune run the trials until the searcher has no more, or the watch stops them."""
    if not schedule.address and "RAY_ADDRESS" not in os.environ:
        _room_for_engine(schedule, watch)  # a cluster may still grow

    def wanted(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        excluded = tuple(config.get("excluded_nodes", ()))
        return placement(schedule.cpus_per_engine, schedule.gpus_per_engine, excluded)

    try:
        tune.Tuner(
            tune.with_resources(tune.with_parameters(MergeTrial, job=job), wanted),
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
                # The records hold the trials; a checkpoint would also need storage that all share.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    except Exception as error:  # of Tune or Ray; ours are in the course's and the watch's fault
        if not (course.fault or watch.fault or watch.stopping):
            raise StudyError(f"Ray Tune stopped: {error}; --resume the study") from error


@contextmanager
def signals_put_back() -> Iterator[None]:
    """What is done at Ctrl-C and SIGTERM stays as it was, whatever is done within."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(watch: Watch) -> None:
    """Ctrl-C, and SIGTERM as schedulers and `ray job stop` send it, end the study in order.

    So does the first of them where a fault is ending it already.
    """

    def stop(number: int, frame: object) -> None:
        if ENDING.is_set():
            os._exit(128 + number)  # Ray's processes and the engines end with this one
        watch.stop()
        ENDING.set()

    ENDING.clear()
    for number in SIGNALS:
        signal.signal(number, stop)


def bring_along(objectives: Sequence[Objective]) -> None:
    """Have Ray send the package of an objective of one's own with the job, to every node.

    What that package imports from others must be installed there.
    """
    for objective in objectives:
        package = type(objective).__module__.partition(".")[0]
        if package not in OURS:
            ray.cloudpickle.register_pickle_by_value(sys.modules[package])


def _start_ray(schedule: Schedule, job: Job) -> None:
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


def _room_for_engine(schedule: Schedule, watch: Watch) -> None:
    if watch.has_room():
        return
    have = "; ".join(f"{n.get('CPU', 0):g} CPUs, {n.get('GPU', 0):g} GPUs" for n in resources())
    raise ConfigError(
        f"no node has {schedule.cpus_per_engine:g} CPUs and {schedule.gpus_per_engine:g} GPUs "
        f"for one engine (nodes: {have}): lower search.cpus_per_engine or search.gpus_per_engine"
    )
