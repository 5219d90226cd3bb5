"""The lock on a study's folder: one driver at a time, on this machine and over a shared folder.

The kernel keeps it for a process, so that a dead one holds nothing. Object stores have a lease
instead (`search.records.lease`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from pathlib import Path

from filelock import FileLock, Timeout

from search.errors import StudyError

LOOK_SECONDS = 0.2
"""`is_held` takes the lock for a moment: so long a driver tries before it is refused."""

_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


class StudyLock:
    """The file `.lock` in a folder."""

    def __init__(self, folder: Path) -> None:
        """Prepare; a soft lock, which a dead process would hold, is never fallen back to."""
        self._file = folder / ".lock"
        self._lock = FileLock(
            self._file, thread_local=False, fallback_to_soft=False, on_acquired=_sign
        )

    def take(self, study: str) -> None:
        """Take it, or say who has it.

        Args:
            study: its name for errors.

        Raises:
            StudyError: another process has it, or the file system has no locks.
            OSError: the file cannot be written.
        """
        try:
            self._lock.acquire(timeout=LOOK_SECONDS, poll_interval=0.02)
        except Timeout:
            holder = self._file.read_text(errors="replace")
            raise StudyError(f"{study} is in use by another running search ({holder})") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise StudyError(
                f"{self._file.parent} cannot be locked ({error.strerror}), so that two searches "
                "could spoil each other's records: mount its file system with locks (Lustre: -o "
                "flock), or name another folder with --out"
            ) from None

    def release(self, *, remove: bool = False) -> None:
        """Let another process take it.

        Args:
            remove: the file as well, as the study is gone.
        """
        if remove:
            self._file.unlink(missing_ok=True)  # while it is held: who waits for it tries anew
        self._lock.release()


def is_held(folder: Path) -> bool:
    """Whether a process, on this machine or on another that shares the folder, holds the lock."""
    try:
        with (folder / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no driver yet, or locks are not to be had
        return False
    return False


def _sign(descriptor: int) -> None:
    """Write into the lock's file who holds it."""
    who = f"process {os.getpid()} on {socket.gethostname()}".encode()
    with contextlib.suppress(OSError):  # on a full disk the lock alone must do
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, who, 0)
