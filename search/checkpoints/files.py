"""The files of a checkpoint's folder: which hold its weights, which are left alone, and JSON.

One set of rules for folders, the hub and URLs: it looks at names, and at the index where there is
one. Knows nothing of tensors or of where files come from.
"""

from __future__ import annotations

import fnmatch
import json
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from objectives.bounds import read_whole
from objectives.words import counted
from search.common.errors import CheckpointError, SearchError
from search.common.values import short

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
PICKLED = "pytorch_model*.bin"
BESIDE = ("consolidated*", "adapter_model*", "value_head*", "v_head*", "*optimizer*", "rng_state*")
"""Safetensors that are no part of the model, whatever else there is."""

_LFS = b"version https://git-lfs.github.com/spec/"
_NO_PART = re.compile(r"[\\:\x00-\x1f]").search  # of Windows' paths: drives, separators
POINTER = "is a Git LFS pointer, not the file: run `git lfs pull` in its folder"


class Weights(NamedTuple):
    """Which files hold a model's weights.

    Attributes:
        kind: `safetensors`, `adapter` or `pickled`; empty where there are none.
        files: the safetensors in order, or the adapter's file.
        where: tensor name -> file, of an index that counts.
        notes: what is left alone.
    """

    kind: str
    files: tuple[str, ...]
    where: dict[str, str]
    notes: tuple[str, ...]

    def needed(self, *, weights: bool, allow_bin: bool) -> tuple[str, ...]:
        """Patterns of the files to fetch beside the small ones, to which adapters belong.

        Args:
            weights: whether safetensors are wanted, or only their headers.
            allow_bin: fetch pickled weights; no header tells of them.
        """
        if self.kind == "safetensors":
            return self.files if weights else ()
        pickled = {"adapter": self.files, "pickled": (PICKLED,)}.get(self.kind, ())
        return tuple(name for name in pickled if name.endswith(".bin") and allow_bin)


def choose(folder: Path) -> Weights:
    """Which files of a folder hold its weights; see `choose_of`."""
    names = [file.name for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []
    below = weight_map(folder / INDEX).values() if INDEX in names and WHOLE not in names else ()
    names += [name for name in set(below) if "/" in name and (folder / name).is_file()]
    return choose_of(str(folder), names, lambda: _bytes(folder / INDEX, ""))


def choose_of(folder: str, names: Iterable[str], index_file: Callable[[], bytes]) -> Weights:
    """Which files of a place hold a model's weights.

    Args:
        folder: the place, for people.
        names: all files there; those in folders below it that an index may name as well.
        index_file: gives the index, where there is one.

    Raises:
        CheckpointError: the index cannot be used, or several files might be the model.
    """
    there = set(names)
    tensors = {name for name in there if name.endswith(".safetensors") and "/" not in name}
    pickled = sorted(name for name in fnmatch.filter(there, PICKLED) if "/" not in name)
    beside = {name for name in tensors if any(fnmatch.fnmatch(name, b) for b in BESIDE)}
    notes: list[str] = []
    index = parse_map(f"{folder}/{INDEX}", index_file()) if INDEX in there else {}
    if INDEX in there and WHOLE in tensors and set(index.values()) - {WHOLE}:
        notes.append(f"{INDEX} is left alone: it names other files than {WHOLE}, which is whole")
        index = {}
    if WHOLE in tensors:
        files = [WHOLE]
        if INDEX in there and not index and not notes:
            raise CheckpointError(f"{folder}: {INDEX} names 0 shards; remove it")
    elif INDEX in there:
        files = sorted(set(index.values()))
        missing = [f for f in files if f not in there or not f.endswith(".safetensors")]
        if missing or not files:
            raise CheckpointError(
                f"{folder}: {INDEX} names {counted(len(files), 'shard')}, missing: "
                f"{', '.join(missing[:5])}"
            )
    else:
        files = [] if pickled else sorted(tensors - beside)
        if len(files) > 1:
            raise CheckpointError(
                f"{folder} holds {counted(len(files), 'safetensors file')} but no {INDEX}"
            )
    kind = "safetensors" if files else "pickled" if pickled else ""
    adapter = ADAPTER_CONFIG in there
    if adapter and not kind:
        kind = "adapter"
        files = [name for name in ADAPTER_WEIGHTS if name in there][:1]
    alone = sorted(tensors - set(files))
    alone += [ADAPTER_CONFIG] if adapter and kind != "adapter" else []
    if alone:
        notes.append(f"{_some(alone)} beside the model: left alone")
    return Weights(kind, tuple(files), index, tuple(notes))


def is_adapter(folder: Path) -> bool:
    """Whether a folder is a LoRA adapter and not a whole model."""
    return (folder / ADAPTER_CONFIG).is_file() and choose(folder).kind == "adapter"


def read_json(file: Path, why: str) -> dict[str, Any]:
    """A JSON object from a file; `why` completes the error "FILE is missing: ...".

    Raises:
        CheckpointError: it is missing, no JSON, or something else than an object.
    """
    return parse_json(str(file), _bytes(file, why))


def parse_json(file: str, raw: bytes) -> dict[str, Any]:
    """A JSON object from a file's bytes.

    Raises:
        CheckpointError: it is no JSON, or something else than an object.
    """
    if is_lfs_pointer(raw):
        raise CheckpointError(f"{file} {POINTER}")
    try:
        data = json.loads(raw.decode("utf-8"), parse_constant=_no_number)
    except RecursionError:
        raise CheckpointError(f"{file} cannot be read: it is nested too deeply") from None
    except ValueError as error:  # no UTF-8, no JSON, a number without end
        raise CheckpointError(f"{file} cannot be read: {short(error)}") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{file} must hold a JSON object, not {short(data, 60)}")
    return data


def weight_map(index: Path) -> dict[str, str]:
    """Tensor name -> file, as the index of a checkpoint in several files says.

    Raises:
        CheckpointError: it cannot be read, or says something else.
    """
    return parse_map(str(index), _bytes(index, ""))


def parse_map(index: str, raw: bytes) -> dict[str, str]:
    """`weight_map` of an index's bytes.

    Raises:
        CheckpointError: it says something else, or names what is not in its folder or below.
    """
    found = parse_json(index, raw).get("weight_map")
    if not isinstance(found, dict) or not all(isinstance(file, str) for file in found.values()):
        raise CheckpointError(f"{index} has no weight_map: tensor name -> file")
    odd = [file for file in found.values() if not is_inside(file)]
    if odd:
        raise CheckpointError(f"{index} names {short(odd[0], 80)!r}, no file of its folder")
    return found


def is_inside(name: str) -> bool:
    """Whether a name that somebody wrote stays in its folder or in one below, on any system."""
    parts = name.split("/")
    return not any(part in ("", ".", "..") or _NO_PART(part) for part in parts)


def is_own(file: Path, folder: Path) -> bool:
    """Whether a file's content lies in the folder itself, and is no device or pipe.

    Links that leave it would pass on what is somebody else's. In the hub's cache they lead to the
    blobs of the same model.
    """
    try:
        real, inside = file.resolve(strict=True), folder.resolve()
        regular = stat.S_ISREG(real.stat().st_mode)
    except OSError:
        return False
    blobs = inside.parents[1] / "blobs" if inside.parent.name == "snapshots" else inside
    return regular and any(real.is_relative_to(place) for place in (inside, blobs))


@contextmanager
def read_by_others(what: str) -> Iterator[None]:
    """Whatever a library raises while it reads a file that people made, as one error.

    A panic of a Rust library is no Exception: nobody who expects errors would catch it.

    Args:
        what: what is read, for people.

    Raises:
        CheckpointError: with what the library said.
    """
    try:
        yield
    except (SearchError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise CheckpointError(
            f"{what} cannot be read ({type(error).__name__}: {short(error)})"
        ) from None


def _bytes(file: Path, why: str) -> bytes:
    try:
        return read_whole(file)
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing: {why}") from None
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from None


def is_lfs_pointer(data: bytes) -> bool:
    """Whether a file holds what Git LFS leaves in place of a large file."""
    return data.startswith(_LFS)


def unreadable(file: Path, error: Exception, otherwise: str) -> CheckpointError:
    """What is said of a file of weights that cannot be read."""
    try:
        with file.open("rb") as opened:
            pointer = is_lfs_pointer(opened.read(64))
    except OSError:
        pointer = False
    return CheckpointError(f"{file} {POINTER}" if pointer else f"{file} {otherwise}: {error}")


def _no_number(word: str) -> float:
    if word == "NaN":
        raise ValueError("NaN is no JSON")
    return float(word)  # Mamba's published files have Infinity


def _some(words: list[str]) -> str:
    more = f" and {len(words) - 5} more" if len(words) > 5 else ""
    return ", ".join(words[:5]) + more
