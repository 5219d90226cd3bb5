"""The main job with engines that say where they are, and wait: FOLDER, then its own arguments.

While FOLDER/hold exists no trial ends, so that a test has the time it needs.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import search.run.job
from objectives.types import Completion, Request
from search.checkpoints.family import FittedFamily
from search.engine.contract import EngineOptions, NonFinite
from search.run.__main__ import main
from search.study.tuning.trainable import Job
from tests.fake_engine import FakeEngine


class WaitingEngine(FakeEngine):
    """A fake engine that leaves a file named by its process."""

    def __init__(self, family: FittedFamily, options: EngineOptions, folder: Path) -> None:
        super().__init__(family, options)
        self._hold = folder / "hold"
        (folder / f"{os.getpid()}.engine").touch()

    def generate(self, requests: Sequence[Request]) -> list[Completion] | NonFinite:
        """Answer when nothing holds it."""
        while self._hold.exists():
            time.sleep(0.05)
        return super().generate(requests)


if __name__ == "__main__":
    from tests.cluster import driver  # its classes as the engines' processes import them

    engine = functools.partial(driver.WaitingEngine, folder=Path(sys.argv[1]))
    search.run.job.Job = functools.partial(Job, engine=engine)  # type: ignore[misc, assignment]
    sys.exit(main(sys.argv[2:]))
