"""What the model's caps cost: a proposal may take 20 ms, so it looks at some of a long study only.

    python -m benchmarks.search_quality.caps [--seeds 50]

The landscapes are smaller than the caps, which therefore are made smaller too: a cap cuts here as
large a part of 100 trials or of some 2,000 recipes as the product's does of a study some times as
long. Prints the held-out accuracy of what would be recommended, less that without the cap, on the
same items and seeds.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
import optuna
from numpy.typing import NDArray

from benchmarks.search_quality.replay import replay
from benchmarks.search_quality.runs import chosen, command, field, interval, sampler_of
from search.config.schema import SearchConfig
from search.study.proposing import model
from search.study.schedule import Schedule

LANGS = ("te", "sw")
AT = (40, 60, 100)
TRIALS = max(AT)


@dataclass(frozen=True)
class Cap:
    """What a search looks at less of.

    Attributes:
        smaller: name in `search.study.proposing.model` -> its value here.
        engines: trials at once.
    """

    smaller: Mapping[str, int]
    engines: int = 1


CAPS = {
    "no cap": Cap({}),
    "200 candidates": Cap({"MAX_ENUMERATED": 0, "N_CANDIDATES": 200}),
    "100 candidates": Cap({"MAX_ENUMERATED": 0, "N_CANDIDATES": 100}),
    "200 candidates, no climbing": Cap({"MAX_ENUMERATED": 0, "N_CANDIDATES": 200, "MAX_CLIMBS": 0}),
    "25 trials known, as 200 of 800": Cap({"MAX_OBSERVATIONS": 25}),
    "20 trials known, as 200 of 1,000": Cap({"MAX_OBSERVATIONS": 20}),
    "settings fitted to 10 trials, as to 100 of 1,000": Cap({"MAX_FIT_OBSERVATIONS": 10}),
    "no cap, 8 engines": Cap({}, engines=8),
    "20 candidates held against what is under way": Cap({"SHORTLIST": 20}, engines=8),
    "4 of up to 15 under way counted": Cap({"MAX_PENDING": 4}, engines=8),
}


@dataclass(frozen=True)
class Task:
    """One search: language, name of its cap, seed."""

    lang: str
    cap: str
    seed: int


def run(task: Task) -> NDArray[np.float64]:
    """Held-out accuracy of what would be recommended after each trial, of shape (trials,)."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    land, cap = field(task.lang).drawn(task.seed), CAPS[task.cap]
    wanted = SearchConfig(trials=TRIALS, seed=task.seed, engines=cap.engines)
    with ExitStack() as stack:
        for name, value in cap.smaller.items():
            stack.enter_context(patch.object(model, name, value))
        found = replay(land, sampler_of("ours"), Schedule.of("replay", wanted))
    return np.array([land.held_out[land.row[name]] for name in chosen(found.trials)])


def table(found: Mapping[Task, NDArray[np.float64]]) -> Iterator[str]:
    """A Markdown row for each language and cap."""
    yield "| | | " + " | ".join(f"{n} trials" for n in AT) + " |"
    yield "| --- | --- |" + " ---: |" * len(AT)
    for lang in LANGS:
        whole = {
            cap.engines: _of(found, lang, name) for name, cap in CAPS.items() if not cap.smaller
        }
        for name, cap in CAPS.items():
            values = _of(found, lang, name)
            if cap.smaller:
                values = values - whole[cap.engines]
            sign = "+" if cap.smaller else ""
            cells = []
            for n in AT:
                mean, low, high = (100 * v for v in interval(values[:, n - 1]))
                cells.append(f"{mean:{sign}.2f} ({low:{sign}.2f} to {high:{sign}.2f})")
            yield f"| {lang} | {name} | " + " | ".join(cells) + " |"


def _of(found: Mapping[Task, NDArray[np.float64]], lang: str, cap: str) -> NDArray[np.float64]:
    """Of shape (seeds, trials)."""
    return np.stack([v for t, v in found.items() if (t.lang, t.cap) == (lang, cap)])


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command(
        __doc__,
        lambda seeds: [Task(*one) for one in itertools.product(LANGS, CAPS, seeds)],
        run,
        table,
        argv,
    )


if __name__ == "__main__":
    sys.exit(main())
