"""Who may drive a study in an object store, and who may no longer."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import fsspec
import pytest

from search.common.errors import StudyError
from search.records import lease
from search.records.bucket import Bucket
from search.records.lease import Lease, is_held
from search.records.study_path import Url


@pytest.fixture
def objects() -> Iterator[Bucket]:
    address = f"memory://{uuid.uuid4().hex}"
    yield Bucket(Url(f"{address}/s"), 0)
    files = fsspec.filesystem("memory")
    if files.exists(address):
        files.rm(address, recursive=True)


def test_take_and_release(objects: Bucket) -> None:
    first, second = Lease(objects, "a"), Lease(objects, "b")
    assert not is_held(objects)
    first.take()
    assert is_held(objects)
    with pytest.raises(StudyError, match=r"in use .*if that one is dead, try again in 1[78]\d s"):
        second.take()
    first.check()
    first.release()
    assert not is_held(objects) and objects.names("lease") == ["000001.json"]
    second.take()
    assert objects.names("lease") == ["000002.json"]
    second.release(remove=True)
    assert objects.names("lease") == []


def test_own_copy_is_taken_again_at_once(objects: Bucket) -> None:
    """The copy's lock has shown that its last driver is dead."""
    dead, heir = Lease(objects, "a"), Lease(objects, "a")
    dead.take()
    dead._done.set()
    heir.take()
    heir.release()


def test_silent_holder_is_succeeded_and_finds_out(
    objects: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper, other = Lease(objects, "a"), Lease(objects, "b")
    sleeper.take()
    monkeypatch.setattr(lease, "SILENCE_SECONDS", 0.0)
    other.take()
    for _ in range(2):
        with pytest.raises(StudyError, match=r"taken over by another search \(process \d+ on .*\)"):
            sleeper.check()
    sleeper.release()
    (name,) = objects.names("lease")
    assert json.loads(objects.get(f"lease/{name}") or b"")["copy"] == "b"
    other.check()
    other.release()


def test_waking_holder_without_successor_goes_on(
    objects: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = Lease(objects, "a")
    holder.take()
    monkeypatch.setattr(lease, "SILENCE_SECONDS", 0.0)
    before = json.loads(objects.get("lease/000001.json") or b"")["time"]
    holder.check()
    assert json.loads(objects.get("lease/000001.json") or b"")["time"] > before
    holder.release()


@pytest.mark.parametrize(
    "state",
    [
        *(b"", b"[]", b"{", b'{"time": "now"}', b'{"time": Infinity}', b'{"time": NaN}'),
        *(b'{"time": 1e300}', b'{"time": -1e300}', b'{"time": ' + b"9" * 4000 + b"}"),
    ],
)
def test_lease_that_says_nothing_holds_nothing(objects: Bucket, state: bytes) -> None:
    objects.put("lease/000007.json", state)
    for name in ("notes.txt", f"{'9' * 200}.json", "٣٣٣٣٣٣.json"):
        objects.put(f"lease/{name}", b"x")
    assert not is_held(objects)
    heir = Lease(objects, "b")
    heir.take()
    assert objects.names("lease")[0] == "000008.json"
    heir.release()


def test_two_that_a_store_gave_one_number_do_not_both_go_on(objects: Bucket) -> None:
    """Some look whether it is there and write then; the last one to write it has it."""
    first, second = Lease(objects, "a"), Lease(objects, "b")
    first.take()
    second._number = first._number
    objects.put("lease/000001.json", second._state())
    first._renew(objects)
    with pytest.raises(StudyError, match="taken over by another search"):
        first.check()
    second._renew(objects)
    second.check()
    first.release()
    assert json.loads(objects.get("lease/000001.json") or b"")["copy"] == "b"


def test_clock_that_is_ahead_holds_longer(objects: Bucket) -> None:
    objects.put("lease/000001.json", json.dumps({"time": time.time() + 60, "pid": 7}).encode())
    with pytest.raises(StudyError, match=r"\(process 7 on None\).* try again in 2[34]\d s"):
        Lease(objects, "b").take()


def test_a_store_that_ignores_conditions_is_refused(
    objects: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two drivers could take a study at once there, and each replace what the other records."""
    real = objects._fs.pipe_file
    monkeypatch.setattr(
        objects._fs, "pipe_file", lambda path, data, mode: real(path, data, mode="overwrite")
    )
    with pytest.raises(StudyError, match=r"memory://.*ignores If-None-Match.* name another with"):
        Lease(objects, "a").take()
    assert objects.names("lease") == []


@pytest.mark.parametrize(("off", "refused"), [(-300, True), (-20, False), (20, False), (90, True)])
def test_a_clock_that_is_off_is_refused(
    objects: Bucket, monkeypatch: pytest.MonkeyPatch, off: float, refused: bool
) -> None:
    """Before a claim is looked at: a clock that is ahead would see every holder as silent."""
    live = Lease(objects, "a")
    live.take()
    real = time.time
    monkeypatch.setattr(lease.time, "time", lambda: real() + off)
    monkeypatch.setattr(objects._fs, "modified", lambda path: datetime.fromtimestamp(real(), UTC))
    fault = rf"clock and that of the store of memory://\S+ differ by {abs(off)} s: set it"
    with pytest.raises(StudyError, match=fault if refused else "in use by another"):
        Lease(objects, "b").take()
    live.check()
    assert objects.names("lease") == ["000001.json"]
    live.release()


def test_a_store_that_tells_no_time_is_taken(
    objects: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(path: str) -> None:
        raise NotImplementedError

    monkeypatch.setattr(objects._fs, "modified", unknown)
    claim = Lease(objects, "a")
    claim.take()
    claim.release()


def test_setting_the_clock_costs_no_claim(objects: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = Lease(objects, "a")
    claim.take()
    before, real = objects.get("lease/000001.json"), time.time
    monkeypatch.setattr(lease.time, "time", lambda: real() + 3600)
    claim.check()
    assert objects.get("lease/000001.json") == before  # the store was not asked
    claim.release()
