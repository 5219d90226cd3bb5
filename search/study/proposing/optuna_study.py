"""Optuna's side of a study: its studies, and what they know at the start.

Owns that Optuna knows then what the records hold, whatever became of its storage: the records are
the truth. Where the storage is, is `search.study.proposing.storage`'s; the sampler is
`search.study.proposing.sampler`'s. Knows nothing of Ray's cluster, MLflow or terminals.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from objectives import targets
from search.merging.recipe import Recipe, from_dict, to_dict
from search.merging.space.contract import SearchSpace
from search.merging.space.proposal import BASELINE
from search.records.reader import RecordsReader
from search.records.record import Record
from search.records.writer import RecordsWriter
from search.study.proposing.notes import name_targets, study_name
from search.study.proposing.phase import Phase, in_order
from search.study.proposing.sampler import make_sampler
from search.study.proposing.storage import open_storage
from search.study.retries import finished_trials
from search.study.schedule import Schedule

Point = Mapping[str, Any]
"""What a trial is fixed to: parameters, or a recipe (JSON) under `BASELINE`."""


def phase(
    schedule: Schedule,
    origin: str,
    trials: int,
    space: SearchSpace,
    records: RecordsWriter,
    baselines: Sequence[Recipe],
) -> Phase:
    """One search: Optuna's study with its sampler, and what it is to know.

    Args:
        schedule: how the study runs.
        origin: `search`, or the rival method's name.
        trials: distinct recipes to score.
        space: what is searched.
        records: the study's folder; its ended trials are known to Optuna afterwards, those that
            were under way are proposed again.
        baselines: proposed before anything else.

    Raises:
        ConfigError: Optuna's storage needs a driver or a password.
        StudyError: Optuna's storage cannot be used.
    """
    head = records.head()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=open_storage(schedule.storage, records.folder),
        study_name=study_name(schedule, origin, head),
        directions=[target.direction for target in targets.TARGETS],
        load_if_exists=True,
    )
    name_targets(study)
    first: list[Point] = [{BASELINE: json.dumps(to_dict(recipe))} for recipe in baselines]
    first += space.default_points()
    if origin == "search":
        recipes = (from_dict(entry["recipe"]) for entry in head.imported.get("recipes", ()))
        first += (point for recipe in recipes if (point := space.point(recipe)) is not None)
    align(study, origin, space, records, first)
    guards = targets.TARGETS[1:] if origin == "search" else ()  # a rival is held to no floor
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = make_sampler(schedule, study, space, records.trials, guards)
    return Phase(origin, space, study, trials)


def align(
    study: optuna.Study,
    origin: str,
    space: SearchSpace,
    records: RecordsReader,
    first: Iterable[Point],
) -> None:
    """Bring Optuna's study in line with the records, whatever it lacks; no sampler is asked.

    Every ended trial of this search is known to it afterwards. Trials that the last driver left
    running are told their recorded end, or wait to be proposed again; so do those of `first` that
    have no end yet.

    Args:
        study: Optuna's, perhaps empty or older than the records.
        origin: `search`, or the rival method's name.
        space: what is searched.
        records: the study's folder.
        first: what is proposed before anything else.
    """
    ended = finished_trials(records.trials, "search")
    known: dict[TrialState, set[str]] = {state: set() for state in TrialState}
    again: list[Point] = []
    for trial in study.get_trials(deepcopy=False):
        name, state = trial.user_attrs.get("key", ""), trial.state
        if state == TrialState.WAITING:
            name = _named(space, _point(trial)).user_attrs.get("key", "")
        elif state == TrialState.RUNNING:
            state = _tell_end(study, trial, ended.get(name))
            if name and name not in ended:
                again.append(_point(trial))
        known[state].add(name)
    done, waiting = known[TrialState.COMPLETE], known[TrialState.WAITING]
    own = (origin, "baseline") if origin == "search" else (origin,)
    for name, record in ended.items():
        told = done if in_order(record) is not None else done | known[TrialState.FAIL]
        if record.origin in own and name not in told:
            _add(study, space, record)
    for point in (*again, *first):
        name = _named(space, point).user_attrs["key"]
        if name not in ended and name not in waiting:
            waiting.add(name)
            fixed = {k: v for k, v in point.items() if k != BASELINE}
            recipe = {k: v for k, v in point.items() if k == BASELINE}
            study.enqueue_trial(fixed, user_attrs=recipe)


def _tell_end(study: optuna.Study, trial: FrozenTrial, record: Record | None) -> TrialState:
    """Tell a trial that the last driver left running its recorded end, or that it had none."""
    values = None if record is None else in_order(record)
    if values is not None:
        study.tell(trial.number, values)
        return TrialState.COMPLETE
    study.tell(trial.number, state=TrialState.FAIL)
    return TrialState.FAIL


def _add(study: optuna.Study, space: SearchSpace, record: Record) -> None:
    """A trial that Optuna does not know; one that no parameters stand for is of no use to it."""
    if record.origin == "baseline":
        point: Point | None = {BASELINE: json.dumps(to_dict(record.recipe))}
    else:
        point = space.point(record.recipe)
    if point is None:
        return
    trial = _named(space, point)
    values = in_order(record)
    study.add_trial(
        create_trial(
            state=TrialState.FAIL if values is None else TrialState.COMPLETE,
            values=values,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=trial.user_attrs,
        )
    )


def _named(space: SearchSpace, point: Point) -> FixedTrial:
    """A point as a trial: its parameters with their distributions, its key and its name.

    The key is missing where a driver died before it had drawn all parameters.
    """
    trial: Any = FixedTrial({k: v for k, v in point.items() if k != BASELINE})
    if BASELINE in point:
        trial.set_user_attr(BASELINE, point[BASELINE])
    try:
        space(trial)
    except ValueError:
        return FixedTrial({})
    return trial  # type: ignore[no-any-return]


def _point(trial: FrozenTrial) -> Point:
    """What a trial was or will be fixed to."""
    if BASELINE in trial.user_attrs:
        return {BASELINE: trial.user_attrs[BASELINE]}
    return trial.params or dict(trial.system_attrs.get("fixed_params", {}))
