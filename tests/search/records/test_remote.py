"""Studies in object stores: fsspec's memory:// and a real S3 server of this machine (moto)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest

from search.best import main as show_best
from search.common.errors import StudyError
from search.config import compose
from search.export.selection import open_study
from search.records import lease, remote
from search.records.bucket import Bucket
from search.records.head import StudyHead
from search.records.items import pack_items
from search.records.lease import Lease
from search.records.listing import is_held, studies
from search.records.reader import RecordsReader
from search.records.remote import BucketStore, working_copy
from search.records.study_path import StudyPath, Url, locate
from search.records.writer import RecordsWriter
from search.report.__main__ import main as write_report
from search.report.confusion import main as show_confusion
from search.studies import main as list_studies
from tests.search.records.samples import HEAD, ITEM, record
from tests.search.s3_server import S3

pytestmark = pytest.mark.slow


@pytest.fixture(params=["memory", "s3"])
def runs(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StudyPath]:
    """The address of an empty folder of studies."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "OPENING_SECONDS", 0.0)
    monkeypatch.setattr(remote, "SENDING_SECONDS", 0.0)
    if request.param == "s3":
        server: S3 = request.getfixturevalue("s3")
        server.connect(monkeypatch)
        yield locate(server.url)
    else:
        address = f"memory://{uuid.uuid4().hex}"
        yield locate(f"{address}/runs/")
        files = fsspec.filesystem("memory")
        if files.exists(address):
            files.rm(address, recursive=True)


def objects(place: StudyPath) -> list[str]:
    """Names of all objects under an address."""
    files, root = fsspec.core.url_to_fs(str(place))
    files.invalidate_cache()
    return sorted(name.removeprefix(f"{root}/") for name in files.find(root))


def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str = "other") -> None:
    """Go on as another machine, which has no working copy."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / name))


def bucket_store(records: RecordsWriter) -> BucketStore:
    """What a writer keeps its records in."""
    assert isinstance(records._store, BucketStore)
    return records._store


def crash(records: RecordsWriter) -> None:
    """What `kill -9` leaves: the kernel takes the lock back, nobody says good-bye to the store."""
    store = bucket_store(records)
    assert store._lease is not None
    store._lease._done.set()
    store._copy._lock.release()


def test_another_machine_goes_on(
    runs: StudyPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = RecordsWriter.create(runs / "s", HEAD)
    first = records.append(record("a"), pack_items([ITEM]))
    (records.folder / "mlflow.json").write_text("{}")
    second = records.append(record("b", state="failed", reason="died\u2028here", scores={}))
    (records.folder / "report.md").write_text("table")
    (records.folder / "optuna.journal").write_text("stays here")
    records.close()
    assert objects(runs / "s") == [
        "items/a.search.jsonl.gz",
        "lease/000001.json",
        "mlflow.json",
        "report.md",
        "study.yaml",
        "trials/000000.json",
        "trials/000001.json",
    ]
    elsewhere(tmp_path, monkeypatch)
    again = RecordsWriter.open(runs / "s")
    assert again.head() == HEAD and again.trials == [first, second]
    assert again.items(first)[0].completion == ITEM.completion
    assert (again.folder / "report.md").read_text() == "table"
    third = again.append(record("c"))
    again.close()
    elsewhere(tmp_path, monkeypatch, "cache")
    assert RecordsWriter.open(runs / "s").trials == [first, second, third]


def test_reading_takes_nothing(runs: StudyPath) -> None:
    records = RecordsWriter.create(runs / "s", HEAD)
    first = records.append(record("a"), pack_items([ITEM]))
    before = objects(runs / "s")
    reader = RecordsReader.read(runs / "s")
    assert reader.head() == HEAD and reader.trials == [first]
    assert reader.items(first)[0].id == ITEM.id
    assert objects(runs / "s") == before
    records.append(record("b"))
    records.close()


def test_studies_are_found(runs: StudyPath) -> None:
    for name in ("b", "a"):
        RecordsWriter.create(runs / name, replace(HEAD, name=name)).close()
    assert studies(runs) == [runs / "a", runs / "b"]
    assert RecordsReader.exists(runs / "a") and not RecordsReader.exists(runs / "c")


def test_no_study(runs: StudyPath) -> None:
    for opened in (RecordsWriter.open, RecordsReader.read):
        with pytest.raises(StudyError, match=r"://.*/runs/s holds no study"):
            opened(runs / "s")


def test_name_is_taken(runs: StudyPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RecordsWriter.create(runs / "s", HEAD).close()
    elsewhere(tmp_path, monkeypatch)
    with pytest.raises(StudyError, match=r"holds this study already: go on with --resume \w+://"):
        RecordsWriter.create(runs / "s", replace(HEAD, id="another"))
    other = replace(HEAD, id="another", config={"lang": "sw"})
    with pytest.raises(StudyError, match=r"another configuration: lang \('te' there, 'sw' here\)"):
        RecordsWriter.create(runs / "s", other)
    assert RecordsWriter.open(runs / "s").head() == HEAD


def test_discard_leaves_nothing(runs: StudyPath) -> None:
    records = RecordsWriter.create(runs / "s", HEAD)
    (records.folder / "mlflow.json").write_text("{}")
    records.rewrite(replace(HEAD, layers=4))
    records.discard()
    assert objects(runs) == [] and not records.folder.exists()
    RecordsWriter.create(runs / "s", HEAD).close()


def test_two_drivers(runs: StudyPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = RecordsWriter.create(runs / "s", HEAD)
    with pytest.raises(
        StudyError, match=rf"in use by another running search \(process {os.getpid()}"
    ):
        RecordsWriter.open(runs / "s")  # the working copy's lock
    elsewhere(tmp_path, monkeypatch)
    with pytest.raises(StudyError, match=r"if that one is dead, try again in 1[78]\d s"):
        RecordsWriter.open(runs / "s")  # the store's lease
    records.close()
    assert not is_held(runs / "s")
    RecordsWriter.open(runs / "s").close()


def test_dead_driver_is_succeeded(
    runs: StudyPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = RecordsWriter.create(runs / "s", HEAD)
    crash(records)
    again = RecordsWriter.open(runs / "s")  # on the same machine at once
    crash(again)
    elsewhere(tmp_path, monkeypatch)
    with pytest.raises(StudyError, match="in use"):
        RecordsWriter.open(runs / "s")
    monkeypatch.setattr(lease, "SILENCE_SECONDS", 0.0)
    RecordsWriter.open(runs / "s").close()  # on another when it has been silent for long


def test_sleeper_stops_and_replaces_nothing(
    runs: StudyPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = RecordsWriter.create(runs / "s", HEAD)
    own = sleeper.append(record("a"))
    monkeypatch.setattr(lease, "SILENCE_SECONDS", 0.0)
    elsewhere(tmp_path, monkeypatch)
    other = RecordsWriter.open(runs / "s")
    theirs = other.append(record("b"))
    with pytest.raises(StudyError, match=r"has been taken over by another search \(process \d+ on"):
        sleeper.append(record("c"))
    assert RecordsReader.read(runs / "s").trials == [own, theirs]
    sleeper.close()
    other.close()
    elsewhere(tmp_path, monkeypatch, "cache")
    late = RecordsWriter.open(runs / "s")  # what the sleeper had scored is not lost
    assert [(r.number, r.key) for r in late.trials] == [(0, "a"), (1, "b"), (2, "c")]
    late.close()
    assert RecordsReader.read(runs / "s").trials == late.trials


def test_record_of_another_is_never_replaced(runs: StudyPath) -> None:
    records = RecordsWriter.create(runs / "s", HEAD)
    assert isinstance(runs, Url)
    other = record("x", number=0).to_line()
    assert Bucket(runs / "s", 0).put_new("trials/000000.json", other)
    with pytest.raises(StudyError, match="another search has recorded trial 0; this one stops"):
        records.append(record("a"))
    assert Bucket(runs / "s", 0).get("trials/000000.json") == other


def test_what_arrived_unheard_is_no_fault(runs: StudyPath) -> None:
    records = RecordsWriter.create(runs / "s", HEAD)
    assert isinstance(runs, Url)
    Bucket(runs / "s", 0).put_new("trials/000000.json", record("a").to_line())
    records.append(record("a"))
    assert len(RecordsReader.read(runs / "s").trials) == 1


def test_one_of_many_takers_wins(runs: StudyPath) -> None:
    assert isinstance(runs, Url)
    won: list[Lease] = []
    start = threading.Barrier(4)

    def take() -> None:
        mine = Lease(Bucket(runs / "s", 0), uuid.uuid4().hex)
        start.wait()
        try:
            mine.take()
        except StudyError:
            return
        won.append(mine)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if runs.text.startswith("s3://"):  # memory:// is a dictionary, without an atomic create
        assert len(won) == 1
    assert won
    won[0].release()


def test_lease_is_renewed(runs: StudyPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    assert isinstance(runs, Url)
    store = Bucket(runs / "s", 0)
    mine = Lease(store, "a")
    mine.take()
    seen: set[float] = set()
    for _ in range(200):
        seen.add(json.loads(store.get("lease/000001.json") or b"{}")["time"])
        if len(seen) > 2:
            break
        time.sleep(0.05)
    mine.release()
    assert len(seen) > 2
    assert json.loads(store.get("lease/000001.json") or b"{}")["released"]


def test_working_copy_of_a_study_that_is_gone(runs: StudyPath) -> None:
    records = RecordsWriter.create(runs / "s", HEAD)
    records.append(record("a"))
    records.close()
    files, root = fsspec.core.url_to_fs(str(runs / "s"))
    files.rm(root, recursive=True)
    with pytest.raises(StudyError, match="of a study that is no longer at .*: move it away"):
        RecordsWriter.create(runs / "s", HEAD)
    assert "study.yaml" not in objects(runs / "s")
    assert isinstance(runs, Url)
    Bucket(runs / "s", 0).put("study.yaml", replace(HEAD, id="another").to_yaml())
    with pytest.raises(StudyError, match="working copy of another study that once was at"):
        RecordsWriter.open(runs / "s")


def test_store_that_stays_away(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study stops, resumable, with all that was scored in the working copy."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "OPENING_SECONDS", 0.0)
    monkeypatch.setattr(remote, "SENDING_SECONDS", 0.0)
    s3.connect(monkeypatch)
    place = locate(s3.url) / "s"
    records = RecordsWriter.create(place, HEAD)
    records.append(record("a"), pack_items([ITEM]))
    s3.stop()
    for key in "bc":
        with pytest.raises(
            StudyError, match=rf"trial te {key} is on record in .* only: s3://.*--resume s3://"
        ):
            records.append(record(key), pack_items([ITEM]))
    records.close()
    for opened in (RecordsWriter.open, RecordsReader.read):
        with pytest.raises(StudyError, match=r"s3://\S+ cannot be \w+: .*study.yaml cannot"):
            opened(place)
    s3.start_again()
    again = RecordsWriter.open(place)
    assert [r.key for r in again.trials] == ["a", "b", "c"]
    again.close()
    elsewhere(tmp_path, monkeypatch)
    assert RecordsReader.read(place).items(again.trials[2])[0].id == ITEM.id


def test_what_is_newer_here_is_sent_before_the_old_is_read(
    runs: StudyPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store was away when the study was extended: the extension is not lost."""
    records = RecordsWriter.create(runs / "s", HEAD)
    (records.folder / "report.md").write_text("old")
    records.rewrite(replace(HEAD, layers=4))
    store = bucket_store(records)

    def away(*_: object) -> None:
        raise OSError("away")

    with monkeypatch.context() as patch:
        patch.setattr(store._once, "put", away)
        (records.folder / "report.md").write_text("new")
        for layers in (8, 16):  # sent twice, of which nothing arrived
            with pytest.raises(StudyError, match=r"study.yaml cannot be written: away"):
                records.rewrite(replace(HEAD, layers=layers))
        records.close()
    assert RecordsReader.read(runs / "s").head().layers == 4
    again = RecordsWriter.open(runs / "s")
    assert again.head().layers == RecordsReader.read(runs / "s").head().layers == 16
    assert isinstance(runs, Url)
    assert Bucket(runs / "s", 0).get("report.md") == b"new"
    again.close()


def test_what_has_changed_elsewhere_is_read(
    runs: StudyPath,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also where it was changed here as well: the store is the truth, and it is told."""
    records = RecordsWriter.create(runs / "s", HEAD)
    records.rewrite(replace(HEAD, layers=4))
    records.close()
    elsewhere(tmp_path, monkeypatch)
    other = RecordsWriter.open(runs / "s")
    other.rewrite(replace(HEAD, layers=8))
    other.close()
    elsewhere(tmp_path, monkeypatch, "cache")
    again = RecordsWriter.open(runs / "s")
    assert again.head().layers == 8 and caplog.text == ""
    again.close()
    (again.folder / "study.yaml").write_bytes(replace(HEAD, layers=2).to_yaml())
    elsewhere(tmp_path, monkeypatch)
    other = RecordsWriter.open(runs / "s")
    other.rewrite(replace(HEAD, layers=9))
    other.close()
    elsewhere(tmp_path, monkeypatch, "cache")
    again = RecordsWriter.open(runs / "s")
    assert again.head().layers == 9 and "study.yaml was changed here and in" in caplog.text
    again.close()


def test_a_copied_disk_is_another_owner(
    runs: StudyPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its working copy has the same id; its lock shows nothing of the driver that runs."""
    records = RecordsWriter.create(runs / "s", HEAD)
    shutil.copytree(tmp_path / "cache", tmp_path / "other", symlinks=True)
    elsewhere(tmp_path, monkeypatch)
    with pytest.raises(StudyError, match="if that one is dead, try again in"):
        RecordsWriter.open(runs / "s")
    records.append(record("a"))
    records.close()


def test_unsent_trials_are_in_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert working_copy(Url("s3://b/runs/s")).is_relative_to(tmp_path / "state")


def test_store_that_comes_back_in_time(
    runs: StudyPath, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    records = RecordsWriter.create(runs / "s", HEAD)
    store = bucket_store(records)
    store._patience = 60
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.01)
    files = store._bucket._fs
    real, faults = files.pipe_file, [TimeoutError("slow"), ConnectionError("gone")]

    def pipe_file(*arguments: Any, **options: Any) -> Any:
        if faults:
            raise faults.pop()
        return real(*arguments, **options)

    monkeypatch.setattr(files, "pipe_file", pipe_file)
    records.append(record("a"))
    assert len(RecordsReader.read(runs / "s").trials) == 1
    assert "(ConnectionError: gone)" in caplog.text and "trying again in" in caplog.text


def test_who_was_cut_off_writes_nothing_once_another_has_taken_over(
    runs: StudyPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off in the middle of sending; when the store is back, all is another's."""
    cut_off = RecordsWriter.create(runs / "s", HEAD)
    cut_off.append(record("a"))
    store = bucket_store(cut_off)
    assert store._lease is not None
    store._patience = 60
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.01)
    claim, files = store._lease, store._bucket._fs
    real, others = files.pipe_file, []

    def pipe_file(*arguments: Any, **options: Any) -> Any:
        if others:
            return real(*arguments, **options)
        others.append(None)
        claim._renewed = 0.0
        monkeypatch.setattr(lease, "SILENCE_SECONDS", -1.0)
        elsewhere(tmp_path, monkeypatch)
        others[0] = RecordsWriter.open(runs / "s")
        others[0].append(record("c"))
        (others[0].folder / "report.md").write_text("whole")
        others[0].close()
        raise ConnectionError("cut off")

    monkeypatch.setattr(files, "pipe_file", pipe_file)
    with pytest.raises(StudyError, match="has been taken over by another search"):
        cut_off.append(record("b"))
    (cut_off.folder / "report.md").write_text("half")
    cut_off.close()
    assert [r.key for r in RecordsReader.read(runs / "s").trials] == ["a", "c"]
    assert isinstance(runs, Url)
    assert Bucket(runs / "s", 0).get("report.md") == b"whole"


def test_hostile_object_names(runs: StudyPath) -> None:
    """A file's name in the store cannot lead out of the working copy."""
    records = RecordsWriter.create(runs / "s", HEAD)
    records.close()
    assert isinstance(runs, Url)
    for name in (".bashrc", "a b.md", "evil.py", ".md"):
        Bucket(runs / "s", 0).put(name, b"x")
    again = RecordsWriter.open(runs / "s")
    assert sorted(f.name for f in again.folder.iterdir()) == [
        ".copy",
        ".lock",
        ".sent",
        "items",
        "study.yaml",
    ]


def test_missing_bucket(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    s3.connect(monkeypatch)
    monkeypatch.setattr(remote, "OPENING_SECONDS", 0.0)
    with pytest.raises(StudyError, match=r"cannot be written: s3://nowhere/s: .*no nowhere"):
        RecordsWriter.create(locate("s3://nowhere/s"), HEAD)


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("gs://bucket/s", "gs:// needs the package gcsfs: .* pip install gcsfs"),
        ("nonsense://bucket/s", "nonsense:// is not a kind of store that fsspec knows"),
    ],
)
def test_package_that_is_missing(
    address: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(StudyError, match=fault):
        RecordsWriter.create(locate(address), HEAD)
    with pytest.raises(StudyError, match=fault):
        RecordsReader.read(locate(address))


def test_killed_driver_on_s3(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill -9 between any two requests: nothing that an `append` returned is lost or twice."""
    s3.connect(monkeypatch)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "cache"))
    place = f"{s3.url}/s"
    RecordsWriter.create(locate(place), HEAD).close()
    told: list[str] = []
    for _ in range(6):  # on a busy machine the server may not answer a driver in time
        if len(told) >= 24:
            break
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.search.appender", place],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        wanted = len(told) + 8
        for line in process.stdout:
            told.append(line.strip())
            if len(told) == wanted:
                process.kill()
        process.wait()
    elsewhere(tmp_path, monkeypatch)
    monkeypatch.setattr(lease, "SILENCE_SECONDS", 0.0)
    there = [r.key for r in RecordsWriter.open(locate(place)).trials]
    assert len(told) >= 24 and len(set(there)) == len(there)
    assert set(told) <= set(there) and len(there) - len(told) <= 3
    assert working_copy(Url(place)).name == "s"


def test_commands_take_addresses(
    runs: StudyPath, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = compose.load([], {"lang": "te"}).model_dump(mode="json")
    records = RecordsWriter.create(runs / "s", StudyHead("s", chosen, layers=10))
    records.append(record("a"))
    assert show_best([str(runs)]) == 1  # one recipe is nothing to recommend
    assert capsys.readouterr().out.startswith(f"{runs}/s (running): demo / te, 1 recipe compared")
    assert write_report([f"{runs}/s", "--out", str(tmp_path / "here")]) == 0
    assert (tmp_path / "here" / "report.html").is_file() and capsys.readouterr().out
    assert list_studies([str(runs), "--json"]) == 0
    (line,) = json.loads(capsys.readouterr().out)
    assert (line["study"], line["state"], line["trials"]) == (f"{runs}/s", "running", 1)
    records.close()
    assert list_studies([f"{runs}/s", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "stopped"
    assert show_confusion([f"{runs}/s"]) == 2
    assert f"error: {runs}/s: none of its trials has a trace" in capsys.readouterr().err
    assert open_study(runs / "s").trials == records.trials
    assert list_studies([f"{runs}/.."]) == 2
    assert "is not an address of a folder" in capsys.readouterr().err
