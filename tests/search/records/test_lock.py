"""The lock on a folder: one holder, seen by others, and gone with its holder."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest
from filelock import FileLock

from search.common.errors import StudyError
from search.records import lock as locks
from search.records.lock import StudyLock, holds_here_alone, is_held, mount_of


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


def test_a_second_process_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel's own locks are not known to hold, another process tries."""
    monkeypatch.setattr(locks, "_LOCAL", set())
    lock = StudyLock(tmp_path)
    lock.take("s")  # it was refused, as it should be
    assert is_held(tmp_path)
    lock.release()

    def unlocked(lock: StudyLock, descriptor: int) -> None:
        # what a file system without real locks comes to
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    monkeypatch.setattr(StudyLock, "_sign", unlocked)
    careless = StudyLock(tmp_path)
    with pytest.raises(StudyError, match=r"cannot be locked: a second process .* --out"):
        careless.take("s")
    assert not is_held(tmp_path)


MOUNTS = """\
/dev/sda1 / ext4 rw,relatime 0 0
server:/home /home nfs4 rw,vers=4.2,local_lock=none,addr=192.0.2.1 0 0
old:/data /data nfs rw,vers=3,nolock,local_lock=all 0 0
old:/data /data/my\\040runs nfs rw,vers=3,local_lock=flock 0 0
mds:/x /scratch lustre rw,localflock 0 0
mds:/x /scratch/flock lustre rw,flock 0 0
me@host: /mnt/far fuse.sshfs rw 0 0
tmpfs /data tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("file", "kind", "alone"),
    [
        ("/runs/s/.lock", "ext4", False),
        ("/home/me/s/.lock", "nfs4", False),
        ("/homes/me/s/.lock", "ext4", False),
        ("/data/s/.lock", "tmpfs", False),  # the last one on a folder is what is seen
        ("/data/my runs/.lock", "nfs", True),
        ("/scratch/s/.lock", "lustre", True),
        ("/scratch/flock/.lock", "lustre", False),
        ("/mnt/far/s/.lock", "fuse.sshfs", True),
    ],
)
def test_mounts_whose_locks_hold_on_one_machine(file: str, kind: str, alone: bool) -> None:
    found = mount_of(Path(file), MOUNTS)
    assert found[0] == kind and holds_here_alone(*found) == alone


def test_locks_of_one_machine_are_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lock = StudyLock(tmp_path)
    lock.take("s")
    lock.release()
    assert caplog.text == "" and mount_of(tmp_path)[0]
    monkeypatch.setattr(locks, "mount_of", lambda file: ("nfs", "rw,nolock"))
    lock.take("runs/s")
    lock.release()
    assert "hold on this machine alone: start no search on runs/s from another" in caplog.text
