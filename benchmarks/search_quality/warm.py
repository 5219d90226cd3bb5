"""What a warm start saves: recipes of another language's study, or a range read off the experts.

    python -m benchmarks.search_quality.warm [--seeds 50]

Replays searches of each language cold, with `--import` of a replayed search of the other language,
and within the range that `search.inspect` suggests for the demo family; prints held-out accuracy
after so many trials, and the trials until the quality of a cold search of 40.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from numpy.typing import NDArray

from benchmarks.landscape.design import N_LAYERS
from benchmarks.search_quality.__main__ import BUDGET
from benchmarks.search_quality.replay import Field, Run, replay
from benchmarks.search_quality.runs import chosen, command, field, interval, sampler_of
from search.checkpoints.family import Family, fit
from search.config.compose import load
from search.config.schema import SearchConfig
from search.inspect.expert_vectors import measure
from search.inspect.suggest import Suggestion, suggest
from search.merging.recipe import LayerSwap
from search.merging.source import Source
from search.run.imports import COUNT, fitted_to, ranked
from search.study.schedule import Schedule

Start = Literal["cold", "imported", "range"]
STARTS: tuple[Start, ...] = ("cold", "imported", "range")
LANGS = ("te", "sw")
KINDS = ("lang", "task")
AT = (10, 15, 20, 30, BUDGET)
TRIALS = 100


@dataclass(frozen=True)
class Task:
    """One search: language, how it starts, seed."""

    lang: str
    start: Start
    seed: int


def run(task: Task) -> NDArray[np.float64]:
    """Held-out accuracy of what would be recommended after each trial, of shape (trials,)."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    land, first = field(task.lang).drawn(task.seed), list[Mapping[str, Any]]()
    if task.start == "range":
        land = replace(land, ranges=suggested(task.lang))
    elif task.start == "imported":
        (other,) = (lang for lang in LANGS if lang != task.lang)
        first = points(_search(field(other).drawn(task.seed), task.seed, BUDGET), land)
    found = _search(land, task.seed, TRIALS, first)
    return np.array([land.held_out[land.row[name]] for name in chosen(found.trials)])


def points(other: Run, land: Field) -> list[Mapping[str, Any]]:
    """The best recipes of another study, as `--import` proposes them."""
    space = land.space()
    best = ranked(other.trials, N_LAYERS, SearchConfig().tolerance)
    swaps = (record.recipe for record in best if isinstance(record.recipe, LayerSwap))
    fitted = (fitted_to(swap, N_LAYERS, space) for swap in swaps)
    found = {recipe: space.point(recipe) for recipe in fitted if recipe is not None}
    return [point for point in itertools.islice(found.values(), COUNT) if point is not None]


def suggested(lang: str) -> dict[str, tuple[int, int]]:
    """The ranges that `search.inspect` suggests for the demo family's experts of a language."""
    found = suggestion(lang)
    ranges = {name: getattr(found, name) for name in ("b", "u", "t_b", "t_u")}
    return {name: bounds for name, bounds in ranges.items() if bounds is not None}


def suggestion(lang: str) -> Suggestion:
    """What `search.inspect` reads off the demo family's experts of a language."""
    sources = Family(**load([], {"lang": lang}).family.model_dump()).sources(lang)
    family = fit({name: Path(place) for name, place in sources.items()})
    shares = measure(family, [name for name in sources if Source.of(name).is_expert]).shares
    own = {
        kind: [s for name, s in shares.items() if Source.of(name).kind == kind] for kind in KINDS
    }
    return suggest(own["lang"], own["task"])


def _search(land: Field, seed: int, trials: int, first: Sequence[Mapping[str, Any]] = ()) -> Run:
    schedule = Schedule.of("replay", SearchConfig(trials=trials, seed=seed))
    return replay(land, sampler_of("ours"), schedule, first=first)


def table(found: Mapping[Task, NDArray[np.float64]]) -> Iterator[str]:
    """A Markdown row for each language and start."""
    yield "| | start | " + " | ".join(f"{n} trials" for n in AT) + f" | as good as {BUDGET} cold |"
    yield "| --- | --- |" + " ---: |" * (len(AT) + 1)
    for lang in LANGS:
        by_start = {
            start: np.stack([v for t, v in found.items() if (t.lang, t.start) == (lang, start)])
            for start in STARTS
        }
        goal = by_start["cold"][:, BUDGET - 1].mean()
        for start, values in by_start.items():
            cells = []
            for n in AT:
                mean, low, high = (100 * v for v in interval(values[:, n - 1]))
                cells.append(f"{mean:.1f} ({low:.1f} to {high:.1f})")
            reached = np.flatnonzero(values.mean(axis=0) >= goal - 1e-12)
            cells.append(f"after {reached[0] + 1}" if len(reached) else f"not in {values.shape[1]}")
            yield f"| {lang} | {start} | " + " | ".join(cells) + " |"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command(
        __doc__,
        lambda seeds: [Task(*one) for one in itertools.product(LANGS, STARTS, seeds)],
        run,
        table,
        argv,
    )


if __name__ == "__main__":
    sys.exit(main())
