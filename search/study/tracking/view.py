"""MLflow as a view of a study's records: the only file that imports MLflow.

Owns how a study looks there: experiment `layer-swap/<family>/<lang>`, one parent run, one child run
for each record. What is sent when is `search.study.tracking.outbox`'s. Nothing is read back but
which runs exist, so the view can be rebuilt from the records at any time (`search.sync`); only who
has no records reads runs (`read_study`). Knows nothing of what the scores mean, of Ray or of
engines.

A run is found again by its tags, never by memory: the parent by `study_id`, a child by `study_id`
and `trial` (canonical key and split). The id is made once and kept in study.yaml, so that two
studies of one name stay two.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import ssl
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from itertools import islice
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

from search.common.errors import StudyError
from search.common.masking import masked
from search.common.values import flatten, short
from search.merging.recipe import to_dict
from search.records.items import unpack_items
from search.records.place import is_name
from search.records.record import Record
from search.results.comparison import Report
from search.study.tracking.descriptions import Where, of_running, of_study, of_trial
from search.study.tracking.pages import pages, study_of
from search.study.tracking.runs import (
    VALUE_LENGTH,
    Progress,
    answers_of,
    few_metrics_of,
    is_server,
    metrics_of,
    params,
    params_of,
)

ANSWER_SECONDS = 10.0
"""How long `start` waits for a server, and `finish` for one that has stopped taking runs."""

CAUSE_LENGTH = 1000
"""Longest cause that is shown; MLflow's longest advice has some 350 characters."""
_PARAMS_PER_CALL = 100  # mlflow.utils.validation.MAX_PARAMS_TAGS_PER_BATCH
ENVIRONMENT = {
    # One try of 8 s: MLflow's own 7 tries block for 245 s, and a blind second POST makes twins.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "8",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
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


def answers(uri: str, seconds: float) -> bool:
    """Whether the server of an http(s) address says anything sensible in time; True for others."""
    try:
        if not is_server(uri):
            return True
        parts = urlsplit(uri)
        host = parts.netloc.rpartition("@")[2]
        url = urlunsplit((parts.scheme, host, parts.path.rstrip("/") + "/health", "", ""))
        with urlopen(url, timeout=seconds):
            return True
    except HTTPError as error:  # 401 or 404 come from a server; 502 and 503 from what is before it
        return error.code < 500
    except URLError as error:  # MLflow may have been told to accept this certificate
        return isinstance(error.reason, ssl.SSLError)
    except (OSError, HTTPException, ValueError):
        return False


def cause_of(error: Exception, uri: str) -> str:
    """Why MLflow refuses, in a line: the first of its own, whole, as what to do stands at its end.

    Args:
        error: whatever it raised.
        uri: MLflow's, which takes its place in the command that brings a database up to date.
    """
    line = str(error).strip().partition("\n")[0].replace("<database_uri>", uri)
    return short(line, CAUSE_LENGTH)


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
        place: the study's folder or address, as commands take it.
        layers: the model's number of layers L; 0 where it is not known.
        tolerance: as for `search.results.choose.recommend`.
    """

    uri: str
    experiment: str
    name: str
    id: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    folder: Path
    metrics: Metrics = "few"
    place: str = ""
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


_PARENT = "mlflow.parentRunId"
_TRIAL = "trial"
"""Tag of a run: the trial that it is; the parent runs of studies have none."""
NOTE = "mlflow.note.content"
"""Tag of a run: its description, in Markdown."""
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
        from mlflow import entities
        from mlflow.tracking import MlflowClient

        for name in ("alembic", "mlflow"):  # both announce each table of a new store
            logging.getLogger(name).setLevel(logging.ERROR)
        self._study = study
        self._entities: Any = entities
        self._client: Any = MlflowClient(tracking_uri=study.uri)
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
        self._experiment = _experiment(self._client, self._study.uri, self._study.experiment)
        found = list(islice(_runs_of(self._client, self._experiment, self._study.id), 100))
        for run in found:
            self._client.delete_run(run.info.run_id)
        return bool(found)

    def open(self) -> None:
        """Find or make the experiment and the parent run; list the children that exist.

        A run whose making the server did after it was no longer waited for has a twin: one stays.
        """
        self._experiment = _experiment(self._client, self._study.uri, self._study.experiment)
        self._parent, self._children = "", {}
        runs = list(_runs_of(self._client, self._experiment, self._study.id))
        above = Counter(run.data.tags.get(_PARENT) for run in runs)
        parents = [run for run in runs if _TRIAL not in run.data.tags]
        parent = max(parents, key=lambda run: above[run.info.run_id], default=None)
        twins = [run for run in parents if run is not parent and not above[run.info.run_id]]
        best: dict[str, Any] = {}
        for run in sorted((run for run in runs if _TRIAL in run.data.tags), key=_completeness):
            trial = run.data.tags[_TRIAL]
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
            self._write(self._parent, params=chunk)
        self._write(self._parent, tags=tags)
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
        return not any(_runs_of(self._client, self._experiment, study_id))

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
        self._write(have.run_id, shown, params, tags, milliseconds)
        if record.split == "held_out":
            self._send_answers(have.run_id, record)
        if few:
            self._client.log_dict(have.run_id, metrics_of(record), ALL_METRICS)
        self._write(self._parent, whole, milliseconds=milliseconds, step=record.number)
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
        self._write(self._parent, tags={NOTE: text})

    def _where(self) -> Where:
        def run(record: Record) -> str | None:
            found = self._children.get(f"{record.key}.{record.split}")
            return found.run_id if found else None

        study = self._study
        return Where(study.id, study.place, self._experiment, self._parent, run)

    def _send_answers(self, run_id: str, record: Record) -> None:
        """The answers of a recipe of the final table, as a table that MLflow shows side by side."""
        try:
            items = unpack_items((self._study.folder / record.items).read_bytes())
        except (OSError, EOFError, ValueError, RecursionError, zlib.error):
            return  # there are none, or they cannot be read, which the report says
        self._client.log_dict(run_id, answers_of(items), ANSWERS)
        kept = json.dumps([{"path": ANSWERS, "type": "table"}])
        self._write(run_id, tags={"mlflow.loggedArtifacts": kept})

    def close(self, end: End) -> None:
        """Complete the parent run."""
        tags = dict(end.tags)
        if end.report is not None:
            tags[NOTE] = of_study(self._where(), end.report, self._study.layers)
        self._write(self._parent, end.metrics, tags=tags)
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
        return {k: v for k, v in tags.items() if v} | {_PARENT: self._parent}

    def _write(
        self,
        run_id: str,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        milliseconds: int | None = None,
        step: int = 0,
    ) -> None:
        # the record's own time makes a repeated metric the same row, not a second point
        when = int(1000 * time.time()) if milliseconds is None else milliseconds
        self._client.log_batch(
            run_id,
            [self._entities.Metric(k, v, when, step) for k, v in (metrics or {}).items()],
            [self._entities.Param(k, v) for k, v in (params or {}).items()],
            [
                self._entities.RunTag(k, masked(v) if k == NOTE else short(v, VALUE_LENGTH))
                for k, v in (tags or {}).items()
            ],
        )


def _experiment(client: Any, uri: str, name: str) -> str:
    """Id of an experiment, which is made or brought back."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    location = None  # a server knows where its artifacts go; a database would take the cwd
    if uri.startswith("sqlite:///"):
        database = Path(uri.removeprefix("sqlite:///")).resolve()
        location = (database.parent / "mlartifacts").as_uri()
    return str(client.create_experiment(name, location))


def _runs_of(client: Any, experiment: str, study_id: str) -> Iterator[Any]:
    """All runs of a study, oldest first."""
    token = None
    while True:
        page = client.search_runs(
            [experiment],
            f"tags.study_id = '{study_id}'",
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def find_study(uri: str, experiment: str, study_id: str) -> tuple[str, frozenset[str]] | None:
    """Where MLflow has a study.

    Args:
        uri: MLflow's tracking URI.
        experiment: name of the study's experiment.
        study_id: of `study.yaml`.

    Returns:
        The experiment's id and its tags' names; None where there is no run of the study.

    Raises:
        StudyError: MLflow does not answer, or refuses.
    """
    client = _client(uri)
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_experiment_by_name(experiment)
        if found is None or not any(_runs_of(client, found.experiment_id, study_id)):
            return None
    except MlflowException as error:
        raise StudyError(f"{masked(uri)} cannot be read: {cause_of(error, uri)}") from None
    return str(found.experiment_id), frozenset(found.tags)


def gather(
    uri: str,
    experiment: str,
    studies: Mapping[str, tuple[str, str]],
    *,
    note: str,
    metrics: Mapping[str, float],
    files: Iterable[Path],
) -> str:
    """Put the parent runs of several studies under one run, which is made once.

    Args:
        uri: MLflow's tracking URI.
        experiment: name of the experiment that it stands in.
        studies: language -> experiment and id of its study.
        note: its description, in Markdown.
        metrics: of it.
        files: its artifacts.

    Returns:
        The run's id.

    Raises:
        StudyError: MLflow does not answer, or refuses.
    """
    client = _client(uri)
    from mlflow.exceptions import MlflowException

    ids = sorted(study_id for _, study_id in studies.values())
    mark = hashlib.sha256(" ".join(ids).encode()).hexdigest()[:16]
    try:
        place = _experiment(client, uri, experiment)
        found = list(client.search_runs([place], f"tags.studies = '{mark}'"))
        tags = {"studies": mark, "mlflow.runName": ", ".join(studies)}
        run = str((found[0] if found else client.create_run(place, tags=tags)).info.run_id)
        for name, value in metrics.items():
            client.log_metric(run, name, value)
        for file in files:
            client.log_artifact(run, str(file))
        client.set_tag(run, NOTE, note)
        client.set_terminated(run)
        for name, study_id in studies.values():
            own = client.get_experiment_by_name(name)
            for each in _runs_of(client, own.experiment_id, study_id) if own else ():
                if _TRIAL not in each.data.tags:
                    client.set_tag(each.info.run_id, _PARENT, run)
    except MlflowException as error:
        raise StudyError(f"{masked(uri)} refuses: {cause_of(error, uri)}") from None
    return run


@dataclass(frozen=True)
class SentRun:
    """A run as MLflow holds it; names as in `search.study.tracking.runs`."""

    id: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]


def check_store(uri: str) -> None:
    """Refuse a store that is not there.

    Raises:
        StudyError: it is not, or its server does not answer.
    """
    store = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not store.is_file():  # MLflow would make one
        raise StudyError(f"there is no MLflow store {store}: name yours with --tracking-uri")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if not answers(uri, ANSWER_SECONDS):
        raise StudyError(f"MLflow at {masked(uri)} does not answer")


def _client(uri: str) -> Any:
    """A client of a store that is there. Errors as of `check_store`."""
    check_store(uri)
    from mlflow.tracking import MlflowClient

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri)


def read_study(uri: str, run_id: str) -> list[SentRun]:
    """A run of a study, and after it the study's other runs.

    Raises:
        StudyError: MLflow does not answer, has no such run, or it is no run of a study.
    """
    from mlflow.exceptions import MlflowException

    try:
        client = _client(uri)
        asked = client.get_run(run_id)
        study = asked.data.tags.get("study_id")
        if study is None:
            raise StudyError(f"run {run_id} at {uri} is no run of a study of ours")
        others = list(_runs_of(client, asked.info.experiment_id, study))
    except MlflowException as error:
        cause = cause_of(error, uri)
        raise StudyError(f"run {run_id} cannot be read from {masked(uri)}: {cause}") from None
    runs = [asked, *(run for run in others if run.info.run_id != run_id)]
    return [
        SentRun(r.info.run_id, r.info.run_name, r.data.tags, r.data.params, r.data.metrics)
        for r in runs
    ]


@dataclass(frozen=True)
class Version:
    """A merge as a version of a model in MLflow's registry.

    Attributes:
        model: the registered model's name.
        source: where the merge is: a folder's URI, or an address.
        card: its model card, in Markdown.
        tags: what else is told of it.
        experiment: name of the experiment of its study; empty where it has none.
        study: the study's name.
        key: the recipe's.
    """

    model: str
    source: str
    card: str
    tags: Mapping[str, str]
    experiment: str = ""
    study: str = ""
    key: str = ""


def register(uri: str, version: Version) -> str:
    """Add a version to a registered model, which is made where there is none.

    It leads to the run of its trial on held-out items, or else on search items, if there is one.

    Returns:
        The version's number.

    Raises:
        StudyError: there is no such store, or MLflow refuses.
    """
    from mlflow.exceptions import MlflowException

    try:
        client = _client(uri)
        if not client.search_registered_models(f"name = '{version.model}'"):
            client.create_registered_model(version.model)
        made = client.create_model_version(
            version.model,
            version.source,
            run_id=_run_of(client, version),
            tags={name: short(value, VALUE_LENGTH) for name, value in version.tags.items()},
            description=short(version.card, VALUE_LENGTH),
        )
    except MlflowException as error:
        cause = cause_of(error, uri)
        raise StudyError(f"{version.model} is not registered at {masked(uri)}: {cause}") from None
    return str(made.version)


def _run_of(client: Any, version: Version) -> str | None:
    experiment = version.experiment and client.get_experiment_by_name(version.experiment)
    if not experiment or not is_name(version.study) or not is_name(version.key):
        return None
    for split in ("held_out", "search"):
        wanted = f"tags.study = '{version.study}' and tags.trial = '{version.key}.{split}'"
        for run in client.search_runs([experiment.experiment_id], wanted, max_results=1):
            return str(run.info.run_id)
    return None
