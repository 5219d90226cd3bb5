"""What the driver itself costs for each trial, and how that grows with a study.

    python -m benchmarks.driver [--trials 20000] [--engines 500] [--sampler gp] [--seconds 240]

The searcher, Optuna, its journal and the records are real; Ray and the engines are not there:
trials take about 10 s of a simulated clock, so that 500 engines end 50 a second.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from objectives.targets import TARGETS
from objectives.types import Score
from search.config.schema import SearchConfig
from search.merging.space.swap import Space, make_space
from search.records.head import StudyHead
from search.records.writer import RecordsWriter
from search.study.dispatcher import Dispatcher
from search.study.order import Order
from search.study.outcome import ActorExit, TrialOutcome
from search.study.proposing.optuna_study import phase
from search.study.schedule import Schedule
from search.study.tuning.searcher import StudySearcher

TRIAL_SECONDS = 10.0
SAMPLERS = get_args(SearchConfig.model_fields["sampler"].annotation)
STEPS = (100, 300, 1000, 2000, 5000, 10_000, 20_000)


class AllWell:
    """A cluster that nothing happens to."""

    stopping = False
    excluded_nodes: tuple[str, ...] = ()
    n_dead = 0

    def __init__(self, engines: int) -> None:
        self._engines = engines

    def max_running(self) -> int:
        """As many as there are engines."""
        return self._engines

    def actor_exit(self, trial_id: str, reported: bool) -> ActorExit:
        """Every trial ran on the same node."""
        return ActorExit("node")

    def dead(self) -> set[str]:
        """No node died."""
        return set()

    def exclude(self, node: str) -> None:
        """Nothing to do."""

    def has_room(self) -> bool:
        """Always."""
        return True

    def stop(self) -> None:
        """The disk is full."""
        self.stopping = True


def main(
    trials: int = 20_000, engines: int = 500, sampler: str = "gp", seconds: float = 240.0
) -> list[str]:
    """Run a study of this many trials, or as many as fit into `seconds`; a Markdown table."""
    rows = [
        f"| {sampler}, {engines} engines: trials until | CPU ms per trial | engine free to next "
        "recipe, ms (median) | p99 | resident MiB | trials a second at most |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        schedule = bench_schedule(trials, engines, sampler)
        space = bench_space()
        records = RecordsWriter.create(Path(folder) / "bench", StudyHead("bench", {}))
        cluster = AllWell(engines)
        phases = [phase(schedule, "search", trials, space, records, [])]
        order = Order(phases, records.trials, space.n_layers, list, lag=schedule.lag)
        dispatcher = Dispatcher(order, records, cluster, [], lang="te", n_layers=space.n_layers)
        rows += _drive(StudySearcher(dispatcher, cluster), dispatcher, engines, trials, seconds)
        records.close()
    return rows


def bench_schedule(trials: int, engines: int, sampler: str) -> Schedule:
    """A study without baselines whose engines share this machine's cores."""
    return Schedule(
        name="bench",
        trials=trials,
        baselines={},
        seed=0,
        sampler=sampler,
        startup_trials=10,
        engines=engines,
        reproducible=None,
        cpus_per_engine=(os.cpu_count() or 1) / engines,
        gpus_per_engine=0.0,
        address=None,
        storage=None,
        trial_timeout=None,
        tolerance=0.02,
    )


def bench_space() -> Space:
    """Llama 3.1 8B's depth, three experts on each side: few recipes are proposed twice."""
    return make_space(lang="te", n_layers=32, n_task=3, n_lang=3)


def _drive(
    searcher: StudySearcher, dispatcher: Dispatcher, engines: int, trials: int, seconds: float
) -> list[str]:
    """Trials end in the order of a simulated clock; each engine that is free is given a recipe."""
    rng = random.Random(0)
    working: list[tuple[float, str]] = []
    rows, waits, asked, ended = [], list[float](), 0, 0
    began, cpu, last = time.monotonic(), time.process_time(), 0

    def ask(now: float) -> None:
        nonlocal asked
        asked += 1
        if isinstance(searcher.suggest(f"t{asked}"), dict):
            heapq.heappush(working, (now + TRIAL_SECONDS * rng.uniform(0.8, 1.2), f"t{asked}"))

    for _ in range(engines):
        ask(0.0)
    while working and dispatcher.fault is None:
        now, name = heapq.heappop(working)
        free = time.perf_counter()
        searcher.on_trial_complete(name, {"outcome": _outcome(rng)})
        ask(now)
        waits.append(1000 * (time.perf_counter() - free))
        ended += 1
        late = time.monotonic() - began > seconds
        if ended in STEPS or ended == trials or late:
            used, cpu = 1000 * (time.process_time() - cpu) / (ended - last), time.process_time()
            rows.append(_row(ended, used, waits))
            waits, last = [], ended
        if late:
            break
    return rows


def _row(ended: int, used: float, waits: Sequence[float]) -> str:
    worst = statistics.quantiles(waits, n=100)[98] if len(waits) > 1 else waits[0]
    median = statistics.median(waits)
    rate = 1000 / statistics.mean(waits)
    return f"| {ended} | {used:.1f} | {median:.1f} | {worst:.1f} | {resident():.0f} | {rate:.0f} |"


def resident() -> float:
    """MiB of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _outcome(rng: random.Random) -> TrialOutcome:
    found = {
        name: rng.random()
        for name in (*(t.score for t in TARGETS), "in_language", "lpr", "wpr", "coverage")
    }
    scores = {name: Score(v, 0.9 * v, 1.0, 150, 150) for name, v in found.items()}
    return TrialOutcome("scored", scores=scores, host="node:1", items=b"")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--engines", type=int, default=500)
    parser.add_argument("--sampler", choices=SAMPLERS, default="gp")
    parser.add_argument("--seconds", type=float, default=240.0)
    print("\n".join(main(**vars(parser.parse_args()))))
