"""The lock on a folder: one holder, seen by others, and gone with its holder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from filelock import FileLock

from search.errors import StudyError
from search.records.lock import StudyLock, is_held


def test_one_holder(tmp_path: Path) -> None:
    first, second = StudyLock(tmp_path), StudyLock(tmp_path)
    assert not is_held(tmp_path) and list(tmp_path.iterdir()) == []
    first.take("s")
    assert is_held(tmp_path)
    with pytest.raises(StudyError, match=rf"runs/s is in use by .* \(process {os.getpid()} on"):
        second.take("runs/s")
    first.release()
    assert not is_held(tmp_path)
    second.take("runs/s")
    second.release(remove=True)
    assert list(tmp_path.iterdir()) == []


def test_looking_does_not_take(tmp_path: Path) -> None:
    lock = StudyLock(tmp_path)
    lock.take("s")
    assert is_held(tmp_path) and is_held(tmp_path)
    lock.release()
    for _ in range(20):  # a look that is under way is waited for
        assert not is_held(tmp_path)
        lock.take("s")
        lock.release()


@pytest.mark.parametrize(("number", "said"), [(errno.ENOLCK, True), (errno.EACCES, False)])
def test_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: bool
) -> None:
    def acquire(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(FileLock, "acquire", acquire)
    fault = StudyError if said else PermissionError
    with pytest.raises(fault, match="Lustre: -o flock" if said else "denied"):
        StudyLock(tmp_path).take("s")
