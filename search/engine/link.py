"""The way from host memory to the device: all that is CUDA's about it, and a stand-in without.

Owns the copy stream, the marks on it, and the pinning of host memory. `HostLink` has host memory on
both of its ends, where nothing is ever under way: what is built on a link runs on a CPU as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch

logger = logging.getLogger(__name__)


class Link(Protocol):
    """One device's link. The model's own work is on the current stream."""

    device: torch.device

    def host_slot(self, size: int) -> torch.Tensor:
        """Bytes of pinned host memory."""

    def register(self, memory: torch.Tensor) -> bool:
        """Pin host memory that is mapped already; False where that does not work."""

    def unregister(self, memory: torch.Tensor) -> None:
        """The end of `register`."""

    def copying(self) -> AbstractContextManager[object]:
        """What is done within is done on the copy stream."""

    def merged(self) -> object:
        """A mark after what the model's stream has been given so far."""

    def copies_wait(self, mark: object) -> None:
        """Copies from now on wait for a mark of `merged`."""

    def arrived(self) -> Callable[[], None]:
        """A mark after the copies so far, for which the model's stream waits from now on.

        Returns:
            What waits for the mark in any thread of the host.
        """

    def finish(self) -> None:
        """Wait until all is done; errors of the device are raised here."""


class HostLink:
    """Both ends are host memory."""

    device = torch.device("cpu")

    def host_slot(self, size: int) -> torch.Tensor:
        """Plain bytes."""
        return torch.empty(size, dtype=torch.uint8)

    def register(self, memory: torch.Tensor) -> bool:
        """Nothing to do."""
        return True

    def unregister(self, memory: torch.Tensor) -> None:
        """Nothing to do."""

    def copying(self) -> AbstractContextManager[object]:
        """Nothing to do."""
        return nullcontext()

    def merged(self) -> object:
        """Nothing to wait for."""
        return None

    def copies_wait(self, mark: object) -> None:
        """Nothing to wait for."""

    def arrived(self) -> Callable[[], None]:
        """Nothing to wait for."""
        return lambda: None

    def finish(self) -> None:
        """Nothing to wait for."""


class CudaLink:
    """One GPU's link, with one copy stream: torch keeps freed memory apart for each stream."""

    def __init__(self, device: torch.device) -> None:
        """Take the GPU."""
        self.device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def host_slot(self, size: int) -> torch.Tensor:
        """Pinned by torch; sizes are powers of two, as torch rounds them up to."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)

    def register(self, memory: torch.Tensor) -> bool:
        """Have CUDA pin it."""
        error = _cudart().cudaHostRegister(memory.data_ptr(), memory.numel(), 0)
        if int(error):
            logger.warning("CUDA cannot pin %.1f GB: error %d", memory.numel() / 1e9, int(error))
        return not int(error)

    def unregister(self, memory: torch.Tensor) -> None:
        """Have CUDA let go of it."""
        _cudart().cudaHostUnregister(memory.data_ptr())

    def copying(self) -> AbstractContextManager[object]:
        """The copy stream."""
        return torch.cuda.stream(self._stream)

    def merged(self) -> object:
        """An event on the current stream."""
        return torch.cuda.current_stream(self.device).record_event()

    def copies_wait(self, mark: object) -> None:
        """The copy stream waits for the event."""
        assert isinstance(mark, torch.cuda.Event)
        self._stream.wait_event(mark)

    def arrived(self) -> Callable[[], None]:
        """An event on the copy stream."""
        event = self._stream.record_event()
        torch.cuda.current_stream(self.device).wait_event(event)
        wait: Callable[[], None] = event.synchronize
        return wait

    def finish(self) -> None:
        """Wait for the whole device."""
        torch.cuda.synchronize(self.device)


def gpus() -> int:
    """How many GPUs this process may use; none is started."""
    return torch.cuda.device_count()


def _cudart() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]
