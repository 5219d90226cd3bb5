"""An expert in its base's dtypes, and with all rows of the base's embeddings.

For experts that were trained or saved in another dtype, and for those whose embeddings have fewer
rows than the base's padded ones: the rows that they lack are the base's. Cast once, with one
rounding; `search.checkpoints.cache` keeps the result. Knows nothing of what may be cast.
"""

from __future__ import annotations

from pathlib import Path

import torch

from search.checkpoints.cache import digest, identity
from search.checkpoints.checkpoint import Checkpoint, TensorInfo


def like_base(expert: Checkpoint, base: Checkpoint) -> Checkpoint:
    """An expert with the base's tensors, each of the dtype and the shape that it has there.

    Args:
        expert: one that fits the base.
        base: the base; its weights are read where the expert lacks rows.
    """
    found = expert.like(base)
    wanted = {name: (base.tensors[name].dtype, base.tensors[name].shape) for name in found.tensors}
    if wanted == {name: (info.dtype, info.shape) for name, info in found.tensors.items()}:
        return found
    tensors = {name: TensorInfo(info.file, *wanted[name]) for name, info in found.tensors.items()}
    return Checkpoint(expert.path, expert.config, tensors, Cast(found, base), notes=expert.notes)


class Cast:
    """`search.checkpoints.checkpoint.Derived` of an expert whose tensors are cast."""

    kind = "cast"

    def __init__(self, expert: Checkpoint, base: Checkpoint) -> None:
        """Take both; nothing is read yet."""
        self._expert, self._base = expert, base
        self.files = expert.derived.files if expert.derived else expert.path
        dtypes = "+".join(sorted({info.dtype for info in base.tensors.values()}))
        self.origin = f"{expert.revision or expert.label} as {dtypes}"

    def get(self, name: str) -> torch.Tensor:
        """The tensor in the base's dtype, with the base's rows where it has none."""
        there = self._base.read(name)
        own = self._expert.read(name).to(there.dtype)
        lacks = own.dim() > 0 and own.shape[0] < there.shape[0]
        return torch.cat([own, there[own.shape[0] :]]) if lacks else own

    def key(self) -> str:
        """Hash of which expert it is and what is made of it."""
        derived = self._expert.derived
        own = derived.key() if derived else identity(_files(self._expert))
        made = [(n, i.dtype, i.shape) for n, i in sorted(self._base.tensors.items())]
        return digest(own, str(made), identity(_files(self._base)))


def _files(checkpoint: Checkpoint) -> list[Path]:
    return [checkpoint.path / info.file for info in checkpoint.tensors.values()]
