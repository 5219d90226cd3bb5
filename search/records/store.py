"""What a study is kept in: the contract that a folder and an object store both meet.

Owns what a reader and a writer of records may ask of a place, in which order, and what is raised
when. `search.records.folder` and `search.records.remote` are the two implementations;
tests/search/records/store_contract.py holds them to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from search.records.head import StudyHead
from search.records.record import Record


class StoreReader(Protocol):
    """What a reader asks. Anybody may call, at any time, in any order; nothing is ever written.

    While a driver writes, each call says what is there at that moment, and no half of anything. All
    raise OSError where the place cannot be read.
    """

    def head(self) -> bytes | None:
        """The study's head as it is written; None where there is no study."""

    def lines(self) -> list[bytes]:
        """The records' lines without their newlines, in the order of the trials' ends."""

    def items(self, name: str) -> bytes:
        """A trial's packed items.

        Args:
            name: what `Record.items` says.

        Raises:
            FileNotFoundError: there are none of this name.
        """


class Store(StoreReader, Protocol):
    """What a driver asks. One at a time holds a study, between `take` and `release`.

    Order of calls: `take`; then `begin` for a new study or `load` for one that is there; then any
    number of `append` and `publish`; then `release`, or `discard`, after which nothing is called. A
    driver whose `begin` or `load` failed calls `release`, too. A driver that dies holds
    nothing: the next one takes the study, on the same machine at once.
    """

    @property
    def folder(self) -> Path:
        """Where the study's files are on this machine; other files of the driver may lie there."""

    def take(self) -> None:
        """Become the study's driver.

        Raises:
            StudyError: another drives it; nothing has changed.
            OSError: the place cannot be written.
        """

    def begin(self, head: StudyHead) -> None:
        """Write the head of a new study.

        Raises:
            StudyError: there is a study, which is left as it was.
            OSError: the place cannot be written.
        """

    def load(self) -> list[Record]:
        """Bring together what is there and what a crash left unsent or cut off.

        On return `folder` has the files beside the records, the head among them, and the place has
        every record returned. A line that was being written is put aside.

        Raises:
            StudyError: a line is not a record, or `folder` is another study's.
            OSError: the place cannot be read or written.
        """

    def append(self, record: Record, items: bytes) -> None:
        """Add a record, its items first; on return both survive a crash, where they are to stay.

        Args:
            record: its number follows that of the last one, its `items` is the name for `items`.
            items: empty where `Record.items` is.

        Raises:
            OSError: the disk refuses; nothing of the record is left.
            StudyError: the record is in `folder` and not yet where the study is kept, as that is
                away or another driver's by now; the next `append` or `load` adds it. The message
                is for the user.
        """

    def publish(self) -> None:
        """Put the files of `folder` beside the records that have changed where the study is kept.

        Raises:
            StudyError: another driver has taken the study over.
            OSError: the place cannot be written.
        """

    def discard(self) -> None:
        """Remove a study without records, and release it; what else is there is left.

        Raises:
            OSError: the disk refuses.
        """

    def release(self) -> None:
        """Let another driver take the study."""
