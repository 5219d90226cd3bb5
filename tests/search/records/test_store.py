"""Folder and object store keep the one contract."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from search.records import remote
from search.records.folder import FolderReader, FolderStore
from search.records.remote import BucketReader, BucketStore
from search.records.store import Store, StoreReader
from search.records.study_path import Url
from tests.search.records.store_contract import CONTRACT, Site
from tests.search.s3_server import S3

pytestmark = pytest.mark.slow


def files_under(folder: Path) -> list[str]:
    """Names of all files, relative to a folder."""
    return sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())


class FolderSite:
    """A folder that all machines share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def driver(self, machine: str = "one") -> Store:
        return FolderStore(self._folder, self._folder)

    def reader(self) -> StoreReader:
        return FolderReader(self._folder)

    def kill(self, store: Store) -> None:
        assert isinstance(store, FolderStore)
        store._lock.release()  # the kernel takes it back

    def remains(self) -> list[str]:
        return files_under(self._folder)


class BucketSite:
    """An address in an object store, and a working copy on each machine."""

    def __init__(self, url: Url, machines: Path) -> None:
        self._url, self._machines = url, machines

    def driver(self, machine: str = "one") -> Store:
        return BucketStore(self._url, self._machines / machine)

    def reader(self) -> StoreReader:
        return BucketReader(self._url)

    def kill(self, store: Store) -> None:
        """The kernel takes the lock back, nobody says good-bye to the store."""
        assert isinstance(store, BucketStore) and store._lease is not None
        store._lease._done.set()
        store._copy._lock.release()

    def remains(self) -> list[str]:
        files, root = fsspec.core.url_to_fs(str(self._url))
        files.invalidate_cache()
        objects = files.find(root) if files.exists(root) else []
        return sorted(objects) + files_under(self._machines)


@pytest.fixture(params=["folder", "memory", "s3"])
def site(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    monkeypatch.setattr(remote, "OPENING_SECONDS", 0.0)
    monkeypatch.setattr(remote, "SENDING_SECONDS", 0.0)
    if request.param == "folder":
        yield FolderSite(tmp_path / "s")
    elif request.param == "s3":
        server: S3 = request.getfixturevalue("s3")
        server.connect(monkeypatch)
        yield BucketSite(Url(f"{server.url}/s"), tmp_path)
    else:
        address = f"memory://{uuid.uuid4().hex}"
        yield BucketSite(Url(f"{address}/s"), tmp_path)
        files = fsspec.filesystem("memory")
        if files.exists(address):
            files.rm(address, recursive=True)


@pytest.mark.parametrize("clause", CONTRACT, ids=lambda clause: clause.__name__)
def test_contract(site: Site, clause: Callable[[Site], None]) -> None:
    clause(site)
