"""What a step of the GPU's benchmark is given, and what it finds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

ROOM = 60e9
"""Bytes of disk that three whole checkpoints of Llama 3.1 8B need."""


@dataclass(frozen=True)
class Given:
    """What a step may use.

    Attributes:
        rehearse: tiny shapes on a CPU, so that no step can fail for a silly reason on a GPU.
        folder: for files, shared by the steps.
    """

    rehearse: bool
    folder: Path

    @property
    def device(self) -> torch.device:
        """Where the work is done."""
        return torch.device("cpu" if self.rehearse else "cuda")

    def wait(self) -> None:
        """Until the device is done."""
        if not self.rehearse:
            torch.cuda.synchronize()

    def timed(self, work: Callable[[], object], repeats: int = 3) -> float:
        """Seconds of the fastest of some runs, after one that does not count."""
        times = []
        for _ in range(repeats + 1):
            self.wait()
            begun = time.perf_counter()
            work()
            self.wait()
            times.append(time.perf_counter() - begun)
        return min(times[1:])


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        what: was measured.
        figure: what it came to.
        goal: what it must come to; empty where there is none.
        passed: whether it does; None where there is no goal, or none on a CPU.
    """

    what: str
    figure: str
    goal: str = ""
    passed: bool | None = None

    def line(self) -> str:
        """For the process that waits."""
        return json.dumps(asdict(self))


def speed(what: str, rate: float, goal: float | None, given: Given) -> Finding:
    """A rate in bytes a second; goals are a GPU's."""
    if goal is None:
        return Finding(what, f"{rate / 1e9:.1f} GB/s")
    passed = None if given.rehearse else rate >= goal
    return Finding(what, f"{rate / 1e9:.1f} GB/s", f"{goal / 1e9:.1f} GB/s", passed)


Step = Callable[[Given], Iterator[Finding]]
