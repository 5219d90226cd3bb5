"""The main job with fake engines that take uneven times: SEED, then its own arguments.

How long a trial takes hangs on SEED and its recipe alone, so that with another SEED trials end in
another order.
"""

from __future__ import annotations

import functools
import random
import sys
import time
from collections.abc import Sequence

import search.run.job
from objectives.types import Completion, Request
from search.checkpoints.family import FittedFamily
from search.engine.contract import EngineOptions, NonFinite
from search.run.__main__ import main
from search.study.tuning.trainable import Job
from tests.fake_engine import FakeEngine


class UnevenEngine(FakeEngine):
    """A fake engine that waits before it answers."""

    def __init__(self, family: FittedFamily, options: EngineOptions, seed: str) -> None:
        super().__init__(family, options)
        self._seed = seed

    def generate(self, requests: Sequence[Request]) -> list[Completion] | NonFinite:
        """Answer after up to half a second."""
        plans = sorted((name, mix.plain()) for name, mix in self._loaded.items())
        time.sleep(random.Random(f"{self._seed} {plans}").uniform(0.0, 0.5))
        return super().generate(requests)


if __name__ == "__main__":
    from tests.e2e import uneven  # its classes as the engines' processes import them

    engine = functools.partial(uneven.UnevenEngine, seed=sys.argv[1])
    search.run.job.Job = functools.partial(Job, engine=engine)  # type: ignore[misc, assignment]
    sys.exit(main(sys.argv[2:]))
