"""The experts' tensors for one engine: in GPU memory, in pinned host memory, or memory-mapped.

Owns which checkpoint stays in which tier, within budgets of bytes. A tensor enters a tier when it
is first read; a checkpoint is dropped from it as a whole, the one that was used longest ago first,
never one that the merge at hand needs. What no tier holds is read from the memory-mapped files,
whose pages all engines of a node share. Knows nothing of recipes or of vLLM.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch

from search.checkpoints.checkpoint import Checkpoint

AHEAD = 4
"""Tensors that are on their way to the GPU while one is merged."""

Wanted = tuple[str, Sequence[str]]
"""Tensor name, sources."""


class Tier:
    """Tensors in one kind of memory, within a budget; whole checkpoints leave, oldest use first."""

    def __init__(self, budget: int) -> None:
        """Take a budget in bytes."""
        self.budget = budget
        self.bytes = 0
        self._held: OrderedDict[str, dict[str, torch.Tensor]] = OrderedDict()

    @property
    def sources(self) -> tuple[str, ...]:
        """Checkpoints that are held, at least in part; the one used longest ago first."""
        return tuple(self._held)

    def get(self, source: str, name: str) -> torch.Tensor | None:
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

    def put(self, source: str, name: str, tensor: torch.Tensor) -> None:
        """Hold a tensor for which there is room."""
        self._held.setdefault(source, {})[name] = tensor
        self._held.move_to_end(source)
        self.bytes += _size(tensor)


class ExpertTensors:
    """Reads experts' tensors for one device."""

    def __init__(
        self,
        sources: Mapping[str, Checkpoint],
        device: torch.device,
        device_bytes: int = 0,
        pinned_bytes: int = 0,
    ) -> None:
        """Take the checkpoints; nothing is read yet.

        Args:
            sources: source name -> checkpoint, opened.
            device: where tensors are wanted. On a CPU the mapped files are all there is.
            device_bytes: budget in the device's memory.
            pinned_bytes: budget in pinned host memory.
        """
        on_host = device.type == "cpu"
        self._sources = sources
        self._device = device
        self.device_tier = Tier(0 if on_host else device_bytes)
        self.pinned_tier = Tier(0 if on_host else pinned_bytes)

    def mapped(self, source: str, name: str) -> torch.Tensor:
        """The tensor as it is in its file; not to be written into."""
        return self._sources[source].read(name)

    def read(self, source: str, name: str, needed: Iterable[str] = ()) -> torch.Tensor:
        """The tensor on the device; not to be written into.

        Args:
            source: the checkpoint.
            name: the tensor.
            needed: checkpoints that must not be dropped to make room for it.
        """
        if self._device.type == "cpu":
            return self.mapped(source, name)
        held = self.device_tier.get(source, name)
        if held is not None:
            return held
        needed = {source, *needed}
        host = self._on_host(source, name, needed)
        tensor = host.to(self._device, non_blocking=True)
        if self.device_tier.has_room(_size(tensor), needed):
            self.device_tier.put(source, name, tensor)
        return tensor

    def read_all(self, wanted: Iterable[Wanted]) -> Iterator[dict[str, torch.Tensor]]:
        """Tensors of several merges in their order; host memory is copied while others are merged.

        Args:
            wanted: each merge's tensor name and sources.

        Yields:
            Source -> tensor, for each merge.
        """
        order = list(wanted)
        needed = {source for _, sources in order for source in sources}
        if self._device.type != "cuda":
            for name, sources in order:
                yield {source: self.read(source, name, needed) for source in sources}
            return
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        under_way: deque[tuple[dict[str, torch.Tensor], torch.cuda.Event]] = deque()
        for place in range(len(order) + AHEAD):
            if place < len(order):
                name, sources = order[place]
                with torch.cuda.stream(stream):
                    tensors = {source: self.read(source, name, needed) for source in sources}
                    arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
                    arrived.record(stream)
                under_way.append((tensors, arrived))
            if place >= AHEAD and under_way:
                tensors, arrived = under_way.popleft()
                current = torch.cuda.current_stream(self._device)
                current.wait_event(arrived)
                for tensor in tensors.values():  # its memory is not reused before it is merged
                    tensor.record_stream(current)
                yield tensors

    def _on_host(self, source: str, name: str, needed: Iterable[str]) -> torch.Tensor:
        held = self.pinned_tier.get(source, name)
        if held is not None:
            return held
        tensor = self.mapped(source, name)
        if not self.pinned_tier.has_room(_size(tensor), needed):
            return tensor
        pinned = tensor.pin_memory()
        self.pinned_tier.put(source, name, pinned)
        return pinned


def describe(sizes: Mapping[str, int], gpu_gib: float, pinned_gib: float) -> str:
    """One line for people: how many checkpoints fit into each tier of an engine.

    Args:
        sizes: source name -> bytes of its weights.
        gpu_gib: budget in each GPU's memory, in GiB.
        pinned_gib: budget in pinned host memory, in GiB.
    """
    total, largest = sum(sizes.values()), max(sizes.values())
    tiers = []
    for gib, where in ((gpu_gib, "of GPU memory"), (pinned_gib, "of pinned host memory")):
        if gib:
            fit = min(len(sizes), int(gib * 2**30 // largest))
            tiers.append(f"{gib:g} GiB {where} for {fit} of them")
    tiers.append("memory-mapped files, shared by the engines of a node")
    return (
        f"base and experts: {len(sizes)} checkpoints, {total / 1e9:.2f} GB; {', then '.join(tiers)}"
    )


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
