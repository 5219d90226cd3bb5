"""Files that the engines of a node share: one of them fetches, the others wait.

Owns the node's locks, the progress line of a download and what a path of the driver's machine means
on this one. Knows nothing of the hub, of object stores or of families.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from search.checkpoints.cache import root

FIRST, EVERY = 2.0, 10.0
"""Seconds until a download is first spoken of, and between two lines about it."""


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the node's lock of this name; who had to wait for it finds the work done."""
    folder = root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{plain(name)}.lock"):
        yield


def plain(name: str) -> str:
    """A name as one part of a path: no separator, no `..`, nothing hidden."""
    return re.sub(r"[^\w.-]+", "--", name).strip(".-") or "unnamed"


@contextmanager
def progress(what: str, folder: Path, total: int | None = None) -> Iterator[None]:
    """While a folder fills, say on stderr how far it is; nothing where it takes no time.

    Args:
        what: what is fetched.
        folder: where it is written; what is in it already does not count.
        total: bytes that will be written, where known.
    """
    done = threading.Event()
    before = _size(folder)

    def watch() -> None:
        pause = FIRST
        while not done.wait(pause):
            pause = EVERY
            arrived = f"{(_size(folder) - before) / 1e9:.1f}"
            of = f" of {total / 1e9:.1f}" if total is not None else ""
            say = f"{socket.gethostname()}: fetching {what}: {arrived}{of} GB"
            print(say, file=sys.stderr, flush=True)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def here(location: str, driver_folder: str) -> str:
    """Where this node has a folder that the driver named.

    Ray unpacks a job's working directory on every node, under a path of the node's own: what lies
    in the driver's copy is looked up in this process's.

    Args:
        location: a folder on the driver's machine, a hub id or a URL; the last two stay as they
            are.
        driver_folder: the driver's working directory.
    """
    path = Path(location)
    if driver_folder and path.is_absolute() and path.is_relative_to(driver_folder):
        own = Path.cwd() / path.relative_to(driver_folder)
        if own.exists():
            return str(own)
    return location


def _size(folder: Path) -> int:
    """Bytes of the files in a folder, symbolic links not followed; of what vanishes, nothing."""
    total = 0
    for file in folder.rglob("*") if folder.is_dir() else ():
        try:
            total += file.lstat().st_size
        except OSError:
            continue
    return total
