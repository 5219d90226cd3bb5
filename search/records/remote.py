"""A study in an object store: one object for each ended trial, and a working copy of the rest here.

    <address>/study.yaml, mlflow.json, report.md, ...   as in the folder of a study
    <address>/trials/000012.json                        a line of trials.jsonl: stores cannot append
    <address>/items/KEY.SPLIT.jsonl.gz                  per-item answers
    <address>/lease/000003.json                         who drives (`search.records.lease`)

The store is the truth, the working copy what a driver reads and writes fast. Owns what travels
between them and when. Which records there are is `search.records.reader`'s.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from platformdirs import user_cache_path

from search.ending import ENDING
from search.errors import StudyError
from search.records import lease, lock
from search.records.bucket import FIRST_PAUSE, LONGEST_PAUSE, Bucket
from search.records.durable import write_whole
from search.records.head import StudyHead, taken
from search.records.lease import Lease
from search.records.place import Place, Url, is_name
from search.records.record import Record, next_number, parse

OPENING_SECONDS = 5.0
SENDING_SECONDS = 300.0
"""How long a store that stays away is asked again: when a study is opened; for an ended trial."""
SHOWN = (".yaml", ".json", ".md", ".tsv", ".png")
"""Endings of the files beside the records that are kept in the store as well."""

_log = logging.getLogger(__name__)


def working_copy(url: Url) -> Path:
    """The folder of the user's cache where a study is worked on, beside others of its address."""
    out = str(url).rpartition("/")[0]
    cache = user_cache_path("layer-swap-search")
    return cache / "studies" / hashlib.sha256(out.encode()).hexdigest()[:16] / url.name


class Remote:
    """The store's side of a study.

    Order of calls: `take`; `begin` or `merge`; any number of `send` and `publish`;
    `finish` and `release`. Who reads only calls `get` and `lines`. All but the last two raise
    OSError while the store is away.
    """

    def __init__(self, url: Url, folder: Path) -> None:
        """Prepare; the store is not asked yet.

        Args:
            url: the study's address.
            folder: the working copy, locked by this process; or a reader's folder.

        Raises:
            OSError: nothing here speaks the address's protocol.
        """
        self.url, self._folder = url, folder
        self._bucket = Bucket(url, OPENING_SECONDS)
        self._once = Bucket(url, 0.0)
        self._patience = OPENING_SECONDS
        self._lease: Lease | None = None
        self._sent = 0
        self._shown: dict[str, tuple[int, int]] = {}

    def take(self) -> None:
        """Become the study's driver.

        Raises:
            StudyError: another drives it.
        """
        known = self._folder / ".copy"
        if not known.exists():
            write_whole(known, uuid.uuid4().hex.encode())
        claim = Lease(Bucket(self.url, OPENING_SECONDS), known.read_text())
        claim.take()
        self._lease = claim

    def begin(self, head: StudyHead) -> None:
        """Write study.yaml of a new study.

        Raises:
            StudyError: there is a study, or the working copy of one that was there.
        """
        if self._bucket.put_new("study.yaml", head.to_yaml()):
            if (self._folder / "study.yaml").exists():
                self._bucket.remove(["study.yaml"])
                raise StudyError(
                    f"{self._folder} holds the working copy of a study that is no longer at "
                    f"{self.url}: move it away, or name another study with --study"
                )
            return
        raise StudyError(taken(self._head(), head, str(self.url)))

    def merge(self, own: Sequence[Record]) -> list[Record]:
        """The store's records, and those that it had not taken when the last driver ended.

        The files beside them are copied here.

        Args:
            own: the working copy's records.

        Raises:
            StudyError: the working copy is of another study, or an object is not a record.
        """
        copy = self._folder / "study.yaml"
        if copy.exists():
            known = StudyHead.from_yaml(copy.read_bytes(), str(copy))
            if known.id != self._head().id:
                raise StudyError(
                    f"{self._folder} is the working copy of another study that once was at "
                    f"{self.url}: move it away"
                )
        for name in filter(_is_shown, self._bucket.names()):
            data = self._bucket.get(name)
            if data is not None:
                write_whole(self._folder / name, data)
                self._shown[name] = _state(self._folder / name)
        found = parse(self.lines(), str(self.url))
        there = {(record.key, record.split): record.state for record in found}
        for record in own:
            state = there.get((record.key, record.split))
            if state is None or (state == "failed" != record.state):  # tried again since
                found.append(replace(record, number=next_number(found)))
        return found

    def _head(self) -> StudyHead:
        return StudyHead.from_yaml(self.get("study.yaml") or b"", f"{self.url}/study.yaml")

    def lines(self) -> list[bytes]:
        """The records' lines in their order."""
        lines = self._bucket.get_all("trials")
        self._sent = len(lines)
        return lines

    def get(self, name: str) -> bytes | None:
        """A file of the study, None where there is none."""
        return self._bucket.get(name)

    def send(self, trials: Sequence[Record]) -> None:
        """Write what the store lacks of these records, in their order, and the files beside them.

        Args:
            trials: all records of the study.

        Raises:
            StudyError: another driver has taken the study over.
            OSError: the store stayed away; a later call goes on where this one stopped, and tries
                once only.
        """
        self._patiently(lambda: self._send(trials))

    def _patiently(self, call: Callable[[], None]) -> None:
        end, pause = time.time() + self._patience, FIRST_PAUSE
        while True:
            try:
                call()
            except OSError as error:
                if time.time() + pause > end or ENDING.is_set():
                    self._patience = 0.0
                    raise
                _log.warning("%s; trying again in %.0f s", error, pause)
            else:
                self._patience = SENDING_SECONDS
                return
            ENDING.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _send(self, trials: Sequence[Record]) -> None:
        """Try once; whether another has taken over meanwhile is looked at before every write."""
        self._publish()
        for record in trials[self._sent :]:
            file = self._folder / record.items
            if record.items and file.exists():
                self._check()
                self._once.put(record.items, file.read_bytes())
            self._check()
            if not self._once.put_new(_name(record), record.to_line()):
                raise StudyError(
                    f"{self.url}: another search has recorded trial {record.number}; this one "
                    f"stops: --resume {self.url} when that one has ended"
                )
            self._sent += 1

    def _check(self) -> None:
        assert self._lease is not None
        self._lease.check()

    def publish(self) -> None:
        """Write the files beside the records that have changed here.

        Raises:
            StudyError: another driver has taken the study over.
            OSError: the store stayed away.
        """
        self._patiently(self._publish)

    def _publish(self) -> None:
        self._check()
        for file in sorted(self._folder.iterdir()):
            if _is_shown(file.name) and self._shown.get(file.name) != _state(file):
                self._once.put(file.name, file.read_bytes())
                self._shown[file.name] = _state(file)

    def discard(self) -> None:
        """Remove a study without records."""
        self._bucket.remove(filter(_is_shown, self._bucket.names()))

    def finish(self) -> None:
        """Send what is left; a store that is away, or another's by now, is a warning."""
        try:
            if self._lease is not None:
                self.publish()
        except (OSError, StudyError) as error:
            _log.warning("%s; --resume %s sends the rest from %s", error, self.url, self._folder)

    def release(self, *, remove: bool = False) -> None:
        """Let others drive the study, or with `remove` leave no trace of having driven it."""
        claim, self._lease = self._lease, None
        try:
            if claim is not None:
                claim.release(remove=remove)
        except OSError as error:
            _log.warning("%s; other machines can take the study some minutes from now", error)


def studies(place: Place) -> Sequence[Place]:
    """The studies directly in a folder or under an address, by name.

    Raises:
        StudyError: it cannot be read.
    """
    try:
        if isinstance(place, Path):  # os.path: a folder that may not be looked into has no study
            return sorted(c for c in place.iterdir() if os.path.isfile(c / "study.yaml"))
        bucket = Bucket(place, OPENING_SECONDS)
        return [place / n for n in bucket.folders() if bucket.get(f"{n}/study.yaml") is not None]
    except OSError as error:
        raise StudyError(f"{place} cannot be read: {error.strerror or error}") from None


def is_held(place: Place) -> bool:
    """Whether a driver holds a study.

    Raises:
        StudyError: the store is away.
    """
    if isinstance(place, Path):
        return lock.is_held(place)
    try:
        return lease.is_held(Bucket(place, OPENING_SECONDS))
    except OSError as error:
        raise StudyError(f"{place} cannot be read: {error}") from None


def _name(record: Record) -> str:
    return f"trials/{record.number:06}.json"


def _is_shown(name: str) -> bool:
    return is_name(name) and name.endswith(SHOWN)


def _state(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_mtime_ns, found.st_size
