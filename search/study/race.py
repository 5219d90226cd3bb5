"""Looks at a trial before its end: can it still be better than the best trial so far?

Owns the probability that it can, and what is told of a trial that is stopped. Items come in one
order for all recipes, so two trials are compared on the same first items, and what the better one
answered on the others is known. Pure; who asks, and when, is the engine's side, and what a trial
is held to is `search.study.thresholds`'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln

from objectives import targets
from objectives.target import Target
from objectives.types import ItemResult
from objectives.words import counted
from search.records.record import Stopped

SHRINK = 3
"""Items' worth of belief that a stopped trial is as good as the incumbent."""
PRIOR = 1.0
"""Items' worth of belief in either answer, for each kind of item."""


@dataclass(frozen=True)
class Rules:
    """When trials are looked at, and when one is stopped.

    Attributes:
        looks: shares of the items after which a trial is looked at, rising, each in (0, 1).
        alpha: a trial is stopped whose chance is lower.
    """

    looks: tuple[float, ...]
    alpha: float


@dataclass(frozen=True)
class Threshold:
    """What a trial is held to at its looks.

    Attributes:
        rules: when it is looked at, and when it is stopped.
        incumbent: key of the best trial of those that its proposal was made from.
        answers: whether the incumbent solved each item of the first target.
        floors: score of a later target -> the gain that it must reach.
        lang: language code.
    """

    rules: Rules
    incumbent: str
    answers: tuple[bool, ...]
    floors: Mapping[str, float] = field(default_factory=dict)
    lang: str = ""

    def to_json(self) -> str:
        """The threshold as one line."""
        return json.dumps({**asdict(self), "answers": list(map(int, self.answers))})

    @classmethod
    def from_json(cls, line: str) -> Threshold:
        """The inverse of `to_json`."""
        data = json.loads(line)
        rules = Rules(tuple(data["rules"]["looks"]), data["rules"]["alpha"])
        return cls(**{**data, "rules": rules, "answers": tuple(map(bool, data["answers"]))})


def look(
    threshold: Threshold, items: Sequence[ItemResult], totals: Mapping[str, int]
) -> Stopped | None:
    """What of a trial the first items decide: why it is stopped, or None to go on.

    Args:
        threshold: what it is held to.
        items: per-item results of every objective's first items, in their order.
        totals: objective -> its number of items.
    """
    main, *guards = targets.TARGETS
    own = list(main.marks(items).values())
    kept = [
        _reached(guard, drawn, least)
        for guard in guards
        if (least := threshold.floors.get(guard.score)) is not None
        if (drawn := guard.foresee(items, totals.get(guard.objective, 0), threshold.lang))
        is not None
    ]
    return judge(threshold, own, kept)


def judge(threshold: Threshold, own: Sequence[bool], kept: Sequence[float] = ()) -> Stopped | None:
    """Why a trial is stopped, or None to go on.

    Args:
        threshold: what it is held to.
        own: whether it solved each of the first items.
        kept: for each floor, the probability that it is reached.
    """
    likely = chance(own, threshold.answers)
    least = min([likely, *kept])
    if least >= threshold.rules.alpha or not own:  # an item may be several requests
        return None
    told = estimate(own, threshold.answers)
    by = threshold.incumbent if likely == least else ""
    return Stopped(len(own), len(threshold.answers), told, by, least)


def _reached(target: Target, drawn: NDArray[np.float64], least: float) -> float:
    """Share of drawn scores that reach a floor."""
    gains = drawn if target.direction == "maximize" else -drawn
    return float(np.mean(gains >= least - 1e-9))


def chance(own: Sequence[bool], incumbent: Sequence[bool]) -> float:
    """Probability that a trial will have solved at least as many items as the incumbent.

    A trial solves an item with one probability where the incumbent solved it and with another where
    it did not; both are estimated from the items seen (beta-binomial). It is 0 where the trial
    could not catch up by solving all that is left.

    Args:
        own: whether it solved each of the first items; may be empty.
        incumbent: the same of the incumbent, for all items.

    Raises:
        ValueError: there are more answers than items.
    """
    seen, left = list(incumbent[: len(own)]), list(incumbent[len(own) :])
    if len(own) > len(incumbent):
        raise ValueError(f"{counted(len(own), 'answer')} to {counted(len(incumbent), 'item')}")
    reached = np.array([1.0])
    for kind in (True, False):
        answers = [mine for mine, its in zip(own, seen, strict=True) if its == kind]
        won = sum(answers)
        more = _beta_binomial(left.count(kind), PRIOR + won, PRIOR + len(answers) - won)
        reached = np.convolve(reached, more)
    needed = sum(incumbent) - sum(own)
    return float(reached[max(needed, 0) :].sum())


def estimate(own: Sequence[bool], incumbent: Sequence[bool]) -> float:
    """What is told of a stopped trial's accuracy: the incumbent's and a part of the difference.

    Its raw mean would depend on which items came first.

    Args:
        own: whether it solved each of the first items, at least one.
        incumbent: the same of the incumbent, for all items.
    """
    n = len(own)
    difference = (sum(own) - sum(incumbent[:n])) / n
    return float(np.clip(sum(incumbent) / len(incumbent) + difference * n / (n + SHRINK), 0, 1))


def _beta_binomial(n: int, a: float, b: float) -> NDArray[np.float64]:
    """Probability of 0 to n successes, of shape (n + 1,)."""
    k = np.arange(n + 1)
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return np.asarray(np.exp(ways + betaln(k + a, n - k + b) - betaln(a, b)))
