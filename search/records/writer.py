"""The records of a study for its driver: a reader that also adds to them.

Owns the numbers of records and the names of their items, and what is said to the user when one
cannot be written. How a record survives a crash is the store's (`search.records.store`). Knows
nothing of Ray, Optuna, MLflow or of what the scores mean.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from search.common.errors import StudyError
from search.common.values import escaped
from search.records.durable import write_whole
from search.records.folder import HEAD, FolderStore
from search.records.head import StudyHead
from search.records.lock import LockLostError
from search.records.reader import RecordsReader, head_of
from search.records.record import Record, next_number
from search.records.remote import BucketStore, working_copy
from search.records.store import Store
from search.records.study_path import StudyPath, Url, check_name

_log = logging.getLogger(__name__)


class RecordsWriter(RecordsReader):
    """The records of one study, held by one driver at a time.

    Attributes:
        path: how a user names the study: its folder, or its address in an object store.
        folder: where its files are on this machine.
        trials: the records, in the order of their ends; what is appended is added here.
    """

    trials: list[Record]

    def __init__(self, path: StudyPath, store: Store, head: bytes, trials: list[Record]) -> None:
        """Hold a study that was taken; use `create` or `open` instead."""
        super().__init__(path, store, head, trials)
        self.folder: Path = store.folder
        self._store: Store = store
        self._held = True

    @classmethod
    def create(cls, path: StudyPath, head: StudyHead) -> RecordsWriter:
        """Make a study where none is.

        Raises:
            ConfigError: its name could lead out of the folder of studies.
            StudyError: the path cannot be written, or holds a study already.
        """
        check_name(head.name)
        check_name(path.name)
        try:
            store = _store(path)
            with _taken(store):
                store.begin(head)
        except OSError as error:
            raise StudyError(
                f"{path} cannot be written: {error}; mend that, or name another folder with --out"
            ) from None
        return cls(path, store, head.to_yaml(), [])

    @classmethod
    def open(cls, path: StudyPath) -> RecordsWriter:
        """Take an existing study and read its trials.

        A last line that a crash cut off is moved to trials.jsonl.cut. What an object store lacks of
        the working copy's records is sent.

        Raises:
            StudyError: no study is there, another driver holds it, or a line is not a record.
        """
        try:
            store = _store(path)
            head_of(store, path)  # before anything is made there
            with _taken(store):
                trials = store.load()
                head = (store.folder / HEAD).read_bytes()
        except OSError as error:
            raise StudyError(f"{path} cannot be opened: {error}") from None
        found = cls(path, store, head, trials)
        try:
            found.refuse_emptied()
        except StudyError:
            found.close()
            raise
        return found

    def rewrite(self, head: StudyHead) -> None:
        """Replace study.yaml; after a crash it is the old one or the new one, whole.

        Raises:
            StudyError: the disk or the store refuses.
        """
        data = head.to_yaml()
        try:
            write_whole(self.folder / HEAD, data)
            self._head = data
            self._store.publish()
        except OSError as error:
            raise StudyError(f"{self.path}/{HEAD} cannot be written: {error}") from None

    def append(self, record: Record, items: bytes = b"") -> Record:
        """Write a trial's items, then its line; on return both are where they are to stay.

        Args:
            record: the trial; its `items` and `number` are set here.
            items: gzipped JSON lines from `search.records.items.pack_items`.

        Returns:
            The record as written.

        Raises:
            StudyError: the disk or the store refuses; of a store, the working copy has the record
                and `open` sends it.
        """
        name = f"items/{record.key}.{record.split}.jsonl.gz" if items else ""
        record = replace(
            record,
            items=name,
            number=next_number(self.trials),
            label=escaped(record.label),
            reason=escaped(record.reason),
            host=escaped(record.host),
            note=escaped(record.note),
        )
        try:
            self._store.append(record, items)
        except OSError as error:
            lost = isinstance(error, LockLostError)
            remedy = "see that no other search writes there" if lost else "make room"
            raise StudyError(
                f"trial {record.label} cannot be recorded in {self.folder}: {error}; {remedy}, "
                f"then --resume {self.path}"
            ) from None
        except StudyError:  # it is on this machine
            self.trials.append(record)
            raise
        self.trials.append(record)
        return record

    def discard(self) -> None:
        """Close, and remove a study that holds no trial: what was asked for proved to be wrong."""
        if self.trials:
            self.close()
        elif self._held:
            self._held = False
            self._store.discard()

    def close(self) -> None:
        """Let another driver take the study; files written beside the records are sent before."""
        if not self._held:
            return
        self._held = False
        try:
            self._store.publish()
        except (OSError, StudyError) as error:
            _log.warning("%s; --resume %s sends the rest from %s", error, self.path, self.folder)
        finally:  # also where Ctrl-C ends the sending
            self._store.release()


def _store(path: StudyPath) -> Store:
    if isinstance(path, Url):
        return BucketStore(path, working_copy(path))
    return FolderStore(path, path)


@contextmanager
def _taken(store: Store) -> Iterator[None]:
    """Take a study for its driver, who keeps it unless this block fails."""
    store.take()
    try:
        yield
    except BaseException:
        store.release()
        raise
