"""The study on Ray Tune: starts Ray, runs the trials, ends in order.

Owns Ray's set-up; Optuna's is `search.optuna_study`'s. What is proposed when is
`search.searcher`'s; what a trial does is `search.trainable`'s. Knows nothing of MLflow, figures or
terminals.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence

import ray
from ray import tune

from search.errors import ConfigError, StudyError
from search.optuna_study import phase
from search.recipe import AnyRecipe
from search.records import Records
from search.rivals import RivalSpace
from search.schedule import Schedule
from search.searcher import Listener, StudySearcher
from search.space import Space
from search.trainable import Job, MergeTrial


def run_study(
    schedule: Schedule,
    *,
    job: Job,
    space: Space,
    records: Records,
    baselines: Sequence[AnyRecipe],
    final: Callable[[], Iterable[AnyRecipe]],
    listeners: Iterable[Listener],
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

    Returns:
        Whether it came to its end; False after Ctrl-C, when the records hold what was done.

    Raises:
        ConfigError: no node has room for one engine.
        StudyError: trials fail one after another, or the disk refuses; the study can be resumed.
    """
    phases = [phase(schedule, "search", schedule.trials, space, records, baselines)]
    for method, trials in schedule.baselines.items():
        if not trials:
            continue
        rival = RivalSpace(method, space.lang, space.n_layers, space.pairs, space.seen)
        phases.append(phase(schedule, method, trials, rival, records, ()))
    searcher = StudySearcher(
        phases=phases,
        lang=space.lang,
        n_layers=space.n_layers,
        records=records,
        engines=schedule.engines,
        final=final,
        listeners=listeners,
    )
    _start_ray(schedule, job)
    scratch = tempfile.mkdtemp(prefix="layer-swap-tune-")
    try:
        if not schedule.address and "RAY_ADDRESS" not in os.environ:
            _room_for_engine(schedule)  # a cluster may still grow
        resources = {"cpu": schedule.cpus_per_engine, "gpu": schedule.gpus_per_engine}
        tune.Tuner(
            tune.with_resources(tune.with_parameters(MergeTrial, job=job), resources),
            tune_config=tune.TuneConfig(search_alg=searcher, num_samples=-1, reuse_actors=True),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=scratch,
                verbose=0,
                # The records hold the trials; a checkpoint would also need storage that all share.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    finally:
        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)
    if searcher.fault:
        raise searcher.fault
    return searcher.finished


def _start_ray(schedule: Schedule, job: Job) -> None:
    """Join the cluster that the flag or RAY_ADDRESS names, or start Ray on this machine."""
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # paths stay relative to where one started
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # our records are the log
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    variables = {
        **job.options.environment(),
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "ERROR"),
    }
    address = schedule.address or os.environ.get("RAY_ADDRESS")
    local = {} if address else {"include_dashboard": False}
    try:
        ray.init(
            address=address or "local",
            runtime_env={"env_vars": variables},
            log_to_driver=False,
            logging_level="ERROR",
            **local,
        )
    except Exception as error:  # Ray raises plain exceptions, ConnectionError and its own
        where = f"the cluster at {address} cannot be joined" if address else "Ray did not start"
        raise StudyError(f"{where}: {error}; then --resume the study") from error


def _room_for_engine(schedule: Schedule) -> None:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(
        node.get("CPU", 0) >= schedule.cpus_per_engine
        and node.get("GPU", 0) >= schedule.gpus_per_engine
        for node in nodes
    ):
        have = "; ".join(f"{n.get('CPU', 0):g} CPUs, {n.get('GPU', 0):g} GPUs" for n in nodes)
        raise ConfigError(
            f"no node has {schedule.cpus_per_engine:g} CPUs and {schedule.gpus_per_engine:g} GPUs "
            f"for one engine (nodes: {have}): lower search.cpus_per_engine or "
            "search.gpus_per_engine"
        )
