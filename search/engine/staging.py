"""Brings parts of the experts' tensors to the device, through fixed buffers, ahead of their use.

Owns the ring of pinned host memory that threads fill from the mapped files, the ring on the device
that the parts arrive in, and how far copies run ahead of merges. What is copied without change goes
from the host's ring straight to where it is wanted. Memory does not depend on the sizes of tensors:
what is staged is counted in bytes. Knows nothing of recipes or of vLLM.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from search.engine.experts import ExpertTensors, Read
from search.engine.link import Link

_ALIGNED = 256
"""Bytes; where parts begin in a slot."""
_PIECES = 64
"""Pieces of a batch, where the bytes would allow for more."""


class Sizes(NamedTuple):
    """Of the buffers. Beside the model a rewrite takes `on_device` bytes at most.

    Attributes:
        slot: bytes of a slot of either ring; a batch of parts.
        host_slots: batches that are filled or on their way.
        device_slots: batches that arrive or are merged.
        block: elements that are merged at a time, at most.
        working: bytes for what merging needs beside its sources.
    """

    slot: int = 64 * 2**20
    host_slots: int = 4
    device_slots: int = 2
    block: int = 2**23
    working: int = 256 * 2**20

    @property
    def histograms(self) -> int:
        """Bytes for what TIES counts in a tensor: some vectors of 2^16 whole numbers."""
        return 8 * 2**20

    @property
    def on_device(self) -> int:
        """Bytes of the device's memory that a rewrite needs beside the model, at most."""
        return self.device_slots * self.slot + self.working + self.histograms

    def elements(self, sources: int, itemsize: int) -> int:
        """How many are merged at a time: all sources' parts fit into a slot.

        DARE needs most beside them: some 20 bytes for random numbers, 12 for each source.
        """
        slot = (self.slot - sources * _ALIGNED) // (sources * itemsize)
        return max(1, min(self.block, slot, self.working // (12 * sources + 24)))


class Piece(NamedTuple):
    """Equal parts of some tensors and what is done with them.

    Attributes:
        reads: the parts.
        use: takes the parts as they are on the device, not to be written into, on the model's
            stream; pieces are used in their order.
        straight: where the only part goes as it is, of its shape and dtype and contiguous; it is
            not used then.
    """

    reads: tuple[Read, ...]
    use: Callable[[list[torch.Tensor]], object]
    straight: torch.Tensor | None = None


@dataclass
class _Batch:
    """Pieces whose parts share a slot of each ring."""

    number: int
    bytes: int = 0
    keeps: bool = False
    fills: list[Future[object]] = field(default_factory=list)
    copies: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    uses: list[tuple[Piece, list[torch.Tensor]]] = field(default_factory=list)


class Staging:
    """Runs pieces, one sequence at a time. Not thread-safe."""

    def __init__(
        self, experts: ExpertTensors, link: Link, threads: int = 1, sizes: Sizes | None = None
    ) -> None:
        """Make the rings.

        Args:
            experts: where the parts are.
            link: to the device that they are wanted on.
            threads: that fill the host's ring.
            sizes: of the rings.
        """
        self.sizes = sizes or Sizes()
        self.experts, self.device = experts, link.device
        self._link = link
        size = self.sizes.slot
        self._host = [link.host_slot(size) for _ in range(self.sizes.host_slots)]
        self._device = [
            torch.empty(size, dtype=torch.uint8, device=link.device)
            for _ in range(self.sizes.device_slots)
        ]
        # Of each slot of the host's ring: wait until it has been copied from.
        self._arrived: list[Callable[[], None]] = [lambda: None] * self.sizes.host_slots
        self._threads = ThreadPoolExecutor(
            threads, "experts", initializer=torch.set_num_threads, initargs=(1,)
        )

    def run(self, pieces: Iterable[Piece], needed: Iterable[str]) -> None:
        """Bring and use all pieces; returns when the device has been told, not when it is done.

        Args:
            pieces: in their order; taken from the iterator a few batches ahead of their use.
            needed: the sources that they read.
        """
        self.experts.begin(needed)
        begun = self._link.merged()
        self._link.copies_wait(begun)  # the model is not read any more
        self._merged: list[object] = [begun] * self.sizes.device_slots
        ahead = deque([_Batch(0)])
        try:
            for piece in pieces:
                batch, size = ahead[-1], sum(map(self._room, piece.reads))
                if batch.bytes + size > self.sizes.slot or len(batch.uses) == _PIECES:
                    if len(ahead) == self.sizes.host_slots:
                        self._send(ahead[0])
                        ahead.popleft()
                    batch = _Batch(batch.number + 1)
                    ahead.append(batch)
                self._add(piece, batch)
            for batch in ahead:
                self._send(batch)
        except BaseException:
            wait([fill for batch in ahead for fill in batch.fills])
            self._link.finish()  # nothing is read from or written to any more
            raise

    def finish(self) -> None:
        """Wait until the device is done; its errors are raised here."""
        self._link.finish()

    def close(self) -> None:
        """End the threads, let go of the rings and of what the experts' tiers hold."""
        self.finish()
        self._threads.shutdown()
        self.experts.close()
        self._host.clear()
        self._device.clear()

    def _room(self, read: Read) -> int:
        return -(-self.experts.bytes(read) // _ALIGNED) * _ALIGNED

    def _add(self, piece: Piece, batch: _Batch) -> None:
        """Locate a piece's parts, and have those of the mapped files copied to the host's ring."""
        host, device = (ring[batch.number % len(ring)] for ring in (self._host, self._device))
        parts = []
        used = True
        for read in piece.reads:
            found = self.experts.locate(read)
            if found.there is not None:
                parts.append(found.there.reshape(-1))
                continue
            source = found.host
            assert source is not None
            place, size = slice(batch.bytes, batch.bytes + self.experts.bytes(read)), read.view.size
            if not found.pinned:
                slot = host[place].view(source.dtype).view(size)
                free = self._arrived[batch.number % len(self._host)]
                batch.fills.append(self._threads.submit(_fill, slot, source, free))
                source = slot
            if found.keep is not None:
                target, batch.keeps = found.keep, True
            elif piece.straight is not None:
                target, used = piece.straight.view(size), False
            else:
                target = device[place].view(source.dtype).view(size)
            batch.copies.append((target, source))
            batch.bytes += self._room(read)
            parts.append(target.reshape(-1))
        if used:
            batch.uses.append((piece, parts))

    def _send(self, batch: _Batch) -> None:
        """Tell the device to copy and use a batch."""
        for fill in batch.fills:
            fill.result()
        link, place = self._link, batch.number % len(self._device)
        # What is kept may lie where a merge still reads what has been dropped.
        link.copies_wait(link.merged() if batch.keeps else self._merged[place])
        with link.copying():
            for target, source in batch.copies:
                target.copy_(source, non_blocking=True)
        self._arrived[batch.number % len(self._host)] = link.arrived()
        for piece, parts in batch.uses:
            piece.use(parts)
        self._merged[place] = link.merged()


def _fill(slot: torch.Tensor, source: torch.Tensor, free: Callable[[], None]) -> None:
    """In a thread: wait until the slot has been copied from, then copy into it."""
    free()
    slot.copy_(source)
