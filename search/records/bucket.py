"""The objects under one address of an object store, by fsspec (`s3://`, `gs://`, ...).

Owns how a store is asked: patience with one that stays away, and writes that never replace. Every
failure is an OSError, whatever the store's own package raises. Credentials are that package's
business (environment, instance role). Knows nothing of studies.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import fsspec

from search.common.ending import ENDING
from search.common.values import short
from search.records.study_path import Url

T = TypeVar("T")
PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs"}
"""Protocol -> the package that fsspec needs for it."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0

_log = logging.getLogger(__name__)


class Bucket:
    """Objects named relative to an address; a name is one part, or a folder and one part.

    Attributes:
        url: the address.
        patience: seconds for which a call that fails is tried again; a call under way may last
            longer, as the store's package has waits of its own.
    """

    def __init__(self, url: Url, patience: float) -> None:
        """Prepare; the store is not asked yet.

        Raises:
            OSError: the protocol is not known, or its package is missing.
        """
        self.url, self.patience = url, patience
        protocol = url.text.partition(":")[0]
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url.text)
        except ImportError:
            package = PACKAGES.get(protocol, f"that fsspec uses for {protocol}")
            raise OSError(
                f"{protocol}:// needs the package {package}: install its version that goes with "
                f"fsspec {fsspec.__version__}, such as pip install {package}"
            ) from None
        except ValueError:
            raise OSError(f"{protocol}:// is not a kind of store that fsspec knows") from None

    def names(self, folder: str = "") -> list[str]:
        """Names of the objects directly in a folder, sorted."""
        return self._list(folder, "file")

    def folders(self) -> list[str]:
        """Names of the folders directly under the address, sorted."""
        return self._list("", "directory")

    def get(self, name: str) -> bytes | None:
        """An object's bytes; None where there is none."""
        try:
            data = self._try(f"{name} cannot be read", lambda: self._fs.cat_file(self._path(name)))
        except FileNotFoundError:
            return None
        return bytes(data)

    def get_all(self, folder: str) -> list[bytes]:
        """The bytes of all objects in a folder, by their names' order; many are asked at once."""
        paths = [self._path(f"{folder}/{name}") for name in self.names(folder)]
        if not paths:
            return []
        found = self._try(f"{folder}/ cannot be read", lambda: self._fs.cat(paths))
        return [bytes(found[path]) for path in paths]

    def put(self, name: str, data: bytes) -> None:
        """Write an object, or write it anew."""
        self._try(f"{name} cannot be written", lambda: self._put(name, data, "overwrite"))

    def put_new(self, name: str, data: bytes) -> bool:
        """Write an object that must not exist.

        Returns:
            Whether it holds these bytes now; False where it was there with others, and still is.
        """
        try:
            self._try(f"{name} cannot be written", lambda: self._put(name, data, "create"))
        except FileExistsError:
            return self.get(name) == data  # the answer to an earlier try may have been lost
        return True

    def modified(self, name: str) -> float | None:
        """When an object was written, in Unix time by the store's clock; None where it won't say.

        Raises:
            OSError: there is no such object, or the store is away.
        """

        def ask() -> datetime | None:
            self._fs.invalidate_cache()
            try:
                found = self._fs.modified(self._path(name))
            except NotImplementedError:
                return None
            return found if isinstance(found, datetime) else None

        when = self._try(f"{name} cannot be looked at", ask)
        if when is None:
            return None
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; what is not there is no error."""
        for name in names:
            try:
                self._try(f"{name} cannot be removed", partial(self._fs.rm, self._path(name)))
            except FileNotFoundError:
                continue

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else str(self._root)

    def _put(self, name: str, data: bytes, mode: str) -> None:
        try:
            self._fs.pipe_file(self._path(name), data, mode=mode)
        except FileNotFoundError as error:  # of the bucket; it will not come by waiting
            raise OSError(f"there is no {self.url.text.split('/')[2]}: {error}") from error

    def _list(self, folder: str, kind: str) -> list[str]:
        def ask() -> list[Any]:
            self._fs.invalidate_cache()
            return list(self._fs.ls(self._path(folder), detail=True))

        try:
            entries = self._try(f"{folder or 'it'} cannot be listed", ask)
        except FileNotFoundError:
            return []
        names = (e["name"].rstrip("/") for e in entries if e["type"] == kind)
        return sorted(name.rpartition("/")[2] for name in names if name != self._path(folder))

    def _try(self, fault: str, call: Callable[[], T]) -> T:
        """Call until it succeeds or the patience ends; what exists or not is an answer, too."""
        end, pause = time.monotonic() + self.patience, FIRST_PAUSE
        while True:
            try:
                return call()
            except (FileNotFoundError, FileExistsError):
                raise
            except Exception as error:  # each store's package has kinds of its own
                why = f"{type(error).__name__}: {short(error)}"
                if time.monotonic() + pause > end or ENDING.is_set():
                    raise OSError(f"{self.url}: {fault} ({why})") from error
                _log.warning("%s: %s (%s); trying again in %.0f s", self.url, fault, why, pause)
            ENDING.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
