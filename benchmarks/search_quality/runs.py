"""Many replayed searches: each sampler of a table with each seed, and what became of them.

Owns which samplers there are by name and what is kept of a run: what would have been recommended
after each trial, by the product's own rule, and how good that is on held-out items.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray

from benchmarks.landscape import packed
from benchmarks.landscape.design import N_LAYERS
from benchmarks.search_quality.replay import CLOCKS, Field, replay
from search.config.schema import SearchConfig
from search.proposing.sampler import make_sampler
from search.records.record import Record
from search.results import choose
from search.study.race import Rules
from search.study.schedule import Schedule

OURS = {"ours": "gp", "tpe": "tpe", "nsga2": "nsga2", "random": "random"}
"""Samplers that the product has: name in the tables -> `search.sampler`."""
PEERS = ("gp",)
"""Samplers that only `peers` has: `gp` is Optuna's Gaussian process."""


@dataclass(frozen=True)
class Task:
    """One search to replay.

    Attributes:
        lang: language code of the landscape.
        name: what tables call it.
        sampler: name of `OURS` or `PEERS`.
        seed: of the sampler.
        trials: recipes to score.
        engines: trials that run at once.
        clock: how long they take: a key of `CLOCKS`.
        race: when they are looked at; None: never.
    """

    lang: str
    name: str
    sampler: str
    seed: int
    trials: int
    engines: int
    clock: str
    race: Rules | None = None


@dataclass(frozen=True)
class Course:
    """What became of a search, after each of its trials.

    Attributes:
        task: what was replayed.
        held_out: held-out accuracy of the recipe that would be recommended, as a share.
        items: answers generated until then.
        seconds: simulated.
    """

    task: Task
    held_out: NDArray[np.float64]
    items: NDArray[np.int64]
    seconds: NDArray[np.float64]


@functools.cache
def field(lang: str) -> Field:
    """The shipped landscape of a language, as a search sees it."""
    return Field(packed.shipped(lang))


def run(task: Task) -> Course:
    """Replay one search."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    land = field(task.lang)
    found = replay(land, sampler_of(task.sampler), _schedule(task), CLOCKS[task.clock], task.race)
    held_out = np.array([land.held_out[land.row[name]] for name in chosen(found.trials)])
    return Course(task, held_out, np.array(found.items), np.array(found.ends))


def run_all(tasks: Iterable[Task], processes: int | None = None) -> list[Course]:
    """Replay many searches, one on each core; the same results whatever their number."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(processes or len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(run, tasks, chunksize=1))


def chosen(trials: Sequence[Record]) -> list[str]:
    """After each trial, the key of the recipe that the product would recommend."""
    found: list[str] = []
    best = float("-inf")
    for number, record in enumerate(trials, 1):
        value = record.value("accuracy")
        # any other trial leaves the choice as it was
        if record.state == "scored" and value is not None and value >= best:
            best = value
            choice = choose.recommend(trials[:number], N_LAYERS, SearchConfig().tolerance)
            assert choice is not None
            found.append(choice.record.key)
        else:
            found.append(found[-1])
    return found


def _schedule(task: Task) -> Schedule:
    wanted = SearchConfig(
        trials=task.trials,
        seed=task.seed,
        engines=task.engines,
        sampler=OURS.get(task.sampler, "random"),  # type: ignore[arg-type]
    )
    return Schedule.of("replay", wanted)


def sampler_of(sampler: str) -> Callable[..., optuna.samplers.BaseSampler]:
    """How a sampler of `OURS` or `PEERS` is made."""
    if sampler in OURS:
        return lambda schedule, study, space, trials: make_sampler(
            schedule, study, space, trials, ()
        )
    from benchmarks.search_quality import peers

    return lambda schedule, study, space, trials: peers.optunas_process(schedule.seed, space)


def interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean over seeds with the 95% interval of that mean."""
    mean, half = float(values.mean()), 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5
    return mean, mean - half, mean + half
