"""The records of a study for who only reads: reports, exports, lists, warm starts.

Owns what is asked of records, the same for a study in a folder and in an object store. They are the
truth that a study is resumed and reported from; docs/records.md is the page on their format. Takes
and writes nothing: a search may be running on the study. Knows nothing of Ray, Optuna, MLflow or of
what the scores mean.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from objectives import targets
from objectives.types import ItemResult, Split
from objectives.words import guess, nearest
from search.common.errors import StudyError
from search.records.folder import HEAD, TRIALS, FolderReader
from search.records.head import StudyHead
from search.records.items import unpack_items
from search.records.record import Record, parse
from search.records.remote import BucketReader
from search.records.store import StoreReader
from search.records.study_path import StudyPath, Url


class RecordsReader:
    """The records of one study, as they were when they were read.

    Attributes:
        path: how a user names the study: its folder, or its address in an object store.
        trials: the records, in the order of their ends.
        unreadable: file of answers -> why it cannot be read, of those that were asked for.
    """

    trials: Sequence[Record]

    def __init__(
        self, path: StudyPath, store: StoreReader, head: bytes, trials: Sequence[Record]
    ) -> None:
        """Hold what was read; use `read` instead."""
        self.path, self.trials = path, trials
        self.unreadable: dict[str, str] = {}
        self._store, self._head = store, head

    @classmethod
    def read(cls, path: StudyPath) -> RecordsReader:
        """Read a study as it is now; a last line that is not complete is left out.

        From then on this process works on what the study optimises (`objectives.targets.use`).

        Raises:
            StudyError: no study is there, a line is not a record, or trials were lost.
        """
        try:
            store = _store(path)
            head = head_of(store, path)
            lines = store.lines()
        except OSError as error:
            raise StudyError(f"{path} cannot be read: {error}") from None
        found = RecordsReader(path, store, head, parse(lines, str(path)))
        found.refuse_emptied()
        with suppress(StudyError):  # whoever needs the head asks for it
            targets.use(found.head().scored_on())
        return found

    def refuse_emptied(self) -> None:
        """Refuse a study that ended and has no trial.

        Raises:
            StudyError: it is one.
        """
        finished = ""
        with suppress(StudyError):  # whoever needs the head asks for it
            finished = "" if self.trials else self.head().finished
        if finished:
            raise StudyError(
                f"{self.path} was finished ({finished}), and {TRIALS} there holds no trial: it was "
                "emptied or lost. Put it back from a copy; what MLflow has of them, search.best "
                "and search.export --run read by the run's id"
            )

    def snapshot(self) -> RecordsReader:
        """The records so far, to which nothing is added any more; for another thread."""
        return RecordsReader(self.path, self._store, self._head, list(self.trials))

    @staticmethod
    def exists(path: StudyPath) -> bool:
        """Whether a study is there.

        Raises:
            StudyError: the path cannot be looked at.
        """
        try:
            return _store(path).head() is not None
        except OSError as error:
            raise StudyError(f"{path} cannot be read: {error}") from None

    def head(self) -> StudyHead:
        """What study.yaml holds.

        Raises:
            StudyError: it is not a study's head.
        """
        return StudyHead.from_yaml(self._head, f"{self.path}/{HEAD}")

    def ended(self, split: Split) -> dict[str, Record]:
        """Canonical key -> the trial that ended on these items."""
        return {record.key: record for record in self.trials if record.split == split}

    def items(self, record: Record) -> list[ItemResult]:
        """Per-item results of a trial; empty if none.

        Raises:
            StudyError: they are not where the record says.
        """
        if not record.items:
            return []
        try:
            return unpack_items(self._store.items(record.items))
        except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
            fault = f"{self.path}/{record.items} cannot be read: {error}"
            self.unreadable[record.items] = fault
            raise StudyError(fault) from None


def nearest_study(path: StudyPath, runs: str = "runs") -> str:
    """The study of a folder whose name was mistyped: beside it or in `runs`; empty if none is."""
    if not isinstance(path, Path):
        return ""
    folders = (path.parent, Path(runs)) if path.parent == Path() else (path.parent,)
    try:
        known = {f.parent.name: str(f.parent) for at in folders for f in at.glob(f"*/{HEAD}")}
    except OSError:
        return ""
    return known.get(nearest(path.name, known), "")


def head_of(store: StoreReader, path: StudyPath) -> bytes:
    """The head of the study in a store, as it is written.

    Raises:
        StudyError: there is no study.
        OSError: the store cannot be read.
    """
    head = store.head()
    if head is None:
        raise StudyError(f"{path} holds no study (no {HEAD}){guess(nearest_study(path))}")
    return head


def _store(path: StudyPath) -> StoreReader:
    return BucketReader(path) if isinstance(path, Url) else FolderReader(path)
