"""Two models on the same items: the difference of a score, from their per-item results.

Owns which part of a verdict a score's difference is made of; the statistics are `stats`'. Items are
matched by their ids, in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from objectives.errors import DataError
from objectives.languages import LANGUAGES
from objectives.rates import Outcome
from objectives.stats import PairedDifference, paired_accuracy, paired_lcpr, paired_means
from objectives.types import ItemResult, Verdict

_MEND = "its file of items/ is not as it was written"


def outcome_of(verdict: Verdict) -> Outcome:
    """How a response ended.

    Raises:
        DataError: the verdict does not say.
    """
    name = str(said(verdict, "outcome"))
    if name not in Outcome.__members__:
        raise DataError(f"a verdict on record has the outcome {name!r}: {_MEND}")
    return Outcome[name]


def said(verdict: Verdict, name: str) -> bool | int | float | str | None:
    """A field of a verdict.

    Raises:
        DataError: the verdict has none of this name.
    """
    if name not in verdict:
        raise DataError(f"a verdict on record has no {name}: {_MEND}")
    return verdict[name]


def item_difference(
    a: Iterable[ItemResult], b: Iterable[ItemResult], objective: str, item: str, *, share: bool
) -> PairedDifference | None:
    """A score of a minus that of b on the items that both have; None where there are none.

    Args:
        a: per-item results of one model, of any objectives.
        b: the same of the other.
        objective: whose items.
        item: the field of their verdicts that the score is made of.
        share: whether it says yes or no; else it is a number.
    """
    both = _paired((a, b), objective)
    if not both:
        return None
    sides = [[said(verdict, item) for verdict in side] for side in zip(*both, strict=True)]
    if share:
        right = [list(map(bool, side)) for side in sides]
        return paired_accuracy(right[0], right[1])
    one, other = ([float(value or 0) for value in side] for side in sides)
    return paired_means(one, other)


def tables(
    sides: Sequence[Iterable[ItemResult]], objective: str, item: str
) -> list[NDArray[np.float64]]:
    """The parts of a score as `stats.mean_score` takes them, of the items that all sides have.

    Args:
        sides: per-item results of each model, of any objectives.
        objective: whose items.
        item: the field of their verdicts that the score is the mean of; empty where they have a
            `value`, a `weight` and the `part` of the score that they belong to.
    """
    parts: dict[str, list[list[float]]] = {}
    for verdicts in _paired(sides, objective):
        name = "" if item else str(said(verdicts[0], "part"))
        row = [float(said(verdict, item or "value") or 0) for verdict in verdicts]
        weight = 1.0 if item else float(said(verdicts[0], "weight") or 0)
        parts.setdefault(name, []).append([*row, weight])
    return [np.array(rows) for rows in parts.values()]


def lcpr_difference(
    a: Iterable[ItemResult], b: Iterable[ItemResult], lang: str
) -> PairedDifference | None:
    """LCPR of a minus that of b on the prompts that both have; None where there are none.

    Args:
        a: per-item results of one model, of any objectives.
        b: the same of the other.
        lang: language code; it decides whether word-level confusion is defined.
    """
    both = _paired((a, b), "lcpr")
    if not both:
        return None
    ended = [list(map(outcome_of, side)) for side in zip(*both, strict=True)]
    sources = [str(said(verdicts[0], "source")) for verdicts in both]
    return paired_lcpr(ended[0], ended[1], sources, LANGUAGES[lang].wpr_applies)


def _paired(sides: Sequence[Iterable[ItemResult]], objective: str) -> list[tuple[Verdict, ...]]:
    """The verdicts on each item of an objective that all have, in the order of the first."""
    first, *others = ({i.id: i.verdict for i in side if i.objective == objective} for side in sides)
    return [
        (verdict, *(other[name] for other in others))
        for name, verdict in first.items()
        if all(name in other for other in others)
    ]
