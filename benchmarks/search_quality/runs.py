"""Many replayed searches: each sampler of a table with each seed, and what became of them.

Owns which samplers there are by name and what is kept of a run: what would have been recommended
after each trial, by the product's own rule, and how good that is on held-out items.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import optuna
from numpy.typing import NDArray

from benchmarks.landscape import packed
from benchmarks.landscape.design import N_LAYERS
from benchmarks.search_quality.replay import CLOCKS, Field, Run, replay
from search.config.schema import SearchConfig
from search.merging.space.contract import SearchSpace
from search.records.record import Record
from search.results import choose
from search.study.proposing.sampler import make_sampler
from search.study.race import Rules
from search.study.schedule import Schedule

A, R = TypeVar("A"), TypeVar("R")

OURS = {"ours": "gp", "tpe": "tpe", "nsga2": "nsga2", "random": "random"}
"""Samplers that the product has: name in the tables -> `search.sampler`."""


@dataclass(frozen=True)
class Peer:
    """A sampler that the product does not have.

    Attributes:
        needs: packages, by the name under which they are installed and imported.
        seeds: searches that its recorded rows are means of, fewer where proposals take long.
    """

    needs: tuple[str, ...]
    seeds: int


PEERS = {
    "gp": Peer(("torch",), 20),
    "cma": Peer(("cmaes",), 50),
    "smac": Peer(("smac",), 10),
    "qnehvi": Peer(("botorch", "torch"), 20),
}
"""Optuna's Gaussian process; CMA-ES; SMAC3's multi-fidelity facade; noisy expected hypervolume
improvement."""
SAMPLERS = ("ours", "tpe", "gp", "cma", "nsga2", "smac", "qnehvi", "random")
"""All of both, in the order of the tables."""


def missing(sampler: str) -> list[str]:
    """Packages that a peer needs and that are not installed here."""
    return [name for name in PEERS[sampler].needs if importlib.util.find_spec(name) is None]


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
        drawn: whether search and held-out items are drawn again by the seed; else as recorded.
    """

    lang: str
    name: str
    sampler: str
    seed: int
    trials: int
    engines: int
    clock: str
    race: Rules | None = None
    drawn: bool = True


@dataclass(frozen=True)
class Marks:
    """Held-out accuracies, as shares, that a search is compared with, on its own items.

    Attributes:
        best: the highest of the space, which is partly luck on the held-out items.
        whole: of the recipe of the space that is best on search items: what scoring all would find.
        default: of the default recipe, of the pair that it suits best on search items.
        soup: of the soup that is best on search items; None where none was recorded.
        ties: of the best TIES recipe, likewise.
    """

    best: float
    whole: float
    default: float
    soup: float | None
    ties: float | None

    @classmethod
    def of(cls, land: Field) -> Marks:
        """Those of a landscape."""
        whole = land.best_of(land.in_space.tolist())
        assert whole is not None
        rivals = land.best_of(land.soups), land.best_of(land.ties)
        return cls(land.best, whole, land.default, *rivals)


@dataclass(frozen=True)
class Trajectory:
    """What became of a search, after each of its trials.

    Attributes:
        task: what was replayed.
        held_out: held-out accuracy of the recipe that would be recommended, as a share.
        items: answers generated until then.
        seconds: simulated.
        marks: what it is compared with.
    """

    task: Task
    held_out: NDArray[np.float64]
    items: NDArray[np.int64]
    seconds: NDArray[np.float64]
    marks: Marks


@functools.cache
def field(lang: str) -> Field:
    """The shipped landscape of a language, as a search sees it."""
    return Field(packed.shipped(lang))


def run(task: Task) -> Trajectory:
    """Replay one search.

    Raises:
        ImportError: a package that a peer needs is not installed.
        ValueError: several engines or a race for SMAC, which has its own.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("smac").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    land = field(task.lang).drawn(task.seed) if task.drawn else field(task.lang)
    if task.sampler == "smac":
        return _of_partial(task, land, _fidelity(task, land))
    found = replay(land, sampler_of(task.sampler), _schedule(task), CLOCKS[task.clock], task.race)
    items, ends = np.array(found.items), np.array(found.ends)
    return Trajectory(task, _held_out(land, found), items, ends, Marks.of(land))


def _fidelity(task: Task, land: Field) -> Run:
    if task.engines != 1 or task.race is not None:
        raise ValueError(f"smac with {task.engines} engines, race {task.race}: it has its own")
    from benchmarks.search_quality import fidelity

    return fidelity.replay(land, task.seed, task.trials, CLOCKS[task.clock])


def _of_partial(task: Task, land: Field, found: Run) -> Trajectory:
    """Of a search by parts: a trial is as many answers as the landscape has items."""
    per_trial = land.recorded.right("search").shape[1]
    items = per_trial * np.arange(1, task.trials + 1)
    latest = np.searchsorted(found.items, items, side="right") - 1
    ends = np.array(found.ends)[latest]
    return Trajectory(task, _held_out(land, found)[latest], items, ends, Marks.of(land))


def _held_out(land: Field, found: Run) -> NDArray[np.float64]:
    """Held-out accuracy of what would be recommended after each trial."""
    return np.array([land.held_out[land.row[name]] for name in chosen(found.trials)])


def on_cores(
    call: Callable[[A], R], each: Iterable[A], processes: int | None = None
) -> Iterator[R]:
    """Call with each, one on each core of one thread; results in order, as soon as they are there.

    Args:
        call: a function of a module.
        each: its argument, time after time.
        processes: calls at once; None: one on each core.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(processes or len(os.sched_getaffinity(0))) as pool:
        yield from pool.map(call, each, chunksize=1)


def command(
    doc: str,
    tasks: Callable[[range], Sequence[A]],
    run: Callable[[A], R],
    table: Callable[[Mapping[A, R]], Iterable[str]],
    argv: Sequence[str] | None,
) -> int:
    """The command line of a comparison: many searches replayed, and a table of them printed.

    Args:
        doc: the module's docstring.
        tasks: the searches of some seeds.
        run: what became of one of them; a function of a module.
        table: the lines that are printed.
        argv: arguments; None: those of the process.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--processes", type=int, help="searches at once; else one on each core")
    asked = parser.parse_args(argv)
    each = tasks(range(asked.seeds))
    print("\n".join(table(dict(zip(each, on_cores(run, each, asked.processes), strict=True)))))
    return 0


def run_each(tasks: Iterable[Task], processes: int | None = None) -> Iterator[Trajectory]:
    """Replay many searches, one on each core; in their order, each as soon as it is there."""
    return on_cores(run, tasks, processes)


def run_all(tasks: Iterable[Task], processes: int | None = None) -> list[Trajectory]:
    """Replay many searches, one on each core; the same results whatever their number."""
    return list(run_each(tasks, processes))


def chosen(trials: Sequence[Record]) -> list[str]:
    """After each trial, the key of the recipe that the product would recommend."""
    found: list[str] = []
    best = float("-inf")
    for number, record in enumerate(trials, 1):
        value = record.value("accuracy")
        # any other trial leaves the choice as it was
        if record.state == "scored" and value is not None and value >= best:
            best = value
            choice = choose.best_swap(trials[:number], N_LAYERS, SearchConfig().tolerance)
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
    make = _peer(sampler)
    return lambda schedule, study, space, trials: make(schedule.seed, space)


def _peer(sampler: str) -> Callable[[int, SearchSpace], optuna.samplers.BaseSampler]:
    if sampler == "qnehvi":
        from benchmarks.search_quality.hypervolume import Hypervolume

        return Hypervolume
    from benchmarks.search_quality import peers

    return {"gp": peers.optunas_process, "cma": peers.evolution}[sampler]


def kinds(trajectories: Sequence[Trajectory]) -> list[tuple[str, str]]:
    """Languages and samplers of some searches, each once."""
    return list(dict.fromkeys((c.task.lang, c.task.name) for c in trajectories))


def of_kind(trajectories: Sequence[Trajectory], lang: str, sampler: str) -> list[Trajectory]:
    """The searches of one sampler in one language."""
    return [c for c in trajectories if (c.task.lang, c.task.name) == (lang, sampler)]


def interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean over seeds with the 95% interval of that mean."""
    mean, half = float(values.mean()), 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5
    return mean, mean - half, mean + half
