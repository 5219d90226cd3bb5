"""What Optuna's dashboard shows of a study beside its numbers: notes on it and on its trials.

Owns their words and where they lie: among the study's attributes, in the format of the dashboard
(package `optuna-dashboard`, which is not needed here), as an ended trial takes none of its own. No
sampler reads them, and a study that lacks them is the same study. Notes that a person has changed
in the dashboard are left alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from objectives import targets
from search.common.errors import StudyError
from search.common.values import in_markdown, percent
from search.records.head import StudyHead
from search.records.reader import RecordsReader
from search.records.record import Record
from search.records.writer import RecordsWriter
from search.study.proposing.storage import open_storage
from search.study.schedule import Schedule

PIECE = 2045
"""Longest text of one attribute; longer notes are cut in pieces, as the dashboard does."""
MARK = "★ recommended"
OURS = "layer-swap:"
"""Before the dashboard's name of a note's version: the version that was written here."""
ENDED = (TrialState.COMPLETE, TrialState.FAIL)


def study_name(schedule: Schedule, origin: str, head: StudyHead) -> str:
    """Optuna's name of a search.

    Args:
        schedule: how the study runs.
        origin: `search`, or a rival method's name.
        head: tells it from another study of its name in a database.
    """
    name = schedule.name if origin == "search" else f"{schedule.name}.{origin}"
    return f"{name}.{head.id[:8]}" if schedule.storage else name


def name_targets(study: optuna.Study) -> None:
    """Have the values shown under the targets' names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([target.people for target in targets.TARGETS])


def annotate(
    schedule: Schedule, records: RecordsWriter, recommended: str = "", why: str = ""
) -> None:
    """Bring the notes of a study's searches up to date with its records.

    Args:
        schedule: how the study runs.
        records: the study's folder.
        recommended: key of the recommended recipe; empty where there is none.
        why: what speaks for it, or why there is none.

    Raises:
        StudyError: Optuna's storage cannot be used.
        ConfigError: its driver or password is missing.
    """
    head = records.head()
    try:
        storage = open_storage(schedule.storage, records.folder)
        for origin in ("search", *schedule.baselines):
            with suppress(KeyError):  # this search has not begun
                study = storage.get_study_id_from_name(study_name(schedule, origin, head))
                _annotate(storage, study, records, recommended, why)
    except (OSError, optuna.exceptions.StorageInternalError) as error:
        first = str(error).partition("\n")[0]
        raise StudyError(f"Optuna's storage takes no notes: {first}") from None


def _annotate(
    storage: Any, study_id: int, records: RecordsReader, recommended: str, why: str
) -> None:
    there = storage.get_study_system_attrs(study_id)
    searched, held_out = records.ended("search"), records.ended("held_out")
    best = searched.get(recommended)
    summary = [f"# {MARK}: {in_markdown(best.label)}", *_scores(best, held_out)] if best else []
    _write(storage, study_id, there, "", "\n\n".join([*summary, in_markdown(why)]))
    for key, trial in _first(storage.get_all_trials(study_id, deepcopy=False, states=ENDED)):
        record = searched.get(key)
        if record is not None:
            body = _body(record, held_out, marked=key == recommended)
            trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
            _write(storage, study_id, there, f"{trial_id}:", body)


def _first(trials: Iterable[FrozenTrial]) -> Iterator[tuple[str, FrozenTrial]]:
    """The first trial of each recipe; the others are repeated proposals of it."""
    seen = {""}
    for trial in trials:
        key = str(trial.user_attrs.get("key", ""))
        if key not in seen:
            seen.add(key)
            yield key, trial


def _body(record: Record, held_out: Mapping[str, Record], *, marked: bool) -> str:
    """The note of a trial, in Markdown; empty where its numbers say all."""
    lines = [f"# {MARK}"] if marked else []
    if record.state != "scored":
        lines.append(f"{record.state}: {in_markdown(record.reason)}")
    if record.key in held_out or marked:
        lines += _scores(record, held_out)
    return "\n\n".join([f"**{in_markdown(record.label)}**", *lines]) if lines else ""


def _scores(record: Record, held_out: Mapping[str, Record]) -> Iterator[str]:
    """The scores on each split, one paragraph for each."""
    for words, own in (("search items", record), ("held-out items", held_out.get(record.key))):
        if own is not None:
            found = (f"{t.people} {percent(own.value(t.score))}" for t in targets.TARGETS)
            yield f"{words}: {', '.join(found)}"


def _write(storage: Any, study_id: int, there: Mapping[str, Any], of: str, body: str) -> None:
    """Write a note, unless it is as it is, or a person has changed it.

    Args:
        storage: Optuna's.
        study_id: of the study.
        there: its attributes.
        of: whose note: empty for the study's, `<trial id>:` for a trial's.
        body: Markdown.
    """
    pieces, version = f"dashboard:{of}note_str:", f"dashboard:{of}note_ver"
    number, own = there.get(version, 0), there.get(OURS + version, 0)
    old = {name: text for name, text in there.items() if name.startswith(pieces)}
    before = "".join(old[f"{pieces}{i}"] for i in range(len(old)))
    if body == before or number != own:
        return
    cut = [body[start : start + PIECE] for start in range(0, len(body), PIECE)]
    cut += [""] * (len(old) - len(cut))
    new = {f"{pieces}{i}": text for i, text in enumerate(cut)}
    for name, value in (*new.items(), (OURS + version, number + 1), (version, number + 1)):
        storage.set_study_system_attr(study_id, name, value)
