"""Two models on the same items: the difference of a score, from their per-item results.

Owns which part of a verdict a score's difference is made of; the statistics are `stats`'. Items are
matched by their ids, in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Iterable

from objectives.errors import DataError
from objectives.languages import LANGUAGES
from objectives.rates import Outcome
from objectives.stats import (
    PairedDifference,
    paired_accuracy,
    paired_lcpr,
    paired_means,
    paired_parts,
)
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
    both = _paired(a, b, objective)
    if not both:
        return None
    sides = [[said(verdict, item) for verdict in side] for side in zip(*both, strict=True)]
    if share:
        right = [list(map(bool, side)) for side in sides]
        return paired_accuracy(right[0], right[1])
    one, other = ([float(value or 0) for value in side] for side in sides)
    return paired_means(one, other)


def parts_difference(
    a: Iterable[ItemResult], b: Iterable[ItemResult], objective: str
) -> PairedDifference | None:
    """A score of a minus that of b on the items that both have; None where there are none.

    Args:
        a: per-item results of one model, of any objectives.
        b: the same of the other.
        objective: whose items; their verdicts have a `value`, a `weight` and the `part` of the
            score that they belong to.
    """
    parts: dict[str, list[tuple[float, float, float]]] = {}
    for mine, other in _paired(a, b, objective):
        weight = float(said(mine, "weight") or 0)
        row = float(said(mine, "value") or 0), float(said(other, "value") or 0), weight
        parts.setdefault(str(said(mine, "part")), []).append(row)
    return paired_parts(parts.values()) if parts else None


def lcpr_difference(
    a: Iterable[ItemResult], b: Iterable[ItemResult], lang: str
) -> PairedDifference | None:
    """LCPR of a minus that of b on the prompts that both have; None where there are none.

    Args:
        a: per-item results of one model, of any objectives.
        b: the same of the other.
        lang: language code; it decides whether word-level confusion is defined.
    """
    both = _paired(a, b, "lcpr")
    if not both:
        return None
    ended = [list(map(outcome_of, side)) for side in zip(*both, strict=True)]
    sources = [str(said(verdict, "source")) for verdict, _ in both]
    return paired_lcpr(ended[0], ended[1], sources, LANGUAGES[lang].wpr_applies)


def _paired(
    a: Iterable[ItemResult], b: Iterable[ItemResult], objective: str
) -> list[tuple[Verdict, Verdict]]:
    """Both verdicts on each item of an objective that both have, in the order of a."""
    one, other = ({i.id: i.verdict for i in side if i.objective == objective} for side in (a, b))
    return [(verdict, other[name]) for name, verdict in one.items() if name in other]
