"""MLflow at one address: the only file that imports it.

Owns its client, how long it is waited for, what its refusals mean in a line, and how an experiment
and a study's runs are found there. A study's runs bear its `study_id`, which is made once and kept
in study.yaml, so that two studies of one name stay two. What is sent is
`search.study.tracking.view`'s.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

from search.common.errors import StudyError
from search.common.masking import masked
from search.common.values import short
from search.study.tracking.runs import VALUE_LENGTH, is_server

ANSWER_SECONDS = 10.0
"""How long `start` waits for a server, and `finish` for one that has stopped taking runs."""

CAUSE_LENGTH = 1000
"""Longest cause that is shown; MLflow's longest advice has some 350 characters."""
ENVIRONMENT = {
    # One try of 8 s: MLflow's own 7 tries block for 245 s, and a blind second POST makes twins.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "8",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
NOTE = "mlflow.note.content"
"""Tag of a run: its description, in Markdown."""
PARENT = "mlflow.parentRunId"
"""Tag of a run: the run above it."""
TRIAL = "trial"
"""Tag of a run: the trial that it is; the parent runs of studies have none."""


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


class Store:
    """What is behind one tracking URI, for one thread.

    Attributes:
        uri: MLflow's tracking URI.
        client: MLflow's own.
    """

    def __init__(self, uri: str) -> None:
        from mlflow import entities
        from mlflow.tracking import MlflowClient

        for name in ("alembic", "mlflow"):  # both announce each table of a new store
            logging.getLogger(name).setLevel(logging.ERROR)
        self.uri = uri
        self.client: Any = MlflowClient(tracking_uri=uri)
        self._entities: Any = entities

    @classmethod
    def there(cls, uri: str) -> Store:
        """A store that exists. Errors as of `check_store`."""
        check_store(uri)
        return cls(uri)

    @contextmanager
    def refusals(self, what: str) -> Iterator[None]:
        """MLflow's refusals as one line.

        Args:
            what: what it refuses, as the line begins.

        Raises:
            StudyError: MLflow refuses.
        """
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            raise StudyError(f"{what}: {cause_of(error, self.uri)}") from None

    def experiment(self, name: str) -> str:
        """Id of an experiment, which is made or brought back."""
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                self.client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        location = None  # a server knows where its artifacts go; a database would take the cwd
        if self.uri.startswith("sqlite:///"):
            database = Path(self.uri.removeprefix("sqlite:///")).resolve()
            location = (database.parent / "mlartifacts").as_uri()
        return str(self.client.create_experiment(name, location))

    def runs_of(self, experiment: str, study_id: str) -> Iterator[Any]:
        """All runs of a study, oldest first."""
        token = None
        while True:
            page = self.client.search_runs(
                [experiment],
                f"tags.study_id = '{study_id}'",
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return

    def write(
        self,
        run_id: str,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        milliseconds: int | None = None,
        step: int = 0,
    ) -> None:
        """Add to a run, or change it.

        Args:
            run_id: the run.
            metrics: of it.
            params: of it; one that it has must not differ.
            tags: of it, cut to what MLflow takes; a description is masked.
            milliseconds: when, since 1970; else now.
            step: of the metrics.
        """
        # the record's own time makes a repeated metric the same row, not a second point
        when = int(1000 * time.time()) if milliseconds is None else milliseconds
        self.client.log_batch(
            run_id,
            [self._entities.Metric(k, v, when, step) for k, v in (metrics or {}).items()],
            [self._entities.Param(k, v) for k, v in (params or {}).items()],
            [
                self._entities.RunTag(k, masked(v) if k == NOTE else short(v, VALUE_LENGTH))
                for k, v in (tags or {}).items()
            ],
        )


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
