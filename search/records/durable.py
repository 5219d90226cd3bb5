"""Files that survive a crash: whole or absent, and lines that are added one at a time.

Owns what is asked of the file system (fsync of files and of their folder, atomic renames). Knows
nothing of studies.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path

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


def append_line(file: Path, line: bytes) -> None:
    """Add a line, which ends with a newline, to a file; on return it is on disk.

    Raises:
        OSError: the disk refuses; nothing of the line is left.
    """
    new = not file.exists()
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        before = os.fstat(descriptor).st_size
        try:
            left = memoryview(line)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, before)  # or the next line would be joined to a part of it
            raise
    finally:
        os.close(descriptor)
    if new:
        sync_folder(file.parent)


def read_lines(file: Path, *, mend: bool) -> list[bytes]:
    """The whole lines of a file of JSON lines, without a last one that a crash cut off.

    A line is cut off if it lacks its newline, or, as the last one, is no JSON: after a power cut
    blocks in its middle may be missing.

    Args:
        file: may be absent: no lines.
        mend: move what was cut off to the end of FILE.cut, so that more lines can be added.

    Raises:
        OSError: the disk refuses.
    """
    data = file.read_bytes() if file.exists() else b""
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


def sync_folder(folder: Path) -> None:
    """Make a folder's new names survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line.decode())
    except (ValueError, RecursionError):
        return not line.strip(b"\n")  # an empty line is nobody's
    return True
