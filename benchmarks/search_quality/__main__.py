"""How good a search is: samplers compared on recorded landscapes, without an engine.

    python -m benchmarks.search_quality [--seeds 50] [--lang te,sw] [--tsv]
    make bench-peers    # in an environment of their own: the rows of the peers

Prints what would be recommended after so many trials, in held-out accuracy; what reaching a quality
costs in trials, answers and simulated time; and how often the choice beats the default recipe, the
best soup and the best TIES. Each seed draws the landscape's items anew into search and held-out
ones, so that its figures do not hang on one set of items. Peers are run only where `--samplers`
names them and what they need is installed; else their rows are those last recorded, and standard
error says with what.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.search_quality import recorded
from benchmarks.search_quality.rows import AT, Row, as_tsv, rows
from benchmarks.search_quality.runs import (
    OURS,
    SAMPLERS,
    Marks,
    Task,
    Trajectory,
    field,
    interval,
    kinds,
    missing,
    of_kind,
    run_all,
)
from search.config.schema import RaceConfig
from search.study.race import Rules

BUDGET = 40
"""Trials of the demo's search."""
MARKED = ("best", "whole", "default")
"""Of `Marks`, what stands above a table."""


def quality(found: Sequence[Row], trajectories: Sequence[Trajectory]) -> Iterator[str]:
    """A Markdown table for each language: held-out accuracy after so many trials."""
    for lang in dict.fromkeys(row[0] for row in found):
        land = field(lang)
        marks = [c.marks for c in trajectories if c.task.lang == lang] or [Marks.of(land)]
        means = (100 * float(np.mean([getattr(m, name) for m in marks])) for name in MARKED)
        best, whole, default = means
        yield ""
        what = f"{lang}: {len(land.in_space)} recipes of {len(land.pairs)} pairs"
        yield f"{what}; held-out accuracy of the best {best:.1f}%, of the default {default:.1f}%,"
        yield f"of what scoring them all would recommend {whole:.1f}%"
        yield ""
        yield "| sampler | " + " | ".join(f"{trials} trials" for trials in AT) + " | regret |"
        yield "| --- |" + " ---: |" * (len(AT) + 1)
        own = [row for row in found if row[0] == lang]
        for sampler in dict.fromkeys(row[1] for row in own):
            cells = {r[2]: f"{r[3]:.1f} ({r[4]:.1f} to {r[5]:.1f})" for r in own if r[1] == sampler}
            last = max((r for r in own if r[1] == sampler), key=lambda row: row[2])
            regret = f"{max(0.0, best - last[3]):.1f}"
            yield f"| {sampler} | " + " | ".join([cells.get(t, "") for t in AT] + [regret]) + " |"


def costs(trajectories: Sequence[Trajectory]) -> Iterator[str]:
    """What reaching TPE's quality after 60 trials costs each sampler, in the mean over seeds."""
    yield ""
    yield "| | quality | sampler | trials | answers | simulated s |"
    yield "| --- | --- | --- | ---: | ---: | ---: |"
    for lang in dict.fromkeys(trajectory.task.lang for trajectory in trajectories):
        whole = float(np.mean([c.marks.whole for c in trajectories if c.task.lang == lang]))
        goals = {"within 1 point of scoring all": whole - 0.01}
        tpe = of_kind(trajectories, lang, "tpe")
        if tpe:
            goals = {"TPE after 60 trials": _mean(tpe, 60), **goals}
        for name, goal in goals.items():
            for sampler in dict.fromkeys(c.task.name for c in trajectories if c.task.lang == lang):
                cost = _cost(trajectories, lang, sampler, goal)
                yield f"| {lang} | {name}, {100 * goal:.1f} | {sampler} | {cost} |"


def wins(trajectories: Sequence[Trajectory]) -> Iterator[str]:
    """How often the choice after the demo's budget beats what needs no search."""
    yield ""
    yield f"| after {BUDGET} trials | sampler | beats the default | by | best soup | best TIES |"
    yield "| --- | --- | ---: | ---: | ---: | ---: |"
    for lang, sampler in kinds(trajectories):
        own = of_kind(trajectories, lang, sampler)
        found = np.array([c.held_out[min(BUDGET, len(c.held_out)) - 1] for c in own])
        default = np.array([c.marks.default for c in own])
        by, low, high = (100 * v for v in interval(found - default))
        shares = [_beaten(found, rival) for rival in zip(*map(_rivals, own), strict=True)]
        yield (
            f"| {lang} | {sampler} | {int((found > default).sum())} of {len(found)} | "
            f"{by:+.1f} ({low:+.1f} to {high:+.1f}) | {shares[0]} | {shares[1]} |"
        )


def _rivals(trajectory: Trajectory) -> tuple[float | None, float | None]:
    return trajectory.marks.soup, trajectory.marks.ties


def _beaten(found: NDArray[np.float64], rival: Sequence[float | None]) -> str:
    if None in rival:
        return "not recorded"
    theirs = np.array(rival, dtype=np.float64)
    return f"{np.mean(found > theirs):.0%} ({100 * theirs.mean():.1f})"


def _mean(trajectories: Sequence[Trajectory], trials: int) -> float:
    return float(np.mean([c.held_out[min(trials, len(c.held_out)) - 1] for c in trajectories]))


def _cost(trajectories: Sequence[Trajectory], lang: str, sampler: str, goal: float) -> str:
    own = of_kind(trajectories, lang, sampler)
    length = min(len(trajectory.held_out) for trajectory in own)
    means = np.mean([trajectory.held_out[:length] for trajectory in own], axis=0)
    reached = np.flatnonzero(means >= goal)
    if not len(reached):
        return f"not in {length} | | "
    at = int(reached[0])
    items = np.mean([trajectory.items[at] for trajectory in own])
    seconds = np.mean([trajectory.seconds[at] for trajectory in own])
    return f"{at + 1} | {items:.0f} | {seconds:.0f}"


def replayed(named: Sequence[str] | None) -> list[str]:
    """Samplers to run here: all of ours, or those that were named, unless a package is missing."""
    return [name for name in named or OURS if name in OURS or not missing(name)]


def last_recorded(samplers: Sequence[str], langs: Sequence[str], file: Path) -> list[Row]:
    """The rows of samplers that are not run here; standard error says what they were made with."""
    known = recorded.read(file)
    grounds = {lang: recorded.shipped(lang) for lang in langs}
    for sampler in samplers:
        print(recorded.notice(sampler, known, grounds), file=sys.stderr)
    return [row for r in known if r.sampler in samplers and r.lang in langs for row in r.rows]


def in_order(found: Sequence[Row], langs: Sequence[str], samplers: Sequence[str]) -> list[Row]:
    """Rows by language and sampler as they were named; the raced ones are the last."""
    places = {name: place for place, name in enumerate(samplers)}
    return sorted(found, key=lambda r: (langs.index(r[0]), places.get(r[1], len(places)), r[2]))


def main(argv: Sequence[str] | None = None, file: Path = recorded.FILE) -> int:
    """The command line; the file holds rows that were recorded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lang", default="te,sw", help="landscapes, by language")
    parser.add_argument("--samplers", help=f"those to run, of {', '.join(SAMPLERS)}")
    parser.add_argument("--race", type=float, help="also ours, stopping trials under this chance")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--engines", type=int, default=1, help="trials at once; peers have one")
    parser.add_argument("--clock", choices=("laptop", "gpu"), default="laptop")
    parser.add_argument(
        "--items",
        choices=("drawn", "recorded"),
        default="drawn",
        help="search and held-out items drawn again for each seed, or as recorded",
    )
    parser.add_argument("--tsv", action="store_true", help="the rows alone, for other programs")
    given = parser.parse_args(argv)
    langs, named = given.lang.split(","), given.samplers and given.samplers.split(",")
    if unknown := [name for name in named or () if name not in SAMPLERS]:
        parser.error(f"no sampler {', '.join(unknown)}; there are {', '.join(SAMPLERS)}")
    samplers, here = named or SAMPLERS, replayed(named)
    tasks = [
        Task(
            lang,
            sampler,
            sampler,
            seed,
            AT[-1],
            given.engines,
            given.clock,
            drawn=given.items == "drawn",
        )
        for seed in range(given.seeds)
        for lang in langs
        for sampler in here
    ]
    if given.race is not None:
        rules = Rules(RaceConfig().looks, given.race)
        raced = (replace(task, name="raced", race=rules) for task in tasks)
        tasks += [task for task in raced if task.sampler == "ours"]
    trajectories = sorted(run_all(tasks), key=lambda c: (c.task.lang, tasks.index(c.task)))
    others = last_recorded([name for name in samplers if name not in here], langs, file)
    found = in_order([*rows(trajectories), *others], langs, samplers)
    if given.tsv:
        print("\n".join(as_tsv(found)))
    else:
        print("\n".join([*quality(found, trajectories), *costs(trajectories), *wins(trajectories)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
