"""The lock on a study's folder: one driver at a time, on this machine and over a shared folder.

The kernel keeps it for a process, so that a dead one holds nothing. Owns, too, how far it can be
trusted: a second process must be refused, and mounts that lock for one machine alone are told of.
Object stores have a lease instead (`search.records.lease`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from search.common.errors import StudyError

LOCK = ".lock"
LOOK_SECONDS = 0.2
"""`is_held` takes the lock for a moment: so long a driver tries before it is refused."""

_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}

_LOCAL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "ramfs", "overlay"}
"""File systems of one machine, whose locks are the kernel's own."""
_ONE_MACHINE = {
    "nfs": ("nolock", "local_lock=flock", "local_lock=all"),
    "nfs4": ("local_lock=flock", "local_lock=all"),
    "lustre": ("localflock",),
    "cifs": ("nobrl",),
    "smb3": ("nobrl",),
}
"""File system -> options with which its locks are not told to the server."""
_NEVER_SHARED = {"fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone"}
_REMEDY = (
    "Two searches could spoil each other's records: mount its file system with locks (Lustre: -o "
    "flock), or name another folder with --out"
)
_SECOND = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_SH | fcntl.LOCK_NB)"
_SECOND_SECONDS = 10.0

_log = logging.getLogger(__name__)


class LockLostError(OSError):
    """What others see as the lock is no longer what this process holds."""


class StudyLock:
    """The file `.lock` in a folder."""

    def __init__(self, folder: Path) -> None:
        """Prepare; a soft lock, which a dead process would hold, is never fallen back to."""
        self._file = folder / LOCK
        self._own = (0, 0)  # device and number of the file that is locked
        self._lock = FileLock(
            self._file, thread_local=False, fallback_to_soft=False, on_acquired=self._sign
        )

    def take(self, study: str) -> None:
        """Take it, or say who has it.

        Args:
            study: its name for errors.

        Raises:
            StudyError: another process has it, or the file system has no locks, or such as hold
                nobody off.
            OSError: the file cannot be written.
        """
        self._acquire(study)
        kind, options = mount_of(self._file.resolve())
        if kind not in _LOCAL and _second_gets(self._file):
            self.release()
            raise StudyError(
                f"{self._file.parent} cannot be locked: a second process was given the lock while "
                f"this one had it. {_REMEDY}"
            )
        if holds_here_alone(kind, options):
            _log.warning(
                "locks in %s (%s, mounted with %s) hold on this machine alone: start no search on "
                "%s from another while this one runs",
                *(self._file.parent, kind, options, study),
            )

    def _acquire(self, study: str) -> None:
        try:
            self._lock.acquire(timeout=LOOK_SECONDS, poll_interval=0.02)
        except Timeout:
            holder = self._file.read_text(errors="replace")
            raise StudyError(f"{study} is in use by another running search ({holder})") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise StudyError(
                f"{self._file.parent} cannot be locked ({error.strerror}). {_REMEDY}"
            ) from None

    def check(self, study: str) -> None:
        """Make sure that what others see as the lock is what this process holds.

        Raises:
            LockLostError: it is gone, or another, as where the folder was moved or emptied.
            OSError: the folder cannot be looked at.
        """
        try:
            found = self._file.stat()
        except FileNotFoundError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._own:
            raise LockLostError(
                f"{self._file} was removed or replaced while {study} was running, so that another "
                "search may write there"
            )

    def release(self, *, remove: bool = False) -> None:
        """Let another process take it.

        Args:
            remove: the file as well, as the study is gone.
        """
        if remove:
            self._file.unlink(missing_ok=True)  # while it is held: who waits for it tries anew
        self._lock.release()

    def _sign(self, descriptor: int) -> None:
        """Write into the lock's file who holds it."""
        found = os.fstat(descriptor)
        self._own = found.st_dev, found.st_ino
        who = f"process {os.getpid()} on {socket.gethostname()}".encode()
        with contextlib.suppress(OSError):  # on a full disk the lock alone must do
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, who, 0)


def is_held(folder: Path) -> bool:
    """Whether a process, on this machine or on another that shares the folder, holds the lock."""
    try:
        # a pipe of this name is not waited for
        with open(os.open(folder / LOCK, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no driver yet, or locks are not to be had
        return False
    return False


def mount_of(file: Path, table: str | None = None) -> tuple[str, str]:
    """Kind and options of the file system that a file is on; empty where that is not known.

    Args:
        file: absolute, without links.
        table: lines of /proc/self/mounts; None: those of this process.
    """
    if table is None:
        try:
            table = Path("/proc/self/mounts").read_text("utf-8", "surrogateescape")
        except OSError:
            return "", ""
    found, longest = ("", ""), -1
    for line in table.splitlines():
        _, place, kind, options, *_ = line.split(" ")
        folder = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), place)
        if file.is_relative_to(folder) and len(folder) >= longest:  # the later one lies on top
            found, longest = (kind, options), len(folder)
    return found


def holds_here_alone(kind: str, options: str) -> bool:
    """Whether a file system, so mounted, tells no other machine of its locks."""
    given = set(options.split(","))
    return kind in _NEVER_SHARED or bool(given.intersection(_ONE_MACHINE.get(kind, ())))


def _second_gets(file: Path) -> bool:
    """Whether another process gets the lock that this one has; False where none can be asked."""
    command = [sys.executable, "-I", "-S", "-c", _SECOND, str(file)]
    try:
        return not subprocess.run(command, capture_output=True, timeout=_SECOND_SECONDS).returncode
    except (OSError, subprocess.SubprocessError):
        return False
