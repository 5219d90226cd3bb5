"""The experts' tensors for one engine: in GPU memory, in pinned host memory, or memory-mapped.

Owns which checkpoint stays in GPU memory, within a budget of bytes. A tensor enters when it is
first read; a checkpoint is dropped as a whole, the one that was used longest ago first, never one
that the merge at hand needs. What is not there comes from pinned copies (`search.engine.pinned`)
or from the memory-mapped files, whose pages all engines of a node share. How it comes is
`search.engine.staging`'s. Knows nothing of recipes or of vLLM.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple

import torch

from search.checkpoints.checkpoint import Checkpoint
from search.engine.pinned import PinnedFiles
from search.engine.views import ParameterView


class Tier:
    """Tensors in one kind of memory, within a budget; whole checkpoints leave, oldest use first."""

    def __init__(self, budget: int) -> None:
        """Take a budget in bytes."""
        self.budget = budget
        self.bytes = 0
        self._held: OrderedDict[str, dict[Hashable, torch.Tensor]] = OrderedDict()

    @property
    def sources(self) -> tuple[str, ...]:
        """Checkpoints that are held, at least in part; the one used longest ago first."""
        return tuple(self._held)

    def get(self, source: str, name: Hashable) -> torch.Tensor | None:
        """The tensor if it is held."""
        if source not in self._held:
            return None
        self._held.move_to_end(source)
        return self._held[source].get(name)

    def has_room(self, size: int, needed: Iterable[str]) -> bool:
        """Make room by dropping checkpoints; False where only those that are needed could go.

        Args:
            size: bytes.
            needed: checkpoints that stay.
        """
        kept = set(needed)
        while self.bytes + size > self.budget:
            oldest = next((source for source in self._held if source not in kept), None)
            if oldest is None:
                return False
            self.bytes -= sum(map(_size, self._held.pop(oldest).values()))
        return True

    def put(self, source: str, name: Hashable, tensor: torch.Tensor) -> None:
        """Hold a tensor for which there is room."""
        self._held.setdefault(source, {})[name] = tensor
        self._held.move_to_end(source)
        self.bytes += _size(tensor)


class Read(NamedTuple):
    """A part of a source's tensor that is wanted on the device.

    Attributes:
        source: the checkpoint.
        name: the tensor.
        view: the part.
        held: the slice of the tensor, around the part, that a tier holds on the device: what this
            rank of a tensor-parallel group needs of it.
        place: the part in the slice, once that lies by itself.
    """

    source: str
    name: str
    view: ParameterView
    held: ParameterView
    place: ParameterView


class Located(NamedTuple):
    """Where a part is to be had.

    Attributes:
        there: on the device, to be used as it is; None if it has to be copied.
        host: else in host memory.
        pinned: whether the device can read it from there by itself.
        keep: on the device, where a copy stays; None where it is used once.
    """

    there: torch.Tensor | None = None
    host: torch.Tensor | None = None
    pinned: bool = False
    keep: torch.Tensor | None = None


class ExpertTensors:
    """Knows where experts' tensors are, for one device."""

    def __init__(
        self,
        sources: Mapping[str, Checkpoint],
        device: torch.device,
        device_bytes: int = 0,
        pinned: PinnedFiles | None = None,
    ) -> None:
        """Take the checkpoints; nothing is read yet.

        Args:
            sources: source name -> checkpoint, opened; `base` is one of them.
            device: where tensors are wanted. On a CPU the mapped files are all there is.
            device_bytes: budget in the device's memory.
            pinned: copies in pinned host memory.
        """
        self._sources = sources
        self._device = device
        self._pinned = pinned
        self._needed: frozenset[str] = frozenset()
        self._missing: dict[tuple[str, str, ParameterView], int] = {}
        self.device_tier = Tier(device_bytes)

    def mapped(self, source: str, name: str) -> torch.Tensor:
        """The tensor as it is in its file; not to be written into."""
        return self._sources[source].read(name)

    def bytes(self, read: Read) -> int:
        """Size of a part."""
        info = self._sources[read.source].tensors[read.name]
        return info.bytes * read.view.numel // max(math.prod(info.shape), 1)

    def begin(self, needed: Iterable[str]) -> None:
        """Before parts are located.

        Args:
            needed: checkpoints that are not dropped to make room until the next call.
        """
        self._needed = frozenset(needed)
        if any(self._missing.values()):  # what was under way last time has failed
            self.device_tier = Tier(self.device_tier.budget)
        self._missing.clear()

    def locate(self, read: Read) -> Located:
        """Where a part is.

        A slice enters the device's tier when parts of it are located for the first time. They are
        copied in the order in which they are located; all of them come before the first one again.
        """
        key = read.source, read.name, read.held
        slot = self.device_tier.get(read.source, key[1:])
        if slot is not None and key not in self._missing:
            return Located(there=read.place.of(slot))
        pinned = self._pinned.open(self._sources[read.source]) if self._pinned else None
        if pinned is None:
            tensor = self.mapped(read.source, read.name)
        else:
            tensor = pinned.read(read.name)
        size = read.held.numel * tensor.element_size()
        if slot is None and self.device_tier.has_room(size, self._needed):
            slot = torch.empty(read.held.numel, dtype=tensor.dtype, device=self._device)
            self.device_tier.put(read.source, key[1:], slot)
            self._missing[key] = read.held.numel
        keep = None
        if slot is not None:
            keep = read.place.of(slot)
            self._missing[key] -= read.view.numel
            if not self._missing[key]:
                del self._missing[key]
        by_itself = pinned is not None and pinned.registered and read.view.is_plain
        return Located(host=read.view.of(tensor), pinned=by_itself, keep=keep)

    def close(self) -> None:
        """Let go of all tiers."""
        self.device_tier = Tier(0)
        if self._pinned:
            self._pinned.close()


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
