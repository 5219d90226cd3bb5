"""Optuna's side of a study: its studies, and what they know at the start.

Owns that Optuna knows then what the records hold, whatever became of its storage: the records are
the truth. Where the storage is, is `search.study.proposing.storage`'s; the sampler is
`search.study.proposing.sampler`'s. Knows nothing of Ray's cluster, MLflow or terminals.
"""

from __future__ import annotations

import json
import warnings
from collections import deque
from collections.abc import Iterable, Sequence
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
from search.study.proposing.phase import Phase, Point, in_order
from search.study.proposing.sampler import make_sampler
from search.study.proposing.storage import open_storage
from search.study.retries import finished_trials
from search.study.schedule import Schedule


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
        sampler=optuna.samplers.RandomSampler(),  # until it knows what is recorded
        load_if_exists=True,
    )
    name_targets(study)
    first: list[Point] = [{BASELINE: json.dumps(to_dict(recipe))} for recipe in baselines]
    first += space.default_points()
    if origin == "search":
        recipes = (from_dict(entry["recipe"]) for entry in head.imported.get("recipes", ()))
        first += (point for recipe in recipes if (point := space.point(recipe)) is not None)
    queue = align(study, origin, space, records, first)
    guards = targets.TARGETS[1:] if origin == "search" else ()  # a rival is held to no floor
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = make_sampler(schedule, study, space, records.trials, guards)
    return Phase(origin, space, study, trials, deque(queue))


def align(
    study: optuna.Study,
    origin: str,
    space: SearchSpace,
    records: RecordsReader,
    first: Iterable[Point],
) -> list[Point]:
    """Bring Optuna's study in line with the records, whatever it lacks.

    Every ended trial of this search is known to it afterwards. Trials that the last driver left
    running are told their recorded end.

    Args:
        study: Optuna's, perhaps empty or older than the records.
        origin: `search`, or the rival method's name.
        space: what is searched.
        records: the study's folder.
        first: what is proposed before anything else.

    Returns:
        What is to be proposed before the sampler is asked, in the order in which it once was, or
        would have been: those of `first` that have no end yet, those that were left running, and
        what somebody has enqueued.
    """
    ended = finished_trials(records.trials, "search")
    known: dict[TrialState, set[str]] = {state: set() for state in TrialState}
    again: list[Point] = []
    enqueued = _dequeue(study)
    for trial in study.get_trials(deepcopy=False):
        name, state = trial.user_attrs.get("key", ""), trial.state
        if state == TrialState.RUNNING:
            state = _tell_end(study, trial, ended.get(name))
            if name and name not in ended:
                again.append(_point(trial))
        known[state].add(name)
    done = known[TrialState.COMPLETE]
    own = (origin, "baseline") if origin == "search" else (origin,)
    for name, record in ended.items():
        told = done if in_order(record) is not None else done | known[TrialState.FAIL]
        if record.origin in own and name not in told:
            _add(study, space, record)
    queue: dict[str, Point] = {}
    for point in (*first, *again, *enqueued):
        queue.setdefault(_named(space, point).user_attrs.get("key", ""), point)
    return [point for name, point in queue.items() if name and name not in ended]


def _dequeue(study: optuna.Study) -> list[Point]:
    """Take what waits out of Optuna's queue, which only ever grows at its end."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    for _ in waiting:
        study.tell(study.ask(), state=TrialState.FAIL)
    return [_point(trial) for trial in waiting]


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
