"""Looks at a trial before its end: can it still be better than the best trial so far?

Owns the probability that it can, and what is told of a trial that is stopped. Items come in one
order for all recipes, so two trials are compared on the same first items, and what the better one
answered on the others is known. Pure; who asks, and when, is the engine's side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln

SHRINK = 10
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
        raise ValueError(f"{len(own)} answers to {len(incumbent)} items")
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
