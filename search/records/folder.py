"""A study in a folder: its head and one fsynced line for each ended trial.

    <out>/<study>/
      study.yaml            the head: configuration, versions, hashes (`search.records.head`)
      trials.jsonl          one line per ended trial: a `search.records.record.Record`
      items/KEY.SPLIT.jsonl.gz   per-item prompts, answers and verdicts of a trial
      optuna.journal        Optuna's own log
      mlflow.json           the study's id in MLflow, and its tags
      report.md, report.tsv, report.html, *.png   written after the search
      .lock                 who drives (`search.records.lock`)

Owns what is written there and in which order. Knows nothing of object stores, of which such a
folder is the working copy (`search.records.remote`).
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Sequence
from pathlib import Path

from objectives.bounds import read_whole
from search.common.errors import StudyError
from search.records.durable import (
    NotTakenBackError,
    append_line,
    make_folder,
    read_lines,
    write_whole,
)
from search.records.head import StudyHead, taken
from search.records.lock import LOCK, StudyLock
from search.records.record import Record, parse
from search.records.study_path import StudyPath

HEAD = "study.yaml"
TRIALS = "trials.jsonl"
JOURNAL = "optuna.journal"
_ADDED_TO = (TRIALS, f"{TRIALS}.cut", JOURNAL, LOCK)
"""Written in place; other files are replaced."""


class FolderReader:
    """A `search.records.store.StoreReader`."""

    def __init__(self, folder: Path) -> None:
        """Prepare; the folder is not looked at yet."""
        self._folder = folder

    def head(self) -> bytes | None:
        """Read study.yaml."""
        file = self._folder / HEAD
        return read_whole(file) if file.is_file() else None

    def lines(self) -> list[bytes]:
        """Read trials.jsonl, but for a last line that is not complete."""
        return read_lines(self._folder / TRIALS, mend=False)

    def items(self, name: str) -> bytes:
        """Read a file of items/."""
        return read_whole(self._folder / name)


class FolderStore:
    """A `search.records.store.Store`.

    Attributes:
        folder: the study's.
    """

    def __init__(self, folder: Path, path: StudyPath) -> None:
        """Prepare; the folder is neither made nor locked yet.

        Args:
            folder: the study's.
            path: what messages call the study.
        """
        self.folder = folder
        self._path = path
        self._lock = StudyLock(folder)
        self._stuck: NotTakenBackError | None = None
        self._reader = FolderReader(folder)

    def head(self) -> bytes | None:
        """Read study.yaml."""
        return self._reader.head()

    def lines(self) -> list[bytes]:
        """Read trials.jsonl."""
        return self._reader.lines()

    def items(self, name: str) -> bytes:
        """Read a file of items/."""
        return self._reader.items(name)

    def take(self) -> None:
        """Make the folder where there is none, and lock it.

        Raises:
            StudyError: there are links in it, or pipes and the like, or another process drives it.
        """
        for file in sorted(self.folder.glob("*")):
            _refuse_odd(file)
        make_folder(self.folder / "items")
        self._lock.take(str(self._path))

    def begin(self, head: StudyHead) -> None:
        """Write study.yaml where there is none."""
        found = self.head()
        if found is not None:
            there = StudyHead.from_yaml(found, f"{self._path}/{HEAD}")
            raise StudyError(taken(there, head, str(self._path)))
        write_whole(self.folder / HEAD, head.to_yaml())

    def load(self) -> list[Record]:
        """Read trials.jsonl; a last line that a crash cut off is moved to trials.jsonl.cut."""
        return parse(read_lines(self.folder / TRIALS, mend=True), str(self.folder))

    def replace(self, records: Sequence[Record]) -> None:
        """Write trials.jsonl anew, whole.

        Raises:
            OSError: the disk refuses; the file is as it was.
        """
        write_whole(self.folder / TRIALS, b"".join(record.to_line() for record in records))

    def append(self, record: Record, items: bytes) -> None:
        """Write the items whole, then add the line; both are fsynced.

        After a line that could not be taken back nothing is added until the study is opened again.
        """
        if self._stuck is not None:
            raise self._stuck
        self._lock.check(str(self._path))
        if items:
            write_whole(self.folder / record.items, items)
        try:
            append_line(self.folder / TRIALS, record.to_line())
        except NotTakenBackError as error:
            self._stuck = error
            raise

    def publish(self) -> None:
        """Nothing: the files are where they are to stay."""

    def discard(self) -> None:
        """Remove what drivers write beside records; then the folder, if it is empty."""
        for name in (HEAD, "mlflow.json", JOURNAL):
            (self.folder / name).unlink(missing_ok=True)
        self._lock.release(remove=True)
        with contextlib.suppress(OSError):  # what else is there is somebody's
            (self.folder / "items").rmdir()
            self.folder.rmdir()

    def release(self) -> None:
        """Unlock the folder."""
        self._lock.release()


def _refuse_odd(file: Path) -> None:
    """Refuse what a study's folder cannot hold: a driver would write through it, or wait for it.

    Optuna's lock of the journal is a link; a killed driver leaves it, and it is removed, never
    followed (`search.study.proposing.journal.open_journal`).

    Raises:
        StudyError: it is a link, a pipe or the like, or a file that has another name elsewhere.
    """
    try:
        found = file.lstat()
    except FileNotFoundError:  # of a driver that is at work
        return
    lock = file.name.startswith(f"{JOURNAL}.lock")
    if stat.S_ISLNK(found.st_mode) and not lock:
        raise StudyError(
            f"{file} is a link, and what is written there would change, or send, what it "
            "leads to: put the file itself there, or remove the link"
        )
    folder, in_place = file.name == "items", file.name in _ADDED_TO
    kinds = [stat.S_ISDIR] if folder else [stat.S_ISREG]
    kinds += [stat.S_ISLNK] if lock else [] if in_place else [stat.S_ISDIR]
    if not any(is_kind(found.st_mode) for is_kind in kinds):
        raise StudyError(f"{file} is no {'folder' if folder else 'file'}: remove it")
    if in_place and found.st_nlink > 1:
        raise StudyError(
            f"{file} has another name elsewhere (a hard link), and what is written there would "
            f"change that as well: cp {file} {file}.new && mv {file}.new {file}"
        )
