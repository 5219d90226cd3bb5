"""Files that survive a crash: whole or absent, and lines that are added one at a time.

Owns what is asked of the file system (fsync of files and of their folder, atomic renames). Knows
nothing of studies.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
from pathlib import Path

from objectives.bounds import read_whole

_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES}
"""What file systems say that do not sync folders (SMB, FUSE), or where one may not be read."""

_log = logging.getLogger(__name__)


def write_whole(file: Path, data: bytes) -> None:
    """Write a file so that it is whole or as it was after a crash.

    A link of its name is replaced and not followed, nor is one of the name that it has before.

    Raises:
        OSError: the disk refuses; the file is as it was.
    """
    part = file.with_name(file.name + ".part")
    try:
        part.unlink(missing_ok=True)  # of a process that was killed, or somebody's link
        with open(part, "xb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(part, file)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)  # a full disk needs the room
        raise
    sync_folder(file.parent)


class NotTakenBackError(OSError):
    """The disk refused a line, and to remove what it had taken of it: it may be there or not."""


def append_line(file: Path, line: bytes) -> None:
    """Add a line, which ends with a newline, to a file; on return it is on disk.

    Half a line that stands at the file's end is moved to FILE.cut before, as by `read_lines`.

    Raises:
        NotTakenBackError: the disk refuses, and something of the line is left: write no more.
        OSError: the disk refuses; nothing of the line is left.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        before = os.fstat(descriptor).st_size
        if before and os.pread(descriptor, 1, before - 1) != b"\n":
            read_lines(file, mend=True)
            before = os.fstat(descriptor).st_size
        try:
            left = memoryview(line)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
            if not before:  # a new file's name, or one whose first line failed
                sync_folder(file.parent)
        except OSError as error:
            _take_back(descriptor, before, error)
            raise
    finally:
        os.close(descriptor)


def _take_back(descriptor: int, size: int, error: OSError) -> None:
    try:
        os.ftruncate(descriptor, size)  # or the next line would be joined to a part of it
    except OSError as again:
        raise NotTakenBackError(
            f"{error}; what was written of the line cannot be removed ({again})"
        ) from error


def read_lines(file: Path, *, mend: bool) -> list[bytes]:
    """The whole lines of a file of JSON lines, without a last one that a crash cut off.

    A line is cut off if it lacks its newline, or, as the last one, is no JSON: after a power cut
    blocks in its middle may be missing.

    Args:
        file: may be absent: no lines.
        mend: move what was cut off to the end of FILE.cut, so that more lines can be added.

    Raises:
        OSError: the disk refuses, or it is no regular file, which may have no end.
    """
    data = read_whole(file, math.inf) if file.exists() else b""
    end = data.rfind(b"\n") + 1
    last = data.rfind(b"\n", 0, max(end - 1, 0)) + 1
    if end == len(data) and not _is_json(data[last:end]):
        end = last
    if mend and end < len(data):
        aside = file.with_name(file.name + ".cut")
        append_line(aside, data[end:].rstrip(b"\n") + b"\n")
        os.truncate(file, end)
        _log.warning(
            "%s: %d bytes of a line cut off were moved to %s", file, len(data) - end, aside
        )
    return data[:end].split(b"\n")[:-1]


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where there is none; their names survive a power cut.

    Raises:
        OSError: the disk refuses.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Make a folder's new names survive a power cut, where its file system knows how to.

    Raises:
        OSError: the disk refuses.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line.decode())
    except (ValueError, RecursionError):
        return not line.strip(b"\n")  # an empty line is nobody's
    return True
