"""What the methods' arithmetic is written with: blocks of tensors, task vectors and sums.

Owns how much is merged at a time and by how many threads. Everything is float32. Knows nothing of
methods, files or engines; torch is imported when tensors are merged, not before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from threading import Condition
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    import torch

Tensor: TypeAlias = "torch.Tensor"

ChunkMerge: TypeAlias = "Callable[[list[torch.Tensor], int], torch.Tensor]"
"""One chunk of every source, float32 and flat, not to be written into, and the place of its first
element in the tensor -> the merged chunk, float32."""

Survey: TypeAlias = "Callable[[list[torch.Tensor]], Any]"
"""One chunk of every source -> what is added up over all chunks of a tensor: a tensor, or what can
be added to like one, with `add_`."""

CHUNK = {"cpu": 2**18, "cuda": 2**23}
"""Elements merged at a time. On a CPU the few pieces of 1 MiB float32 that a merge needs at once
stay in the caches, and an operation on one takes longer than to call it; on a GPU it is the memory
beside the model that counts."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h

EVERY = 4
"""Of how many blocks one is looked at by the first of sampled surveys."""

TURN_SECONDS = 60.0
"""How long a chunk waits for the one before; merging one takes milliseconds."""

Result = TypeVar("Result")


class MissedError(ArithmeticError):
    """What a sample foretold of a tensor is not so: all of it has to be looked at."""


def blocks(tensor: Tensor) -> list[tuple[int, Any]]:
    """Blocks of rows in memory order: the place of the first element, and an index."""
    if tensor.dim() == 0:
        return [(0, ...)]
    size = CHUNK.get(tensor.device.type, CHUNK["cuda"])
    width = tensor.numel() // max(tensor.shape[0], 1)
    rows = max(1, size * tensor.shape[0] // max(tensor.numel(), 1))
    return [(at * width, slice(at, at + rows)) for at in range(0, tensor.shape[0], rows)]


def for_blocks(
    work: Callable[[int, Any], Result], tensor: Tensor, every: int = 1
) -> Iterator[Result]:
    """The results for all blocks in memory order; on a CPU several are worked on at a time.

    Blocks are begun in their order, and only a few ahead of the result that is waited for.

    Args:
        work: takes a block's first element and index.
        tensor: cut into blocks.
        every: of how many blocks one is worked on.
    """
    places = blocks(tensor)[::every]
    here = tensor.device.type == "cpu"
    if here:
        _keep_memory()
    if len(places) == 1 or not here:
        for place in places:
            yield work(*place)
        return
    threads, ahead = _threads()
    running: deque[Future[Result]] = deque()
    for place in places:
        if len(running) == ahead:
            yield running.popleft().result()
        running.append(threads.submit(work, *place))
    while running:
        yield running.popleft().result()


@cache
def _threads() -> tuple[ThreadPoolExecutor, int]:
    """One block for each thread; operations as short as these gain nothing by being split."""
    import torch

    n = torch.get_num_threads()
    pool = ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,))
    return pool, 4 * n


@cache
def _keep_memory() -> None:
    """Let this process keep the memory of one block for the next one, where glibc gives it out.

    Pieces of 1 MiB are otherwise given back and asked for again with each operation, and a first
    touch of each of their pages takes longer than the operation.
    """
    import ctypes

    with suppress(AttributeError, OSError):  # another library of C
        option = ctypes.CDLL(None).mallopt
        option(_TRIM_THRESHOLD, 256 * 2**20)
        option(_MMAP_THRESHOLD, 32 * 2**20)  # the highest that it takes


class Turns:
    """What chunks that several threads work on do one after the other, in memory order."""

    def __init__(self) -> None:
        self._next = 0
        self._moved = Condition()

    @contextmanager
    def of(self, start: int, end: int) -> Iterator[None]:
        """The turn of the chunk from `start` to `end`, once the one before has had its own.

        Raises:
            RuntimeError: that one does not come, because it failed.
        """
        with self._moved:
            if not self._moved.wait_for(lambda: self._next == start, TURN_SECONDS):
                raise RuntimeError(f"the chunk before element {start} has not been merged")
            yield
            self._next = end
            self._moved.notify_all()


def parts_at(sources: Sequence[Tensor], place: Any) -> list[Tensor]:
    """A block of every source, float32 and flat."""
    return [tensor[place].float().reshape(-1) for tensor in sources]


def deltas(parts: Sequence[Tensor]) -> list[Tensor]:
    """Task vectors: every tensor after the first minus the first, the base."""
    return [part - parts[0] for part in parts[1:]]


def fused_sum(parts: Sequence[Tensor], coefficients: Sequence[float]) -> Tensor:
    """Weighted sum; each product is added in one rounding (fused multiply-add)."""
    total = parts[0] * coefficients[0]
    for part, coefficient in zip(parts[1:], coefficients[1:], strict=True):
        total.add_(part, alpha=coefficient)
    return total


def plain_sum(parts: Sequence[Tensor]) -> Tensor:
    """The sum; of one part it is that part itself."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def weighted_sum(parts: Sequence[Tensor], coefficients: Sequence[float]) -> Tensor:
    """Weighted sum; product and sum are rounded one after the other."""
    total = parts[0] * coefficients[0]
    for part, coefficient in zip(parts[1:], coefficients[1:], strict=True):
        total.add_(part * coefficient)
    return total
