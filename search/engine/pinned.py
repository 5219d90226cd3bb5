"""Copies of checkpoints in shared memory, one for all engines of a node, pinned for fast copies.

Owns the folder in `/dev/shm`: one file per checkpoint with its tensors one after the other, written
once under the node's lock by whoever needs it first, mapped by all. A file lives while some process
holds its shared lock on it, which ends with the process however that ends: what nobody holds is
removed when an engine closes and when one starts. What has found room stays: experts are used over
and over, and a tier that drops the oldest would be filled anew by every trial.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from filelock import FileLock

from search.checkpoints.cache import digest, identity
from search.checkpoints.checkpoint import Checkpoint
from search.engine.link import Link

logger = logging.getLogger(__name__)

FOLDER = Path("/dev/shm") / f"layer-swap-search-{os.getuid()}"
ALIGNED = 64
"""Bytes; where tensors begin."""
_LOCK, _FILE, _PART = "lock", ".weights", ".part"


def is_private(folder: Path) -> bool:
    """Whether a folder is there and nobody else can write into it; `/dev/shm` is everybody's."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    mine = found.st_uid == os.getuid() and not found.st_mode & 0o022
    return stat.S_ISDIR(found.st_mode) and mine


def make_private(folder: Path) -> None:
    """Make a folder if it is not there.

    Raises:
        PermissionError: others can write into it, and could change weights in it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_private(folder):
        raise PermissionError(
            f"{folder} is not this user's alone, and weights are kept in it: have it removed, or "
            "set search.engine.expert_pinned_gib=0"
        )


class PinnedCheckpoint:
    """One checkpoint's copy, mapped. `registered` says whether the device reads it directly."""

    def __init__(self, file: int, checkpoint: Checkpoint, link: Link) -> None:
        """Take an open file that is complete; it is closed by `close`."""
        self._file, self._link = file, link
        self._mapping = mmap.mmap(file, 0)
        self._bytes = torch.frombuffer(self._mapping, dtype=torch.uint8)
        self._tensors = dict(_views(self._bytes, checkpoint))
        self.registered = link.register(self._bytes)

    def read(self, name: str) -> torch.Tensor:
        """The tensor; not to be written into."""
        return self._tensors[name]

    def close(self) -> None:
        """Let go of the memory and of the file."""
        if self.registered:
            self._link.unregister(self._bytes)
        del self._bytes
        self._tensors.clear()
        try:
            self._mapping.close()
        except BufferError:  # someone still has a tensor; the mapping goes with it
            logger.debug("a tensor of a pinned checkpoint is still in use")
        os.close(self._file)


class PinnedFiles:
    """The copies that one process uses."""

    def __init__(self, budget: int, link: Link, threads: int = 1, folder: Path = FOLDER) -> None:
        """Remove what earlier processes have left behind; nothing is written yet.

        Args:
            budget: bytes for all copies of the node together.
            link: pins them.
            threads: that write a copy.
            folder: in shared memory; the same for all processes of a node.
        """
        self._budget, self._link, self._threads, self._folder = budget, link, threads, folder
        self._opened: dict[Path, PinnedCheckpoint | None] = {}
        if is_private(folder):
            with FileLock(folder / _LOCK):
                self._sweep()

    def open(self, checkpoint: Checkpoint) -> PinnedCheckpoint | None:
        """The checkpoint's copy, written if there is none yet; None where it has no room."""
        if not self._budget:
            return None
        path = self._folder / f"{_key(checkpoint)}{_FILE}"
        if path not in self._opened:
            make_private(self._folder)
            with FileLock(self._folder / _LOCK):
                self._sweep()
                file = self._open(path, checkpoint)
            self._opened[path] = (
                None if file is None else PinnedCheckpoint(file, checkpoint, self._link)
            )
        return self._opened[path]

    def close(self) -> None:
        """Let go of all copies; the last process removes them."""
        if not self._opened:
            return
        for opened in self._opened.values():
            if opened is not None:
                opened.close()
        self._opened.clear()
        with FileLock(self._folder / _LOCK):
            self._sweep()

    def _open(self, path: Path, checkpoint: Checkpoint) -> int | None:
        """An open file that this process has its lock on; under the node's lock."""
        if path.exists():
            file = os.open(path, os.O_RDWR)
            fcntl.flock(file, fcntl.LOCK_SH)
            return file
        size = _size(checkpoint)
        if size + sum(f.stat().st_size for f in self._files()) > self._budget:
            return None
        part = path.with_suffix(_PART)
        file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
            os.posix_fallocate(file, 0, size)  # else a full folder would end the process later on
            self._write(file, checkpoint)
            part.rename(path)
        except BaseException as error:
            os.close(file)
            part.unlink()
            if not isinstance(error, OSError):
                raise
            logger.warning(
                "%s has no room for %s (%.1f GB): %s; its files are read instead",
                *(self._folder, checkpoint.label, size / 1e9, error),
            )
            return None
        return file

    def _write(self, file: int, checkpoint: Checkpoint) -> None:
        whole = torch.frombuffer(mmap.mmap(file, 0), dtype=torch.uint8)
        with ThreadPoolExecutor(self._threads) as pool:
            for copied in [
                pool.submit(view.copy_, checkpoint.read(name))
                for name, view in _views(whole, checkpoint)
            ]:
                copied.result()

    def _files(self) -> list[Path]:
        return [f for f in self._folder.iterdir() if f.suffix in (_FILE, _PART)]

    def _sweep(self) -> None:
        """Remove what no process holds; under the node's lock."""
        for path in self._files():
            file = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            except BlockingIOError:
                pass
            finally:
                os.close(file)


def _key(checkpoint: Checkpoint) -> str:
    """Says which files with which contents a copy is of, and what of them: rows may be cut."""
    files = {checkpoint.path / info.file for info in checkpoint.tensors.values()}
    layout = (f"{name} {info}" for name, info in checkpoint.tensors.items())
    return digest(identity(files), *layout)[:24]


def _places(checkpoint: Checkpoint) -> Iterator[tuple[str, int, int]]:
    """Every tensor's name, first byte and end."""
    at = 0
    for name, info in checkpoint.tensors.items():
        yield name, at, at + info.bytes
        at += -(-info.bytes // ALIGNED) * ALIGNED


def _size(checkpoint: Checkpoint) -> int:
    return max(end for _, _, end in _places(checkpoint))


def _views(whole: torch.Tensor, checkpoint: Checkpoint) -> Iterator[tuple[str, torch.Tensor]]:
    for name, start, end in _places(checkpoint):
        like = checkpoint.read(name)
        yield name, whole[start:end].view(like.dtype).view(like.shape)
