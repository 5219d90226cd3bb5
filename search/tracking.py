"""MLflow as a view of a study's records: the only file that imports MLflow.

Owns how a study looks there: experiment `layer-swap/<family>/<lang>`, one parent run, one child run
for each record. A background thread sends; a server that is slow or away delays the view and never
the search. Nothing is read back but which runs exist, so the view can be rebuilt from the records
at any time (`search.sync`). Knows nothing of what the scores mean, of Ray or of engines.

A run is found again by its tags, never by memory: the parent by `study_id`, a child by `study_id`
and `trial` (canonical key and split). The id is made once and kept in the study's folder, in
mlflow.json, so that two studies of one name stay two.
"""

from __future__ import annotations

import json
import logging
import os
import ssl
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from itertools import islice
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

from search.errors import StudyError
from search.recipe import to_dict
from search.records import Record
from search.runs import flatten, is_server, masked, metrics_of, params_of, short

ANSWER_SECONDS = 10.0
"""How long `start` waits for a server, and `finish` for one that has stopped taking runs."""
QUIET_SECONDS = 60.0
"""How long `finish` waits without any news: a first sqlite store takes 8 s on two idle cores."""
LONGEST_PAUSE = 30.0

_PARAMS_PER_CALL = 100  # mlflow.utils.validation.MAX_PARAMS_TAGS_PER_BATCH
_ENVIRONMENT = {
    # One try of 8 s: MLflow's own 7 tries block for 245 s, and a blind second POST makes twins.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "8",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_NOTE = (
    "Search for the best layer-swap recipe. Each child run is one recipe; scores are percentages. "
    "Runs tagged `split = held_out` were scored on items the search has not seen: trust those. "
    "report.md among the artifacts holds the final table."
)
_log = logging.getLogger(__name__)

RunStatus = Literal["FINISHED", "KILLED", "FAILED"]


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


@dataclass(frozen=True)
class _Study:
    """What the parent run says."""

    uri: str
    experiment: str
    name: str
    id: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    folder: Path


@dataclass(frozen=True)
class _Child:
    run_id: str
    number: int
    ended: bool


@dataclass(frozen=True)
class _End:
    artifacts: tuple[Path, ...]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    status: RunStatus


class _View:
    """One study in MLflow, for one thread; every call may be repeated after an error."""

    def __init__(self, study: _Study) -> None:
        from mlflow import entities
        from mlflow.tracking import MlflowClient

        for name in ("alembic", "mlflow"):  # both announce each table of a new store
            logging.getLogger(name).setLevel(logging.ERROR)
        self._study = study
        self._entities: Any = entities
        self._client: Any = MlflowClient(tracking_uri=study.uri)
        self._experiment = ""
        self._parent = ""
        self._children: dict[str, _Child] = {}

    def open(self) -> None:
        """Find or make the experiment and the parent run; list the children that exist."""
        self._experiment = self._find_experiment()
        self._parent, self._children = "", {}
        parent = None
        for run in self._runs():
            tags = run.data.tags
            if "mlflow.parentRunId" not in tags:
                parent = parent or run
            else:
                ended = run.info.status != "RUNNING"
                child = _Child(run.info.run_id, int(tags["number"]), ended)
                self._children.setdefault(tags["trial"], child)
        study = self._study
        tags = {
            **study.tags,
            "study": study.name,
            "study_id": study.id,
            "mlflow.note.content": _NOTE,
        }
        tags = {name: short(value) for name, value in tags.items()}
        if parent is None:
            parent = self._client.create_run(self._experiment, tags=tags, run_name=study.name)
        elif parent.info.status != "RUNNING":
            self._client.update_run(parent.info.run_id, status="RUNNING")
        self._parent = parent.info.run_id
        params = flatten(study.params)
        logged = parent.data.params  # MLflow refuses to change a param, as a resumed study may
        tags |= {f"changed/{k}": v for k, v in params.items() if logged.get(k, v) != v}
        new = iter([(k, v) for k, v in params.items() if k not in logged])
        while chunk := dict(islice(new, _PARAMS_PER_CALL)):
            self._write(self._parent, params=chunk)
        self._write(self._parent, tags=tags)

    def send(self, record: Record) -> None:
        """Make a record's run, or complete one cut short; an older record changes nothing."""
        trial = f"{record.key}.{record.split}"
        have = self._children.get(trial)
        if have and (record.number < have.number or (have.ended and record.number == have.number)):
            return
        tags = self._tags(record, trial)
        params = params_of(record)
        total = record.seconds.get("total", 0.0)
        if have is None:
            name = record.label + (" (held-out)" if record.split == "held_out" else "")
            start = int(1000 * (record.ended - total))
            run = self._client.create_run(self._experiment, start, tags, name)
            have = _Child(run.info.run_id, record.number, ended=False)
            self._children[trial] = have
        elif record.number > have.number:  # tried again after it had failed
            params = {}
            self._client.update_run(have.run_id, status="RUNNING")
        milliseconds = int(1000 * record.ended)
        self._write(have.run_id, metrics_of(record), params, tags, milliseconds)
        status = "FAILED" if record.state == "failed" else "FINISHED"
        self._client.set_terminated(have.run_id, status, milliseconds)
        self._children[trial] = _Child(have.run_id, record.number, ended=True)

    def close(self, end: _End) -> None:
        """Complete the parent run."""
        self._write(self._parent, end.metrics, tags=end.tags)
        for file in end.artifacts:
            if file.is_file():
                self._client.log_artifact(self._parent, str(file))
        self._client.set_terminated(self._parent, end.status)

    def _tags(self, record: Record, trial: str) -> dict[str, str]:
        names = ("number", "key", "split", "state", "origin", "reason", "host")
        tags = {name: short(getattr(record, name)) for name in names}
        tags["recipe"] = json.dumps(to_dict(record.recipe))
        tags["items"] = str(self._study.folder / record.items) if record.items else ""
        tags |= {"study": self._study.name, "study_id": self._study.id, "trial": trial}
        return {k: v for k, v in tags.items() if v} | {"mlflow.parentRunId": self._parent}

    def _write(
        self,
        run_id: str,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        milliseconds: int | None = None,
    ) -> None:
        # the record's own time makes a repeated metric the same row, not a second point
        when = int(1000 * time.time()) if milliseconds is None else milliseconds
        self._client.log_batch(
            run_id,
            [self._entities.Metric(k, v, when, 0) for k, v in (metrics or {}).items()],
            [self._entities.Param(k, v) for k, v in (params or {}).items()],
            [self._entities.RunTag(k, short(v)) for k, v in (tags or {}).items()],
        )

    def _find_experiment(self) -> str:
        found = self._client.get_experiment_by_name(self._study.experiment)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                self._client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        location = None  # a server knows where its artifacts go; a database would take the cwd
        if self._study.uri.startswith("sqlite:///"):
            database = Path(self._study.uri.removeprefix("sqlite:///")).resolve()
            location = (database.parent / "mlartifacts").as_uri()
        return str(self._client.create_experiment(self._study.experiment, location))

    def _runs(self) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment],
                f"tags.study_id = '{self._study.id}'",
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return


class Tracker:
    """Sends a study's records to MLflow from a thread of its own.

    Order of calls: `start`, any number of `put`, `finish`. All of them are for the driver's thread
    and raise nothing that MLflow does; what cannot be sent stays in memory and on disk.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        study: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        folder: Path,
    ) -> None:
        """Prepare; nothing is sent before `start`.

        Args:
            uri: MLflow tracking URI. It may hold a password: it is never logged.
            experiment: name of the experiment, see `experiment_name`.
            study: name of the parent run.
            params: the configuration; nested mappings become dotted names.
            tags: versions, host, commit, ...; added to those that earlier drivers gave.
            folder: the study's folder. mlflow.json there keeps the study's id and tags.

        Raises:
            StudyError: mlflow.json cannot be read or written.
        """
        self._uri = uri
        folder = folder.resolve()
        number, known_tags = _identity(folder, tags)
        self._study = _Study(uri, experiment, study, number, params, known_tags, folder)
        self._outbox: deque[Record] = deque()
        self._refused: list[Record] = []
        self._end: _End | None = None
        self._wake = threading.Event()
        self._probed = threading.Event()
        self._answers = False
        self._failing = False
        self._given_up = False
        self._progress = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def start(self) -> bool:
        """Start sending.

        Returns:
            Whether the server answers within 10 s. If not, warn: runs are sent when it is back.
        """
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._thread.start()
        self._probed.wait(ANSWER_SECONDS)
        return self._answers

    def put(self, record: Record) -> None:
        """Have a record sent; returns at once."""
        self._outbox.append(record)
        self._wake.set()

    def finish(
        self,
        artifacts: Sequence[Path] = (),
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        status: RunStatus = "FINISHED",
    ) -> int:
        """Complete the parent run and wait until all is sent.

        Waits as long as runs go out, and 10 s once they don't.

        Args:
            artifacts: files for the parent run; those that do not exist are left out.
            metrics: for the parent run, in percent where they are scores.
            tags: for the parent run, such as the recommended recipe.
            status: FINISHED, or KILLED for a search that was interrupted.

        Returns:
            Number of runs that MLflow lacks; `search.sync` sends them later.
        """
        self._end = _End(tuple(artifacts), metrics or {}, tags or {}, status)
        self._wake.set()
        began = time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.1)
            quiet = time.monotonic() - max(began, self._progress)
            if quiet > (ANSWER_SECONDS if self._failing else QUIET_SECONDS):
                break
        self._given_up = True
        self._wake.set()
        return len(self._outbox) + len(self._refused) + (self._end is not None)

    def _work(self) -> None:
        self._answers = answers(self._uri, 0.8 * ANSWER_SECONDS)
        self._failing = not self._answers
        self._probed.set()
        view: _View | None = None
        opened = False
        pause = 1.0
        while not self._given_up:
            try:
                if view is None:
                    view = _View(self._study)
                    continue  # nothing has been said to MLflow yet
                if not opened:
                    view.open()
                    opened = True
                elif self._outbox:
                    self._send(view.send)
                elif self._end is not None:
                    view.close(self._end)
                    self._end = None
                    return
                else:
                    self._wake.wait()
                    self._wake.clear()
                    continue
            except Exception as error:  # whatever MLflow raises must not end the search: try again
                opened = False  # what did arrive is only known after asking
                self._warn(error)
                self._wake.wait(pause)
                self._wake.clear()
                pause = min(2 * pause, 2.0 if self._end else LONGEST_PAUSE)
            else:
                self._failing, pause = False, 1.0
                self._progress = time.monotonic()

    def _send(self, send: Callable[[Record], None]) -> None:
        record = self._outbox[0]
        try:
            send(record)
        except Exception as error:
            if getattr(error, "error_code", "") != "INVALID_PARAMETER_VALUE":
                raise
            self._refused.append(record)  # the same again would be refused again
            _log.warning("MLflow refuses %s: %s", record.label, masked(str(error)))
        self._outbox.popleft()

    def _warn(self, error: Exception) -> None:
        if not self._failing:
            cause = short(masked(str(error)).partition("\n")[0], 150)
            what = f"{masked(self._uri)} takes no runs ({type(error).__name__}: {cause})"
            _log.warning("MLflow at %s; they are kept and sent when it does", what)
        self._failing = True


def _identity(folder: Path, tags: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The study's id and tags in mlflow.json, made or brought up to date."""
    file = folder / "mlflow.json"
    try:
        known: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
        number = str(known.get("id") or uuid.uuid4().hex)
        both = {**known.get("tags", {}), **tags}
        if known != {"id": number, "tags": both}:
            part = file.with_name("mlflow.json.part")
            part.write_text(json.dumps({"id": number, "tags": both}, indent=1), "utf-8")
            os.replace(part, file)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise StudyError(f"{file} cannot be used: {error}; remove it to send anew") from None
    return number, both
