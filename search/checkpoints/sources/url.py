"""Models at an fsspec URL (`s3://`, `gs://`, `az://`, `hdfs://`, `file://`), fetched once per node.

Owns the copy in the user's cache: it appears under its name only when it is complete, and the name
holds a hash of what the store says of the files, so that a changed model is fetched anew.
Credentials are the store's own business (environment, instance roles) and never part of a URL.
Knows nothing of families.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from search.checkpoints.cache import root
from search.checkpoints.checkpoint import FETCHED_FROM, TensorInfo, headers_of, nothing_here
from search.checkpoints.files import (
    INDEX,
    POINTER,
    WHOLE,
    Weights,
    choose_of,
    is_lfs_pointer,
    parse_map,
)
from search.checkpoints.sources.hub import NEVER, SMALL
from search.checkpoints.sources.node_files import locked, plain, progress
from search.common.errors import CheckpointError

PACKAGES = {
    **{"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"},
    **{"hdfs": "pyarrow", "file": "fsspec", "memory": "fsspec"},
}
"""Protocol -> the package that speaks it; others, such as fsspec's chained ones, are refused."""

_URL = re.compile(r"(?P<protocol>[A-Za-z][\w+.-]*)://(?P<rest>.*)", re.DOTALL)
_LARGEST_HEADER = 100_000_000  # bytes; safetensors' own limit
_CHANGES = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "created")


@dataclass(frozen=True)
class Listing:
    """A model's folder in a store.

    Attributes:
        place: the URL without what pins it.
        store: fsspec's filesystem.
        files: file name, with the folder below in which an index has it -> its path in the store
            and its size in bytes.
        key: hash of names, sizes and what the store has for a version.
    """

    place: str
    store: Any
    files: dict[str, tuple[str, int]]
    key: str

    @property
    def revision(self) -> str:
        """The URL and which state of it."""
        return f"{self.place}#{self.key}"

    def weights(self) -> Weights:
        """Which files hold the model's weights.

        Raises:
            CheckpointError: what `files.choose_of` finds.
        """
        return choose_of(self.place, self.files, lambda: self.store.cat_file(self.files[INDEX][0]))


def is_url(location: str | Path) -> bool:
    """Whether a place is written as a URL."""
    return bool(_URL.fullmatch(str(location)))


def fetch(url: str, *, weights: bool, allow_bin: bool = False) -> Path:
    """The model's folder in the user's cache; what it lacks is fetched, once per node.

    Args:
        url: of a folder; `URL#key`, as `Checkpoint.revision` has it, wants just that state.
        weights: False leaves the weights (an adapter's excepted) where they are.
        allow_bin: take pickled weights where there are no safetensors.

    Raises:
        CheckpointError: the URL cannot be read, has changed, or the disk has no room.
    """
    found = _look(url)
    wanted = found.weights()
    needed = wanted.needed(weights=weights, allow_bin=allow_bin)
    weights = weights or bool(needed)
    patterns = [*SMALL, *needed]
    names = sorted({n for p in patterns for n in fnmatch.filter(found.files, p)})
    names = [n for n in names if n in wanted.files or not _is_copy(n)]
    final = root() / "fetched" / f"{plain(found.place)[-80:]}-{found.key}"
    if weights or final.exists():
        return _copy(found, names, final)
    return _copy(found, names, final.with_name(f"{final.name}-headers"))


def headers(url: str) -> Iterator[tuple[str, TensorInfo]]:
    """Names, dtypes and shapes of a model's tensors: kilobytes are read.

    Raises:
        CheckpointError: there are no safetensors, or a file is truncated or no safetensors.
    """
    found = _look(url)
    weights = found.weights()
    if not weights.files:
        raise CheckpointError(f"{found.place} {nothing_here(weights)}")

    def read(file: str) -> Iterator[tuple[str, TensorInfo]]:
        remote, size = found.files[file]
        try:
            start = found.store.cat_file(remote, start=0, end=100)
            if is_lfs_pointer(start):
                raise CheckpointError(f"{found.place}/{file} {POINTER}")
            length = int.from_bytes(start[:8], "little")
            if not 0 < length <= min(size, _LARGEST_HEADER):
                raise ValueError("its header has no sensible length")
            header = json.loads(found.store.cat_file(remote, start=8, end=8 + length))
            header.pop("__metadata__", None)
            end = 8 + length + max(entry["data_offsets"][1] for entry in header.values())
            if end != size:
                raise ValueError(f"it has {size} bytes of {end}")
            infos = [
                (n, TensorInfo(file, e["dtype"], tuple(e["shape"]))) for n, e in header.items()
            ]
        except CheckpointError:
            raise
        except Exception as error:  # the store's own kinds among them
            what = f"{found.place}/{file} is truncated or no safetensors file"
            raise CheckpointError(f"{what}: {error}") from error
        yield from infos

    yield from headers_of(found.place, weights, read)


def choose_there(url: str) -> Weights:
    """Which of a model's files hold its weights, by the names in the store.

    Raises:
        CheckpointError: the URL cannot be read, or what `files.choose_of` finds.
    """
    return _look(url).weights()


def _is_copy(name: str) -> bool:
    return any(fnmatch.fnmatch(name, never) for never in NEVER)


def _look(url: str) -> Listing:
    place, _, pinned = url.partition("#")
    place = place.rstrip("/")
    match = _URL.fullmatch(place)
    protocol, rest = (match["protocol"], match["rest"]) if match else ("", "")
    if re.match(r"[^/]*:[^/]*@", rest):
        raise CheckpointError(
            f"{protocol}://***@...: a password in a URL would end up in records and logs; give "
            "credentials to the store by its own environment variables"
        )
    if protocol not in PACKAGES:
        raise CheckpointError(
            f"{place}: {protocol}:// is not supported; use {', '.join(PACKAGES)}, a folder, or "
            "org/name on the Hugging Face hub"
        )
    try:
        store, path = fsspec.core.url_to_fs(place)
        files = _entries(store, path, "")
        for folder in _folders(place, store, files):
            files |= _entries(store, path, folder)
    except ImportError:
        raise CheckpointError(
            f"{place}: {protocol}:// needs the package {PACKAGES[protocol]}, on every node: "
            f"pip install {PACKAGES[protocol]}"
        ) from None
    except CheckpointError:
        raise
    except Exception as error:  # each store has kinds of its own
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{place} cannot be read ({type(error).__name__}: {why})") from error
    state = [
        (e["name"], e["size"], next((str(e[c]) for c in _CHANGES if c in e), ""))
        for e in files.values()
    ]
    key = hashlib.sha256(json.dumps(sorted(state)).encode()).hexdigest()[:16]
    if pinned and pinned != key:
        raise CheckpointError(
            f"{place} has changed since the search looked at it: start a new study with it, or put "
            "the files back"
        )
    return Listing(place, store, {n: (e["name"], int(e["size"])) for n, e in files.items()}, key)


def _entries(store: Any, path: str, folder: str) -> dict[str, Any]:
    """Name -> what the store says of a file, of those in a folder that ends with / or is empty."""
    try:
        there = store.ls(f"{path}/{folder}".rstrip("/"), detail=True, refresh=True)
    except FileNotFoundError:
        if folder:
            return {}  # the index's word: what is missing is told with its name
        raise
    names = [(e["name"].rstrip("/").rpartition("/")[2], e) for e in there if e["type"] == "file"]
    return {f"{folder}{name}": entry for name, entry in names}


def _folders(place: str, store: Any, files: Mapping[str, Any]) -> set[str]:
    """The folders below it in which an index says that shards lie."""
    if INDEX not in files or WHOLE in files:
        return set()
    where = parse_map(f"{place}/{INDEX}", store.cat_file(files[INDEX]["name"]))
    return {f"{name.rpartition('/')[0]}/" for name in where.values() if "/" in name}


def _copy(found: Listing, names: list[str], final: Path) -> Path:
    if final.exists():
        return final
    total = sum(found.files[name][1] for name in names)
    try:
        with locked(final.name):
            if final.exists():
                return final
            part = final.with_name(f"{final.name}.part")
            shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
            part.mkdir(parents=True)
            free = shutil.disk_usage(part).free
            if free < total:
                raise OSError(f"{total / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
            with progress(found.place, part, total):
                for name in names:
                    (part / name).parent.mkdir(parents=True, exist_ok=True)
                remote = [found.files[name][0] for name in names]
                found.store.get(remote, [str(part / name) for name in names])
            short = [n for n in names if (part / n).stat().st_size != found.files[n][1]]
            if short:
                raise OSError(f"{', '.join(short)} arrived cut off")
            (part / FETCHED_FROM).write_text(found.revision, encoding="utf-8")
            os.replace(part, final)
    except Exception as error:  # the store's own kinds among them
        raise CheckpointError(
            f"{found.place} cannot be fetched to {final.parent}: {error}; mend that, or name "
            "another folder in XDG_CACHE_HOME"
        ) from error
    return final
