"""Optuna's side of a study: its storage, its studies, its sampler.

Owns Optuna's set-up, and that Optuna knows at the start what the records hold. Knows nothing of
Ray's cluster, MLflow or terminals.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search.optuna import OptunaSearch

from search.recipe import AnyRecipe, to_dict
from search.records import Records
from search.rivals import RivalSpace
from search.schedule import Schedule
from search.searcher import Phase
from search.space import BASELINE, Space
from search.trainable import METRICS


def phase(
    schedule: Schedule,
    origin: str,
    trials: int,
    space: Space | RivalSpace,
    records: Records,
    baselines: Sequence[AnyRecipe],
) -> Phase:
    """One search: Optuna's study, and OptunaSearch on it.

    Args:
        schedule: how the study runs.
        origin: `search`, or the rival method's name.
        trials: distinct recipes to score.
        space: what is searched.
        records: the study's folder; what ended trials there is known to Optuna afterwards.
        baselines: proposed before anything else.
    """
    name = schedule.name if origin == "search" else f"{schedule.name}.{origin}"
    study = _open_optuna(name, records, space, baselines)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna_search = OptunaSearch(
            space=space,
            metric=list(METRICS),
            mode=["max"] * len(METRICS),
            sampler=_sampler(schedule, len(study.trials)),
            storage=study._storage,
            study_name=name,
        )
    return Phase(origin, space, study, optuna_search, trials)


def _open_optuna(
    name: str, records: Records, space: Space | RivalSpace, baselines: Sequence[AnyRecipe]
) -> optuna.Study:
    """Optuna's study in the folder's journal, brought in line with the records."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend(str(records.folder / "optuna.journal")))
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        directions=["maximize"] * len(METRICS),
        load_if_exists=True,
    )
    if not study.trials:
        for recipe in baselines:
            study.enqueue_trial({}, user_attrs={BASELINE: json.dumps(to_dict(recipe))})
        for point in space.default_points():
            study.enqueue_trial(point)
    ended = records.ended("search")
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        _settle(study, trial, ended)
    return study


def _settle(study: optuna.Study, trial: FrozenTrial, ended: dict[str, Any]) -> None:
    """A trial that the last driver left running: tell its recorded end, or propose it again."""
    record = ended.get(trial.user_attrs.get("key", ""))
    if record is not None and record.state == "scored":
        study.tell(trial.number, [record.value(name) for name in METRICS])
        return
    study.tell(trial.number, state=TrialState.FAIL)
    if record is None and (trial.params or BASELINE in trial.user_attrs):
        attributes = {k: v for k, v in trial.user_attrs.items() if k == BASELINE}
        study.enqueue_trial(trial.params, user_attrs=attributes)


def _sampler(schedule: Schedule, told: int) -> optuna.samplers.BaseSampler:
    """The sampler; after a resume its seed moves on, or it would draw the same points again."""
    seed = schedule.seed + told
    if schedule.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if schedule.sampler == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed)
    return optuna.samplers.TPESampler(
        multivariate=True,
        group=True,
        seed=seed,
        n_startup_trials=schedule.startup_trials,
        constant_liar=schedule.engines != 1,
    )
