"""A study in an object store: one object for each ended trial, and a working copy of the rest here.

    <address>/study.yaml, mlflow.json, report.md, ...   as in the folder of a study
    <address>/trials/000012.json                        a line of trials.jsonl: stores cannot append
    <address>/items/KEY.SPLIT.jsonl.gz                  per-item answers
    <address>/lease/000003.json                         who drives (`search.records.lease`)

The store is the truth, the working copy what a driver reads and writes fast. Owns what travels
between them and when.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from platformdirs import user_state_path

from search.common.ending import ENDING
from search.common.errors import StudyError
from search.records.bucket import FIRST_PAUSE, LONGEST_PAUSE, Bucket
from search.records.durable import write_whole
from search.records.folder import FolderStore
from search.records.head import StudyHead, taken
from search.records.lease import Lease
from search.records.record import Record, next_number, parse
from search.records.study_path import Url, is_name

OPENING_SECONDS = 5.0
SENDING_SECONDS = 300.0
"""How long a store that stays away is asked again: when a study is opened; for an ended trial."""
COPY, SENT = ".copy", ".sent"
"""In a working copy: its id; file -> hashes of what was sent and of what may have arrived."""
SHOWN = (".yaml", ".json", ".md", ".tsv", ".png", ".html")
"""Endings of the files beside the records that are kept in the store as well."""

_log = logging.getLogger(__name__)


def working_copy(url: Url) -> Path:
    """Where a study is worked on, beside others of its address.

    Among the user's state and not in a cache, which may be emptied at any time: trials that were
    not sent yet are nowhere else.
    """
    out = str(url).rpartition("/")[0]
    state = user_state_path("layer-swap-search")
    return state / "studies" / hashlib.sha256(out.encode()).hexdigest()[:16] / url.name


class BucketReader:
    """A `search.records.store.StoreReader` of objects; it needs no working copy."""

    def __init__(self, url: Url) -> None:
        """Prepare; the store is not asked yet.

        Args:
            url: the study's address.

        Raises:
            OSError: nothing here speaks the address's protocol.
        """
        self._bucket = Bucket(url, OPENING_SECONDS)

    def head(self) -> bytes | None:
        """Get study.yaml."""
        return self._bucket.get("study.yaml")

    def lines(self) -> list[bytes]:
        """Get all objects of trials/."""
        return [line.rstrip(b"\n") for line in self._bucket.get_all("trials")]

    def items(self, name: str) -> bytes:
        """Get an object of items/."""
        data = self._bucket.get(name)
        if data is None:
            raise FileNotFoundError("no such object")
        return data


class BucketStore:
    """A `search.records.store.Store`: objects, and a working copy that is a folder's store.

    Attributes:
        folder: the working copy.
    """

    def __init__(self, url: Url, folder: Path) -> None:
        """Prepare; the store is not asked yet, and the folder not made.

        Args:
            url: the study's address.
            folder: the working copy.

        Raises:
            OSError: nothing here speaks the address's protocol.
        """
        self.folder = folder
        self._url = url
        self._copy = FolderStore(folder, url)
        self._reader = BucketReader(url)
        self._bucket = Bucket(url, OPENING_SECONDS)
        self._once = Bucket(url, 0.0)
        self._patience = OPENING_SECONDS
        self._lease: Lease | None = None
        self._unsent: list[Record] = []
        self._shown: dict[str, tuple[int, int]] = {}
        self._sent: dict[str, list[str]] = {}

    def head(self) -> bytes | None:
        """Get study.yaml."""
        return self._reader.head()

    def lines(self) -> list[bytes]:
        """Get all objects of trials/."""
        return self._reader.lines()

    def items(self, name: str) -> bytes:
        """Read a file of items/ from the working copy where it has it, or else the object."""
        here = (self.folder / name).exists()
        return self._copy.items(name) if here else self._reader.items(name)

    def take(self) -> None:
        """Lock the working copy, then take the lease."""
        self._copy.take()
        try:
            known = self.folder / COPY
            if not known.exists():
                write_whole(known, uuid.uuid4().hex.encode())
            claim = Lease(Bucket(self._url, OPENING_SECONDS), _owner(known))
            claim.take()
        except BaseException:
            self._copy.release()
            raise
        self._lease = claim

    def begin(self, head: StudyHead) -> None:
        """Make study.yaml, which must not exist, in the store and then in the working copy.

        Raises:
            StudyError: there is a study, or the working copy of one that was there.
            OSError: the store is away, or the disk refuses.
        """
        if not self._bucket.put_new("study.yaml", head.to_yaml()):
            raise StudyError(taken(self._head(), head, str(self._url)))
        if self._copy.head() is not None:
            self._bucket.remove(["study.yaml"])
            raise StudyError(
                f"{self.folder} holds the working copy of a study that is no longer at "
                f"{self._url}: move it away, or name another study with --study"
            )
        self._copy.begin(head)

    def load(self) -> list[Record]:
        """Bring the records of store and working copy together, and send what the store lacks.

        The files beside them are copied here, but for those that have changed here since they were
        sent last: these are sent.
        """
        own = self._copy.load()
        there = self._fetch()
        merged = [*there, *_lacking(there, own)]
        if merged != own:
            self._copy.replace(merged)
        self._unsent = merged[len(there) :]
        self._patiently(self._send)
        return merged

    def _fetch(self) -> list[Record]:
        """The store's records; the files beside them are in the working copy afterwards."""
        copy = self._copy.head()
        if copy is not None:
            known = StudyHead.from_yaml(copy, str(self.folder / "study.yaml"))
            if known.id != self._head().id:
                raise StudyError(
                    f"{self.folder} is the working copy of another study that once was at "
                    f"{self._url}: move it away"
                )
        self._sent = self._read_sent()
        for name in filter(_is_shown, self._bucket.names()):
            data = self._bucket.get(name)
            if data is not None and not self._is_newer(name, data):
                write_whole(self.folder / name, data)
                self._sent[name] = [_digest(data)]
                self._shown[name] = _state(self.folder / name)
        self._keep_sent()
        return parse(self.lines(), str(self._url))

    def _is_newer(self, name: str, there: bytes) -> bool:
        """Whether the store's file is one that this working copy once had, and has changed."""
        file = self.folder / name
        if not file.is_file() or (here := _digest(file.read_bytes())) == _digest(there):
            return False
        sent = self._sent.get(name, [])
        if _digest(there) in sent:
            return True
        if here not in sent:
            _log.warning("%s was changed here and in %s: the latter stays", file, self._url)
        return False

    def _read_sent(self) -> dict[str, list[str]]:
        file = self.folder / SENT
        try:
            return dict(json.loads(file.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError, RecursionError):
            return {}  # what the store has counts

    def _keep_sent(self) -> None:
        write_whole(self.folder / SENT, json.dumps(self._sent).encode())

    def _head(self) -> StudyHead:
        return StudyHead.from_yaml(self.head() or b"", f"{self._url}/study.yaml")

    def append(self, record: Record, items: bytes) -> None:
        """Add to the working copy, then send it and what could not be sent before.

        Where the store stayed away, a later call goes on where this one stopped, and tries once.
        """
        self._copy.append(record, items)
        self._unsent.append(record)
        try:
            self._patiently(self._send)
        except OSError as error:
            raise StudyError(
                f"trial {record.label} is on record in {self.folder} only: {error}; mend that, "
                f"then --resume {self._url} on this machine"
            ) from None

    def _patiently(self, call: Callable[[], None]) -> None:
        end, pause = time.monotonic() + self._patience, FIRST_PAUSE
        while True:
            try:
                call()
            except OSError as error:
                if time.monotonic() + pause > end or ENDING.is_set():
                    self._patience = 0.0
                    raise
                _log.warning("%s; trying again in %.0f s", error, pause)
            else:
                self._patience = SENDING_SECONDS
                return
            ENDING.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _send(self) -> None:
        """Try once; whether another has taken over meanwhile is looked at before every write."""
        self._publish()
        while self._unsent:
            record = self._unsent[0]
            file = self.folder / record.items
            if record.items and file.exists():
                self._check()
                self._once.put(record.items, file.read_bytes())
            self._check()
            if not self._once.put_new(_name(record), record.to_line()):
                raise StudyError(
                    f"{self._url}: another search has recorded trial {record.number}; this one "
                    f"stops: --resume {self._url} when that one has ended"
                )
            self._unsent.pop(0)

    def _check(self) -> None:
        assert self._lease is not None
        self._lease.check()

    def publish(self) -> None:
        """Write the files beside the records that have changed in the working copy."""
        self._patiently(self._publish)

    def _publish(self) -> None:
        self._check()
        for file in sorted(self.folder.iterdir()):
            if _is_shown(file.name) and self._shown.get(file.name) != _state(file):
                state, data = _state(file), file.read_bytes()
                known = self._sent.setdefault(file.name, [])
                if _digest(data) not in known:
                    known.append(_digest(data))
                    self._keep_sent()  # before: whether it arrived may never be known
                self._once.put(file.name, data)
                self._sent[file.name] = [_digest(data)]
                self._shown[file.name] = state

    def discard(self) -> None:
        """Remove the objects as far as the store can be reached, and the working copy."""
        with contextlib.suppress(OSError):
            self._bucket.remove(filter(_is_shown, self._bucket.names()))
        self._let_go(remove=True)
        for name in (COPY, SENT):
            (self.folder / name).unlink(missing_ok=True)
        self._copy.discard()

    def release(self) -> None:
        """Release the lease, then the working copy; a store that is away is a warning."""
        self._let_go(remove=False)
        self._copy.release()

    def _let_go(self, *, remove: bool) -> None:
        """Release the lease, or with `remove` leave no trace of it."""
        claim, self._lease = self._lease, None
        try:
            if claim is not None:
                claim.release(remove=remove)
        except OSError as error:
            _log.warning("%s; other machines can take the study some minutes from now", error)


def _lacking(there: Sequence[Record], own: Sequence[Record]) -> list[Record]:
    """The working copy's records that the store has not, with the numbers that follow there."""
    states = {(record.key, record.split): record.state for record in there}
    found = list(there)
    for record in own:
        state = states.get((record.key, record.split))
        if state is None or (state == "failed" != record.state):  # tried again since
            found.append(replace(record, number=next_number(found)))
    return found[len(there) :]


def _name(record: Record) -> str:
    return f"trials/{record.number:06}.json"


def _owner(marker: Path) -> str:
    """Who works on a copy: another where its disk was copied, or the machine was started again."""
    found, boot = marker.stat(), Path("/proc/sys/kernel/random/boot_id")
    parts = [marker.read_text(), socket.gethostname(), found.st_dev, found.st_ino]
    parts += [boot.read_text()] if boot.exists() else []
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _is_shown(name: str) -> bool:
    return is_name(name) and name.endswith(SHOWN)


def _state(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_mtime_ns, found.st_size
