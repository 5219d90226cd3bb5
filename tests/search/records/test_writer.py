"""The study's folder: what is appended is there again, whatever happened to the process."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from search.common.errors import ConfigError, StudyError
from search.merging.recipe import Single
from search.records.folder import FolderStore
from search.records.head import StudyHead
from search.records.items import pack_items
from search.records.reader import RecordsReader
from search.records.writer import RecordsWriter
from tests.search.records.samples import HEAD, ITEM, record


def test_round_trip(tmp_path: Path) -> None:
    records = RecordsWriter.create(tmp_path / "s", HEAD)
    first = records.append(record("a"), pack_items([ITEM]))
    second = records.append(
        record("b", state="failed", reason="died\u2028here", scores={}, recipe=Single("base"))
    )
    records.close()
    again = RecordsWriter.open(tmp_path / "s")
    assert again.head() == HEAD
    assert again.trials == [first, second]
    assert [r.number for r in again.trials] == [0, 1]
    assert again.trials[0].value("accuracy") == 0.5 and again.trials[0].value("lcpr") is None
    assert again.items(first)[0].completion == ITEM.completion
    assert again.items(second) == []
    assert set(again.ended("search")) == {"a", "b"} and again.ended("held_out") == {}


def test_half_a_surrogate_pair_is_recorded_as_text(tmp_path: Path) -> None:
    head = StudyHead("s", {"lang": "te", "family": {"base": "/x/\udcff"}})
    records = RecordsWriter.create(tmp_path / "s", head)
    failed = record(state="failed", scores={}, reason="no file \udcff", label="te \ud800")
    written = records.append(failed, pack_items([ITEM]))
    assert (written.reason, written.label) == ("no file \\udcff", "te \\ud800")
    records.close()
    assert RecordsReader.read(tmp_path / "s").trials == [written]
    assert RecordsReader.read(tmp_path / "s").head() == head


def test_line_cut_off_by_a_crash(tmp_path: Path) -> None:
    records = RecordsWriter.create(tmp_path / "s", HEAD)
    first = records.append(record("a"))
    records.close()
    file = tmp_path / "s" / "trials.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:40])
    again = RecordsWriter.open(tmp_path / "s")
    assert again.trials == [first]
    second = again.append(record("b"))
    again.close()
    assert RecordsWriter.open(tmp_path / "s").trials == [first, second]
    assert (tmp_path / "s" / "trials.jsonl.cut").read_bytes() == whole[:40] + b"\n"


@pytest.mark.parametrize(
    "cut",
    [
        b'{"schema": 1, "label": "\xe0\xb0',  # in the middle of a letter
        b'{"schema": 1, "lab\xff\xfe\x00", "key": "x',
        b"\0" * 4096,  # blocks that a power cut left empty
        b'{"schema": 1, ' + b"\0" * 512 + b'"seconds": {}}\n',
        b'{"schema": 1}',  # all but its newline
    ],
)
def test_cut_line_of_any_bytes(tmp_path: Path, cut: bytes) -> None:
    records = RecordsWriter.create(tmp_path / "s", HEAD)
    first = records.append(record("a"))
    records.close()
    file = tmp_path / "s" / "trials.jsonl"
    whole = file.read_bytes()
    for _ in range(2):  # a second crash keeps what the first one cut off
        file.write_bytes(whole + cut)
        assert RecordsReader.read(tmp_path / "s").trials == [first]
        assert file.read_bytes() == whole + cut
        again = RecordsWriter.open(tmp_path / "s")
        assert again.trials == [first] and file.read_bytes() == whole
        again.close()
    aside = (tmp_path / "s" / "trials.jsonl.cut").read_bytes()
    assert aside == 2 * (cut.rstrip(b"\n") + b"\n")


def test_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    records = RecordsWriter.create(tmp_path / "s", HEAD)
    records.append(record("a"))
    records.append(record("b"))
    records.close()
    file = tmp_path / "s" / "trials.jsonl"
    file.write_bytes(b"\xff" + file.read_bytes())
    for opened in (RecordsWriter.open, RecordsReader.read):
        with pytest.raises(StudyError, match=r"trials.jsonl, line 1 is not a record: .*decode"):
            opened(tmp_path / "s")


def test_newer_schema(tmp_path: Path) -> None:
    RecordsWriter.create(tmp_path / "s", HEAD).close()
    (tmp_path / "s" / "trials.jsonl").write_text('{"schema": 99, "else": 1}\n')
    with pytest.raises(StudyError, match="line 1 .*schema is 99, a newer version wrote it; update"):
        RecordsWriter.open(tmp_path / "s")
    (tmp_path / "s" / "study.yaml").write_text("schema: 99\nelse: 1\n")
    with pytest.raises(StudyError, match="study.yaml is of schema 99, and this version knows"):
        RecordsWriter.create(tmp_path / "s", HEAD)


@pytest.mark.parametrize("line", ["{}", '{"schema": 0}', "[]"])
def test_line_that_is_no_record(tmp_path: Path, line: str) -> None:
    RecordsWriter.create(tmp_path / "s", HEAD).close()
    (tmp_path / "s" / "trials.jsonl").write_text(line + "\n")
    with pytest.raises(StudyError, match="trials.jsonl, line 1 is not a record"):
        RecordsWriter.open(tmp_path / "s")


def test_one_driver_at_a_time(tmp_path: Path) -> None:
    records = RecordsWriter.create(tmp_path / "s", HEAD)
    with pytest.raises(StudyError, match="in use by another running search"):
        RecordsWriter.open(tmp_path / "s")
    records.close()
    RecordsWriter.open(tmp_path / "s").close()


@pytest.mark.slow
def test_dead_driver_holds_nothing(tmp_path: Path) -> None:
    """Not even through a process that it started and that lives on."""
    RecordsWriter.create(tmp_path / "s", HEAD).close()
    code = (
        "import os, pathlib, subprocess, sys\n"
        "from search.records.writer import RecordsWriter\n"
        "records = RecordsWriter.open(pathlib.Path(sys.argv[1]))\n"
        "child = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL, close_fds=False)\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "s")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    child = int(driver.stdout.readline())
    try:
        with pytest.raises(StudyError, match=rf"another running search \(process {driver.pid} on"):
            RecordsWriter.open(tmp_path / "s")
        driver.kill()
        driver.wait()
        os.kill(child, 0)  # it lives
        RecordsWriter.open(tmp_path / "s").close()
    finally:
        driver.kill()
        os.kill(child, 9)


@pytest.mark.slow
@pytest.mark.parametrize("size", [10, 1_000_000])
def test_killed_while_appending(tmp_path: Path, size: int) -> None:
    """Kill -9 at random moments: what an `append` returned is there, once, and the rest is aside.

    With lines of 1 MB most kills fall into the writing of one.
    """
    RecordsWriter.create(tmp_path / "s", HEAD).close()
    told: list[str] = []
    chance = random.Random(1)
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.search.appender", str(tmp_path / "s"), str(size)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        told.append(process.stdout.readline().strip())
        time.sleep(chance.uniform(0, 0.2))
        process.kill()
        told += process.stdout.read().split()
        process.wait()
    records = RecordsWriter.open(tmp_path / "s")
    there = [r.key for r in records.trials]
    assert len(set(there)) == len(there) and set(told) <= set(there)
    assert len(there) - len(told) <= 10  # written, but killed before it could be said
    assert [r.number for r in records.trials] == list(range(len(there)))
    for r in records.trials[:: max(1, len(there) // 50)]:
        assert records.items(r)[0].id == ITEM.id
    records.append(record("last"))
    records.close()
    assert RecordsReader.read(tmp_path / "s").trials[-1].key == "last"


def test_full_disk(tmp_path: Path) -> None:
    """A line that finds no room leaves nothing behind, and the study goes on when there is some."""
    records = RecordsWriter.create(tmp_path / "s", HEAD)
    first = records.append(record("a"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (tmp_path / "s" / "trials.jsonl").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
    try:
        for key in "bc":
            with pytest.raises(
                StudyError, match=r"cannot be recorded in .*; make room, then --res"
            ):
                records.append(record(key))
        with pytest.raises(StudyError, match="cannot be recorded"):
            records.append(record("d"), bytes(size + 200))
        assert (tmp_path / "s" / "trials.jsonl").stat().st_size == size
        assert RecordsReader.read(tmp_path / "s").trials == [first]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(f.name for f in (tmp_path / "s").iterdir()) == [
        ".lock",
        "items",
        "study.yaml",
        "trials.jsonl",
    ]
    second = records.append(record("b"))
    records.close()
    assert RecordsWriter.open(tmp_path / "s").trials == [first, second]


def test_failed_rewrite_keeps_the_head(tmp_path: Path) -> None:
    records = RecordsWriter.create(tmp_path / "s", HEAD)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(StudyError, match="study.yaml cannot be written"):
            records.rewrite(replace(HEAD, layers=3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert records.head() == HEAD
    records.rewrite(replace(HEAD, layers=3))
    assert records.head().layers == 3


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "/etc", "..", ".", "", ".hidden", "-rf", "a b", "a\n", "a\0", "x" * 101]
)
def test_hostile_study_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a study's name: write .*--study"):
        RecordsWriter.create(tmp_path / "runs" / name, replace(HEAD, name=name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("items", ["../../secret", "items/../../x", "/etc/passwd", "items/.x", "x"])
def test_hostile_items(tmp_path: Path, items: str) -> None:
    with pytest.raises(ValueError, match="is no file of items/"):
        record(items=items)
    records = RecordsWriter.create(tmp_path / "s", HEAD)
    with pytest.raises(ValueError, match="is no file of items/"):
        records.append(record("../../x"), b"1")
    line = record(items="items/a.gz").to_json().replace("items/a.gz", items)
    (tmp_path / "s" / "trials.jsonl").write_text(line + "\n")
    with pytest.raises(StudyError, match="line 1 is not a record: .* is no file of items/"):
        RecordsReader.read(tmp_path / "s")


def test_items_that_are_gone(tmp_path: Path) -> None:
    records = RecordsWriter.create(tmp_path / "s", HEAD)
    first = records.append(record("a"), pack_items([ITEM]))
    (tmp_path / "s" / first.items).write_bytes(b"no gzip")
    with pytest.raises(StudyError, match=r"s/items/a.search.jsonl.gz cannot be read"):
        records.items(first)


def test_name_is_taken(tmp_path: Path) -> None:
    RecordsWriter.create(tmp_path / "s", HEAD).close()
    with pytest.raises(StudyError, match=r"holds this study already: go on with --resume"):
        RecordsWriter.create(tmp_path / "s", replace(HEAD, id="another"))
    other = StudyHead("s", {"lang": "te", "search": {"trials": 4}})
    with pytest.raises(
        StudyError, match=r"another configuration: search.trials \(3 there, 4 here\)"
    ):
        RecordsWriter.create(tmp_path / "s", other)


def test_no_study(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds no study"):
        RecordsWriter.open(tmp_path)


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match=r"cannot be written: .*name another folder with --out"):
        RecordsWriter.create(tmp_path / "file" / "s", HEAD)


def test_discard_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "thesis.txt").write_text("years")
    RecordsWriter.create(tmp_path / "s", HEAD).discard()
    assert [f.name for f in (tmp_path / "s").iterdir()] == ["thesis.txt"]


def test_discard_leaves_nothing(tmp_path: Path) -> None:
    records = RecordsWriter.create(tmp_path / "s", HEAD)
    records.discard()
    assert not (tmp_path / "s").exists()


def test_discard_keeps_trials(tmp_path: Path) -> None:
    records = RecordsWriter.create(tmp_path / "s", HEAD)
    records.append(record())
    records.discard()
    assert len(RecordsWriter.open(tmp_path / "s").trials) == 1


def test_what_is_sent_last_may_be_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while a store is waited for: another driver can take the study."""

    def interrupted(store: FolderStore) -> None:
        raise KeyboardInterrupt

    records = RecordsWriter.create(tmp_path / "s", StudyHead("s", {}))
    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "publish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            records.close()
    RecordsWriter.open(tmp_path / "s").close()


def test_who_lost_its_lock_is_told_what_to_do(tmp_path: Path) -> None:
    """Room is not what is lacking."""
    records = RecordsWriter.create(tmp_path / "s", HEAD)
    (tmp_path / "s" / ".lock").unlink()
    with pytest.raises(StudyError, match="see that no other search writes there, then --resume"):
        records.append(record("a"))
    records.close()
    assert RecordsReader.read(tmp_path / "s").trials == []
