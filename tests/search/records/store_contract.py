"""What everything that keeps a study must do: `search.records.store`, as tests.

Each function takes the site of a study that is not there yet. Drivers run on "machines": they share
the files of a folder; with an object store each has a working copy of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from search.common.errors import StudyError
from search.records.durable import write_whole
from search.records.head import StudyHead
from search.records.record import Record, parse
from search.records.store import Store, StoreReader
from tests.search.records.samples import HEAD, record

ITEMS = bytes(range(256)) * 5
ITEMS_NAME = "items/a.search.jsonl.gz"
FIRST = record("a", items=ITEMS_NAME)
SECOND = record("b", number=1, reason="నొప్పి\u2028here", state="infeasible")


class Site(Protocol):
    """Where one study may be, and those who come to it."""

    def driver(self, machine: str = "one") -> Store:
        """What a new driver on a machine has of it."""

    def reader(self) -> StoreReader:
        """What a reader anywhere has of it."""

    def kill(self, store: Store) -> None:
        """Leave what `kill -9` of the driver leaves."""

    def remains(self) -> list[str]:
        """Names of all files and objects of the study, on all machines."""


def begun(site: Site, *records: Record) -> Store:
    """A study with records, held; the first of them has items."""
    store = site.driver()
    store.take()
    store.begin(HEAD)
    for one in records:
        store.append(one, ITEMS if one.items else b"")
    return store


def opened(site: Site, machine: str = "one") -> tuple[Store, list[Record]]:
    """The study as its next driver takes it, and its records."""
    store = site.driver(machine)
    store.take()
    return store, store.load()


def recorded(reader: StoreReader) -> list[Record]:
    """The records that a reader sees."""
    return parse(reader.lines(), "s")


def looking_makes_nothing(site: Site) -> None:
    """Neither where no study is, nor where one is."""
    reader, idle = site.reader(), site.driver()
    for one in (reader, idle):
        assert one.head() is None and one.lines() == []
        with pytest.raises(FileNotFoundError):
            one.items(ITEMS_NAME)
    assert site.remains() == []
    begun(site, FIRST).release()
    before = site.remains()
    assert recorded(site.reader()) == [FIRST] and site.reader().items(ITEMS_NAME) == ITEMS
    assert site.remains() == before


def a_reader_cannot_write(site: Site) -> None:
    """It has what `StoreReader` says and nothing else of a store."""
    writes = {name for name in dir(Store) if not name.startswith("_")}
    writes -= {"head", "lines", "items"}
    assert {"append", "take", "discard"} <= writes
    assert not writes & set(dir(site.reader()))


def what_is_appended_is_there_again(site: Site) -> None:
    """For readers at once, and for the next driver on any machine; items byte for byte."""
    store, reader = begun(site), site.reader()
    assert store.head() == reader.head() == HEAD.to_yaml()
    store.append(FIRST, ITEMS)
    assert recorded(reader) == [FIRST] and reader.items(ITEMS_NAME) == ITEMS
    store.append(SECOND, b"")
    assert reader.lines() == store.lines() == [r.to_line().rstrip(b"\n") for r in (FIRST, SECOND)]
    store.release()
    other, found = opened(site, "two")
    assert found == [FIRST, SECOND] and other.items(ITEMS_NAME) == ITEMS
    third = record("c", number=2)
    other.append(third, b"")
    other.release()
    back, found = opened(site)
    assert found == recorded(reader) == [FIRST, SECOND, third]
    assert back.items(ITEMS_NAME) == ITEMS
    back.release()


def a_killed_driver_is_succeeded(site: Site) -> None:
    """On the same machine at once; what `append` returned from is there, once."""
    site.kill(begun(site, FIRST, SECOND))
    again, found = opened(site)
    assert found == recorded(site.reader()) == [FIRST, SECOND]
    site.kill(again)
    once_more, found = opened(site)
    assert found == [FIRST, SECOND] and once_more.items(ITEMS_NAME) == ITEMS
    once_more.release()


def a_line_cut_off_is_left_out(site: Site) -> None:
    """A reader does not see it, the next driver moves it aside and goes on."""
    store = begun(site, FIRST)
    site.kill(store)
    with (store.folder / "trials.jsonl").open("ab") as file:
        file.write(SECOND.to_line()[:50])
    assert recorded(site.reader()) == [FIRST]
    again, found = opened(site)
    assert found == [FIRST]
    again.append(SECOND, b"")
    assert recorded(site.reader()) == [FIRST, SECOND]
    again.release()
    last, found = opened(site)
    assert found == [FIRST, SECOND]
    last.release()


def readers_see_whole_records_only(site: Site) -> None:
    """While large ones are being written, always the first ones of what there will be."""
    store, reader = begun(site), site.reader()
    wanted = [record(f"k{n}", number=n, reason="x" * 500_000, state="failed") for n in range(12)]
    done = threading.Event()

    def write() -> None:
        for one in wanted:
            store.append(one, b"")
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set() and writer.is_alive():
        found = recorded(reader)
        assert found == wanted[: len(found)]
    writer.join()
    assert recorded(reader) == wanted
    store.release()


def one_driver_at_a_time(site: Site) -> None:
    """Others are refused and change nothing, until the study is released."""
    store = begun(site, FIRST)
    before = {name for name in site.remains() if not name.endswith((".copy", ".lock"))}
    here, there, beside = site.driver(), site.driver("two"), site.driver("two")
    for other in (here, there, beside):
        with pytest.raises(StudyError, match=r"is in use by another running search \(process \d+ "):
            other.take()
    assert {n for n in site.remains() if not n.endswith((".copy", ".lock"))} == before
    store.append(SECOND, b"")
    store.release()
    for other in (beside, there, here):  # none of them holds anything since it was refused
        other.take()
        assert other.load() == [FIRST, SECOND]
        other.release()


def a_study_is_begun_once(site: Site) -> None:
    """Who finds one is told so, and leaves it as it was for the next driver."""
    begun(site, FIRST).release()
    for machine in ("one", "two"):
        other = site.driver(machine)
        other.take()
        with pytest.raises(StudyError, match="holds this study already: go on with --resume"):
            other.begin(replace(HEAD, id="another"))
        with pytest.raises(StudyError, match=r"another configuration: lang \('te' there, 'sw' her"):
            other.begin(StudyHead("s", {**HEAD.config, "lang": "sw"}))
        other.release()
        assert site.reader().head() == HEAD.to_yaml()
    store, found = opened(site)
    assert found == [FIRST] and store.items(ITEMS_NAME) == ITEMS
    store.release()


def a_refused_record_leaves_nothing(site: Site) -> None:
    """No room for its items: the same record can be added when there is some."""
    store = begun(site, FIRST)
    refused = record("b", number=1, items="items/b.search.jsonl.gz")
    hidden = (store.folder / "items").rename(store.folder / "hidden")
    with pytest.raises(OSError, match="items"):
        store.append(refused, ITEMS)
    assert recorded(store) == recorded(site.reader()) == [FIRST]
    hidden.rename(store.folder / "items")
    store.append(refused, ITEMS)
    assert recorded(site.reader()) == [FIRST, refused]
    assert site.reader().items(refused.items) == ITEMS
    store.release()


def files_beside_the_records_are_published(site: Site) -> None:
    """The next driver has them, wherever it runs, and readers the new head."""
    store = begun(site)
    newer = replace(HEAD, layers=4)
    write_whole(store.folder / "study.yaml", newer.to_yaml())
    (store.folder / "report.md").write_text("table")
    store.publish()
    assert site.reader().head() == newer.to_yaml()
    store.release()
    other, _ = opened(site, "two")
    assert (other.folder / "report.md").read_text() == "table"
    assert (other.folder / "study.yaml").read_bytes() == newer.to_yaml()
    other.release()


def discarding_leaves_nothing(site: Site) -> None:
    """Of the study; a file that is somebody's stays. Another may begin in its place."""
    store = begun(site)
    for name in ("mlflow.json", "optuna.journal"):
        (store.folder / name).write_text("{}")
    store.publish()
    store.discard()
    assert site.remains() == [] and site.reader().head() is None
    again = begun(site)
    thesis: Path = again.folder / "thesis.txt"
    thesis.write_text("years")
    again.discard()
    assert [Path(name).name for name in site.remains()] == ["thesis.txt"]
    assert thesis.read_text() == "years"


CONTRACT: tuple[Callable[[Site], None], ...] = (
    looking_makes_nothing,
    a_reader_cannot_write,
    what_is_appended_is_there_again,
    a_killed_driver_is_succeeded,
    a_line_cut_off_is_left_out,
    readers_see_whole_records_only,
    one_driver_at_a_time,
    a_study_is_begun_once,
    a_refused_record_leaves_nothing,
    files_beside_the_records_are_published,
    discarding_leaves_nothing,
)
