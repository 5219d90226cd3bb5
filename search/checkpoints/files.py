"""The files of a checkpoint's folder: which hold its weights, which are left alone, and JSON.

One set of rules for folders, the hub and URLs: it looks at names, and at the index where there is
one. Knows nothing of tensors or of where files come from.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from search.errors import CheckpointError
from search.values import short

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
PICKLED = "pytorch_model*.bin"
BESIDE = ("consolidated*", "adapter_model*", "value_head*", "v_head*", "*optimizer*", "rng_state*")
"""Safetensors that are no part of the model, whatever else there is."""

_LFS = b"version https://git-lfs.github.com/spec/"
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
    names = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    return choose_of(str(folder), names, lambda: _bytes(folder / INDEX, ""))


def choose_of(folder: str, names: Iterable[str], index_file: Callable[[], bytes]) -> Weights:
    """Which files of a place hold a model's weights.

    Args:
        folder: the place, for people.
        names: all files there.
        index_file: gives the index, where there is one.

    Raises:
        CheckpointError: the index cannot be used, or several files might be the model.
    """
    there = set(names)
    tensors = {name for name in there if name.endswith(".safetensors")}
    pickled = sorted(fnmatch.filter(there, PICKLED))
    beside = {name for name in tensors if any(fnmatch.fnmatch(name, b) for b in BESIDE)}
    notes: list[str] = []
    index = _map_of(f"{folder}/{INDEX}", index_file()) if INDEX in there else {}
    if INDEX in there and WHOLE in tensors and set(index.values()) - {WHOLE}:
        notes.append(f"{INDEX} is left alone: it names other files than {WHOLE}, which is whole")
        index = {}
    if WHOLE in tensors:
        files = [WHOLE]
        if INDEX in there and not index and not notes:
            raise CheckpointError(f"{folder}: {INDEX} names 0 shards; remove it")
    elif INDEX in there:
        files = sorted(set(index.values()))
        missing = [file for file in files if file not in tensors]
        if missing or not files:
            raise CheckpointError(
                f"{folder}: {INDEX} names {len(files)} shards, missing: {', '.join(missing[:5])}"
            )
    else:
        files = [] if pickled else sorted(tensors - beside)
        if len(files) > 1:
            raise CheckpointError(f"{folder} holds {len(files)} safetensors files but no {INDEX}")
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
    return _map_of(str(index), _bytes(index, ""))


def _map_of(index: str, raw: bytes) -> dict[str, str]:
    found = parse_json(index, raw).get("weight_map")
    if not isinstance(found, dict) or not all(isinstance(file, str) for file in found.values()):
        raise CheckpointError(f"{index} has no weight_map: tensor name -> file")
    odd = [file for file in found.values() if Path(file).name != file]
    if odd:
        raise CheckpointError(f"{index} names {short(odd[0], 80)!r}, no file of its folder")
    return found


def _bytes(file: Path, why: str) -> bytes:
    try:
        return file.read_bytes()
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
