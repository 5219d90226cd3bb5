"""The outbox of a study: sends its records to MLflow from a thread of its own.

Owns when and how often something is sent, what waits, and what an outage means: a server that is
slow or away delays the view and never the search. How a study looks in MLflow is
`search.study.tracking.view`'s.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from objectives.bounds import read_whole
from search.common.ending import ENDING
from search.common.errors import ConfigError, StudyError
from search.common.masking import masked
from search.common.values import all_escaped, escaped, flatten
from search.records.durable import write_whole
from search.records.head import StudyHead
from search.records.record import Record
from search.results.comparison import Report
from search.study.tracking.runs import default_uri
from search.study.tracking.store import ANSWER_SECONDS, ENVIRONMENT, answers, cause_of
from search.study.tracking.view import End, ParentRun, RunStatus, StudyView

QUIET_SECONDS = 60.0
"""How long `finish` waits without any news: a first sqlite store takes 8 s on two idle cores."""
LONGEST_PAUSE = 30.0
DESCRIBING_SECONDS = 30.0
"""How old a running study's description may become while there is news."""
FILE = "mlflow.json"
ENDING_SECONDS = 10.0
"""How long `finish` waits in all once SIGTERM has come: a scheduler kills 30 s after it."""

_log = logging.getLogger(__name__)


class Outbox:
    """Sends a study's records to MLflow from a thread of its own.

    Order of calls: `start`, any number of `put`, `finish`. All of them are for the driver's thread
    and raise nothing that MLflow does; what cannot be sent stays in memory and on disk.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        head: StudyHead,
        tags: Mapping[str, str],
        folder: Path,
        *,
        rebuild: bool = False,
        remember: bool = True,
        path: str = "",
    ) -> None:
        """Prepare; nothing is sent before `start`.

        Args:
            uri: MLflow tracking URI. It may hold a password: it is never logged.
            experiment: name of the experiment, see `experiment_name`.
            head: the study's id, the parent run's name, and its configuration, which becomes params
                with dotted names.
            tags: versions, host, commit, ...; added to those that earlier drivers gave.
            folder: the study's folder. mlflow.json there keeps the tags and the address.
            rebuild: delete the study's runs first.
            remember: keep the address, as where the study is sent from now on.
            path: the study's address, where it is not this folder.

        Raises:
            StudyError: mlflow.json cannot be read or written.
        """
        self._uri = uri
        folder = folder.resolve()
        known_tags = _keep(folder, uri if remember else None, tags)
        config = flatten(head.config)
        self._study = ParentRun(
            uri,
            experiment,
            escaped(head.name),
            escaped(head.id),
            all_escaped(head.config),
            known_tags,
            folder,
            "all" if config.get("search.mlflow.metrics") == "all" else "few",
            path or str(folder),
            head.layers,
            float(config.get("search.tolerance", 0.0)),
        )
        self._records: list[Record] = []
        self._described = 0, -math.inf
        self._rebuild = rebuild
        self._outbox: deque[Record] = deque()
        self._refused: list[Record] = []
        self._end: End | None = None
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
        for name, value in ENVIRONMENT.items():
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
        report: Report | None = None,
    ) -> int:
        """Complete the parent run and wait until all is sent.

        Waits as long as runs go out, and 10 s once they don't, or once the search was told to end.

        Args:
            artifacts: files for the parent run; those that do not exist are left out.
            metrics: for the parent run, in percent where they are scores.
            tags: for the parent run, such as the recommended recipe.
            status: FINISHED, or KILLED for a search that was interrupted.
            report: what the study came to, for the description of its run.

        Returns:
            Number of runs that MLflow lacks, the parent run among them; `search.sync` sends them
            later.
        """
        self._end = End(tuple(artifacts), metrics or {}, tags or {}, status, report)
        self._wake.set()
        began = time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.1)
            quiet = time.monotonic() - max(began, self._progress)
            late = ENDING.is_set() and time.monotonic() - began > ENDING_SECONDS
            if late or quiet > (ANSWER_SECONDS if self._failing else QUIET_SECONDS):
                break
        self._given_up = True
        self._wake.set()
        waiting = {(r.key, r.split) for r in (*self._outbox, *self._refused)}
        return len(waiting) + (self._end is not None)

    def _work(self) -> None:
        self._answers = answers(self._uri, 0.8 * ANSWER_SECONDS)
        self._failing = not self._answers
        self._probed.set()
        view: StudyView | None = None
        opened = False
        pause = 1.0
        while not self._given_up:
            try:
                if view is None:
                    view = StudyView(self._study)
                    continue  # nothing has been said to MLflow yet
                if self._rebuild:
                    self._rebuild = view.clear()
                elif not opened:
                    view.open()
                    opened = True
                    continue  # no run has gone out by that: on a full disk it may be all that works
                elif self._is_due():
                    view.describe(self._records)
                    self._described = len(self._records), time.monotonic()
                elif self._outbox:
                    self._send(view.send)
                elif self._end is not None:
                    if self._end.report is None:
                        view.describe(self._records)
                    view.close(self._end)
                    self._end = None
                    return
                else:
                    self._wake.wait(DESCRIBING_SECONDS)
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

    def _is_due(self) -> bool:
        """Whether the study's description is to be made again: there is news, and it is old."""
        known, when = self._described
        return len(self._records) > known and time.monotonic() - when > DESCRIBING_SECONDS

    def _send(self, send: Callable[[Record], None]) -> None:
        record = self._outbox[0]
        try:
            send(record)
        except Exception as error:
            if getattr(error, "error_code", "") != "INVALID_PARAMETER_VALUE":
                raise
            self._refused.append(record)  # the same again would be refused again
            _log.warning("MLflow refuses %s: %s", record.label, masked(str(error)))
        self._records.append(self._outbox.popleft())

    def _warn(self, error: Exception) -> None:
        if not self._failing:
            cause = cause_of(error, self._uri)
            what = f"{masked(self._uri)} takes no runs ({type(error).__name__}: {cause})"
            _log.warning("MLflow at %s; they are kept and sent when it does", what)
        self._failing = True


def address(folder: Path, given: str | None = None, *, trusted: bool = False) -> str:
    """Where a study is sent: as given, as MLFLOW_TRACKING_URI says, as before, or beside it.

    Args:
        folder: the study's.
        given: a tracking URI on the command line.
        trusted: send it where it was sent before, an address that the study alone knows.

    Raises:
        StudyError: mlflow.json cannot be read.
        ConfigError: it holds an address, and that is not trusted.
    """
    named = given or os.environ.get("MLFLOW_TRACKING_URI")
    if named:
        return named
    known = _known(folder).get("uri")
    if known and not trusted:
        raise ConfigError(
            f"{folder / FILE} says that the study is sent to {known}, which this command line does "
            "not name: passwords and records go to no address that a study alone knows. If it is "
            f"yours, write --tracking-uri {known} or --trust-addresses"
        )
    return str(known or default_uri(folder.resolve().parent))


def _known(folder: Path) -> dict[str, Any]:
    file = folder / FILE
    try:
        text = read_whole(file).decode("utf-8-sig") if file.exists() else "{}"
        known: dict[str, Any] = all_escaped(json.loads(text))
        tags = known.get("tags", {}) if isinstance(known, dict) else None
        if not (isinstance(tags, dict) and all(isinstance(tag, str) for tag in tags.values())):
            raise ValueError("it does not hold a study's tags")
        if not isinstance(known.get("uri", ""), str):
            raise ValueError(f"its address is {known['uri']!r}")
    except (OSError, ValueError, RecursionError) as error:
        raise StudyError(f"{file} cannot be used: {error}; remove it to send without") from None
    return known


def remember(folder: Path, uri: str) -> None:
    """Have a study sent to this address from now on.

    Raises:
        StudyError: mlflow.json cannot be read or written.
    """
    _keep(folder, uri, {})


def _keep(folder: Path, uri: str | None, tags: Mapping[str, str]) -> dict[str, str]:
    """The study's tags in mlflow.json, brought up to date; an address with a password stays out.

    Without an address the one that is known stays.
    """
    known = _known(folder)
    new: dict[str, Any] = {"tags": {**known.get("tags", {}), **tags}}
    if uri is None:
        new |= {"uri": known["uri"]} if "uri" in known else {}
    elif uri != default_uri(folder.parent) and masked(uri) == uri:
        new["uri"] = uri
    if known != new:
        try:
            write_whole(folder / FILE, json.dumps(new, indent=1).encode())
        except OSError as error:
            raise StudyError(f"{folder / FILE} cannot be written: {error}") from None
    return dict(new["tags"])
