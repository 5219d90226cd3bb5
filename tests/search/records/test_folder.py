"""The names and bytes of a study in a folder; what every store must do is in test_store."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from search.common.errors import StudyError
from search.records.folder import HEAD, TRIALS, FolderReader, FolderStore
from search.records.items import pack_items
from search.records.lock import is_held
from tests.search.records.samples import HEAD as STUDY
from tests.search.records.samples import ITEM, record

ITEMS = "items/k.search.jsonl.gz"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """A study that was just begun."""
    made = FolderStore(tmp_path / "out" / "s", "runs/s")
    made.take()
    made.begin(STUDY)
    return made


def test_nothing_is_made_before_it_is_taken(tmp_path: Path) -> None:
    made = FolderStore(tmp_path / "s", "runs/s")
    assert made.head() is None and made.lines() == [] and not (tmp_path / "s").exists()
    made.take()
    assert is_held(tmp_path / "s") and (tmp_path / "s" / "items").is_dir()
    made.release()
    assert not is_held(tmp_path / "s") and made.head() is None


def test_the_files_of_a_study(store: FolderStore) -> None:
    """Other programs read them: a YAML, a line of JSON for each trial, a gzip of its answers."""
    store.append(record(items=ITEMS), pack_items([ITEM]))
    store.append(record("l"), b"")
    assert {str(f.relative_to(store.folder)) for f in store.folder.rglob("*") if f.is_file()} == {
        *(".lock", HEAD, TRIALS, ITEMS)
    }
    lines = (store.folder / TRIALS).read_text("utf-8").splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["k", "l"]
    assert (store.folder / ITEMS).read_bytes()[:2] == b"\x1f\x8b"
    reader = FolderReader(store.folder)
    assert reader.lines() == [line.encode() for line in lines] == store.lines()
    assert reader.items(ITEMS) == pack_items([ITEM]) == store.items(ITEMS)
    assert reader.head() == (store.folder / HEAD).read_bytes() == STUDY.to_yaml()


def test_a_reader_leaves_a_line_that_is_being_written(store: FolderStore) -> None:
    """The driver is about to complete it; only the next driver knows that nobody will."""
    store.append(record(), b"")
    with (store.folder / TRIALS).open("ab") as file:
        file.write(b'{"number": 1, "key"')
    before = (store.folder / TRIALS).read_bytes()
    assert len(FolderReader(store.folder).lines()) == len(store.lines()) == 1
    assert (store.folder / TRIALS).read_bytes() == before
    assert [found.key for found in store.load()] == ["k"]
    assert (store.folder / "trials.jsonl.cut").read_bytes() == b'{"number": 1, "key"\n'
    assert (store.folder / TRIALS).read_bytes().endswith(b"}\n")


def test_after_a_line_that_stays_nothing_is_written(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is on disk only the next driver can tell; another line would get its number."""

    def refuse(*_: object) -> None:
        raise OSError("input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", refuse)
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="cannot be removed"):
            store.append(record("k"), b"")
    with pytest.raises(OSError, match="cannot be removed"):
        store.append(record("l"), b"")
    store.release()
    again = FolderStore(store.folder, "runs/s")
    again.take()
    assert [found.key for found in again.load()] == ["k"]
    again.append(record("l", number=1), b"")
    assert [found.key for found in again.load()] == ["k", "l"]


def test_the_names_of_study_and_folders_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    made = FolderStore(tmp_path / "out" / "s", "runs/s")
    made.take()
    assert {str(tmp_path), str(tmp_path / "out"), str(tmp_path / "out" / "s")} <= set(synced)


def test_who_lost_its_lock_writes_nothing(store: FolderStore) -> None:
    """Its folder was moved and another study made there, or somebody removed the file."""
    store.append(record("k"), b"")
    there, moved = store.folder, store.folder.with_name("moved")
    there.rename(moved)
    for other in (None, FolderStore(there, "runs/s")):
        if other is not None:
            other.take()
            other.begin(STUDY)
        with pytest.raises(
            OSError, match=r"s/\.lock was removed or replaced while runs/s was runn"
        ):
            store.append(record("l"), b"")
    assert other is not None
    other.append(record("m"), b"")
    assert [found.key for found in other.load()] == ["m"]
    other.release()
    moved.rename(there.with_name("back"))


def test_a_line_that_is_no_record_is_named(store: FolderStore) -> None:
    store.append(record(), b"")
    good = (store.folder / TRIALS).read_bytes()
    (store.folder / TRIALS).write_bytes(b"nonsense\n" + good)
    with pytest.raises(StudyError, match=rf"{store.folder}.*1"):
        store.load()


def test_records_are_replaced_as_a_whole(store: FolderStore) -> None:
    for key in "klm":
        store.append(record(key), b"")
    store.replace([record("m"), record("k")])
    assert [found.key for found in store.load()] == ["m", "k"]
    store.replace([])
    assert store.load() == [] and (store.folder / TRIALS).read_bytes() == b""


def test_a_folder_that_holds_a_study_says_how_to_go_on(store: FolderStore) -> None:
    """By the name that the user gave it, and without a change of it."""
    before = (store.folder / HEAD).read_bytes()
    with pytest.raises(StudyError, match="runs/s holds this study already: .*--resume runs/s"):
        store.begin(STUDY)
    assert (store.folder / HEAD).read_bytes() == before


def test_a_study_that_is_discarded_leaves_what_is_not_its_own(store: FolderStore) -> None:
    for name in ("mlflow.json", "optuna.journal", "notes.txt"):
        (store.folder / name).write_text("x")
    store.discard()
    assert [f.name for f in store.folder.rglob("*")] == ["notes.txt"]
    (store.folder / "notes.txt").unlink()
    again = FolderStore(store.folder, "runs/s")
    again.take()
    again.begin(STUDY)
    again.discard()
    assert not store.folder.exists() and store.folder.parent.exists()
