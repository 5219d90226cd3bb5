"""Do the wider spaces find better recipes? Searches of each, beside plain swaps of the same pair.

    python -m benchmarks.search_quality.wider [--seeds 50]

Replays searches of the product's sampler on what `python -m benchmarks.landscape record --design
wider` has recorded; prints held-out accuracy after so many trials, and how much more that is than
in plain swaps with the same seed, which draws search and held-out items for all spaces alike. A
space whose recorded recipes are fewer than the trials has no figure there.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import optuna
from numpy.typing import NDArray

from benchmarks.landscape import design, packed
from benchmarks.landscape.design import N_LAYERS
from benchmarks.search_quality.replay import EXPERTS, Field, replay
from benchmarks.search_quality.runs import Marks, chosen, command, interval, sampler_of
from benchmarks.search_quality.warm import suggestion
from search.config.schema import SearchConfig
from search.merging.recipe import Layered, Recipe, from_dict
from search.merging.space.components import ComponentsForm
from search.merging.space.contract import MainSpace
from search.merging.space.grid import Codes, Grid
from search.merging.space.layerwise import LayerwiseForm
from search.merging.space.swap import Space
from search.merging.space.wider import Form, WiderSpace
from search.study.schedule import Schedule

LANG = "te"
AT = (10, 20, 40, 100, 300)
NEAR = {
    "b": (min(design.ENDS), max(design.ENDS)),
    "u": (min(design.ENDS), max(design.ENDS)),
    "t_b": design.WIDER_T_B,
    "t_u": design.WIDER_T_U,
}
"""Ranges of the zones that were recorded of components."""


@dataclass(frozen=True)
class Listed(Grid):
    """The flat form of a space of which only some recipes can be asked for.

    Attributes:
        codes: their indices on the axes.
    """

    codes: Codes

    def size(self) -> int:
        """How many there are."""
        return len(self.codes)

    def all(self) -> Codes:
        """All of them."""
        return self.codes

    def iterate(self) -> Iterator[NDArray[np.int64]]:
        """All of them."""
        yield from self.codes

    def sample(self, rng: np.random.Generator, count: int) -> Codes:
        """Some of them, each as likely as another."""
        return self.codes[np.sort(rng.permutation(len(self.codes))[:count])]


def _swaps(
    shares: tuple[float, float, float] = (0.5, 0.5, 0.1), **ranges: tuple[int, int]
) -> Space:
    return design.even_space(LANG, *EXPERTS[LANG], (design.WIDER_PAIR,), shares, **ranges)


def _components() -> Form:
    return ComponentsForm(_swaps(**NEAR))


def _layerwise() -> Form:
    low, middle, high = design.BLOCK_SHARES
    return LayerwiseForm(_swaps((low, high, middle - low)), N_LAYERS)


def _begun() -> Form:
    """Begun from the experts' vectors as well; of the shares there, those that were recorded."""
    return replace(_layerwise(), start=_vectors())  # type: ignore[type-var]


@functools.cache
def _vectors() -> tuple[float, ...]:
    return suggestion(LANG).shares


def _listed(make: Callable[[], Form]) -> WiderSpace:
    """The space of a form with no recipes but those that were recorded."""
    space = WiderSpace(make())
    vars(space)["grid"] = _grid(make)
    return space


@functools.cache
def _grid(make: Callable[[], Form]) -> Listed:
    recipes = map(from_dict, whole().recipes)
    own = (r for r in recipes if isinstance(r, Layered) and (r.task, r.lang) == design.WIDER_PAIR)
    return listed(WiderSpace(make()), own)


def listed(space: MainSpace, recipes: Iterable[Recipe]) -> Listed:
    """The flat form of a space, of those of some recipes alone that lie in it."""
    points = map(space.point, recipes)
    grid = space.grid
    codes = np.array([grid.code(point) for point in points if point is not None])
    return Listed(grid.axes, grid.canonical, grid.features, grid.unique(codes))


SPACES: Mapping[str, Callable[[], MainSpace]] = {
    "swaps": _swaps,
    "swaps, ranges of components": functools.partial(_swaps, **NEAR),
    "components": functools.partial(_listed, _components),
    "layerwise": functools.partial(_listed, _layerwise),
    "layerwise, begun from inspect's vectors": functools.partial(_listed, _begun),
}
"""Name in the table -> what is searched; the first is what the others are compared with."""


@functools.cache
def whole() -> packed.Landscape:
    """Everything that was recorded of the language."""
    return packed.joined(packed.shipped(LANG), packed.shipped(LANG, "wider"))


@functools.cache
def field(name: str) -> Field:
    """What was recorded, as a search of one of `SPACES` sees it."""
    return Field(whole(), make=SPACES[name])


@dataclass(frozen=True)
class Task:
    """One search: its space, its seed."""

    space: str
    seed: int


@dataclass(frozen=True)
class Trajectory:
    """What became of it.

    Attributes:
        held_out: accuracy of what would be recommended after each trial, as a share.
        marks: what that is compared with, on the same items.
    """

    held_out: NDArray[np.float64]
    marks: Marks


def run(task: Task, trials: int = AT[-1]) -> Trajectory:
    """Replay one search of `SPACES`."""
    return searched(field(task.space), task.seed, trials)


def searched(land: Field, seed: int, trials: int) -> Trajectory:
    """Replay one search, of as many trials as there are recipes at most."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    land = land.drawn(seed)
    trials = min(trials, len(land.in_space))
    schedule = Schedule.of("replay", SearchConfig(trials=trials, seed=seed))
    found = replay(land, sampler_of("ours"), schedule)
    held_out = np.array([land.held_out[land.row[name]] for name in chosen(found.trials)])
    return Trajectory(held_out, Marks.of(land))


def table(found: Mapping[Task, Trajectory]) -> Iterator[str]:
    """The table of `SPACES`."""
    return compared({name: (len(field(name).in_space), _of(found, name)) for name in SPACES})


def compared(
    found: Mapping[str, tuple[int, Sequence[Trajectory]]], at: Sequence[int] = AT
) -> Iterator[str]:
    """A Markdown table: a row for each space; below, differences to the first.

    Args:
        found: space -> how many recipes it has, and its searches, the seeds in one order.
        at: trials after which there is a figure.
    """
    heads = " | ".join(f"{n} trials" for n in at)
    yield f"| space | recipes | {heads} | all scored |"
    yield "| --- | ---: |" + " ---: |" * (len(at) + 1)
    first, (_, plain) = next(iter(found.items()))
    for name, (recipes, trajectories) in found.items():
        cells = [_cell(_after(trajectories, n)) for n in at]
        cells.append(_cell(np.array([trajectory.marks.whole for trajectory in trajectories])))
        yield f"| {name} | {recipes} | " + " | ".join(cells) + " |"
    yield ""
    yield f"| more than in {first} | {heads} | all scored |"
    yield "| --- |" + " ---: |" * (len(at) + 1)
    for name, (_, trajectories) in list(found.items())[1:]:
        cells = [_cell(_minus(_after(trajectories, n), _after(plain, n)), "+") for n in at]
        both = zip(trajectories, plain, strict=True)
        cells.append(_cell(np.array([a.marks.whole - b.marks.whole for a, b in both]), "+"))
        yield f"| {name} | " + " | ".join(cells) + " |"


def _of(found: Mapping[Task, Trajectory], name: str) -> list[Trajectory]:
    return [trajectory for task, trajectory in found.items() if task.space == name]


def _after(trajectories: Sequence[Trajectory], trials: int) -> NDArray[np.float64] | None:
    if any(len(trajectory.held_out) < trials for trajectory in trajectories):
        return None
    return np.array([trajectory.held_out[trials - 1] for trajectory in trajectories])


def _minus(
    one: NDArray[np.float64] | None, other: NDArray[np.float64] | None
) -> NDArray[np.float64] | None:
    return None if one is None or other is None else one - other


def _cell(values: NDArray[np.float64] | None, sign: str = "") -> str:
    if values is None:
        return ""
    mean, low, high = (100 * v for v in interval(values))
    return f"{mean:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command(
        __doc__,
        lambda seeds: [Task(*one) for one in itertools.product(SPACES, seeds)],
        run,
        table,
        argv,
    )


if __name__ == "__main__":
    sys.exit(main())
