"""Replay the peers and keep their rows in recorded.tsv; `make bench-peers` runs it.

    python -m benchmarks.search_quality.record [--samplers cma,gp] [--lang te,sw] [--seeds 10]

Rows are written after each search, so that what is stopped early has rows of fewer seeds; those of
other samplers stay.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.search_quality import recorded
from benchmarks.search_quality.rows import AT, rows
from benchmarks.search_quality.runs import PEERS, Task, Trajectory, missing, run_each

COMMON = ("optuna", "numpy")
"""Packages that every replay uses."""


def record(
    lang: str, sampler: str, seeds: int, processes: int | None = None
) -> Iterator[recorded.Recording]:
    """Replay a peer with so many seeds; the rows after each of them, from the second on.

    Args:
        lang: language code of a shipped landscape.
        sampler: name of `PEERS`.
        seeds: at least 2, or there is no interval.
        processes: searches at once; None: one on each core.

    Raises:
        ImportError: a package that it needs is not installed.
    """
    tasks = [Task(lang, sampler, sampler, seed, AT[-1], 1, "laptop") for seed in range(seeds)]
    names = sorted({*COMMON, *PEERS[sampler].needs})
    versions = {name: importlib.metadata.version(name) for name in names}
    day = datetime.date.today().isoformat()
    ground = recorded.shipped(lang)
    trajectories: list[Trajectory] = []
    for trajectory in run_each(tasks, processes):
        trajectories.append(trajectory)
        if len(trajectories) > 1:
            found = tuple(rows(trajectories))
            yield recorded.Recording(lang, sampler, len(trajectories), day, ground, versions, found)


def main(argv: Sequence[str] | None = None, file: Path = recorded.FILE) -> int:
    """The command line; the file is what rows are written to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lang", default="te,sw", help="landscapes, by language")
    parser.add_argument("--samplers", default=",".join(PEERS), help="which peers")
    parser.add_argument("--seeds", type=int, help="searches of each; by default more of fast ones")
    parser.add_argument("--processes", type=int, help="searches at once; by default one a core")
    given = parser.parse_args(argv)
    samplers = given.samplers.split(",")
    for sampler in samplers:
        if sampler not in PEERS:
            parser.error(f"{sampler} is none of the peers {', '.join(PEERS)}")
        if lacking := missing(sampler):
            parser.error(f"{sampler} needs {', '.join(lacking)}: make bench-peers")
    if given.seeds is not None and given.seeds < 2:
        parser.error(f"--seeds {given.seeds}: an interval needs 2 or more")
    for sampler in samplers:
        for lang in given.lang.split(","):
            begun = time.perf_counter()
            seeds = given.seeds or PEERS[sampler].seeds
            for new in record(lang, sampler, seeds, given.processes):
                recorded.write([*recorded.read(file), new], file)
                spent = time.perf_counter() - begun
                print(f"{lang} {sampler}: {new.seeds} seeds, {spent:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
