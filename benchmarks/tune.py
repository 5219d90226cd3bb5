"""What a trial costs the driver with Ray Tune and real actors, whose engines only wait.

    python -m benchmarks.tune [--engines 16] [--trials 2000] [--busy 0.3] [--sampler random]

All but the engine and the objective is the main job's: Ray, Tune, the actors, the searcher, Optuna
with its journal, the records; the experts are headers of Llama 3.1 8B's shapes without weights.
One actor takes some 150 MiB, so that a machine holds few of them: trials as short as `--busy` stand
for many engines. Each actor's first trial is long, as the one that builds an engine is, so that all
have started before it ends. Actors note how long they had nothing to do.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.driver import bench_schedule, bench_space, resident
from objectives.targets import TARGETS
from objectives.types import Completion, Decoding, Evaluation, Request, Score, Split
from search.checkpoints.family import FittedFamily
from search.engine.contract import EngineOptions, Materialised
from search.merging.plan import Plan
from search.records.head import StudyHead
from search.records.record import Origin, Record
from search.records.writer import RecordsWriter
from search.study.tuning.engines import Engines
from search.study.tuning.trainable import Job
from search.study.tuning.tune import run_study
from tests.engine_options import engine_options
from tests.sparse import LLAMA_8B, write_sparse

STEPS = 5
START_SECONDS = 6.0
"""For each actor; a process that imports Ray and this project starts."""


class Waits:
    """An engine that waits; the seconds it reports are those without a trial before this one."""

    def __init__(self, busy: float, first: float) -> None:
        self._busy, self._first = busy, first
        self._free: float | None = None

    def materialise(self, wanted: Plan) -> Materialised:
        """Nothing is written."""
        idle = 0.0 if self._free is None else time.perf_counter() - self._free
        return Materialised(0, 0, 0, idle)

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Nothing is asked for."""
        time.sleep(self._first if self._free is None else self._busy * random.uniform(0.8, 1.2))
        self._free = time.perf_counter()
        return []

    def adopt(self, family: FittedFamily) -> bool:
        """There is one study."""
        return False

    def close(self) -> None:
        """Nothing to stop."""


class Dice:
    """An objective without prompts."""

    name = "dice"

    def requests(self, split: Split, decoding: Decoding | None = None) -> Sequence[Request]:
        """None."""
        return []

    def score(
        self,
        split: Split,
        completions: Sequence[Completion],
        decoding: Decoding | None = None,
        *,
        first: int | None = None,
    ) -> Evaluation:
        """Chance."""
        values = {
            name: random.random()
            for name in (*(t.score for t in TARGETS), "in_language", "lpr", "coverage")
        }
        scores = {name: Score(v, 0.9 * v, 1.0, 150, 150) for name, v in values.items()}
        return Evaluation(scores, (), None)


class Clock:
    """Hears of each end; a row of the table now and then."""

    def __init__(self, trials: int) -> None:
        self.rows: list[str] = []
        self._every = max(1, trials // STEPS)
        self._ended, self._repeats, self._idle = 0, 0, list[float]()
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def started(self, name: str, origin: Origin) -> None:
        """Nothing to note."""

    def repeated(self) -> None:
        """Count a proposal whose scores were known."""
        self._repeats += 1

    def ended(self, record: Record) -> None:
        """Count, and add a row."""
        self._ended += 1
        self._idle.append(1000 * record.seconds["materialise"])
        if self._ended % self._every:
            return
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        worst = statistics.quantiles(self._idle, n=100)[98]
        self.rows.append(
            f"| {self._ended} | {self._every / wall:.1f} | {1000 * cpu / self._every:.1f} "
            f"| {statistics.median(self._idle):.0f} | {worst:.0f} | {resident():.0f} "
            f"| {1 + self._repeats / self._every:.2f} |"
        )
        self._repeats, self._idle = 0, []
        self._cpu, self._wall = time.process_time(), time.perf_counter()


def main(
    engines: int = 16, trials: int = 2000, busy: float = 0.3, sampler: str = "random"
) -> list[str]:
    """Run a study; a Markdown table."""

    def engine(family: FittedFamily, options: EngineOptions) -> Waits:
        return Waits(busy, START_SECONDS * engines)

    space = bench_space()
    clock = Clock(trials)
    with tempfile.TemporaryDirectory() as folder:
        sources = {
            name: str(write_sparse(Path(folder) / name, LLAMA_8B))
            for name in ("base", "task/0", "task/1", "task/2", "lang/0", "lang/1", "lang/2")
        }
        records = RecordsWriter.create(Path(folder) / "bench", StudyHead("bench", {}))
        job = Job(sources, engine_options(), [Dice()], engine=engine)
        with Engines({"bench": job}) as pool:
            run_study(
                bench_schedule(trials, engines, sampler),
                engines=pool,
                space=space,
                records=records,
                baselines=[],
                final=list,
                listeners=[clock],
            )
        records.close()
    return [
        f"| {sampler}, {engines} actors, {busy:g} s: trials until | trials a second "
        "| driver's CPU ms per trial | engine without a trial, ms (median) | p99 "
        "| driver's resident MiB | proposals a trial |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *clock.rows,
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", type=int, default=16)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--busy", type=float, default=0.3)
    parser.add_argument("--sampler", choices=("gp", "tpe", "random", "nsga2"), default="random")
    print("\n".join(main(**vars(parser.parse_args()))))
