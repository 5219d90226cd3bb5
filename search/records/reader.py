"""The records of a study: its head and one fsynced line for each ended trial, in a folder.

    <out>/<study>/
      study.yaml            the head: configuration, versions, hashes (`search.records.head`)
      trials.jsonl          one line per ended trial: a `search.records.record.Record`
      items/KEY.SPLIT.jsonl.gz   per-item prompts, answers and verdicts of a trial
      optuna.journal        Optuna's own log
      mlflow.json           the study's id in MLflow, and its tags
      report.md, report.tsv, *.png   written after the search

They are the truth that a study is resumed and reported from; docs/records.md is the page on their
format. Of a study in an object store, the folder is a working copy (`search.records.remote`). Knows
nothing of Ray, Optuna, MLflow or of what the scores mean.
"""

from __future__ import annotations

import contextlib
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from objectives.types import Split
from search.errors import StudyError
from search.records import remote
from search.records.durable import append_line, read_lines, write_whole
from search.records.head import StudyHead, taken
from search.records.items import unpack_items
from search.records.lock import StudyLock
from search.records.place import Place, Url, check_name
from search.records.record import Record, next_number, parse


class Records:
    """The records of one study, held by one driver at a time.

    Attributes:
        place: how a user names the study: its folder, or its address in an object store.
        folder: where its files are on this machine.
        trials: the records, in the order of their ends.
    """

    def __init__(self, place: Place, folder: Path) -> None:
        """Prepare; use `create`, `open` or `read` instead.

        Raises:
            OSError: nothing here speaks the address's protocol.
        """
        self.place, self.folder = place, folder
        self.trials: list[Record] = []
        self._lock = StudyLock(folder)
        self._remote = remote.Remote(place, folder) if isinstance(place, Url) else None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None  # goes with a reader

    @classmethod
    def create(cls, place: Place, head: StudyHead) -> Records:
        """Make a study where none is.

        Raises:
            ConfigError: its name could lead out of the folder of studies.
            StudyError: the place cannot be written, or holds a study already.
        """
        check_name(head.name)
        check_name(place.name)
        try:
            records = cls(place, _folder(place))
            (records.folder / "items").mkdir(parents=True, exist_ok=True)
            records._take()
            try:
                records._begin(head)
            except BaseException:
                records._release()
                raise
        except OSError as error:
            raise StudyError(
                f"{place} cannot be written: {error}; mend that, or name another folder with --out"
            ) from None
        return records

    @classmethod
    def open(cls, place: Place) -> Records:
        """Open an existing study and read its trials.

        A last line that a crash cut off is moved to trials.jsonl.cut. What an object store lacks of
        the working copy's records is sent.

        Raises:
            StudyError: no study is there, another driver holds it, or a line is not a record.
        """
        try:
            records = cls(place, _folder(place))
            records._find()
            (records.folder / "items").mkdir(parents=True, exist_ok=True)
            records._take()
            try:
                records._read()
            except BaseException:
                records._release()
                raise
        except OSError as error:
            raise StudyError(f"{place} cannot be opened: {error}") from None
        return records

    @classmethod
    def read(cls, place: Place) -> Records:
        """Read a study as it is now, without taking it: a search may be running on it.

        Nothing is written, and nothing may be appended; a last line that is not complete is left
        out.

        Raises:
            StudyError: no study is there, or a line is not a record.
        """
        try:
            if isinstance(place, Path):
                records = cls(place, place)
                records._find()
                lines = read_lines(place / "trials.jsonl", mend=False)
            else:
                scratch = tempfile.TemporaryDirectory(prefix="layer-swap-study-")
                records = cls(place, Path(scratch.name))
                records._scratch = scratch
                assert records._remote is not None
                write_whole(records.folder / "study.yaml", records._find())
                lines = records._remote.lines()
        except OSError as error:
            raise StudyError(f"{place} cannot be read: {error}") from None
        records.trials = parse(lines, str(place))
        return records

    @classmethod
    def exists(cls, place: Place) -> bool:
        """Whether a study is there.

        Raises:
            StudyError: the place cannot be looked at.
        """
        try:
            return cls(place, place if isinstance(place, Path) else Path())._head() is not None
        except OSError as error:
            raise StudyError(f"{place} cannot be read: {error}") from None

    def head(self) -> StudyHead:
        """What study.yaml holds.

        Raises:
            StudyError: it is not a study's head.
        """
        file = self.folder / "study.yaml"
        try:
            return StudyHead.from_yaml(file.read_bytes(), f"{self.place}/study.yaml")
        except OSError as error:
            raise StudyError(f"{file} cannot be used: {error}") from None

    def rewrite(self, head: StudyHead) -> None:
        """Replace study.yaml; after a crash it is the old one or the new one, whole.

        Raises:
            StudyError: the disk or the store refuses.
        """
        try:
            write_whole(self.folder / "study.yaml", head.to_yaml())
            if self._remote is not None:
                self._remote.publish()
        except OSError as error:
            raise StudyError(f"{self.place}/study.yaml cannot be written: {error}") from None

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
        record = replace(record, items=name, number=next_number(self.trials))
        try:
            if items:
                write_whole(self.folder / record.items, items)
            append_line(self.folder / "trials.jsonl", record.to_line())
        except OSError as error:
            raise StudyError(
                f"trial {record.label} cannot be recorded in {self.folder}: {error}; make room, "
                f"then --resume {self.place}"
            ) from None
        self.trials.append(record)
        if self._remote is not None:
            try:
                self._remote.send(self.trials)
            except OSError as error:
                raise StudyError(
                    f"trial {record.label} is on record in {self.folder} only: {error}; mend that, "
                    f"then --resume {self.place} on this machine"
                ) from None
        return record

    def ended(self, split: Split) -> dict[str, Record]:
        """Canonical key -> the trial that ended on these items."""
        return {record.key: record for record in self.trials if record.split == split}

    def items(self, record: Record) -> list[dict[str, Any]]:
        """Per-item answers of a trial, as `unpack_items` gives them; empty if none.

        Raises:
            StudyError: they are not where the record says.
        """
        if not record.items:
            return []
        try:
            file = self.folder / record.items
            if self._remote is None or file.exists():
                return unpack_items(file.read_bytes())
            data = self._remote.get(record.items)
            if data is None:
                raise FileNotFoundError("no such object")
            return unpack_items(data)
        except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error) as error:
            raise StudyError(f"{self.place}/{record.items} cannot be read: {error}") from None

    def discard(self) -> None:
        """Close, and remove a study that holds no trial: what was asked for proved to be wrong."""
        if self.trials:
            return self.close()
        if self._remote is not None:
            with contextlib.suppress(OSError):
                self._remote.discard()
        for name in ("study.yaml", "mlflow.json", "optuna.journal", ".copy"):
            (self.folder / name).unlink(missing_ok=True)
        self._release(remove=True)
        with contextlib.suppress(OSError):  # what else is there is somebody's
            (self.folder / "items").rmdir()
            self.folder.rmdir()

    def close(self) -> None:
        """Let another driver take the study; files written beside the records are sent before."""
        if self._remote is not None:
            self._remote.finish()
        self._release()

    def _find(self) -> bytes:
        """The study's head as it is written.

        Raises:
            StudyError: there is no study.
        """
        found = self._head()
        if found is None:
            raise StudyError(f"{self.place} holds no study (no study.yaml)")
        return found

    def _head(self) -> bytes | None:
        if self._remote is not None:
            return self._remote.get("study.yaml")
        file = self.folder / "study.yaml"
        return file.read_bytes() if file.is_file() else None

    def _take(self) -> None:
        self._lock.take(str(self.place))
        try:
            if self._remote is not None:
                self._remote.take()
        except BaseException:
            self._lock.release()
            raise

    def _release(self, *, remove: bool = False) -> None:
        if self._remote is not None:
            self._remote.release(remove=remove)
        self._lock.release(remove=remove)

    def _begin(self, head: StudyHead) -> None:
        """Write the head of a new study.

        Raises:
            StudyError: there is a study.
        """
        if self._remote is not None:
            self._remote.begin(head)
        elif self._head() is not None:
            raise StudyError(taken(self.head(), head, str(self.place)))
        write_whole(self.folder / "study.yaml", head.to_yaml())

    def _read(self) -> None:
        """Bring the records of the folder, and of the store if there is one, together."""
        file = self.folder / "trials.jsonl"
        own = parse(read_lines(file, mend=True), str(self.folder))
        self.trials = own if self._remote is None else self._remote.merge(own)
        if self.trials != own:
            write_whole(file, b"".join(record.to_line() for record in self.trials))
        if self._remote is not None:
            self._remote.send(self.trials)


def _folder(place: Place) -> Path:
    return remote.working_copy(place) if isinstance(place, Url) else place
