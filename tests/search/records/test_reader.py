"""A reader: what was there when it was read, without a trace of its visit."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from search.common.errors import StudyError
from search.records.items import pack_items
from search.records.reader import RecordsReader
from search.records.study_path import StudyPath, Url
from search.records.writer import RecordsWriter
from tests.search.records.samples import HEAD, ITEM, record


@pytest.fixture(params=["folder", "bucket"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StudyPath]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "cache"))
    if request.param == "folder":
        yield tmp_path / "s"
        return
    address = f"memory://{uuid.uuid4().hex}"
    yield Url(f"{address}/s")
    files = fsspec.filesystem("memory")
    if files.exists(address):
        files.rm(address, recursive=True)


def test_a_reader_cannot_write(place: StudyPath) -> None:
    writer = RecordsWriter.create(place, HEAD)
    reader = RecordsReader.read(place)
    for name in ("append", "rewrite", "discard", "close", "folder"):
        assert hasattr(writer, name) and not hasattr(reader, name)
    writer.close()


def test_a_reader_sees_the_study_as_it_was(place: StudyPath) -> None:
    writer = RecordsWriter.create(place, HEAD)
    first = writer.append(record("a"), pack_items([ITEM]))
    reader = RecordsReader.read(place)
    second = writer.append(record("a", split="held_out"))
    writer.rewrite(replace(HEAD, layers=4))
    assert (reader.head(), reader.trials, reader.path) == (HEAD, [first], place)
    assert reader.ended("search") == {"a": first} and reader.ended("held_out") == {}
    assert reader.items(first) == [ITEM]
    later = RecordsReader.read(place)
    assert (later.head().layers, later.trials) == (4, [first, second])
    assert later.ended("held_out") == {"a": second} and later.items(second) == []
    writer.close()


def test_reading_writes_nothing(
    place: StudyPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even a scratch folder, where the study is in a bucket."""
    writer = RecordsWriter.create(place, HEAD)
    writer.append(record("a"), pack_items([ITEM]))
    writer.close()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "none"))
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    for module, name in ((os, "mkdir"), (os, "rename"), (os, "replace"), (tempfile, "mkdtemp")):
        monkeypatch.setattr(module, name, refuse)
    reader = RecordsReader.read(place)
    assert reader.items(reader.trials[0]) == [ITEM] and RecordsReader.exists(place)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before


def refuse(*arguments: object, **options: object) -> None:
    raise AssertionError("a reader writes")


def test_no_study(place: StudyPath, tmp_path: Path) -> None:
    assert not RecordsReader.exists(place)
    with pytest.raises(StudyError, match=r"/s holds no study \(no study.yaml\)"):
        RecordsReader.read(place)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_study_without_trials(place: StudyPath) -> None:
    """Its trials were emptied or lost: no report of nothing, and no search that begins again."""
    writer = RecordsWriter.create(place, HEAD)
    writer.close()
    assert RecordsReader.read(place).trials == []  # one that was stopped before its first trial
    writer = RecordsWriter.open(place)
    writer.rewrite(replace(HEAD, finished="2026-01-02T03:04:05Z"))
    writer.close()
    for how in (RecordsReader.read, RecordsWriter.open):
        for _ in range(2):  # whoever was refused holds nothing
            with pytest.raises(StudyError, match=r"was finished \(2026.* trials.jsonl .* no trial"):
                how(place)


def test_head_that_cannot_be_used(tmp_path: Path) -> None:
    """It is said when it is asked for: a list of studies shows the others."""
    (tmp_path / "study.yaml").write_text("schema: 1\n")
    reader = RecordsReader.read(tmp_path)
    assert reader.trials == []
    with pytest.raises(StudyError, match="study.yaml is of schema 1, not 2"):
        reader.head()


@pytest.mark.parametrize(
    ("given", "meant"),
    [("runs/smal", "runs/small"), ("smal", "runs/small"), ("runs/other", ""), ("gone/smal", "")],
)
def test_a_mistyped_study(
    given: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    RecordsWriter.create(Path("runs/small"), HEAD).close()
    with pytest.raises(StudyError) as error:
        RecordsReader.read(Path(given))
    guess = f" (did you mean {meant}?)" if meant else ""
    assert str(error.value) == f"{given} holds no study (no study.yaml){guess}"
