"""Whether this process has been told to end, which whoever waits for something looks at.

SIGTERM and Ctrl-C set it (`search.study.tuning.tune`). What waits for a store or a database that is
away gives up then: the records are on disk, and a scheduler kills after 30 s.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

LOOK_SECONDS = 0.1


class Ending:
    """A flag; setting it takes no lock, which a signal's handler could wait for without end."""

    def __init__(self) -> None:
        """Begin as not told."""
        self._told = False

    def set(self) -> None:
        """Tell it."""
        self._told = True

    def clear(self) -> None:
        """A search begins."""
        self._told = False

    def is_set(self) -> bool:
        """Whether it was told."""
        return self._told

    def wait(self, seconds: float) -> None:
        """Sleep, but not on."""
        end = time.monotonic() + seconds
        while not self._told and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_SECONDS))


ENDING = Ending()


@contextmanager
def as_ctrl_c(*numbers: signal.Signals) -> Iterator[None]:
    """These signals end like Ctrl-C, also those that a shell has this process ignore."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
