"""The rows that samplers are compared by: held-out accuracy after so many trials.

Owns what a row is and its form as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.search_quality.runs import Trajectory, interval, kinds, of_kind

AT = (10, 20, 40, 60, 100)
"""Trials after which the tables look."""
HEAD = "lang sampler trials held_out low high"
Row = tuple[str, str, int, float, float, float]
"""Language, sampler, trials; held-out accuracy in percent with the 95% interval of its mean."""


def rows(trajectories: Sequence[Trajectory]) -> list[Row]:
    """Held-out accuracy in percent with the interval of its mean, by language, sampler, trials."""
    found: list[Row] = []
    for lang, sampler in kinds(trajectories):
        own = of_kind(trajectories, lang, sampler)
        for trials in AT:
            if all(len(c.held_out) >= trials for c in own):
                values = np.array([c.held_out[trials - 1] for c in own])
                mean, low, high = (100 * v for v in interval(values))
                found.append((lang, sampler, trials, mean, low, high))
    return found


def as_tsv(found: Sequence[Row]) -> Iterator[str]:
    """The rows with a head, separated by tabs."""
    yield "\t".join(HEAD.split())
    for lang, sampler, trials, *numbers in found:
        yield "\t".join([lang, sampler, str(trials), *(f"{number:.2f}" for number in numbers)])


def from_tsv(line: str) -> Row:
    """The inverse of a line of `as_tsv`, to two digits.

    Raises:
        ValueError: it is no row.
    """
    lang, sampler, trials, mean, low, high = line.split("\t")
    return lang, sampler, int(trials), float(mean), float(low), float(high)
