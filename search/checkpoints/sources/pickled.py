"""A checkpoint in PyTorch's pickled format (pytorch_model*.bin), read without running its code.

Only where the family's YAML says `allow_bin: true`. The tensors are memory-mapped and loaded with
`weights_only=True`; `search.checkpoints.cache` writes them once as safetensors.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from search.checkpoints.cache import digest, identity
from search.checkpoints.checkpoint import Checkpoint, TensorInfo, revision_of
from search.checkpoints.files import unreadable, weight_map
from search.common.errors import CheckpointError

_INDEX = "pytorch_model.bin.index.json"
_DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}
_DTYPES |= {torch.float64: "F64", torch.uint8: "U8", torch.int8: "I8", torch.bool: "BOOL"}


def open_pickled(folder: Path, notes: tuple[str, ...] = ()) -> Checkpoint:
    """Names and shapes of a folder's pickled tensors; the weights stay on disk.

    Args:
        folder: the model's.
        notes: what of it is left alone.

    Raises:
        CheckpointError: a file is missing, truncated, older than torch 1.6, or holds more than
            tensors; or the index says nothing of files.
    """
    files = _files(folder)
    return Checkpoint.of(folder, _headers(files), Pickled(folder, files), notes)


class Pickled:
    """`search.checkpoints.checkpoint.Derived` of pickled files."""

    kind = "pickled"

    def __init__(self, folder: Path, files: list[Path]) -> None:
        self.files = folder
        self.origin = revision_of(folder)
        self._bins = files
        self._tensors: dict[str, torch.Tensor] = {}

    def get(self, name: str) -> torch.Tensor:
        """A copy of the tensor: pickled ones may share memory, which safetensors refuse."""
        if not self._tensors:
            for file in self._bins:
                self._tensors |= load(file, "cpu")
        return self._tensors[name].clone()

    def key(self) -> str:
        """Hash of which files these are."""
        return digest(identity(self._bins))


def _files(folder: Path) -> list[Path]:
    index = folder / _INDEX
    names = {"pytorch_model.bin"}
    if index.is_file():
        names = set(weight_map(index).values())
    missing = sorted(name for name in names if not (folder / name).is_file())
    if missing:
        raise CheckpointError(f"{folder} lacks {', '.join(missing)}")
    return [folder / name for name in sorted(names)]


def _headers(files: list[Path]) -> Iterator[tuple[str, TensorInfo]]:
    for file in files:
        for name, tensor in load(file, "meta").items():
            dtype = _DTYPES.get(tensor.dtype, str(tensor.dtype))
            yield name, TensorInfo(file.name, dtype, tuple(tensor.shape))


def load(file: Path, device: str) -> Mapping[str, torch.Tensor]:
    """A pickled file's tensors by name, memory-mapped; `meta` as device reads none.

    Raises:
        CheckpointError: it is truncated, older than torch 1.6, or holds more than tensors.
    """
    try:
        found = torch.load(file, map_location=device, mmap=True, weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{file} holds more than tensors, and loading it could run code: it is refused"
        ) from None
    except (RuntimeError, OSError) as error:
        why = RuntimeError((str(error).splitlines() or [""])[0])
        raise unreadable(file, why, "is truncated, or older than torch 1.6") from None
    if not isinstance(found, dict) or not all(isinstance(t, torch.Tensor) for t in found.values()):
        raise CheckpointError(f"{file} is no table of tensors")
    return found
