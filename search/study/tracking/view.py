"""MLflow as a view of a study's records.

Owns how a study looks there: experiment `layer-swap/<family>/<lang>`, one parent run, one child run
for each record. What is sent when is `search.study.tracking.outbox`'s. Nothing is read back but
which runs exist, so the view can be rebuilt from the records at any time (`search.sync`). Knows
nothing of what the scores mean, of Ray or of engines.

A run is found again by its tags, never by memory: the parent by `study_id`, a child by `study_id`
and `trial` (canonical key and split).
"""

from __future__ import annotations

import json
import logging
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from objectives.bounds import read_whole
from search.common.values import flatten, short
from search.merging.recipe import to_dict
from search.records.items import unpack_items
from search.records.record import Record
from search.results.comparison import Report
from search.study.tracking.descriptions import Where, of_running, of_study, of_trial
from search.study.tracking.pages import pages, study_of
from search.study.tracking.runs import (
    VALUE_LENGTH,
    Progress,
    answers_of,
    few_metrics_of,
    metrics_of,
    params,
    params_of,
)
from search.study.tracking.store import NOTE, PARENT, TRIAL, Store, cause_of

_PARAMS_PER_CALL = 100  # mlflow.utils.validation.MAX_PARAMS_TAGS_PER_BATCH
RunStatus = Literal["FINISHED", "KILLED", "FAILED"]
Metrics = Literal["few", "all"]

_KIND = "mlflow.experimentKind"
"""Tag of an experiment: which page of it MLflow opens."""
_GUESSED = (
    "",
    "no_inferred_type",
    "genai_development_inferred",
    "custom_model_development_inferred",
)
"""Kinds that MLflow's page sets by itself; one that a person chose stays."""
_REFUSALS = (
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "INVALID_PARAMETER_VALUE",
    "ENDPOINT_NOT_FOUND",
)
"""Errors that the same call would get again."""


@dataclass(frozen=True)
class ParentRun:
    """What the parent run says.

    Attributes:
        uri: MLflow's tracking URI.
        experiment: name of the experiment.
        name: the study's name.
        id: of `study.yaml`.
        params: the configuration.
        tags: versions, host, ...
        folder: the study's.
        metrics: how many metrics a trial's run has.
        path: the study's folder or address, as commands take it.
        layers: the model's number of layers L; 0 where it is not known.
        tolerance: as for `search.results.choose.best_swap`.
    """

    uri: str
    experiment: str
    name: str
    id: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    folder: Path
    metrics: Metrics = "few"
    path: str = ""
    layers: int = 0
    tolerance: float = 0.0


@dataclass(frozen=True)
class Child:
    """A run that MLflow holds, of the record with this number."""

    run_id: str
    number: int
    ended: bool


@dataclass(frozen=True)
class End:
    """What completes the parent run."""

    artifacts: tuple[Path, ...]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    status: RunStatus
    report: Report | None = None


ANSWERS = "answers.json"
"""Artifact of a run of the final table: its answers, in the form of MLflow's `log_table`."""
ALL_METRICS = "metrics.json"
"""Artifact of a trial's run: what `metrics_of` says, where the run itself has a few of them."""
_log = logging.getLogger(__name__)


def _completeness(run: Any) -> tuple[bool, int]:
    """Whether a trial's run has ended, and the number of its record."""
    return run.info.status != "RUNNING", int(run.data.tags["number"])


class StudyView:
    """One study in MLflow, for one thread; every call may be repeated after an error."""

    def __init__(self, study: ParentRun) -> None:
        self._study = study
        self._store = Store(study.uri)
        self._client = self._store.client
        self._experiment = ""
        self._parent = ""
        self._children: dict[str, Child] = {}
        self._progress = Progress()

    @property
    def experiment(self) -> str:
        """Id of the study's experiment; empty before `open`."""
        return self._experiment

    def clear(self) -> bool:
        """Delete a hundred of the study's runs; MLflow keeps them as deleted until `mlflow gc`.

        Returns:
            Whether there may be more.
        """
        self._experiment = self._store.experiment(self._study.experiment)
        found = list(islice(self._store.runs_of(self._experiment, self._study.id), 100))
        for run in found:
            self._client.delete_run(run.info.run_id)
        return bool(found)

    def open(self) -> None:
        """Find or make the experiment and the parent run; list the children that exist.

        A run whose making the server did after it was no longer waited for has a twin: one stays.
        """
        self._experiment = self._store.experiment(self._study.experiment)
        self._parent, self._children = "", {}
        runs = list(self._store.runs_of(self._experiment, self._study.id))
        above = Counter(run.data.tags.get(PARENT) for run in runs)
        parents = [run for run in runs if TRIAL not in run.data.tags]
        parent = max(parents, key=lambda run: above[run.info.run_id], default=None)
        twins = [run for run in parents if run is not parent and not above[run.info.run_id]]
        best: dict[str, Any] = {}
        for run in sorted((run for run in runs if TRIAL in run.data.tags), key=_completeness):
            trial = run.data.tags[TRIAL]
            twins += [best[trial]] if trial in best else []
            best[trial] = run
        for run in twins:
            self._client.delete_run(run.info.run_id)
        for trial, run in best.items():
            ended, number = _completeness(run)
            self._children[trial] = Child(run.info.run_id, number, ended)
        study = self._study
        tags = {
            **study.tags,
            "study": study.name,
            "study_id": study.id,
        }
        tags = {name: short(value, VALUE_LENGTH) for name, value in tags.items()}
        if parent is None:
            parent = self._client.create_run(self._experiment, tags=tags, run_name=study.name)
        elif parent.info.status != "RUNNING":
            self._client.update_run(parent.info.run_id, status="RUNNING")
        self._parent = parent.info.run_id
        configuration = params(study.params)
        logged = parent.data.params  # MLflow refuses to change a param, as a resumed study may
        tags |= {f"changed/{k}": v for k, v in configuration.items() if logged.get(k, v) != v}
        new = iter([(k, v) for k, v in configuration.items() if k not in logged])
        while chunk := dict(islice(new, _PARAMS_PER_CALL)):
            self._store.write(self._parent, params=chunk)
        self._store.write(self._parent, tags=tags)
        self._show_pages()

    def _form(self) -> str:
        """What the study searches."""
        return str(flatten(self._study.params).get("space.form", "swap"))

    def _show_pages(self) -> None:
        """Have the experiment open on its runs, with this study's views and none of deleted ones.

        A store that takes no tags of experiments has the same runs, at a plainer address.
        """
        known = self._client.get_experiment(self._experiment).tags
        wanted = dict(page.tag() for page in pages(self._study.id, self._form()))
        if known.get(_KIND, "") in _GUESSED:
            wanted[_KIND] = "custom_model_development"
        stale = [tag for tag in known if tag not in wanted and self._is_gone(study_of(tag))]
        try:
            for name, value in wanted.items():
                if known.get(name) != value:
                    self._client.set_experiment_tag(self._experiment, name, value)
            for name in stale:
                self._client.delete_experiment_tag(self._experiment, name)
        except Exception as error:
            if getattr(error, "error_code", "") not in _REFUSALS:
                raise
            _log.warning("MLflow keeps no views: %s", cause_of(error, self._study.uri))

    def _is_gone(self, study_id: str | None) -> bool:
        """Whether a study's view may go: it is of ours, and the study has no run any more."""
        if study_id is None or study_id == self._study.id:
            return study_id is not None
        return not any(self._store.runs_of(self._experiment, study_id))

    def send(self, record: Record) -> None:
        """Make a record's run, or complete one cut short; an older record changes nothing."""
        whole, own = self._progress.add(record)
        trial = f"{record.key}.{record.split}"
        have = self._children.get(trial)
        if have and (record.number < have.number or (have.ended and record.number == have.number)):
            return
        tags = self._tags(record, trial) | {NOTE: of_trial(record, self._study.layers)}
        params = params_of(record)
        total = record.seconds.get("total", 0.0)
        if have is None:
            name = record.label + (" (held-out)" if record.split == "held_out" else "")
            start = int(1000 * (record.ended - total))
            run = self._client.create_run(self._experiment, start, tags, name)
            have = Child(run.info.run_id, record.number, ended=False)
            self._children[trial] = have
        elif record.number > have.number:  # tried again after it had failed
            params, tags = {}, {"reason": "", "cause": "", **tags}  # those of the failure go
            self._client.update_run(have.run_id, status="RUNNING")
        milliseconds = int(1000 * record.ended)
        few = self._study.metrics == "few"
        shown = (few_metrics_of if few else metrics_of)(record) | own
        self._store.write(have.run_id, shown, params, tags, milliseconds)
        if record.split == "held_out":
            self._send_answers(have.run_id, record)
        if few:
            self._client.log_dict(have.run_id, metrics_of(record), ALL_METRICS)
        self._store.write(self._parent, whole, milliseconds=milliseconds, step=record.number)
        status = "FAILED" if record.state == "failed" else "FINISHED"
        self._client.set_terminated(have.run_id, status, milliseconds)
        self._children[trial] = Child(have.run_id, record.number, ended=True)

    def describe(self, records: Sequence[Record]) -> None:
        """Say in the parent run how the study stands.

        Args:
            records: what has ended.
        """
        study = self._study
        text = of_running(self._where(), records, study.layers, study.tolerance)
        self._store.write(self._parent, tags={NOTE: text})

    def _where(self) -> Where:
        def run(record: Record) -> str | None:
            found = self._children.get(f"{record.key}.{record.split}")
            return found.run_id if found else None

        study = self._study
        return Where(study.id, study.path, self._experiment, self._parent, run)

    def _send_answers(self, run_id: str, record: Record) -> None:
        """The answers of a recipe of the final table, as a table that MLflow shows side by side."""
        try:
            items = unpack_items(read_whole(self._study.folder / record.items))
        except (OSError, EOFError, ValueError, RecursionError, zlib.error):
            return  # there are none, or they cannot be read, which the report says
        self._client.log_dict(run_id, answers_of(items), ANSWERS)
        kept = json.dumps([{"path": ANSWERS, "type": "table"}])
        self._store.write(run_id, tags={"mlflow.loggedArtifacts": kept})

    def close(self, end: End) -> None:
        """Complete the parent run."""
        tags = dict(end.tags)
        if end.report is not None:
            tags[NOTE] = of_study(self._where(), end.report, self._study.layers)
        self._store.write(self._parent, end.metrics, tags=tags)
        for file in end.artifacts:
            if file.is_file() and not file.is_symlink():
                self._client.log_artifact(self._parent, str(file))
        self._client.set_terminated(self._parent, end.status)

    def _tags(self, record: Record, trial: str) -> dict[str, str]:
        names = ("number", "key", "split", "state", "origin", "reason", "cause", "host")
        tags = {name: short(getattr(record, name), VALUE_LENGTH) for name in names}
        tags["recipe"] = json.dumps(to_dict(record.recipe))
        tags["items"] = str(self._study.folder / record.items) if record.items else ""
        tags["incumbent"] = record.stopped.incumbent if record.stopped else ""
        tags |= {"study": self._study.name, "study_id": self._study.id, "trial": trial}
        return {k: v for k, v in tags.items() if v} | {PARENT: self._parent}
