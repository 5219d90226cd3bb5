"""How an object store is asked: what is there, what is never replaced, and patience."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest

from search.common.ending import ENDING
from search.records import bucket
from search.records.bucket import Bucket
from search.records.study_path import Url


@pytest.fixture
def url() -> Iterator[Url]:
    address = f"memory://{uuid.uuid4().hex}"
    yield Url(f"{address}/s")
    files = fsspec.filesystem("memory")
    if files.exists(address):
        files.rm(address, recursive=True)


def test_objects_of_a_folder(url: Url) -> None:
    objects = Bucket(url, 0)
    assert objects.names() == objects.folders() == objects.get_all("trials") == []
    for name in ("trials/2", "trials/10", "b.md", "a.md", "items/x"):
        objects.put(name, name.encode())
    assert objects.names() == ["a.md", "b.md"] and objects.folders() == ["items", "trials"]
    assert objects.names("trials") == ["10", "2"]
    assert objects.get_all("trials") == [b"trials/10", b"trials/2"]
    objects.remove(["a.md", "no.md", "trials/2"])
    assert objects.names() == ["b.md"] and objects.names("trials") == ["10"]
    assert objects.get("a.md") is None and objects.get("b.md") == b"b.md"


def test_new_objects_replace_nothing(url: Url) -> None:
    objects = Bucket(url, 0)
    assert objects.put_new("a", b"1") and not objects.put_new("a", b"2")
    assert objects.put_new("a", b"1")  # an answer that was lost is asked for again
    assert objects.get("a") == b"1"
    objects.put("a", b"2")
    assert objects.get("a") == b"2"


def failing(monkeypatch: pytest.MonkeyPatch, objects: Bucket, faults: list[Exception]) -> None:
    """Let the next reads fail."""
    real = objects._fs.cat_file

    def cat_file(*arguments: Any, **options: Any) -> Any:
        if faults:
            raise faults.pop(0)
        return real(*arguments, **options)

    monkeypatch.setattr(objects._fs, "cat_file", cat_file)


def test_patience(
    url: Url, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bucket, "FIRST_PAUSE", 0.01)
    objects = Bucket(url, 60)
    objects.put("a", b"1")
    failing(monkeypatch, objects, [TimeoutError("slow"), KeyError("odd")])
    with caplog.at_level(logging.WARNING):
        assert objects.get("a") == b"1"
    assert "TimeoutError: slow" in caplog.text and "KeyError: 'odd'" in caplog.text


def test_every_failure_is_one_error_without_passwords(
    url: Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = Bucket(url, 0)
    faults: list[Exception] = [RuntimeError("no answer of https://me:hush@store/x")] * 2
    failing(monkeypatch, objects, faults)
    with pytest.raises(OSError, match=r"memory://\w+/s: a cannot be read \(RuntimeError") as error:
        objects.get("a")
    assert "hush" not in str(error.value) and len(faults) == 1


def test_an_end_is_not_waited_out(url: Url, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that is told to end does not stay for a store that is away."""
    objects = Bucket(url, 3600)
    faults: list[Exception] = [TimeoutError("slow")] * 2
    failing(monkeypatch, objects, faults)
    ENDING.set()
    try:
        with pytest.raises(OSError, match="slow"):
            objects.get("a")
    finally:
        ENDING.clear()
    assert len(faults) == 1
