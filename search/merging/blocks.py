"""What the methods' arithmetic is written with: blocks of tensors, task vectors and sums.

Owns how much is merged at a time and by how many threads. Everything is float32. Knows nothing of
methods, files or engines; torch is imported when tensors are merged, not before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    import torch

Tensor: TypeAlias = "torch.Tensor"

ChunkMerge: TypeAlias = "Callable[[list[torch.Tensor]], torch.Tensor]"
"""One chunk of every source, float32, not to be written into -> the merged chunk, float32. Called
for the chunks in their order."""

CHUNK = {"cpu": 2**18, "cuda": 2**26}
"""Elements merged at a time: the few pieces of 1 MiB float32 that a merge needs at once stay in a
CPU's caches, and an operation on one takes longer than to call it."""

Result = TypeVar("Result")


def blocks(tensor: Tensor) -> list[Any]:
    """Places of blocks of rows, in memory order."""
    if tensor.dim() == 0:
        return [...]
    size = CHUNK.get(tensor.device.type, CHUNK["cuda"])
    rows = max(1, size * tensor.shape[0] // max(tensor.numel(), 1))
    return [slice(at, at + rows) for at in range(0, tensor.shape[0], rows)]


def for_blocks(work: Callable[[Any], Result], tensor: Tensor) -> list[Result]:
    """The results for all blocks; on a CPU several are worked on at a time."""
    places = blocks(tensor)
    if len(places) == 1 or tensor.device.type != "cpu":
        return list(map(work, places))
    return list(_threads().map(work, places))


@cache
def _threads() -> ThreadPoolExecutor:
    """One block for each thread; operations as short as these gain nothing by being split."""
    import torch

    n = torch.get_num_threads()
    return ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,))


def parts_at(sources: Sequence[Tensor], place: Any) -> list[Tensor]:
    """A block of every source, float32 and flat."""
    return [tensor[place].float().reshape(-1) for tensor in sources]


def chunks(sources: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Each block of every source, in memory order."""
    return (parts_at(sources, place) for place in blocks(sources[0]))


def deltas(parts: Sequence[Tensor]) -> list[Tensor]:
    """Task vectors: every tensor after the first minus the first, the base."""
    return [part - parts[0] for part in parts[1:]]


def fused_sum(parts: Sequence[Tensor], coefficients: Sequence[float]) -> Tensor:
    """Weighted sum; each product is added in one rounding (fused multiply-add)."""
    total = parts[0] * coefficients[0]
    for part, coefficient in zip(parts[1:], coefficients[1:], strict=True):
        total.add_(part, alpha=coefficient)
    return total


def weighted_sum(parts: Sequence[Tensor], coefficients: Sequence[float]) -> Tensor:
    """Weighted sum; product and sum are rounded one after the other."""
    total = parts[0] * coefficients[0]
    for part, coefficient in zip(parts[1:], coefficients[1:], strict=True):
        total.add_(part * coefficient)
    return total
